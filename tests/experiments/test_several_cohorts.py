"""An experiment of several cohorts: pre-trained on one, judged on another, each named, checked and kept apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from labelled_cohort import write_stage
from made_once import made_once
from numbered_cohort import AF, ECG, EDV, NORM, write
from rich.console import Console
from tiny_experiment import change

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.experiments.ahead import parts_of
from ecgcmr.experiments.cohort_checks import check_preparations, leak_notes
from ecgcmr.experiments.cohort_plan import judging_cohorts
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.config_checks import read_settings
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.experiments.export_choices import Choices, recorded_plan, tasks_of
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.requests import BoostingRequest, FeaturesRequest
from ecgcmr.experiments.times import Times
from ecgcmr.provenance.run_note import read_note
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.contents import cohort_fingerprint

SPLITS = ("train",) * 20 + ("val",) * 6 + ("test",) * 6
SHORT = replace(ECG, samples=100)


def write_cohorts(folder: Path) -> None:
    """Write two cohorts of other people with other labels, prepared alike."""
    write(folder / "clinic", range(32), SPLITS, (EDV, AF), ecg=SHORT)
    write(folder / "biobank", range(100, 132), SPLITS, (NORM,), ecg=SHORT)


def write_experiment(folder: Path) -> Path:
    """Write an experiment that pre-trains on the clinic and is judged on both."""
    write_cohorts(folder)
    write_stage(folder, folder / "clinic", "ECGMaskedAutoencoder", "mae", data="ECGDataModule")
    write_stage(folder, folder / "biobank", "DiagnosisClassification", "head", labels=["norm"])
    content: dict[str, Any] = {
        "cohorts": {"clinic": {"root": "clinic"}, "biobank": {"root": "biobank"}},
        "stages": {"mae": {"config": "mae.yaml", "cohort": "clinic"}},
        "evaluation": {
            "tasks": {
                "volumes": {"task": "regression", "targets": ["lv_edv"], "cohort": "clinic"},
                "norm": {
                    "task": "classification", "targets": ["norm"], "cohort": "biobank", "finetune": "head.yaml",
                },
            },
            "labels": ["all"],
            "linear_probe": ["mae", "random"],
            "finetune": ["mae"],
            "baselines": ["mean"],
            "resamples": 20,
        },
    }  # fmt: skip
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def run(path: Path, *more: str) -> int:
    return main(["experiment", str(path), *more, "--out", str(path.parent / "out"), "--workers", "1", "--jobs", "1"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the experiment and, in ``out``, its results."""

    def make(folder: Path) -> None:
        from ecgcmr.experiments import report

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report, "draw_report", lambda found, folder, every_count: [])
            assert run(write_experiment(folder)) == 0

    return made_once(tmp_path_factory, "two_cohorts", make)


@pytest.mark.long
def test_each_part_uses_its_own_cohort_and_the_table_says_which(finished: Path) -> None:
    out, cohorts = finished / "out", {name: ShardIndex.load(finished / name) for name in ("clinic", "biobank")}
    of_stage = {
        path.parent.name: read_note(path.parent)["cohort"]["fingerprint"] for path in out.glob("stages/*/run.json")
    }
    assert of_stage == {
        "mae": cohort_fingerprint(cohorts["clinic"]), "norm-mae-20": cohort_fingerprint(cohorts["biobank"]),
    }  # fmt: skip
    assert {path.parent.name for path in out.glob("features/*/features.npy")} == {
        "mae@clinic", "mae@biobank", "random@clinic", "random@biobank",
    }  # fmt: skip
    table = read_prediction_table(out / "predictions.parquet")
    for task, name in (("volumes", "clinic"), ("norm", "biobank")):
        subjects = set(table[(table["task"] == task) & (table["split"] == "test")]["subject"].astype(str))
        assert subjects == set(cohorts[name].subjects(cohorts[name].positions("test", ())).tolist())
    text = (out / "results.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert ["stage mae", "clinic", "random weights", "20", "-"] in lines
    assert ["task volumes", "clinic", "-", "20", "6"] in lines
    assert ["task norm", "biobank", "-", "20", "6"] in lines
    methods = {
        (row["task_name"], row["method"], row["protocol"]) for row in json.loads((out / "results.json").read_text())
    }
    assert {("volumes", "mae", "linear_probe"), ("norm", "mae", "linear_probe"), ("norm", "mae", "finetune")} <= methods
    assert read_note(out)["state"] == "finished"


@pytest.mark.long
def test_the_record_of_several_cohorts_is_an_experiment_file(finished: Path) -> None:
    out = finished / "out"
    again = load_plan(out / "experiment.yaml")
    assert {name: again.file(cohort.root or "") for name, cohort in again.cohorts.items()} == {
        name: (finished / name).resolve() for name in ("clinic", "biobank")
    }
    assert again.stages["mae"].cohort == ["clinic"]
    plan = recorded_plan(out)
    assert tasks_of(plan, Choices(task="norm")) == ["norm"]
    with pytest.raises(UserError, match="tasks are of the cohorts clinic, biobank; choose one with --task"):
        tasks_of(plan, Choices())


@pytest.mark.long
def test_the_page_describes_each_cohort(finished: Path) -> None:
    assert main(["report", str(finished / "out")]) == 0
    page = (finished / "out" / "report.html").read_text()
    assert "Which cohort is used for what" in page
    assert ">clinic</h3>" in page
    assert ">biobank</h3>" in page


@pytest.mark.long
def test_a_method_is_exported_with_the_heads_of_one_cohort(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["export", str(finished / "out"), "--method", "mae", "--protocol", "linear_probe"]
    assert main([*given, "--out", str(tmp_path / "none")]) == 2
    assert "choose one with --task: volumes, norm" in capsys.readouterr().err
    for task, target in (("volumes", "lv_edv"), ("norm", "norm")):
        assert main([*given, "--task", task, "--out", str(tmp_path / task)]) == 0
        described = yaml.safe_load((tmp_path / task / "model.yaml").read_text())
        assert [entry["name"] for entry in described["targets"]] == [target]


@pytest.mark.long
def test_features_and_boosting_run_ahead_on_the_cohort_of_their_task(finished: Path, tmp_path: Path) -> None:
    asked = ["evaluation.baselines=[features, features-boosting]", "evaluation.linear_probe=[mae]"]
    plan = load_plan(finished / "two.yaml", overrides=asked)
    experiment = Experiment(plan, finished / "out", Console(quiet=True))
    assert experiment.begin(make=False)
    parts = parts_of(experiment.trainings, experiment.problems, experiment.counts, Times.load(tmp_path))
    requests = [
        each for part in parts if "features" in part.name or "boosting" in part.name for each in part.requests()
    ]
    found = {(each.name, Path(each.root).name) for each in requests if isinstance(each, FeaturesRequest)}
    assert found == {
        (f"features of {what}@{cohort}", cohort) for what in ("mae", "classical") for cohort in ("clinic", "biobank")
    }
    boosted = {each.task: each for each in requests if isinstance(each, BoostingRequest)}
    assert {task: (Path(each.root).name, each.classical) for task, each in boosted.items()} == {
        "volumes": ("clinic", "classical@clinic"), "norm": ("biobank", "classical@biobank"),
    }  # fmt: skip
    assert BoostingRequest.of_plain(boosted["norm"].plain()).classical == "classical@biobank"


@pytest.mark.long
def test_how_far_it_is_shows_all_parts_as_finished(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(finished / "out")]) == 0
    assert "all finished" in capsys.readouterr().out
    assert run(finished / "two.yaml", "--dry-run") == 0
    assert "all finished" in capsys.readouterr().out


@pytest.mark.long
def test_a_baseline_that_a_cohort_lacks_the_labels_of_names_the_task(finished: Path) -> None:
    plan = load_plan(finished / "two.yaml", overrides=["evaluation.baselines=[age+sex]"])
    with pytest.raises(UserError, match=r"task volumes: baseline age\+sex: label 'age' is not in the index"):
        Experiment(plan, finished / "out", Console(quiet=True)).begin(make=False)


@pytest.mark.long
def test_the_shipped_experiment_of_two_cohorts_is_read() -> None:
    plan = load_plan(Path("mimic_to_ptbxl"))
    assert plan.stages["mae_both"].cohort == ["mimic", "ptbxl"]
    settings = read_settings(plan)
    assert set(settings.stages) == {"mae_mimic", "mae_ptbxl", "mae_both"}


@pytest.mark.long
def test_what_is_explained_is_of_the_cohort_it_is_explained_on(finished: Path) -> None:
    asked = "interpretation={method: mae, kinds: [attribution], targets: [norm]%s}"
    for cohort, refused in (("", True), (", cohort: biobank", False)):
        plan = load_plan(finished / "two.yaml", overrides=[asked % cohort])
        experiment = Experiment(plan, finished / "out", Console(quiet=True))
        if refused:
            with pytest.raises(UserError, match="norm is no target of this experiment's tasks on cohort clinic"):
                experiment.begin(make=False)
        else:
            assert experiment.begin(make=False)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "two")) / "two.yaml"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.long
def test_a_changed_cohort_makes_what_used_it_run_again_and_nothing_else(copied: Path, commands: list) -> None:
    folder = copied.parent
    write(folder / "biobank2", range(200, 232), SPLITS, (NORM,), ecg=SHORT)
    assert run(copied, "cohorts.biobank.root=" + str(folder / "biobank2")) == 0
    assert commands == [("fit", "norm-mae-20"), ("predict", "norm-mae-20"), ("predict", "norm-mae-20")]
    commands.clear()
    # A copy elsewhere is the same cohort.
    change(copied, lambda content: content["cohorts"]["biobank"].update(root="biobank2"))
    (folder / "biobank2").rename(folder / "moved")
    change(copied, lambda content: content["cohorts"]["biobank"].update(root="moved"))
    change(copied, lambda content: content["evaluation"].update(resamples=21))
    assert run(copied) == 0
    assert commands == []


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_whoever_is_tested_on_another_cohort_is_left_out_of_pre_training(copied: Path, commands: list) -> None:
    folder, out = copied.parent, copied.parent / "out"
    # Recordings 3 and 4, on which mae is trained, are of people whom the other cohort tests and validates.
    write(folder / "biobank", [*range(100, 124), 4, 125, *range(126, 131), 3], SPLITS, (NORM,), ecg=SHORT)
    change(copied, lambda content: content["evaluation"].update(finetune=[]))
    assert run(copied) == 0
    assert commands == [("fit", "mae")]
    settings = yaml.safe_load((out / "stages" / "mae" / "config.yaml").read_text())["data"]["init_args"]
    assert [Path(root).name for root in settings["apart_from"]] == ["biobank"]
    assert read_note(out / "stages" / "mae")["cohort"]["rows"]["train"] == 18
    text = (out / "results.md").read_text()
    assert "| stage mae | clinic | random weights | 18 | - |" in text
    assert "stage mae: 2 recordings of its cohort are left out" in text
    assert run(copied) == 0
    assert commands == [("fit", "mae")]  # and that is how it is recognised


@pytest.mark.parametrize("protocol", ["linear_probe", "layer_probe", "attention_probe", "finetune", "interpretation"])
def test_a_stage_is_kept_apart_and_checked_whatever_judges_it(protocol: str, tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    write(tmp_path / "biobank", [*range(100, 124), 4, 125, *range(126, 131), 3], SPLITS, (NORM,), ecg=SHORT)

    def by_one_protocol(content: dict[str, Any]) -> None:
        content["evaluation"].update(linear_probe=[], finetune=[], baselines=["mean"])
        if protocol == "interpretation":
            content["interpretation"] = {"method": "mae", "cohort": "biobank"}
        else:
            content["evaluation"][protocol] = ["mae"]

    change(path, by_one_protocol)
    plan = load_plan(path)
    assert "biobank" in judging_cohorts(plan, "mae")
    cohorts = CohortSet(plan, {name: ShardIndex.load(tmp_path / name) for name in ("clinic", "biobank")})
    assert cohorts.left_out("mae") == [3, 4]
    other = write(tmp_path / "slow", range(100, 132), SPLITS, (NORM,), ecg=replace(SHORT, sampling_rate=400.0))
    with pytest.raises(UserError, match=r"stages\.mae is trained on cohort clinic, but .* gives it cohort biobank"):
        check_preparations(plan, read_settings(plan), CohortSet(plan, {**cohorts.indices, "biobank": other}))


def test_what_is_not_judged_itself_may_be_of_another_preparation_that_is_accepted(tmp_path: Path) -> None:
    """A stage that goes on from it on the cohort that judges takes the responsibility, as a fit does."""
    path = write_experiment(tmp_path)

    def in_a_row(content: dict[str, Any]) -> None:
        content["stages"]["later"] = {
            "config": "mae.yaml", "cohort": "biobank", "start_from": {"encoder_weights": "mae"},
            "set": {"accept_other_preparation": True},
        }  # fmt: skip
        content["evaluation"]["tasks"].pop("volumes")
        content["evaluation"].update(linear_probe=["later"], finetune=[])

    change(path, in_a_row)
    plan = load_plan(path)
    other = write(tmp_path / "other", range(100, 132), SPLITS, (NORM,), ecg=replace(SHORT, unit="mV"))
    cohorts = CohortSet(plan, {"clinic": ShardIndex.load(tmp_path / "clinic"), "biobank": other})
    check_preparations(plan, read_settings(plan), cohorts)
    assert any("whether a recording is in both is not known" in note for note in leak_notes(cohorts))
    change(path, lambda content: content["evaluation"].update(linear_probe=["later", "mae"]))
    plan = load_plan(path)
    with pytest.raises(UserError, match=r"evaluation\.tasks\.norm gives it cohort biobank"):
        check_preparations(plan, read_settings(plan), CohortSet(plan, cohorts.indices))


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_a_stage_may_be_trained_on_several_cohorts_as_one(copied: Path, commands: list) -> None:
    def both(content: dict[str, Any]) -> None:
        content["stages"]["mae"].update(cohort=["clinic", "biobank"], set={"data.weights": [3, 1]})
        content["evaluation"].update(finetune=[])

    change(copied, both)
    assert run(copied) == 0
    assert commands == [("fit", "mae")]
    out = copied.parent / "out"
    settings = yaml.safe_load((out / "stages" / "mae" / "config.yaml").read_text())["data"]["init_args"]
    assert [Path(root).name for root in settings["root"]] == ["clinic", "biobank"]
    assert settings["weights"] == [3, 1]
    assert read_note(out / "stages" / "mae")["cohort"]["rows"]["train"] == 40
    assert "| stage mae | clinic + biobank | random weights | 40 | - |" in (out / "results.md").read_text()


@pytest.mark.long
def test_a_cohort_of_another_preparation_is_refused_before_anything_is_trained(
    tmp_path: Path, commands: list, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment(tmp_path)
    write(tmp_path / "biobank", range(100, 132), SPLITS, (NORM,), ecg=replace(SHORT, sampling_rate=400.0))
    assert run(path) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "stages.mae is trained on cohort clinic, but evaluation.tasks.norm gives it cohort biobank" in error
    assert "sampling rate (Hz) 500.0 -> 400.0; prepare biobank like clinic" in error
    change(path, lambda content: content["stages"]["mae"].update(cohort=["clinic", "biobank"]))
    assert run(path) == 2
    assert "are no one training set" in capsys.readouterr().err
    assert commands == []


def cohort_of(entry: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(content: dict[str, Any]) -> None:
        *parents, last = entry.split("/")
        for parent in parents:
            content = content[parent]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return edit


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("stages/mae/cohort", "clinc", "stages.mae.cohort: 'clinc' is not one of clinic, biobank"),
        ("stages/mae/cohort", None, "stages.mae.cohort: is missing; name one of clinic, biobank"),
        ("stages/mae/cohort", ["clinic", "clinic"], "stages.mae.cohort: names a cohort twice"),
        ("evaluation/tasks/norm/cohort", None, "evaluation.tasks.norm.cohort: is missing"),
        ("evaluation/tasks/norm/cohort", "clinic", "cohorts.biobank: no stage and no task uses it"),
        ("cohort", {"root": "clinic"}, "cohort and cohorts: give one of them"),
        ("cohorts/biobank", {}, "cohorts.biobank needs exactly one of synthesize, prepare, root; it has none"),
        ("cohorts/biobank", {"root": "a", "synthesize": {}}, "cohorts.biobank needs exactly one of"),
        ("cohorts/biobank", "biobank", "cohorts.biobank: expected a mapping, found str"),
        ("stages/mae/cohort", {"clinic": 1}, "stages.mae: cohort: expected a list, found a mapping"),
        ("evaluation/labels", {"all": 1}, "evaluation: labels: expected a list, found a mapping"),
        ("evaluation/stack", {"s": {"mae": 1}}, "evaluation: stack.s: expected a list, found a mapping"),
        ("evaluation/tasks/norm/targets", {"norm": 1}, "norm: targets: expected a list, found a mapping"),
        ("cohorts/table", {"root": "a"}, "the name of a cohort becomes a folder"),
        ("stages/mae/set", {"data.root": "x"}, "data.root is given by the experiment"),
        ("stages/mae/set", {"data.apart_from": ["x"]}, "data.apart_from is given by the experiment"),
    ],
)
def test_unclear_cohorts_are_refused(tmp_path: Path, entry: str, value: Any, words: str) -> None:
    path = write_experiment(tmp_path)
    change(path, cohort_of(entry, value))
    with pytest.raises(UserError) as refused:
        load_plan(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_cohorts_are_overridden_by_name_and_a_root_for_all_is_refused(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    given = load_plan(path, overrides=[f"cohorts.clinic={{root: {tmp_path / 'clinic'}}}", "stages.mae.cohort=biobank"])
    assert given.cohorts["clinic"].root == str(tmp_path / "clinic")
    assert given.stages["mae"].cohort == ["biobank"]
    with pytest.raises(UserError, match=r"--root is for one cohort; of several give cohorts\.clinic="):
        load_plan(path, root=tmp_path)
    less = ["cohorts.biobank=null", "evaluation.tasks.norm=null", "evaluation.finetune=[]"]
    one = load_plan(path, overrides=less)
    assert list(one.cohorts) == ["clinic"]
    assert np.unique([one.evaluation.tasks[name].cohort for name in one.evaluation.tasks]).tolist() == ["clinic"]


def test_numbers_of_labels_count_recordings_and_notes_say_of_how_many_subjects(tmp_path: Path) -> None:
    """Of 20 labelled training recordings two each are of one subject in the clinic; all differ in the biobank."""
    path = write_experiment(tmp_path)
    hashes = [f"{number // 2:032x}" for number in range(32)]
    write(tmp_path / "clinic", range(32), SPLITS, (EDV, AF), ecg=SHORT, subjects=hashes)
    plan = load_plan(path)
    experiment = Experiment(plan, tmp_path / "out", Console(quiet=True))
    indices = {name: ShardIndex.load(tmp_path / name) for name in plan.cohorts}
    experiment.cohorts = CohortSet(plan, indices)
    experiment.read_tasks()
    assert experiment.counts["volumes"] == {"all": 20}
    said = [note for note in experiment.notes if "subjects" in note]
    assert said == [
        "volumes: the 20 labelled training recordings are of 10 subjects; numbers of labels count recordings"
    ]
