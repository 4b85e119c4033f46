"""The experiment file: every mistake is told in one line that names file and entry, before anything runs."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecgcmr.errors import UserError
from ecgcmr.experiments.cohorts import flags_of
from ecgcmr.experiments.plan import amount_of
from ecgcmr.experiments.plan_file import load_plan

PLAN: dict[str, Any] = {
    "cohort": {"synthesize": {"subjects": 80, "seed": 1}},
    "stages": {
        "mae": {"config": "stage.yaml"},
        "mae+alignment": {"config": "stage.yaml", "start_from": {"ecg_encoder_weights": "mae"}},
    },
    "evaluation": {
        "tasks": {"phenotypes": {"task": "regression", "targets": ["LV"], "finetune": "stage.yaml"}},
        "labels": [50, "all"],
        "linear_probe": ["random", "mae"],
        "finetune": ["scratch", "mae+alignment"],
        "baselines": ["age+sex", "oracle"],
    },
}

GAIN = {"method": "mae+alignment", "over": ["mae"], "task": "phenotypes", "labels": 50}


def write_plan(folder: Path, *changes: tuple[str, Any]) -> Path:
    """Write the plan above with entries replaced (dotted path -> value; ``None`` takes the entry out)."""
    content = copy.deepcopy(PLAN)
    for path, value in changes:
        *parents, last = path.split("/")
        entry = content
        for parent in parents:
            entry = entry[parent]
        if value is None:
            del entry[last]
        else:
            entry[last] = value
    (folder / "stage.yaml").write_text("model: {}\n")
    file = folder / "trial.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_a_plan_is_read_into_typed_objects_with_defaults(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    assert list(plan.stages) == ["mae", "mae+alignment"]
    assert plan.stages["mae+alignment"].start_from == {"ecg_encoder_weights": "mae"}
    assert plan.evaluation.labels == [50, "all"]
    assert (plan.seed, plan.evaluation.random_encoder_of, plan.evaluation.resamples) == (0, "mae", 1000)
    assert plan.file("stage.yaml") == (tmp_path / "stage.yaml").resolve()
    assert (plan.seeds, plan.finetune_seeds, plan.focus) == ([0], [0], "mae+alignment")


def test_seeds_networks_and_the_gain_are_read(tmp_path: Path) -> None:
    changes: list[tuple[str, Any]] = [
        ("evaluation/seeds", [3, 4]),
        ("evaluation/labels", ["1 %", "12.5%", 50, "all"]),
        ("evaluation/finetune", ["scratch", "cnn"]),
        ("evaluation/supervised", {"cnn": {"encoder": {"class_path": "ecgcmr.encoders.ECGCNN"}}}),
        ("evaluation/gain", {**GAIN, "method": "mae", "over": ["scratch"], "published": 27}),
    ]
    plan = load_plan(write_plan(tmp_path, *changes))
    assert (plan.seeds, plan.finetune_seeds, plan.focus) == ([3, 4], [3], "mae")
    assert [amount_of(label, 400) for label in plan.evaluation.labels] == [4, 50, 50, 400]
    assert amount_of("1 %", 30) == 2  # fewer teach nothing
    assert plan.evaluation.gain is not None
    assert plan.evaluation.gain.published == 27


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("evaluation/lables", [50])], ["evaluation", "'lables'", "did you mean 'labels'"]),
        ([("stages/mae/konfig", "x")], ["stages.mae", "'konfig'", "did you mean 'config'"]),
        ([("interpretation", {"method": "maee"})], ["interpretation.method", "'maee'", "mae"]),
        (
            [("interpretation", {"method": "mae", "kinds": ["maps"]})],
            ["interpretation.kinds", "'maps'", "localisation"],
        ),
        ([("interpretation", {"method": "mae", "subjects": 1})], ["interpretation.subjects is 1", "at least 3"]),
        (
            [("interpretation", {"method": "mae", "kinds": ["retrieval"], "targets": ["lv_edv"]})],
            ["interpretation.targets", "not among the kinds"],
        ),
        (
            [("evaluation/linear_probe", []), ("interpretation", {"method": "mae", "targets": ["lv_edv"]})],
            ["interpretation.targets", "name mae in evaluation.linear_probe"],
        ),
        ([("zzz", 1)], ["'zzz'", "cohort"]),
        ([("cohort/root", "data")], ["cohort", "exactly one", "synthesize", "root"]),
        ([("cohort", {})], ["cohort", "exactly one", "none"]),
        ([("cohort", None)], ["missing cohort"]),
        ([("stages/mae+alignment/start_from", {"ecg_encoder_weights": "simclr"})], ["start_from", "'simclr'", "mae"]),
        ([("stages/mae/start_from", {"encoder_weights": "mae+alignment"})], ["start_from", "none so far"]),
        ([("stages/mae+alignment/start_from", {"ecg_weights": "mae"})], ["start_from", "'ecg_weights'"]),
        ([("stages/mae/config", "nothing.yaml")], ["stages.mae.config", "nothing.yaml"]),
        ([("stages/mae/config", None)], ["stages.mae", "missing", "config"]),
        ([("stages/scratch", {"config": "stage.yaml"})], ["stages.scratch", "'scratch'"]),
        ([("stages", ["mae"])], ["stages", "mapping"]),
        ([("stages/mae", ["stage.yaml"])], ["stages.mae", "mapping"]),
        ([("stages/mae/set", ["trainer.max_epochs"])], ["stages.mae", "set", "mapping"]),
        ([("evaluation/supervised", ["cnn"])], ["evaluation", "supervised", "mapping"]),
        ([("evaluation/tasks/phenotypes", "LV")], ["tasks.phenotypes", "mapping"]),
        ([("evaluation/gain", "mae")], ["evaluation", "gain", "mapping"]),
        ([("evaluation", None)], ["missing evaluation"]),
        ([("evaluation/tasks/phenotypes/finetune", "nothing.yaml")], ["finetune", "nothing.yaml"]),
        ([("evaluation/tasks/phenotypes/task", "regresion")], ["tasks.phenotypes.task", "'regresion'"]),
        ([("evaluation/tasks/phenotypes/task", "time_to_events")], ["'time_to_events'", "time_to_event"]),
        ([("evaluation/tasks/phenotypes/targets", "LV")], ["tasks.phenotypes", "targets", "a list of texts"]),
        (
            [("evaluation/tasks/..", {"task": "regression", "targets": ["RV"]})],
            ["the name of a task", "a folder", "'..'"],
        ),
        ([("evaluation/labels", [0])], ["evaluation.labels", "0"]),
        ([("evaluation/labels", ["most"])], ["evaluation.labels", "'most'"]),
        ([("evaluation/labels", 50)], ["evaluation", "labels", "a list of whole numbers or texts"]),
        ([("evaluation/labels", [True])], ["evaluation", "labels", "a list of whole numbers or texts"]),
        ([("evaluation/labels", None)], ["evaluation", "missing", "labels"]),
        ([("evaluation/finetune_labels", [-5])], ["-5"]),
        (
            [("evaluation/tasks/phenotypes/finetune", None)],
            ["evaluation.finetune names scratch", "no task has a config"],
        ),
        (
            [("evaluation/tasks/phenotypes", {"task": "regression", "targets": ["LV"], "set": {"data.seed": 1}})],
            ["tasks.phenotypes.set belongs to fine-tuning"],
        ),
        ([("evaluation/labels", [1])], ["evaluation.labels", "from 2"]),
        ([("evaluation/labels", ["0 %"])], ["evaluation.labels", "'0 %'", "10 %"]),
        ([("evaluation/labels", ["120 %"])], ["evaluation.labels", "'120 %'"]),
        ([("evaluation/seeds", [0, 0])], ["evaluation.seeds", "different"]),
        ([("evaluation/finetune_seeds", [-1])], ["evaluation.finetune_seeds", "from 0"]),
        ([("evaluation/seeds", 0)], ["seeds", "a list of whole numbers"]),
        ([("evaluation/supervised", {"cnn": {}})], ["supervised.cnn", "evaluation.finetune"]),
        ([("evaluation/supervised", {"mae": {}})], ["supervised.mae", "stage"]),
        ([("evaluation/supervised", {"oracle": {}})], ["supervised.oracle", "'oracle'"]),
        ([("evaluation/supervised", {"scratch": {"encoder": {"widths": [8]}}})], ["encoder", "class_path", "widths"]),
        ([("evaluation/supervised", {"scratch": {"sett": {}}})], ["supervised.scratch", "did you mean 'set'"]),
        ([("evaluation/tasks/phenotypes/separately", "targets")], ["separately", "'targets'", "target, group"]),
        ([("evaluation/gain", {"method": "mae"})], ["evaluation.gain", "missing", "over"]),
        ([("evaluation/gain", {**GAIN, "method": "simclr"})], ["evaluation.gain", "'simclr'"]),
        ([("evaluation/gain", {**GAIN, "over": ["mae", "mae+alignment"]})], ["gain.over", "mae+alignment"]),
        ([("evaluation/gain", {**GAIN, "task": "diseases"})], ["gain.task", "'diseases'"]),
        ([("evaluation/gain", {**GAIN, "labels": "10 %"})], ["gain.labels", "'10 %'", "50, all"]),
        ([("evaluation/gain", {**GAIN, "published": "much"})], ["published", "'much'", "a number"]),
        ([("evaluation/linear_probe", ["scratch"])], ["linear_probe", "'scratch'"]),
        ([("evaluation/finetune", ["random"])], ["evaluation.finetune", "'random'"]),
        ([("evaluation/baselines", ["age"])], ["baselines", "'age'", "age+sex"]),
        ([("evaluation/random_encoder_of", "mea")], ["random_encoder_of", "'mea'"]),
        ([("evaluation/resamples", "many")], ["resamples", "'many'", "a whole number"]),
        ([("evaluation/windows", 0)], ["evaluation.windows", "at least 1"]),
        (
            [(f"evaluation/{entry}", []) for entry in ("linear_probe", "finetune", "baselines")],
            ["evaluation", "nothing", "linear_probe"],
        ),
        ([("seed", "zero")], ["seed", "'zero'", "a whole number"]),
        ([("evaluation/resamples", 5)], ["evaluation.resamples is 5", "at least 10"]),
        ([("evaluation/labels", [])], ["evaluation.labels is empty", "[all]"]),
        ([("evaluation/finetune", ["scratch", "scratch"])], ["evaluation.finetune names scratch twice"]),
        ([("evaluation/linear_probe", ["mae", "mae"])], ["evaluation.linear_probe names mae twice"]),
        ([("evaluation/costs", [1])], ["evaluation: costs is [1]; expected true or false"]),
        (
            [("cohort", {"synthesize": {"subjects": 4, "out": "x"}})],
            ["cohort.synthesize.out", "--out of the experiment"],
        ),
        ([("cohort", {"synthesize": {"format": "raw"}})], ["cohort.synthesize.format", "shards"]),
        ([("cohort", {"prepare": {"ecg": "x", "out": "y"}})], ["cohort.prepare.out", "--out of the experiment"]),
        ([("stages/mae/set", {"trainer": {"max_epochs": 1}})], ["trainer holds entries", "trainer.max_epochs"]),
        ([("stages/mae/start_from", {"encoder_weights": ["mae"]})], ["start_from.encoder_weights: expected one name"]),
        ([("stages", {1: {"config": "stage.yaml"}})], ["1 is no text", "in quotes"]),
        *(
            ([(f"stages/{name}", {"config": "stage.yaml"})], [f"stages.{name}", "cannot be one"])
            for name in ("-x", "x=y", ".x", " x", "x ", "every encoder", "random-s7", "classical")
        ),
        ([("stages/phenotypes-scratch-20", {"config": "stage.yaml"})], ["a run of task phenotypes bears such a name"]),
        (
            [
                ("evaluation/finetune", ["mae", "mae-mae"]),
                ("stages/mae-mae", {"config": "stage.yaml"}),
                ("evaluation/tasks/phenotypes-mae", {"task": "regression", "targets": ["RV"]}),
            ],
            ["runs of mae of task phenotypes-mae would have the names of those of mae-mae of task phenotypes"],
        ),
        ([("stages/mae@taught", {"config": "stage.yaml"})], ["stages.mae@taught: @ marks", "leave it out"]),
    ],
)
def test_mistakes_name_file_and_entry_in_one_line(
    tmp_path: Path, changes: list[tuple[str, Any]], words: list[str]
) -> None:
    path = write_plan(tmp_path, *changes)
    with pytest.raises(UserError) as caught:
        load_plan(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("trial.yaml: ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "setting",
    ["data.train_labels", "data.init_args.labels", "data.predict_split", "data.seed", "seed_everything", "data.root",
     "data", "model.encoder_weights", "data.evaluation_windows", "trainer.default_root_dir"],
)  # fmt: skip
def test_what_an_experiment_gives_fine_tuning_cannot_be_set_to_something_else(tmp_path: Path, setting: str) -> None:
    """A row "20 labels" of a model of 40, or predictions of another cohort or split, would be none of the kind."""
    task = {"task": "regression", "targets": ["LV"], "finetune": "stage.yaml", "set": {setting: 1}}
    for change in (
        ("evaluation/tasks/phenotypes", task),
        ("evaluation/supervised", {"scratch": {"set": {setting: 1}}}),
    ):
        with pytest.raises(UserError, match=f"set: {setting} is given by the experiment; "):
            load_plan(write_plan(tmp_path, change))


@pytest.mark.parametrize("setting", ["data.root", "data.init_args.root", "model.ecg_encoder_weights"])
def test_a_stage_is_of_the_experiments_cohort(tmp_path: Path, setting: str) -> None:
    with pytest.raises(UserError, match=f"stages.mae.set: {setting} is given by the experiment; "):
        load_plan(write_plan(tmp_path, ("stages/mae", {"config": "stage.yaml", "set": {setting: "x"}})))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("a: \xff", "no UTF-8"),
        ("a: [1, 2", "cannot be read as YAML"),
        ("- mae\n- alignment\n", "mapping"),
        ("", "mapping"),
        ("cohort: mae\n", "cohort"),
    ],
)
def test_what_is_no_experiment_file_is_refused(tmp_path: Path, content: str, word: str) -> None:
    path = tmp_path / "trial.yaml"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=word) as caught:
        load_plan(path)
    assert "\n" not in str(caught.value)


def test_an_experiment_file_that_is_missing_a_folder_or_a_pipe_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, words in (("nothing.yaml", "no experiment file"), (".", "this is a folder"), ("pipe.yaml", "a pipe")):
        with pytest.raises(UserError, match=words):
            load_plan(tmp_path / name)


def test_the_command_line_replaces_the_cohort(tmp_path: Path) -> None:
    path = write_plan(tmp_path)
    assert load_plan(path, root=tmp_path).cohort.root == str(tmp_path.resolve())
    assert load_plan(path, root=tmp_path).cohort.synthesize is None
    with pytest.raises(UserError, match="--data"):
        load_plan(path, data=tmp_path)
    prepared = write_plan(tmp_path, ("cohort", {"prepare": {"ecg": "x", "size": 64}}))
    assert load_plan(prepared, data=tmp_path).cohort.prepare == {"ecg": str(tmp_path.resolve()), "size": 64}


def test_flags_of_writes_command_line_flags() -> None:
    entries = {"subjects": 50, "table": ["a.csv", "b.csv"], "strict": True, "raw": False, "shard_size": 8, "key": None}
    assert flags_of(entries) == ["--subjects", "50", "--table", "a.csv", "b.csv", "--strict", "--shard-size", "8"]
