"""``run.json`` of a fit: what it says of a whole run, of one that was killed and gone on with, and of several ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import warm_runs
import yaml
from tiny_configs import write_mae
from torch.nn.functional import scaled_dot_product_attention

from ecgcmr.cli import main
from ecgcmr.provenance.run_note import read_note
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.speed_choices.encoder_cost import counted_flops
from ecgcmr.training import provenance
from ecgcmr.training.operations import OperationCount, can_be_counted

STEPS, BATCH = 12, 8


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def test_a_fit_says_what_it_was_and_took_and_is_the_same_where_nothing_is_counted(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_mae(tmp_path, cohort_root)
    quiet = ["--trainer.logger=false", "--model.optimiser={lr: 0.003, warmup_epochs: 0}"]
    assert main(["fit", "-c", str(config), *quiet]) == 0
    note = read_note(tmp_path / "mae")
    assert (note["state"], note["kind"], note["step"], note["epoch"]) == ("finished", "fit", STEPS, 2)
    assert (note["monitor"], note["mode"], note["task"]) == ("val/loss", "min", "pre-training")
    assert note["seeds"]["seed_everything"] == 0
    assert note["cohort"]["fingerprint"] == cohort_fingerprint(ShardIndex.load(cohort_root))
    assert note["cohort"]["rows"] == {"train": 52, "val": 16, "test": 12}
    assert (note["computes"]["precision"], note["computes"]["device"]) == ("32-true", "cpu")
    [call] = note["calls"]
    assert call["command"].startswith("ecgcmr fit -c '…/mae.yaml' --trainer.logger=false '--model.optimiser={lr: 0.003")
    assert (call["steps"], call["samples"], call["ranks"]) == (STEPS, STEPS * BATCH, 1)
    assert note["totals"]["operations"] == round(note["operations_per_sample"] * STEPS * BATCH) > 0
    assert str(tmp_path) not in (tmp_path / "mae" / "run.json").read_text()

    monkeypatch.setattr(provenance, "can_be_counted", lambda stage: False)  # as under torch.compile
    monkeypatch.setattr(provenance, "INTERVAL_S", 0.0)
    other = ["--trainer.default_root_dir", str(tmp_path / "other")]
    assert main(["fit", "-c", str(config), *quiet, *other]) == 0
    known = read_note(tmp_path / "other")
    assert (known["totals"]["operations"], known["totals"]["samples"]) == (None, STEPS * BATCH)
    first, second = weights(tmp_path / "mae"), weights(tmp_path / "other")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_fit_that_fails_says_so_and_one_that_never_began_leaves_no_note(tmp_path: Path, cohort_root: Path) -> None:
    config = write_mae(tmp_path, cohort_root)
    command = ["fit", "-c", str(config), "--trainer.logger=false"]
    assert main([*command, "--data.labels=[nowhere]"]) == 2
    assert not (tmp_path / "mae").exists()
    assert main([*command, "--model.optimiser.lr=1e30"]) == 2  # diverges
    note = read_note(tmp_path / "mae")
    assert (note["state"], note["calls"][0]["state"]) == ("failed", "failed")
    assert main([*command, "--trainer.max_epochs=1", "--overwrite"]) == 0
    assert read_note(tmp_path / "mae")["totals"]["calls"] == 1  # a run that begins anew knows of no earlier one


def test_operations_are_counted_as_torch_counts_them_attention_on_a_cpu_too() -> None:
    query = torch.randn(2, 2, 16, 8, requires_grad=True)
    convolution = torch.nn.Conv1d(2, 4, 3)

    def step() -> None:
        attended = scaled_dot_product_attention(query, query, query)
        convolution(attended.flatten(0, 1)[:, :2]).sum().backward()

    with OperationCount() as counted:
        step()
    plain = 3 * counted_flops(lambda: convolution(torch.randn(4, 2, 8)))  # by torch's own count; and twice backwards
    forward = 2 * (2 * 2 * 2 * 16 * 16 * 8)  # query x key and weights x value
    assert counted.total == pytest.approx(forward + 2.5 * forward + plain)
    assert can_be_counted(convolution)
    convolution.compile()
    assert not can_be_counted(convolution)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.multiprocess
def test_calls_of_a_killed_run_add_up_whatever_its_ranks(tmp_path: Path, cohort_root: Path) -> None:
    config = write_mae(tmp_path, cohort_root)
    content = yaml.safe_load(config.read_text())
    keeps = {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 2}}
    content["trainer"] |= {"logger": False, "enable_model_summary": False}
    content["trainer"]["callbacks"] = [{"class_path": "killed_runs.Recorder"}, keeps]
    config.write_text(yaml.safe_dump(content))

    def plan(ranks: int, kill_at: int = -1, *, resume: bool = True) -> dict:
        arguments = warm_runs.fit_arguments(config, "run", BATCH, ranks, resume)
        return warm_runs.plan(arguments, ranks=ranks, kill_at=kill_at, record=str(tmp_path / "record"))

    warm_runs.run([plan(1, 5, resume=False), plan(2, 9)], tmp_path / "log")
    killed = read_note(tmp_path / "run")
    assert (killed["state"], killed["calls"][0]["state"]) == ("running", "killed")
    assert [(call["from_step"], call["steps"], call["ranks"]) for call in killed["calls"]] == [(0, 4, 1), (4, 4, 2)]
    warm_runs.run([plan(1)], tmp_path / "log")
    note = read_note(tmp_path / "run")
    assert [call["state"] for call in note["calls"]] == ["killed", "killed", "finished"]
    assert (note["totals"]["steps"], note["totals"]["samples"], note["step"]) == (STEPS, STEPS * BATCH, STEPS)
    assert note["totals"]["operations"] == pytest.approx(note["operations_per_sample"] * STEPS * BATCH)
    finished = (tmp_path / "run" / "run.json").read_bytes()
    warm_runs.run([plan(1)], tmp_path / "log")  # nothing is left to do
    assert (tmp_path / "run" / "run.json").read_bytes() == finished
