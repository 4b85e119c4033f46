"""A matrix of experiments: its cells, what is refused, pooled results, and work taken over from another cell."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_experiment import LITTLE, change, write_experiment

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.experiments import matrix_run
from ecgcmr.experiments.borrowing import borrow
from ecgcmr.experiments.matrix_plan import is_seed, read_matrix
from ecgcmr.experiments.matrix_table import pooled_rows, write_table
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.stage_runs import is_finished, write_marker

AXES: dict[str, Any] = {
    "mask": {"much": {}, "half": {"stages.mae.set.model.mask_ratio": 0.5}},
    "size": {"small": {"stages.mae+alignment.set.model.projection_size": 4}, "as_is": None},
    "seed": [0, 3],
}


@pytest.fixture
def file(tmp_path: Path, cohort_root: Path) -> Path:
    path = write_experiment(tmp_path / "trial", cohort_root)
    change(path, lambda content: content.update(matrix=AXES))
    return path


def test_every_combination_is_a_cell(file: Path) -> None:
    cells = read_matrix(file)
    assert [cell.name for cell in cells][:3] == ["much-small-seed0", "much-small-seed3", "much-as_is-seed0"]
    assert len(cells) == 8
    by_name = {cell.name: cell for cell in cells}
    assert by_name["half-as_is-seed3"].choices == {"mask": "half", "size": "as_is", "seed": "seed3"}
    plan = by_name["half-small-seed3"].plan
    assert plan.seed == 3
    assert plan.stages["mae"].set["model.mask_ratio"] == 0.5
    assert plan.stages["mae+alignment"].set["model.projection_size"] == 4
    assert "model.mask_ratio" not in by_name["much-small-seed0"].plan.stages["mae"].set


def test_a_command_line_reaches_every_cell_and_the_matrix(file: Path) -> None:
    cells = read_matrix(file, overrides=["matrix.seed=[5]", "evaluation.windows=2"])
    assert {cell.plan.seed for cell in cells} == {5}
    assert {cell.plan.evaluation.windows for cell in cells} == {2}


def test_a_file_without_a_matrix_has_no_cells(tmp_path: Path, cohort_root: Path) -> None:
    path = write_experiment(tmp_path / "trial", cohort_root)
    assert read_matrix(path) == []
    change(path, lambda content: content.update(matrix=AXES))
    assert read_matrix(path, overrides=["matrix=null"]) == []  # null takes it out
    assert load_plan(path, overrides=["matrix=null"]).seed == 0


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([], "matrix: expected a mapping of axes"),
        ({"seed": []}, "matrix.seed: expected a list of values, or choices"),
        ({"seed": [[1]]}, "matrix.seed: a list holds numbers or words"),
        ({"seed": {"../up": {}}}, r"matrix.seed: '\.\./up' becomes a part of a folder's name"),
        ({"a": {"x": {"seed": 1}}, "b": {"y": {"seed": 2}}}, "matrix cell x-y: seed is changed by two axes"),
        ({"a": {"x": {}}, "b": {"x": {}}}, "matrix: x is a choice of two axes"),
        ({"a": {"x": {"stages.mea.set.lr": 1}}}, "there is no 'mea'; did you mean 'mae'"),
        ({"a": {"x": {"sed": 1}}}, "matrix cell x: unknown entry 'sed'; did you mean 'seed'"),
        ({"seed": list(range(1001))}, "matrix has 1,001 cells"),
        ({"seed": [1, 1]}, "matrix.seed: holds a value twice"),
        ({"seed": [1, "1"]}, "matrix.seed: holds a value twice"),
        ({"a": {"x": 3}}, "matrix.a.x: expected entries that it changes, found int"),
    ],
)
def test_a_matrix_that_says_nothing_sound_is_refused(file: Path, axes: Any, words: str) -> None:
    change(file, lambda content: content.update(matrix=axes))
    with pytest.raises(UserError, match=words):
        read_matrix(file)


def test_axes_of_seeds_are_repetitions() -> None:
    assert [is_seed(axis) for axis in ("seed", "evaluation.seeds", "cohort_seed", "encoder", "seedling")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def write_results(folder: Path, value: float | None) -> None:
    row = {
        "target": "mean", "group": "all", "task": "regression", "task_name": "phenotypes", "method": "mae",
        "protocol": "linear_probe", "labels": 20, "metric": "r2", "value": value,
    }  # fmt: skip
    folder.mkdir(parents=True)
    others = [{**row, "group": "LV"}, {**row, "metric": "mae"}, {**row, "target": "lv_edv"}]
    (folder / "results.json").write_text(json.dumps([row, *others]))


def test_results_are_pooled_over_seeds_alone(file: Path, tmp_path: Path) -> None:
    cells = [cell for cell in read_matrix(file) if cell.choices["size"] == "small"]
    for cell, value in zip(cells, (0.25, 0.75, 0.5, None), strict=True):
        write_results(tmp_path / "out" / "cells" / cell.name, value)
    rows = pooled_rows(tmp_path / "out", cells)
    assert [(row["choices"], row["cells"], row["value"], row["sd"]) for row in rows] == [
        ({"mask": "much", "size": "small"}, 2, 0.5, 0.353553),
        ({"mask": "half", "size": "small"}, 1, 0.5, None),
    ]
    text = write_table(tmp_path / "out", cells, 8).read_text()
    assert "| much | small | mae, linear probe | 0.500 (0.354) |" in text
    assert "| half | small | mae, linear probe | 0.500, 1 of 2 |" in text  # a seed without a score is no seed less
    assert "**4 of them are not finished" in text


def test_a_folder_is_borrowed_by_its_fingerprint_alone(tmp_path: Path) -> None:
    lender, folder = tmp_path / "a" / "stages" / "mae", tmp_path / "b" / "stages" / "other"
    (lender / "inner").mkdir(parents=True)
    (lender / "best.ckpt").write_bytes(b"weights")
    (lender / "inner" / "events").write_bytes(b"losses")
    (lender / "config.yaml").write_text(f"root: {lender}\n")
    write_marker(lender, "f" * 64, finished=False)
    lenders = [tmp_path / "missing", tmp_path / "a" / "stages"]
    assert not borrow(folder, "f" * 64, lenders)  # it is not finished
    write_marker(lender, "f" * 64, finished=True)
    assert not borrow(folder, "e" * 64, lenders)
    assert borrow(folder, "f" * 64, lenders)
    assert is_finished(folder, "f" * 64)
    assert (folder / "config.yaml").read_text() == f"root: {folder}\n"
    assert (folder / "inner" / "events").read_bytes() == b"losses"
    (lender / "best.ckpt").unlink()  # the lender goes its own way
    assert (folder / "best.ckpt").read_bytes() == b"weights"


def test_nothing_is_borrowed_of_a_run_that_begins_anew_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lender, folder = tmp_path / "a" / "stages" / "mae", tmp_path / "b" / "stages" / "mae"
    lender.mkdir(parents=True)
    (lender / "best.ckpt").write_bytes(b"weights")
    write_marker(lender, "f" * 64, finished=True)
    link = os.link

    def link_and_begin_anew(*paths: Path) -> None:
        link(*paths)
        write_marker(lender, "e" * 64, finished=False)

    monkeypatch.setattr(os, "link", link_and_begin_anew)
    assert not borrow(folder, "f" * 64, [lender.parent])
    assert not is_finished(folder, "f" * 64)
    assert not (folder / "best.ckpt").exists()


def test_the_settings_of_a_borrowed_run_name_its_new_folder_whatever_its_path(tmp_path: Path) -> None:
    long = tmp_path / ("a long path of many words, " * 3 + "é: 'and' \"more\"")
    lender, folder = long / "a" / "stages" / "mae", long / "b" / "stages" / "mae"
    lender.mkdir(parents=True)
    settings = {"trainer": {"default_root_dir": str(lender), "callbacks": [{"dirpath": f"{lender}/x"}]}}
    settings |= {"data": {"root": f"{lender}+alignment"}}
    (lender / "config.yaml").write_text("# lightning\n" + yaml.safe_dump(settings, sort_keys=False))
    write_marker(lender, "f" * 64, finished=True)
    assert borrow(folder, "f" * 64, [lender.parent])
    text = (folder / "config.yaml").read_text()
    assert text.startswith("# lightning\n")
    assert yaml.safe_load(text) == {
        "trainer": {"default_root_dir": str(folder), "callbacks": [{"dirpath": f"{folder}/x"}]},
        "data": {"root": f"{lender}+alignment"},
    }


@pytest.mark.long
def test_a_matrix_runs_to_its_table_and_trains_equal_stages_once(
    file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def little(content: dict[str, Any]) -> None:
        content["stages"] = {"mae": content["stages"]["mae"]}
        content["evaluation"].update(LITTLE, linear_probe=["mae"])
        content["evaluation"]["tasks"].pop("diseases")
        content["evaluation"]["tasks"]["phenotypes"] = {"task": "regression", "targets": ["lv_edv"]}
        content["matrix"] = {"probe": {"few": {}, "more": {"evaluation.labels": [30]}}, "seed": [0, 3]}

    change(file, little)
    out = tmp_path / "out"
    command = ["experiment", str(file), "--out", str(out)]
    assert main([*command, "--jobs", "1"]) == 0
    shown = capfd.readouterr().out
    assert [line for line in shown.splitlines() if line.endswith("mae: begins")] == [
        "few-seed0/mae: begins", "few-seed3/mae: begins", "few-seed0/features of mae: begins",
        "few-seed3/features of mae: begins",
    ]  # fmt: skip
    few, more = (out / "cells" / name / "stages" / "mae" for name in ("few-seed0", "more-seed0"))
    assert (few / "best.ckpt").samefile(more / "best.ckpt")
    assert str(more) in (more / "config.yaml").read_text()
    rows = json.loads((out / "matrix.json").read_text())
    assert {(row["choices"]["probe"], row["method"], row["labels"], row["cells"]) for row in rows} == {
        ("few", "mae", 20, 2), ("few", "age+sex", 20, 2), ("more", "mae", 30, 2), ("more", "age+sex", 30, 2),
    }  # fmt: skip
    assert main([*command, "--dry-run"]) == 0
    assert "0 parts left in 4 cells" in capfd.readouterr().out
    assert main([*command, "--only", "few-seed9"]) == 2
    assert "the matrix has no such cell; it has few-seed0, few-seed3" in capfd.readouterr().err
    # A table never mixes results of the file as it is with those of the file as it was.
    changed = [*command[:2], "stages.mae.set.model.mask_ratio=0.6", *command[2:], "--jobs", "1"]
    assert main([*changed, "--only", "few-seed0"]) == 0
    rows = json.loads((out / "matrix.json").read_text())
    assert {(row["choices"]["probe"], row["cells"]) for row in rows} == {("few", 1)}
    assert "**3 of them are not finished" in (out / "matrix.md").read_text()
    shutil.rmtree(out / "cells" / "more-seed3")
    capfd.readouterr()
    assert main(["status", str(out)]) == 0
    assert "more-seed3: not begun" in capfd.readouterr().out
    assert yaml.safe_load((out / "cells.json").read_text())[0]["cell"] == "few-seed0"


@pytest.mark.parametrize("record", ["{}", "[1]", '[{"cell": "../../elsewhere"}]', "[{}]", "[{"])
def test_a_damaged_record_of_cells_is_refused_in_a_line(
    record: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cells.json").write_text(record)
    assert main(["status", str(tmp_path)]) == 2
    assert "cells.json" in capsys.readouterr().err


def test_cohorts_that_cells_have_for_themselves_are_made_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[tuple[str, list[str]]]()
    monkeypatch.setattr(
        matrix_run, "run_parts", lambda experiment, file, names, **_: made.append((experiment.out.name, names))
    )
    path = write_experiment(tmp_path / "trial", tmp_path)
    axis = {str(seed): {"cohort": {"synthesize": {"subjects": 24, "seed": seed}}} for seed in (0, 1)}
    change(path, lambda content: content.update(cohort=None, matrix={"from": axis}))
    out = tmp_path / "out"
    assert main(["experiment", str(path), "--only", "cohort", "--out", str(out)]) == 0
    assert made == [("0", ["cohort"]), ("1", ["cohort"])]
