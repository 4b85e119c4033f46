"""An experiment by its parts: the graph, how far each is, some alone, some anew, all side by side."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from tiny_experiment import change

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.experiments import cohorts, whole_run
from ecgcmr.experiments.node_states import NodeState, expected_seconds
from ecgcmr.experiments.plan import CohortPlan
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.plan_state import is_whole, plan_fingerprint
from ecgcmr.experiments.run_graph import GraphNode, dependents, run_graph
from ecgcmr.experiments.side_by_side import Part, SideBySide
from ecgcmr.experiments.stage_runs import write_marker
from ecgcmr.experiments.times import Times
from ecgcmr.locks import FolderLock

PARTS = ["cohort", "mae", "alignment", "mae+alignment", "phenotypes-scratch-20", "phenotypes-cnn-20", "table"]


def states_of(out: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    return {entry["part"]: entry["state"] for entry in json.loads(capsys.readouterr().out)}


def test_the_graph_names_what_is_trained_and_what_it_needs(finished: Path) -> None:
    plan = load_plan(finished / "trial.yaml")
    nodes = {node.name: node.needs for node in run_graph(plan)}
    assert list(nodes) == PARTS
    assert nodes["mae+alignment"] == ("cohort", "mae")
    assert nodes["phenotypes-cnn-20"] == ("mae",)  # whose shape random networks have
    assert nodes["table"] == tuple(PARTS[:-1])
    assert dependents(run_graph(plan), "mae") == [*PARTS[3:]]
    assert dependents(run_graph(plan), "alignment") == ["table"]


def test_status_and_dry_run_say_what_is_finished_and_change_nothing(
    copied: Path,
    cohort_root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = copied / "out"
    change(out / "experiment.yaml", lambda plan: plan["cohort"].update(root=str(cohort_root)))  # it was relative
    before = {path: path.stat().st_mtime_ns for path in sorted(copied.rglob("*"))}
    # The copy is another folder, but what its parts depend on is the same.
    assert set(states_of(out, capsys).values()) == {"finished"}
    shutil.rmtree(out / "stages" / "alignment")
    assert states_of(out, capsys)["alignment"] == "to run"
    words = ["stages.mae.set.model.mask_ratio=0.7", "--dry-run"]
    assert main(["experiment", str(copied / "trial.yaml"), "--out", str(out), *words]) == 0
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "to run again" in shown["mae"]
    assert " to run " in shown["mae+alignment"]
    after = {path: path.stat().st_mtime_ns for path in sorted(copied.rglob("*"))}
    assert after == {path: time for path, time in before.items() if path in after and path != out / "stages"} | {
        out / "stages": (out / "stages").stat().st_mtime_ns
    }


def test_a_folder_of_nothing_has_no_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert "holds no experiment.yaml" in capsys.readouterr().err


@pytest.mark.long
def test_parts_run_anew_with_all_that_builds_on_them(
    copied: Path,
    commands: list[tuple[str, str]],
    undrawn: None,
) -> None:
    command = ["experiment", str(copied / "trial.yaml"), "--out", str(copied / "out"), "--workers", "1"]
    assert main([*command, "--from", "mae+alignment"]) == 0
    assert commands == [("fit", "mae+alignment")]


@pytest.mark.long
def test_parts_run_alone_once_their_needs_are_finished(
    copied: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "new"
    command = ["experiment", str(copied / "trial.yaml"), "--out", str(out), "--jobs", "1"]
    assert main([*command, "--only", "phenotypes-cnn-20"]) == 2
    assert "it needs mae, not finished in this folder" in capsys.readouterr().err
    assert main([*command, "--only", "phenotypes-cnm-20"]) == 2
    assert "no such part; it has phenotypes-cnn-20" in capsys.readouterr().err
    assert main([*command, "--only", "table"]) == 2
    assert "made by the whole command" in capsys.readouterr().err
    assert main([*command, "--from", "cohort"]) == 2
    assert "the cohort is the same each time" in capsys.readouterr().err
    shutil.copytree(copied / "out" / "stages" / "mae", out / "stages" / "mae")
    shutil.rmtree(copied / "out")
    assert states_of(out, capsys)["phenotypes-cnn-20"] == "to run"
    assert main([*command, "--only", "phenotypes-cnn-20"]) == 0
    states = states_of(out, capsys)
    assert {name for name, state in states.items() if state == "finished"} == {"cohort", "mae", "phenotypes-cnn-20"}
    assert not (out / "results.json").exists()


def test_a_cohort_that_is_made_otherwise_makes_other_results(finished: Path) -> None:
    def fingerprint(**entries: int) -> str:
        cohort = CohortPlan(synthesize={"subjects": 40, "seed": 1, **entries})
        return plan_fingerprint(replace(load_plan(finished / "trial.yaml"), cohort=cohort))

    assert len({fingerprint(), fingerprint(seed=2), fingerprint(subjects=50)}) == 3
    assert fingerprint(workers=1) == fingerprint(workers=2)


@pytest.mark.long
def test_an_experiment_is_run_again_by_its_record(
    copied: Path, cohort_root: Path, commands: list[tuple[str, str]], undrawn: None
) -> None:
    out = copied / "out"
    change(out / "experiment.yaml", lambda plan: plan["cohort"].update(root=str(cohort_root)))  # it was relative
    command = ["experiment", str(out / "experiment.yaml"), "--out", str(out), "--workers", "1"]
    assert main([*command, "--from", "mae+alignment"]) == 0
    assert commands == [("fit", "mae+alignment")]
    assert json.loads((out / "experiment.json").read_text()) == {"file": "trial.yaml"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "mae", "--from", "mae"], "--only and --from: do not go together"),
        (["--dry-run", "--from", "mae"], "--dry-run and --from: do not go together"),
        (["--only", "mae", "evaluation.windows=1"], "write NAME=VALUE before --only"),
        (["--only", "mea"], "the experiment has no such part"),  # though all is finished
    ],
)
def test_no_word_about_parts_is_ignored(
    copied: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["experiment", str(copied / "trial.yaml"), "--out", str(copied / "out"), *words]) == 2
    assert message in capsys.readouterr().err


def test_parts_of_other_settings_wait_for_the_run_that_works_there(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied / "out"
    before = (out / "experiment.yaml").read_bytes()
    command = ["experiment", str(copied / "trial.yaml"), "evaluation.resamples=20", "--out", str(out)]
    with FolderLock(out, "experiment"):
        assert main([*command, "--only", "mae"]) == 2
    assert "is being written by a run of other settings" in capsys.readouterr().err
    assert (out / "experiment.yaml").read_bytes() == before
    assert (out / "results.json").is_file()


@pytest.mark.parametrize("more", [[], ["--only", "mae"]])
def test_settings_that_are_refused_leave_the_finished_results(
    copied: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    out = copied / "out"
    names = ("results.json", "experiment.yaml", "stage.json")
    before = {name: (out / name).read_bytes() for name in names}
    refused = "stages.mae.set.model.optimiser.lr=-1"
    assert main(["experiment", str(copied / "trial.yaml"), refused, "--out", str(out), *more]) == 2
    assert "lr" in capsys.readouterr().err
    assert {name: (out / name).read_bytes() for name in names} == before


def test_times_that_are_none_are_left_out(copied: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = copied / "out"
    change(out / "experiment.yaml", lambda plan: plan["cohort"].update(root=str(cohort_root)))  # it was relative
    huge = "9" * 400
    (out / "times.json").write_text(f'{{"mae": 1e308, "a": -5, "b": true, "c": {huge}, "alignment": 3}}')
    assert Times.load(out).seconds == {"alignment": 3.0}
    (out / "stage.json").write_text('{"fingerprint": "", "finished": false}')
    assert main(["status", str(out), "--jobs", str(10**12)]) == 0
    capsys.readouterr()


def test_times_of_two_processes_stand_side_by_side(tmp_path: Path) -> None:
    one, other = Times.load(tmp_path), Times.load(tmp_path)
    one.record("mae", 2.0)
    other.record("alignment", 3.0)
    assert Times.load(tmp_path).seconds == {"mae": 2.0, "alignment": 3.0}


@pytest.mark.long
@pytest.mark.slow
def test_side_by_side_gives_the_bytes_of_one_after_the_other(
    copied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undrawn: None,
) -> None:
    out = tmp_path / "two"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(["experiment", str(copied / "trial.yaml"), "--out", str(out), "--jobs", "2"]) == 0
    for name in ("results.json", "predictions.parquet", "stages/mae+alignment/encoder.safetensors"):
        assert (out / name).read_bytes() == (copied / "out" / name).read_bytes(), name
    assert set(Times.load(out).seconds) >= {*PARTS[1:], "features of classical", "features of random-s7"}
    assert (out / "logs" / "mae+alignment.log").is_file()


def parts_that_would_run(copied: Path, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """Return the parts of the trial experiment that are given to the scheduler, which runs none of them."""
    seen: list[Part] = []

    def caught(scheduler: SideBySide, parts: Sequence[Part]) -> None:
        seen.extend(parts)
        raise UserError("seen")

    monkeypatch.setattr(SideBySide, "run", caught)
    assert main(["experiment", str(copied / "trial.yaml"), "--out", str(copied / "new"), "--jobs", "2"]) == 2
    return seen


def test_what_nobody_has_timed_begins_with_the_longest_chain_and_the_most_labels(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(copied / "trial.yaml", lambda plan: plan["evaluation"].update(labels=[20, "all"], finetune_labels=[]))
    seen = parts_that_would_run(copied, monkeypatch)
    order = [part.name for part in sorted(seen, key=lambda part: -part.weight) if not part.name.startswith("features")]
    assert order[0] == "mae"  # whose shape all networks have
    most = [name for name in order if name.startswith("phenotypes-") and not name.endswith("-20")]
    assert len(most) == 2
    assert max(map(order.index, most)) < min(order.index(name) for name in order if name.endswith("-20"))


def test_images_that_teach_are_read_before_the_networks_that_wait_for_them_alone(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = {"teacher": "alignment", "taught": ["mae", "scratch"], "labels": [20, "all"], "taught_labels": [20]}
    change(copied / "trial.yaml", lambda plan: plan["evaluation"].update(taught, baselines=["features-boosting"]))
    seen = parts_that_would_run(copied, monkeypatch)
    weights = {part.name: part.weight for part in seen}
    waiting = [part for part in seen if "images of alignment" in part.needs]
    assert {part.name for part in waiting} == {"phenotypes-mae@taught-20", "phenotypes-scratch@taught-20"}
    assert weights["images of alignment"] > max(part.weight for part in waiting)
    boosting = [part for part in seen if part.name.startswith("boosting")]
    assert boosting
    assert weights["features of classical"] > max(part.weight for part in boosting)


def test_the_time_of_the_table_is_without_what_is_trained_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = MagicMock(out=tmp_path, fingerprint="x", trainings=MagicMock(spent={"mae": 9.0}))

    def predict() -> None:
        time.sleep(0.3)
        experiment.trainings.spent["phenotypes-mae-20"] = 0.3

    experiment.predict.side_effect = predict
    monkeypatch.setattr(whole_run, "write_results", lambda experiment: None)
    whole_run.finish(experiment)
    assert 0 <= Times.load(tmp_path).seconds["table"] < 0.2


def test_times_are_those_of_the_last_run_or_of_its_like(tmp_path: Path) -> None:
    times = Times.load(tmp_path)
    for name, seconds in (("mae", 9.04), ("p-mae-20", 2.0), ("p-cnn-20", 4.0), ("p-cnn-all", 8.0), ("mae", 7.0)):
        times.record(name, seconds)
    again = Times.load(tmp_path)
    assert again.expected("mae") == 7.0
    assert again.expected("p-scratch-20") == 3.0  # of the same task and number of labels
    assert again.expected("alignment") is None
    assert again.expected("p-mae@taught-20") is None  # trains on all rows that images teach, not on 20
    again.record("p-mae@taught-20", 6.0)
    assert again.expected("p-cnn@taught-200-s101") == 6.0
    assert again.expected("p-scratch-20-s101") == 3.0
    assert again.expected("p-scratch-20") == 3.0
    (tmp_path / "times.json").write_text('{"mae": "long", "x": [1]')
    assert Times.load(tmp_path).seconds == {}


def test_the_rest_is_as_long_as_its_longest_chain() -> None:
    def state(name: str, needs: tuple[str, ...], seconds: float | None, state: str = "to run") -> NodeState:
        return NodeState(GraphNode(name, needs), state, seconds)

    states = [
        state("cohort", (), 99.0, "finished"),
        state("a", ("cohort",), 10.0),
        state("b", ("cohort",), 4.0),
        state("c", ("b",), 3.0),
        state("d", ("a", "c"), None),
    ]
    assert expected_seconds(states, jobs=2) == 10.0
    assert expected_seconds(states, jobs=1) == 17.0
    assert expected_seconds(states[:1], jobs=2) == 0.0


def test_a_folder_that_was_moved_away_from_its_cohort_still_has_a_status(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied / "out"
    change(out / "experiment.yaml", lambda plan: plan["cohort"].update(root="../nowhere"))
    assert set(states_of(out, capsys).values()) == {"finished"}
    assert main(["status", str(out)]) == 0
    shown = capsys.readouterr()
    assert "all finished" in shown.out
    assert "not compared with the cohort" in shown.err
    assert "--root COHORT" in shown.err
    for folder, note in ((out, {"finished": False}), (out / "stages" / "mae+alignment", {"finished": False})):
        (folder / "stage.json").write_text(json.dumps({"fingerprint": "a", **note}))
    shutil.rmtree(out / "stages" / "alignment")
    states = states_of(out, capsys)
    assert {name: states[name] for name in PARTS[1:4]} == {
        "mae": "finished",
        "alignment": "to run",
        "mae+alignment": "begun",
    }
    assert states["table"] == "to run"


def test_raw_files_that_changed_make_a_finished_experiment_run_again(
    cohort_root: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, table, out = tmp_path / "raw", tmp_path / "labels.csv", tmp_path / "out"
    (raw / "below").mkdir(parents=True)
    (raw / "below" / "one.xml").write_text("first")
    table.write_text("eid\n1\n")
    prepare = {"ecg": str(raw), "table": str(table)}
    plan = replace(load_plan(finished / "trial.yaml"), cohort=CohortPlan(prepare=prepare))

    def prepared(name: str, command: object, words: list[str]) -> int:
        shutil.copytree(cohort_root, out / "cohort", dirs_exist_ok=True)
        return 0

    def finish() -> None:
        cohorts.resolve_cohorts(plan, out)
        for name in ("results.json", "results.md"):
            (out / name).write_text("[]")
        write_marker(out, plan_fingerprint(plan), finished=True)

    monkeypatch.setattr(cohorts, "run_command", prepared)
    finish()
    assert is_whole(plan, out)
    for change_it in (
        lambda: (raw / "below" / "one.xml").write_text("another"),
        lambda: (raw / "two.xml").write_text("new"),
        lambda: table.write_text("eid\n1\n2\n"),
        lambda: (raw / "two.xml").unlink(),
        lambda: (out / "cohort" / "raw_files.json").write_text("of an earlier version"),
    ):
        change_it()
        assert not is_whole(plan, out)
        finish()
        assert is_whole(plan, out)
    shutil.rmtree(raw)  # what is finished stays so without its raw files
    assert is_whole(plan, out)


def test_raw_files_that_change_while_they_are_prepared_are_noticed(
    cohort_root: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    plan = replace(load_plan(finished / "trial.yaml"), cohort=CohortPlan(prepare={"ecg": str(raw)}))

    def prepared(name: str, command: object, words: list[str]) -> int:
        (raw / "late.xml").write_text("after the search")
        shutil.copytree(cohort_root, out / "cohort")
        return 0

    monkeypatch.setattr(cohorts, "run_command", prepared)
    cohorts.resolve_cohorts(plan, out)
    assert cohorts.is_prepared_from_others(plan, out)
