"""Final weights: averaged, chosen between start and best, resumed bit for bit, and never below the start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import warm_runs
import yaml
from labelled_cohort import write_cohort, write_stage
from safetensors.torch import load_file

from ecgcmr.cli import main
from ecgcmr.json_file import read_json
from ecgcmr.training import share_choice, tuning_record
from ecgcmr.training.share_choice import CHOSEN, START, Judged, chosen, interpolated
from ecgcmr.training.weight_average import TRAINED, AveragedWeights, decay_for

SHARES = [0.0, 0.5, 1.0]
EPOCHS = {"trainer": {"max_epochs": 3}}
BUDGET = {"trainer": {}, "budget": {"most": 15, "interval": 3}}
"""15 steps; the last validation of a budget is within an epoch."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("final") / "cohort")


def write_fit(folder: Path, root: Path, **model: Any) -> Path:
    """Write ``stage.yaml``: 15 steps of a regression that starts at its probe, averaged, with a choice at the end."""
    config = write_stage(folder, root, "PhenotypeRegression", labels=["lv_edv", "lv_ef"])
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"] |= {"head_start": "probe", "optimiser": {"lr": 0.003, "weight_decay": 0.1}} | model
    content["final_weights"] = {"average": 0.8, "shares": SHARES}  # auto reaches back over less than a step of 15
    content["trainer"] |= {
        "max_epochs": 3,
        "deterministic": True,
        "callbacks": [
            {"class_path": "killed_runs.Recorder"},
            {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 1}},
        ],
    }
    config.write_text(yaml.safe_dump(content))
    return config


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def assert_same_end(one: Path, other: Path) -> None:
    """Check that two runs have come to the same end, bit for bit."""
    for name in ("best.ckpt", "last.ckpt"):
        first, second = load(one / name), load(other / name)
        for part in ("state_dict", TRAINED, START):
            assert first.get(part, {}).keys() == second.get(part, {}).keys()
            kept = first.get(part, {})
            assert [key for key in kept if not torch.equal(kept[key], second[part][key])] == []
    assert load(one / "best.ckpt")[CHOSEN] == load(other / "best.ckpt")[CHOSEN]
    assert tuning_record.read(one) == tuning_record.read(other)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_and_resumed_with_an_average_equals_the_uninterrupted_fit(
    tmp_path: Path, root: Path, ranks: int
) -> None:
    config = write_fit(tmp_path, root)

    def plan(name: str, kill_at: int = -1, resume: bool = False) -> dict[str, Any]:
        words = warm_runs.fit_arguments(config, name, 4, ranks, resume)
        return warm_runs.plan(words, ranks=ranks, kill_at=kill_at, record=str(tmp_path / name))

    plans = [plan("whole"), plan("cut", 4), plan("cut", 12, resume=True), plan("cut", resume=True)]
    output = warm_runs.run(plans, tmp_path / "log")

    assert output.count("the head starts at the ridge probe") == 2
    assert_same_end(tmp_path / "whole", tmp_path / "cut")
    last = load(tmp_path / "whole" / "last.ckpt")
    differing = [name for name, value in last[TRAINED].items() if not torch.equal(value, last["state_dict"][name])]
    assert "head.weight" in differing


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the recorder of killed runs asks for, where nothing is killed."""
    monkeypatch.setenv("KILLED_RUNS_KILL_AT", "-1")
    monkeypatch.setenv("KILLED_RUNS_RECORD", str(tmp_path / "record"))


@pytest.mark.usefixtures("here", "interrupt_restored")
@pytest.mark.parametrize(
    ("trained", "average", "length"),
    [
        pytest.param("all", 0.8, EPOCHS, marks=pytest.mark.long),
        pytest.param("low_rank:2", 0.8, BUDGET, marks=pytest.mark.long),
        pytest.param("low_rank:2", None, BUDGET, marks=pytest.mark.long),
    ],
)
def test_a_fit_cut_off_in_the_choice_goes_on_and_ends_alike(
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    trained: str,
    average: float | None,
    length: dict[str, Any],
) -> None:
    config = write_fit(tmp_path, root, trained=trained)
    content = yaml.safe_load(config.read_text())
    del content["trainer"]["max_epochs"]
    content["final_weights"]["average"] = average
    config.write_text(yaml.safe_dump(content | length | {"trainer": content["trainer"] | length["trainer"]}))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(["fit", "-c", str(config), f"--trainer.default_root_dir={whole}"]) == 0
    words = ["fit", "-c", str(config), f"--trainer.default_root_dir={cut}"]
    calls: list[int] = []

    def cut_off(trainer: Any) -> dict[str, float]:
        calls.append(trainer.global_step)
        if len(calls) == 3:  # the first is that at step 0
            raise KeyboardInterrupt
        return validate(trainer)

    validate = share_choice.validate_quietly
    monkeypatch.setattr(share_choice, "validate_quietly", cut_off)
    capfd.readouterr()
    assert main(words) == 130
    assert "--ckpt_path last" in capfd.readouterr().err
    assert calls == [0, 15, 15]
    assert CHOSEN not in load(cut / "best.ckpt")
    assert not (cut / "encoder.safetensors").exists()

    monkeypatch.setattr(share_choice, "validate_quietly", validate)
    assert main([*words, "--ckpt_path", "last"]) == 0
    assert_same_end(whole, cut)

    # Cut off after best.ckpt had been replaced: nothing is interpolated twice.
    (cut / "tuning.json").unlink()
    assert main([*words, "--ckpt_path", "last"]) == 0
    assert tuning_record.read(cut)["final_weights"] == tuning_record.read(whole)["final_weights"]
    first, second = load(whole / "best.ckpt")["state_dict"], load(cut / "best.ckpt")["state_dict"]
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.usefixtures("here")
def test_the_result_is_at_least_the_start_on_validation_and_is_handed_on(tmp_path: Path, root: Path) -> None:
    config = write_fit(tmp_path, root)
    words = ["-c", str(config)]
    # At a rate that ruins the network, so that staying at the start is the best that can be done.
    rate = ["--model.optimiser.lr=10", "--model.optimiser.weight_decay=0"]
    assert main(["fit", *words, *rate, "--final_weights.average=null"]) == 0
    folder = tmp_path / "stage"
    tuning = tuning_record.read(folder)
    final, start = tuning["final_weights"], tuning["start"]["scores"]
    scores = {entry["share"]: entry["score"] for entry in final["scores"]}
    assert list(scores) == SHARES
    assert not final["averaged"]
    assert scores[0.0] == start["val/loss"]
    assert scores[1.0] > scores[0.0]
    assert final["share"] == 0.0
    assert scores[final["share"]] == min(scores.values())

    best = load(folder / "best.ckpt")
    assert all(torch.equal(best["state_dict"][name], value) for name, value in best[START].items())
    assert not torch.equal(best["state_dict"]["head.weight"], best[TRAINED]["head.weight"])
    exported = load_file(folder / "encoder.safetensors")
    assert all(torch.equal(value, best["state_dict"][f"encoder.{name}"]) for name, value in exported.items())
    assert main(["validate", *words, *rate]) == 0
    assert read_json(folder / "metrics.json")["validate"]["val/loss"] == pytest.approx(start["val/loss"], rel=1e-6)


def judged(*scores: float, noise: float = 0.0) -> list[Judged]:
    """Return what validation may say of the shares; the noise of each is another's, and its mean is the score."""
    signs = [[1, -1] * 10, [1, 1, -1, -1] * 5, [1] * 5 + [-1] * 10 + [1] * 5]
    return [
        Judged(share, score, [score + noise * sign for sign in own])
        for share, score, own in zip(SHARES, scores, signs, strict=False)
    ]


def test_shares_are_chosen_by_score_the_smaller_of_equals() -> None:
    nan = float("nan")
    assert chosen(judged(0.1, 0.3, 0.2), "max", 0.0) == 0.5
    assert chosen(judged(0.1, 0.3, 0.2), "min", 0.0) == 0.0
    assert chosen(judged(0.3, 0.2, 0.3), "max", 0.0) == 0.0
    assert chosen(judged(nan, 0.2, nan), "max", 0.0) == 0.5
    assert chosen(judged(nan, nan, nan), "min", 0.0) == 1.0
    assert chosen(judged(0.1), "max", 0.0) == 0.0


def test_a_share_is_taken_only_where_it_is_better_with_certainty() -> None:
    # Differences of 20 blocks of -2, 0 and 2 times 0.001: a standard error of 0.0062.
    assert chosen(judged(0.30, 0.29, 0.28, noise=0.001), "min", 2.0) == 0.5  # 0.28 is sure of 0.30, not of 0.29
    assert chosen(judged(0.30, 0.29, 0.28, noise=0.001), "min", 1.0) == 1.0
    assert chosen(judged(0.30, 0.29, 0.28, noise=0.01), "min", 2.0) == 0.0
    assert chosen(judged(0.30, 0.29, 0.20, noise=0.001), "min", 2.0) == 1.0
    assert chosen(judged(0.70, 0.71, 0.60, noise=0.001), "max", 2.0) == 0.0
    # Without blocks, and where one of them is not defined, nothing is known of the noise.
    assert chosen([Judged(0.0, 0.3, []), Judged(1.0, 0.29, [])], "min", 2.0) == 1.0
    nan = float("nan")
    assert chosen([Judged(0.0, 0.3, [0.3, nan]), Judged(1.0, 0.29, [0.29, 0.2])], "min", 2.0) == 1.0


def test_interpolation_is_exact_at_its_ends_and_keeps_what_is_not_a_number() -> None:
    start = {"w": torch.tensor([1.0, 0.1, torch.inf]), "running_var": torch.tensor([0.5])}
    end = {"w": torch.tensor([2.0, 0.7, torch.inf]), "running_var": torch.tensor([1.5]), "batches": torch.tensor(7)}
    assert all(torch.equal(interpolated(start, end, 0.0)[name], start[name]) for name in start)
    assert all(torch.equal(interpolated(start, end, 1.0)[name], end[name]) for name in start)
    half = interpolated(start, end, 0.5)
    assert half.keys() == start.keys()
    torch.testing.assert_close(half["w"], torch.tensor([1.5, 0.4, torch.inf]))
    torch.testing.assert_close(half["running_var"], torch.tensor([1.0]))


def test_the_average_follows_trained_weights_and_statistics_and_is_lent_to_validation() -> None:
    module: Any = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1), torch.nn.Linear(1, 1))
    module[2].requires_grad_(False)
    trainer = SimpleNamespace(global_step=0, world_size=1, sanity_checking=False)
    average = AveragedWeights(decay=0.5)
    module[0].weight.data.fill_(1.0)
    average.on_train_start(trainer, module)
    expected, statistic = 1.0, 0.0
    for step, value in enumerate((3.0, 5.0, -2.0), start=1):
        module[0].weight.data.fill_(value)
        module[1].running_mean.fill_(value)
        average.on_train_batch_end(trainer, module, None, None, 0)  # a batch that is accumulated: no step
        trainer.global_step = step
        average.on_train_batch_end(trainer, module, None, None, 0)
        decay = min(0.5, (1 + step) / (10 + step))
        expected, statistic = (decay * each + (1 - decay) * value for each in (expected, statistic))
    average.on_validation_start(trainer, module)
    assert module[0].weight.item() == pytest.approx(expected, rel=1e-5)
    assert module[1].running_mean.item() == pytest.approx(statistic, rel=1e-5)
    average.on_validation_end(trainer, module)
    assert module[0].weight.item() == -2.0
    checkpoint = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(trainer, module, checkpoint)
    assert checkpoint["state_dict"]["0.weight"].item() == pytest.approx(expected, rel=1e-5)
    assert checkpoint[TRAINED]["0.weight"].item() == -2.0
    assert "2.weight" not in checkpoint[TRAINED]
    assert decay_for(400) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('{"average": 1.5}', "final_weights.average is 1.5; it must lie in [0, 1)"),
        ('{"shares": [0, 2]}', "final_weights.shares holds 2; each must lie in [0, 1]"),
        ('{"certainty": -1}', "final_weights.certainty is -1; give standard errors, 0 or more"),
    ],
)
def test_final_weights_out_of_range_are_refused_in_one_line(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str
) -> None:
    config = write_stage(tmp_path, root, "PhenotypeRegression", labels=["lv_edv"])
    assert main(["fit", "-c", str(config), "--final_weights", setting]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message in line
