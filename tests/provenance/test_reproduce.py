"""``ecgcmr reproduce``: equal bits are told from what is close and what differs; what cannot be repeated is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_configs import write_mae

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.provenance import again, reproduce_command
from ecgcmr.provenance.again import computing_as
from ecgcmr.provenance.differences import Compared, relative
from ecgcmr.provenance.run_note import read_note
from ecgcmr.provenance.verdict import judge
from ecgcmr.speed_choices.choose import COMPUTES_AS, Choices
from ecgcmr.training.machine_choices import choose_for_run

pytestmark = pytest.mark.slow

QUIET = ["--trainer.logger=false", "--trainer.enable_model_summary=false"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """A run that was trained and tested; no test may change it."""
    config = write_mae(tmp_path_factory.mktemp("original"), cohort_root)
    learns = ["--model.optimiser={lr: 0.003, warmup_epochs: 0}", "--model.encoder.drop_path=0.2"]
    assert main(["fit", "-c", str(config), *QUIET, *learns]) == 0
    otherwise = ["--data.batch_size=5", "--trainer.enable_progress_bar=true"]
    assert main(["test", "-c", str(config.with_name("mae") / "config.yaml"), *QUIET, *otherwise]) == 0
    return config.with_name("mae")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "mae"))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run the commands of a reproduction in this process, which is quicker; their names are kept."""
    seen: list[str] = []

    def run_here(command: str, words: list[str]) -> None:
        seen.append(command)
        code = main([command, *words])
        if code:
            raise UserError(f"{command} ended with {code}")

    monkeypatch.setattr(again, "run_command", run_here)
    monkeypatch.setattr(reproduce_command, "run_command", run_here)
    return seen


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file, or lay a mapping over it."""
    content = json.loads(file.read_text())
    file.write_text(json.dumps(change(content)))


def record(out: Path) -> dict[str, Any]:
    return json.loads((out / "reproduction.json").read_text())


@pytest.mark.long
def test_a_run_comes_out_the_same_bit_by_bit_and_a_second_call_only_compares(
    run: Path, commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = run.with_name("mae-reproduced")
    assert main(["reproduce", str(run)]) == 0
    assert commands == ["fit", "test"]
    assert "identical" in capsys.readouterr().out
    found = record(out)
    assert (found["verdict"], found["holds"], found["not_bit_by_bit_because"]) == ("identical", True, [])
    names = {entry["what"] for entry in found["compared"]}
    assert {
        "metrics: fit val/loss",
        "metrics: test test/loss",
        "weights: encoder.safetensors",
        "weights: best.ckpt",
    } < names
    assert main(["reproduce", str(run)]) == 0
    assert commands == ["fit", "test"]

    # What differs is found, whatever it is: a weight, a number, a file, a setting.
    weights = torch.load(out / "best.ckpt", weights_only=True)
    next(tensor for tensor in weights["state_dict"].values() if tensor.numel() > 1).view(-1)[0] += 1e-3
    torch.save(weights, out / "best.ckpt")
    assert main(["reproduce", str(run)]) == 3
    assert "weights: best.ckpt" in capsys.readouterr().out
    found = record(out)
    assert (found["verdict"], found["holds"]) == ("within the tolerance", False)  # the same machine: not good enough
    edit(out / "run.json", lambda note: note | {"computes": note["computes"] | {"precision": "bf16-mixed"}})
    assert main(["reproduce", str(run)]) == 0
    assert "computes.precision 32-true -> bf16-mixed" in capsys.readouterr().out
    assert main(["reproduce", str(run), "--tolerance", "1e-9"]) == 3
    edit(out / "metrics.json", lambda metrics: metrics | {"fit": metrics["fit"] | {"val/loss": None, "new": 1.0}})
    (out / "encoder.safetensors").unlink()
    assert main(["reproduce", str(run)]) == 3
    assert record(out)["verdict"] == "differs"
    shown = capsys.readouterr().out
    for line in (
        "metrics: fit new: not there -> 1.0",
        "metrics: fit val/loss: ",
        "weights: encoder.safetensors: there",
    ):
        assert line in shown


@pytest.mark.long
def test_a_test_is_repeated_with_its_settings_and_left_out_where_its_checkpoint_or_cohort_is_not_known(
    run: Path, commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    known = read_note(run)["evaluations"]["test"]
    assert known["changes"] == {"data.batch_size": 5, "trainer.enable_progress_bar": True}
    assert known["checkpoint"] == "best.ckpt"
    assert main(["reproduce", str(run)]) == 0
    again = read_note(run.with_name("mae-reproduced"))["evaluations"]["test"]
    assert again["changes"] == known["changes"]
    for place, word in (("checkpoint", "a checkpoint of another folder"), ("cohort", "another cohort than the fit")):
        changed = Path(shutil.copytree(run, run.with_name(place)))
        change = {"evaluations": {"test": {**known, place: None}}}
        edit(changed / "run.json", lambda note, change=change: note | change)
        commands.clear()
        assert main(["reproduce", str(changed)]) == 0
        assert commands == ["fit"]
        assert word in capsys.readouterr().err


@pytest.mark.long
def test_a_reproduction_that_was_cut_off_goes_on(
    run: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = again.run_command

    def cut_off(command: str, words: list[str]) -> None:
        if command == "test":
            raise KeyboardInterrupt
        here(command, words)

    monkeypatch.setattr(again, "run_command", cut_off)
    out = run.with_name("other")
    assert main(["reproduce", str(run), "--out", str(out)]) == 130
    monkeypatch.setattr(again, "run_command", here)
    assert main(["reproduce", str(run), "--out", str(out)]) == 0
    assert commands == ["fit", "test"]


def _note(change: dict[str, Any]) -> Callable[[Path], None]:
    return lambda run: edit(run / "run.json", lambda note: note | change)


def _with_a_remark(run: Path) -> None:
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "\n# mine\n")


REFUSED: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "no note": (lambda run: (run / "run.json").unlink(), [], "holds no run.json"),
    "unfinished": (_note({"state": "running"}), [], "not finished"),
    "no numbers": (lambda run: (run / "metrics.json").unlink(), [], "holds no metrics.json"),
    "no results": (_note({"kind": "experiment"}), [], "holds no results.json"),
    "a later version": (_note({"version": 2}), [], "use a later version"),
    "begun from a checkpoint": (_note({"calls": [{"from_step": 3}]}), [], "began from a checkpoint"),
    "changes on the way": (lambda run: (run / "resumed.json").write_text("[]"), [], "resumed.json"),
    "another config": (_with_a_remark, [], "is not that of the run"),
    "no config": (lambda run: (run / "config.yaml").unlink(), [], "is not that of the run"),
    "another cohort": (_note({"cohort": {"fingerprint": "0"}}), [], "holds another cohort"),
    "no cohort": (lambda run: None, ["--place", "data.root=/nowhere"], "no such folder; say where"),
    "a place that is none": (lambda run: None, ["--place", "model.lr=1"], "is no place that this run has"),
    "no place": (lambda run: None, ["--place", "data.root"], "write NAME=DIR"),
    "weights that are gone": (_note({"inputs": {"model.encoder_weights": "0"}}), [], "holds no encoder.safetensors"),
    "ways that are none": (
        _note({"computes": {"device": "cpu", "kernels": {"attention": "x"}}}),
        [],
        "computes names ways",
    ),
    "the run itself": (lambda run: None, ["--out", "."], "is the run itself"),
    "a folder of something else": (lambda run: None, ["--out", ".."], "no reproduction of this run"),
    "a tolerance that is none": (lambda run: None, ["--tolerance", "nan"], "must lie in"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_again_is_refused_in_a_line(
    name: str, run: Path, commands: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, words, message = REFUSED[name]
    spoil(run)
    monkeypatch.chdir(run)
    assert main(["reproduce", str(run), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert commands == []


@pytest.mark.long
def test_a_place_may_have_moved(run: Path, commands: list[str], cohort_root: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(cohort_root, tmp_path / "moved"))
    assert main(["reproduce", str(run), "--place", f"data.root={moved}"]) == 0
    used = yaml.safe_load((run.with_name("mae-reproduced") / "config.yaml").read_text())
    assert used["data"]["init_args"]["root"] == str(moved)


@pytest.mark.parametrize(
    ("before", "now", "distance"),
    [(1.0, 1.0, 0.0), (2.0, 1.0, 0.5), (None, None, 0.0), (None, 1.0, float("inf")), (0.0, 0.0, 0.0), (0.0, 1e-9, 1.0)],
)
def test_numbers_are_a_relative_distance_apart(before: float | None, now: float | None, distance: float) -> None:
    assert relative(before, now) == distance
    assert relative(now, before) == distance


def test_equal_bits_are_not_asked_for_where_sums_have_no_order_and_nothing_compared_is_no_success() -> None:
    near = [Compared("metrics: fit val/loss", 1.0, 1.01, 0.01)]
    cuda = {"calls": [{}], "computes": {"device": "cuda", "deterministic": False}}
    assert judge(near, cuda, cuda, 0.05).holds
    ordered = {"calls": [{}], "computes": {"device": "cuda", "deterministic": True}}
    assert not judge(near, ordered, ordered, 0.05).holds
    assert not judge([], cuda, cuda, 0.05).holds


def test_a_command_that_is_asked_to_computes_as_the_run_did(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = read_note(original)
    note["computes"]["kernels"] = {"convolution": True, "attention": "written", "channels_last": False}
    with computing_as(note, note["calls"][-1]):
        assert os.environ["OMP_NUM_THREADS"] == str(note["calls"][-1]["hardware"]["threads"])
        trainer = {"accelerator": "cpu"}
        assert _chosen(trainer).kernels.convolution is False  # only a child of the process that asks is meant
        monkeypatch.setattr(os, "getppid", os.getpid)
        chosen = _chosen(trainer)
    assert vars(chosen.kernels) == note["computes"]["kernels"]
    assert chosen.precision == "32-true"
    assert COMPUTES_AS not in os.environ


def test_an_evaluation_computes_as_it_did_and_not_as_the_fit(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = read_note(original)
    call = note["evaluations"]["test"]
    assert call["computes"] == note["computes"]  # whose precision its config gives
    call["computes"]["precision"] = "bf16-mixed"
    monkeypatch.setattr(os, "getppid", os.getpid)
    with computing_as(note, call):
        assert _chosen({"accelerator": "cpu"}).precision == "bf16-mixed"


def _chosen(trainer: dict[str, Any]) -> Choices:
    return choose_for_run(torch.nn.Linear(1, 1), trainer, training=True)
