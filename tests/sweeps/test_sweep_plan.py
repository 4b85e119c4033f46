"""The sweep file: what it may say, what its settings are drawn from, and what is refused in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_configs import write_mae

from ecgcmr.errors import UserError
from ecgcmr.sweeps.outcome import best_of, line_about, nested
from ecgcmr.sweeps.plan import read_plan
from ecgcmr.sweeps.space import choices_of, value_of

CONFIGS = Path(__file__).parents[2] / "configs"
SPACE = {"model.optimiser.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "model.mask_ratio": {"choices": [0.5, 0.75]}}


def write(folder: Path, **changes: Any) -> Path:
    """Write a sweep file; None takes an entry out."""
    write_mae(folder, folder / "cohort")
    content = {"config": "mae.yaml", "trials": 4, "space": SPACE, **changes}
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    return path


def test_the_files_that_come_with_the_program_are_sound() -> None:
    files = sorted((CONFIGS / "sweeps").glob("*.yaml"))
    assert files
    for file in files:
        assert read_plan(file).config_file.is_file()


def test_a_plan_is_read_with_the_settings_of_the_command_line(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, set={"trainer.max_epochs": 9}), ["trainer.max_epochs=2", "data.root=x"], 7)
    assert (plan.trials, plan.set) == (7, {"trainer.max_epochs": 2, "data.root": "x"})
    assert plan.config_file == (tmp_path / "mae.yaml").resolve()
    assert "trials" not in plan.content()


def test_pieces_start_beside_the_file_and_those_of_the_command_line_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a piece holds is a part of what the sweep is recognised by."""
    for place in ("beside", "elsewhere"):
        (tmp_path / place).mkdir()
        piece = {"class_path": "ecgcmr.encoders.ECGCNN", "init_args": {"widths": [len(place)]}}
        (tmp_path / place / "cnn.yaml").write_text(yaml.safe_dump(piece))
    monkeypatch.chdir(tmp_path / "elsewhere")
    space = {
        "model.encoder": {"choices": ["cnn.yaml", "encoders/ecg_cnn"]},
        "model.mask_ratio": {"low": 0.1, "high": 0.5},
    }
    file = write(tmp_path / "beside", space=space, set={"model.other": "cnn.yaml"})
    plan = read_plan(file, ["model.third=cnn.yaml"])
    drawn = plan.choices["model.encoder"]
    first, second = (value_of(drawn, text) for text in drawn.listed())
    assert first["init_args"] == plan.set["model.other"]["init_args"] == {"widths": [6]}
    assert plan.set["model.third"]["init_args"] == {"widths": [9]}
    assert second["class_path"] == "ecgcmr.encoders.ECGCNN"
    assert "cnn.yaml" not in str(plan.content()["space"])
    with pytest.raises(UserError, match=r"space\.model\.encoder: there is no file nothing\.yaml"):
        read_plan(write(tmp_path / "beside", space={"model.encoder": {"choices": ["nothing.yaml"]}}))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown entry": ({"trails": 3}, "did you mean 'trials'"),
    "no config": ({"config": None}, "missing config"),
    "a config that is not there": ({"config": "none.yaml"}, "none.yaml"),
    "a shipped one by a path": ({"config": "../mae/demo.yaml"}, "the one that comes with ecgcmr is named mae/demo"),
    "no trials": ({"trials": 0}, "trials is 0"),
    "no space": ({"space": {}}, "names no setting"),
    "an unknown sampler": ({"sampler": "cma"}, "choose one of tpe, random, grid"),
    "an unknown pruner": ({"pruner": "x"}, "choose one of median, halving, none"),
    "what is learned from": ({"space": {"data.labels": {"choices": [["age"]]}}}, "candidates share"),
    "what judges": ({"space": {"model.monitor": {"choices": ["a"]}}}, "candidates share"),
    "another room": ({"space": {"budget.most": {"low": 1, "high": 9}}}, "budget.most"),
    "the callbacks": ({"set": {"trainer.callbacks": []}}, "is the sweep's"),
    "a setting twice": ({"set": {"model.mask_ratio": 0.5}}, "take it out of one"),
    "a range without a step in a grid": ({"sampler": "grid"}, "has no end of values"),
    "a search in a sweep": ({"set": {"search": [{"name": "a", "set": {}}]}}, "add search: null"),
    "settings that are no mapping": ({"set": [1]}, "expected a mapping"),
    "an odd range": ({"space": {"model.mask_ratio": {"low": 0.5}}}, "give it low and high"),
    "a range upside down": ({"space": {"model.mask_ratio": {"low": 1, "high": 0}}}, "low must be below high"),
    "a logarithm of nothing": ({"space": {"model.x": {"low": 0, "high": 1, "log": True}}}, "low above 0"),
    "a text for a number": ({"space": {"model.x": {"low": "1e-4", "high": 1}}}, "write 1.0e-4"),
    "no values": ({"space": {"model.x": {"choices": []}}}, "a list of 1 to"),
    "equal values": ({"space": {"model.x": {"choices": [1, 1]}}}, "a value twice"),
    "more than values": ({"space": {"model.x": {"choices": [1], "low": 3}}}, "stand alone"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_by_file_and_entry(name: str, tmp_path: Path) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(UserError) as refused:
        read_plan(write(tmp_path, **changes))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_values_of_any_kind_are_drawn_as_they_stand() -> None:
    space = {
        "a": {"choices": [[1, 2], {"x": None}, "text", 0.5]},
        "b": {"low": 1, "high": 4},
        "c": {"low": 0.5, "high": 0.75, "step": 0.25},
        "d": {"low": 1.0, "high": 2.0},
    }
    choices = choices_of(space)
    assert [value_of(choices["a"], text) for text in choices["a"].listed()] == space["a"]["choices"]
    assert (choices["b"].listed(), choices["c"].listed()) == ([1, 2, 3, 4], [0.5, 0.75])
    assert [choice.is_whole for choice in choices.values()] == [False, True, False, False]
    assert [choice.is_finite for choice in choices.values()] == [True, True, True, False]


def test_the_best_is_of_trials_that_ended_and_lies_over_its_config() -> None:
    rows = [
        {"number": 0, "state": "complete", "value": 0.5, "reason": None, "set": {}},
        {"number": 1, "state": "pruned", "value": 0.1, "reason": "after 1 validations", "set": {"model.x": 1.0}},
        {"number": 2, "state": "fail", "value": None, "reason": "a loss", "set": {}},
        {"number": 3, "state": "complete", "value": 0.9, "reason": None, "set": {}},
    ]
    lowest, highest = best_of(rows, "min"), best_of(rows, "max")
    assert lowest is not None
    assert highest is not None
    assert (lowest["number"], highest["number"], best_of(rows[1:3], "min")) == (0, 3, None)
    assert line_about(rows[1], "val/loss") == "trial 1 (model.x 1): val/loss 0.1, given up after 1 validations"
    assert line_about(rows[2], "val/loss") == "trial 2 (): no number, failed: a loss"
    config = {"model": {"class_path": "A", "init_args": {"encoder": {"class_path": "B", "init_args": {"depth": 1}}}}}
    assert nested({"model.encoder.depth": 2, "model.optimiser.lr": 0.1, "trainer.max_epochs": 3}, config) == {
        "model": {"init_args": {"encoder": {"init_args": {"depth": 2}}, "optimiser": {"lr": 0.1}}},
        "trainer": {"max_epochs": 3},
    }
