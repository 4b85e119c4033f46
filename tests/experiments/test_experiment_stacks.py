"""Stacks from the experiment file to the tables: whole on a tiny cohort, what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_configs
import yaml
from test_experiment_plan import write_plan

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.experiments import report, stacks
from ecgcmr.experiments.baseline_methods import Baselines
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import CohortPlan, EvaluationPlan, Plan, TaskPlan
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.stacks import Stacks
from ecgcmr.probes.folds import deal_folds
from ecgcmr.shards import ShardIndex, read_labels

PAGE = Path(__file__).parents[2] / "docs" / "experiments.md"
DOCUMENTED = yaml.safe_load(PAGE.read_text().split("```yaml")[1].split("```")[0])["evaluation"]["stack"]
STACKS: dict[str, list[str]] = {**DOCUMENTED, "chance": ["random", "mae"]}
MEASURED = {"features", "features-boosting", "age+sex"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Iterator[Path]:
    """Folder with ``trial.yaml`` and, in ``out``, the finished experiment; no figures."""
    folder = tmp_path_factory.mktemp("stacks")
    content: dict[str, Any] = {
        "cohort": {"root": str(cohort_root)},
        "stages": {
            "mae": {"config": tiny_configs.write_mae(folder, cohort_root).name, "set": {"trainer.max_epochs": 1}},
            "mae+alignment": {"config": "mae.yaml", "set": {"trainer.max_epochs": 1, "seed_everything": 1}},
        },
        "evaluation": {
            "tasks": {
                "volumes": {"task": "regression", "targets": ["lv_edv", "lv_ef"]},
                "diseases": {"task": "classification", "targets": ["cad_ever"]},
            },
            "labels": [20, "all"],
            "linear_probe": ["random", "mae", "mae+alignment"],
            "baselines": ["mean", "age+sex", "features", "features-boosting"],
            "stack": STACKS,
            "seeds": [0, 7],
            "resamples": 20,
        },
    }
    (folder / "trial.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "draw_report", lambda found, folder, every_count: [])
        assert main(["experiment", str(folder / "trial.yaml"), "--out", str(folder / "out"), "--workers", "1"]) == 0
        yield folder


@pytest.mark.long
def test_every_stack_has_a_row_at_every_number_of_labels_and_takes_the_seeds_of_its_parts(finished: Path) -> None:
    rows = [row for row in json.loads((finished / "out" / "results.json").read_text()) if row["protocol"] == "stack"]
    assert {(row["method"], row["labels"]) for row in rows} == {(name, count) for name in STACKS for count in (20, 52)}
    assert {row["task_name"] for row in rows} == {"volumes", "diseases"}
    table = read_prediction_table(finished / "out" / "predictions.parquet")
    own = table[(table["protocol"] == "stack") & (table["target"] == "lv_ef")]
    seeds = {key: sorted(set(part["seed"])) for key, part in own.groupby(["method", "labels"], observed=True)}
    assert (seeds["fused", 20], seeds["fused", 52]) == ([0, 7], [0])  # all labels are the same for every seed
    assert seeds["chance", 20] == seeds["chance", 52] == [0, 7]  # random weights are not
    assert seeds["everything", 20] == seeds["everything", 52] == [0]  # boosting takes finetune_seeds
    assert {"val", "test"} == set(table.loc[table["target"] == "cad_ever", "split"])


@pytest.mark.long
def test_each_stack_is_compared_with_its_parts_and_with_what_is_measured(finished: Path) -> None:
    out = finished / "out"
    differences = json.loads((out / "differences.json").read_text())
    for name, parts in STACKS.items():
        earlier = set(list(STACKS)[: list(STACKS).index(name)])
        for count in (20, 52):
            own = [row for row in differences if (row["method"], row["labels"]) == (name, count)]
            assert {row["reference"] for row in own} == {*parts, *MEASURED, *earlier}
            assert {row["target"] for row in own} >= {"mean", "lv_edv", "lv_ef", "cad_ever"}
    focus = {row["reference"] for row in differences if row["method"] == "mae+alignment"}
    # The stacks that it is a part of have the comparison as theirs, once.
    assert focus == {"random", "mae", "mean", "measured", "chance", *MEASURED}
    assessed = json.loads((out / "evaluation" / "volumes" / "results.json").read_text())["differences"]
    assert assessed == [row for row in differences if row["task_name"] == "volumes"]
    means = [row for row in differences if (row["method"], row["target"], row["labels"]) == ("everything", "mean", 20)]
    assert {row["family"] for row in means} == {5}  # corrected among themselves
    for path in (out / "results.md", out / "evaluation" / "volumes" / "results.tex"):
        assert "everything, stack - features" in path.read_text()
    assert "everything, stack - mae+alignment, linear probe" in (out / "results.md").read_text()


@pytest.mark.long
def test_the_difference_is_that_of_the_predictions(finished: Path) -> None:
    out = finished / "out"
    table = read_prediction_table(out / "predictions.parquet")
    table = table[(table["split"] == "test") & (table["labels"] == 52) & (table["target"] == "lv_edv")]
    r2 = {}
    for method in ("everything", "features-boosting"):
        own = table[(table["method"] == method) & table["truth"].notna()]
        truth, error = own["truth"], own["truth"] - own["prediction"]
        r2[method] = 1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum()
    wanted = {"method": "everything", "reference": "features-boosting", "target": "lv_edv", "labels": 52}
    (row,) = [row for row in json.loads((out / "differences.json").read_text()) if wanted.items() <= row.items()]
    assert row["value"] == pytest.approx(r2["everything"] - r2["features-boosting"], abs=2e-6)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]


@pytest.mark.long
def test_notes_say_what_stacks_were_made_of_in_a_line_each(finished: Path) -> None:
    notes = (finished / "out" / "results.md").read_text().split("## Notes")[1]
    for task in ("volumes", "diseases"):
        for name in STACKS:
            (line,) = [line for line in notes.splitlines() if f"{task}, stack {name}: of targets" in line]
            assert "at 20 labels" in line
            assert "at 52 labels" in line
    assert sum("stacks have fewer than 5 folds" in line for line in notes.splitlines()) <= 1


@pytest.mark.long
def test_again_no_part_is_fitted(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results gone, all else there: folds and boosting are read, and the bytes are the same."""
    folder = Path(shutil.copytree(finished, tmp_path / "again"))
    out = folder / "out"
    (out / "results.json").unlink()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(stacks, "out_of_fold", never)
    monkeypatch.setattr("ecgcmr.experiments.baseline_methods.boosting_predictions", never)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("features/*/outcome.npz")}
    # Of two tasks and two numbers of labels: boosting, its folds and those of two baselines with one seed; of random
    # and mae with two; of mae+alignment with two, but one with all labels.
    assert len(kept) == 2 * (2 * (1 + 1 + 2) + 2 * 2 * 2 + 3)
    assert main(["experiment", str(folder / "trial.yaml"), "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("features/*/outcome.npz")} == kept
    for name in ("results.json", "differences.json", "results.md"):
        assert (out / name).read_bytes() == (finished / "out" / name).read_bytes()


@pytest.fixture
def problem(cohort_root: Path) -> Problem:
    return Problem.of("volumes", "regression", ["lv_edv"], ShardIndex.load(cohort_root))


def stacks_of(problem: Problem, root: Path, out: Path, embedding: np.ndarray, name: str = "both") -> Stacks:
    task = TaskPlan("regression", ["lv_edv"])
    evaluation = EvaluationPlan({"volumes": task}, [40], linear_probe=["mae"], baselines=["age+sex"])
    evaluation = EvaluationPlan(**{**vars(evaluation), "stack": {name: ["mae", "age+sex"]}})
    plan = Plan(out / "plan.yaml", CohortPlan(root="x"), {}, evaluation)
    baselines = Baselines(ShardIndex.load(root), out, 1, "cohort")
    return Stacks(plan, problem, baselines, lambda problem, method, seed: embedding, {})


def test_other_features_labels_or_folds_are_fitted_anew(
    problem: Problem, cohort_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = list[int]()
    whole = stacks.out_of_fold
    monkeypatch.setattr(stacks, "out_of_fold", lambda *args: (fits.append(1), whole(*args))[1])
    embedding = np.random.default_rng(0).normal(size=(len(problem.rows), 3))

    def run(changed: np.ndarray) -> np.ndarray:
        fits.clear()
        ((count, seed, outcome),) = stacks_of(problem, cohort_root, tmp_path, changed).outcomes("both", [40])
        assert (count, seed) == (40, 0)
        return outcome.prediction

    first = run(embedding)
    assert len(fits) == 2
    assert np.array_equal(run(embedding), first)
    assert fits == []
    run(embedding + np.arange(len(embedding))[:, None])
    assert len(fits) == 1  # age and sex stay
    monkeypatch.setattr(stacks, "deal_folds", lambda *args: deal_folds(*args, most=3))
    run(embedding)
    assert len(fits) == 2


def test_a_stack_sees_no_label_of_a_test_subject(problem: Problem, cohort_root: Path, tmp_path: Path) -> None:
    """Whatever the test truths are, its predictions and its choice are the same."""
    embedding = np.random.default_rng(0).normal(size=(len(problem.rows), 3))
    embedding[:, 0] += np.nan_to_num(problem.values[:, 0]) / 20.0
    found = []
    for shift in (0.0, 1000.0):
        problem.values[problem.part("test")] += shift
        made = stacks_of(problem, cohort_root, tmp_path / str(shift), embedding)
        ((_, _, outcome),) = made.outcomes("both", [40])
        found.append((outcome, made.notes()))
    np.testing.assert_array_equal(found[0][0].prediction, found[1][0].prediction)
    np.testing.assert_array_equal(found[0][0].validation, found[1][0].validation)
    assert found[0][1] == found[1][1]


def test_a_stack_joins_an_embedding_with_age_and_sex(problem: Problem, cohort_root: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    sex = read_labels(ShardIndex.load(cohort_root), ["sex"], problem.rows)[:, 0]
    unseen = draw.normal(size=len(sex))
    problem.values[:, 0] = 100.0 + 20.0 * np.nan_to_num(sex) + 10.0 * unseen + draw.normal(size=len(sex))
    made = stacks_of(problem, cohort_root, tmp_path, np.column_stack([unseen, draw.normal(size=len(sex))]))
    ((_, _, outcome),) = made.outcomes("both", [40])
    truth = problem.values[problem.part("test"), 0]
    assert 1 - ((outcome.prediction[:, 0] - truth) ** 2).mean() / truth.var() > 0.85
    assert made.notes() == [
        "volumes, stack both: of targets and seeds validation chose at 40 labels fitted weights 100 %"
    ]


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ({"both": ["mae"]}, ["stack.both", "two or more"]),
        ({"both": ["mae", "mae"]}, ["stack.both", "different"]),
        ({"both": ["mae", "oracle"]}, ["stack.both", "'oracle'", "random, mae, age+sex", "linear_probe"]),
        ({"both": ["mae", "features"]}, ["stack.both", "'features'", "evaluation.baselines"]),
        ({"both": ["mae", "mae+alignment"]}, ["'mae+alignment'", "evaluation.linear_probe"]),
        ({"mae": ["mae", "age+sex"]}, ["stack.mae", "one method, one name"]),
        ({"features": ["mae", "age+sex"]}, ["stack.features", "cannot be one"]),
        ({"a/b": ["mae", "age+sex"]}, ["stack", "cannot be one"]),
        ({"both": "mae"}, ["both is 'mae'", "expected a list of texts"]),
        (["mae", "age+sex"], ["stack", "mapping"]),
    ],
)
def test_a_stack_that_is_none_is_refused_in_one_line(tmp_path: Path, stack: Any, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_plan(write_plan(tmp_path, ("evaluation/stack", stack)))
    message = str(caught.value)
    assert message.startswith("trial.yaml: ")
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_null_takes_a_stack_out_and_a_stack_can_be_what_gains(tmp_path: Path) -> None:
    stack = {"both": ["mae", "age+sex"], "all": ["random", "mae", "age+sex"]}
    gain = {"method": "both", "over": ["age+sex"], "task": "phenotypes", "labels": 50}
    path = write_plan(tmp_path, ("evaluation/stack", stack), ("evaluation/gain", gain))
    plan = load_plan(path, overrides=["evaluation.stack.all=null"])
    assert (list(plan.evaluation.stack), plan.focus) == (["both"], "both")
    assert plan.evaluation.compared == (("both", "mae"), ("both", "age+sex"))
    whole = load_plan(path, overrides=["evaluation.stack.all=[mae, age+sex]"])
    assert ("all", "both") in whole.evaluation.compared
    assert whole.evaluation.methods[-2:] == ["both", "all"]
