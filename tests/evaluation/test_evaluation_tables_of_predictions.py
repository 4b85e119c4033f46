"""``ecgcmr evaluate`` and ``ecgcmr compare``: from a table of predictions to results, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, r2_score, roc_auc_score

from ecgcmr.arguments import run_command
from ecgcmr.errors import UserError
from ecgcmr.evaluation.arrangement import Arrangement, arrange
from ecgcmr.evaluation.assessment import Assessment, Settings, assess
from ecgcmr.evaluation.prediction_table import checked_table, read_prediction_table, write_prediction_table
from ecgcmr.evaluation.result_file import write_rows
from ecgcmr.evaluation.result_rows import read_results_json
from ecgcmr.evaluation.rows import Target
from ecgcmr.evaluation.subgroups import subgroups_of
from ecgcmr.metrics.bootstrap import Resamples, resample
from ecgcmr.metrics.multiplicity import holm, two_sided_p
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.reports import compare_command, evaluate_command

pytestmark = pytest.mark.slow

N, VALIDATION = 90, 30
METHODS = (("mae", "linear_probe", 1.5), ("mae+alignment", "linear_probe", 0.5), ("oracle", None, 0.1))
NUMBERS = ("lv_edv", "lv_ef", "rv_edv", "gone")


def rows(method: str, protocol: str | None, labels: float, seed: int, noise: float) -> pd.DataFrame:
    """One method's predictions: four numbers (one without truth), a disease, and the time to an event."""
    world, own = np.random.default_rng(0), np.random.default_rng([seed, len(method), int(labels)])
    subjects = [f"{k:032x}" for k in range(N + VALIDATION)]
    split = np.where(np.arange(N + VALIDATION) < N, "test", "val")
    about = {
        "subject": subjects, "split": split, "seed": seed, "method": method, "protocol": protocol, "labels": labels,
        "age": world.integers(45, 80, N + VALIDATION), "sex": world.integers(0, 2, N + VALIDATION).astype(float),
    }  # fmt: skip
    parts = []
    for name in NUMBERS:
        truth = 100 + 20 * world.normal(size=N + VALIDATION)
        guess = 100 + (truth - 100 + 20 * noise * own.normal(size=len(truth))) / (1 + noise**2)
        truth[world.random(len(truth)) < (1.0 if name == "gone" else 0.2)] = np.nan
        parts.append(pd.DataFrame({**about, "target": name, "truth": truth, "prediction": guess}))
    risk = world.normal(size=N + VALIDATION)
    seen = risk + noise * own.normal(size=len(risk))
    chance = 1 / (1 + np.exp(-seen))
    parts.append(pd.DataFrame({**about, "target": "af_ever", "truth": (risk > 0.8) * 1.0, "prediction": chance}))
    onset, lost = world.exponential(5 * np.exp(-risk)), world.uniform(1, 8, len(risk))
    event = {"kind": "time_to_event", "truth": np.nan, "time": np.minimum(onset, lost), "event": (onset <= lost) * 1.0}
    parts.append(pd.DataFrame({**about, "target": "af_incident", "prediction": seen, **event}))
    return pd.concat(parts, ignore_index=True)


def made_table(methods: tuple = METHODS) -> pd.DataFrame:
    return pd.concat(
        [rows(m, p, labels, s, e) for m, p, e in methods for labels in (10.0, 50.0) for s in (0, 101)],
        ignore_index=True,
    )


TABLE = made_table()
QUICK = Settings(resamples=60)


@pytest.fixture(scope="module")
def data() -> Arrangement:
    return arrange(checked_table(TABLE, "made"), "made")


@pytest.fixture(scope="module")
def found(data: Arrangement) -> Assessment:
    return assess(data, QUICK)


def one(entries: Any, **wanted: Any) -> Any:
    matches = [entry for entry in entries if all(getattr(entry, name) == value for name, value in wanted.items())]
    assert len(matches) == 1, (len(matches), wanted)
    return matches[0]


MAE = {"method": "mae", "labels": 50}


def test_values_are_means_over_seeds_of_the_plain_metrics(found: Assessment) -> None:
    test = TABLE[(TABLE.split == "test") & (TABLE.method == "mae") & (TABLE.labels == 50)]
    r2, area, f1 = [], [], []
    for seed in (0, 101):
        volume = test[(test.seed == seed) & (test.target == "lv_edv")].dropna(subset="truth")
        r2.append(r2_score(volume.truth, volume.prediction))
        disease = test[(test.seed == seed) & (test.target == "af_ever")]
        area.append(roc_auc_score(disease.truth, disease.prediction))
        validation = TABLE[(TABLE.split == "val") & (TABLE.method == "mae") & (TABLE.labels == 50)]
        validation = validation[(validation.seed == seed) & (validation.target == "af_ever")]
        scores = [f1_score(validation.truth, validation.prediction >= cut) for cut in validation.prediction]
        best = validation.prediction[np.array(scores) == max(scores)].max()
        f1.append(f1_score(disease.truth, disease.prediction >= best))
    row = one(found.scores, target="lv_edv", metric="r2", **MAE)
    assert row.value == pytest.approx(np.mean(r2), abs=1e-9)
    assert row.seed_sd == pytest.approx(np.std(r2, ddof=1), abs=1e-9)
    assert row.n_seeds == 2
    assert row.n_test == len(volume)
    assert one(found.scores, target="af_ever", metric="auroc", **MAE).value == pytest.approx(np.mean(area), abs=1e-9)
    assert one(found.scores, target="af_ever", metric="f1", **MAE).value == pytest.approx(np.mean(f1), abs=1e-9)
    assert one(found.scores, target="af_incident", metric="concordance", **MAE).value > 0.5


def test_what_cannot_be_scored_has_a_reason_and_no_number(found: Assessment) -> None:
    assert found.undefined == {"gone": "all 90 values missing"}
    row = one(found.scores, target="gone", metric="r2", **MAE)
    assert np.isnan(row.value)
    assert row.reason == "all 90 values missing"
    mean = one(found.scores, target="mean", group="all", metric="r2", **MAE)
    values = [one(found.scores, target=name, metric="r2", **MAE).value for name in NUMBERS[:3]]
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.reason == "1 of 4 targets undefined"
    raw = {"mae", "rmse", "bias", "agreement_low", "agreement_high", "calibration_slope", "calibration_intercept"}
    averaged = {row.metric for row in found.scores if row.target == "mean"}
    assert averaged == {"r2", "pearson"}
    assert raw <= {row.metric for row in found.scores if row.target == "lv_edv"}
    frame = checked_table(TABLE.assign(truth=TABLE.truth.where(TABLE.target != "af_ever", 0.0)), "t")
    frame["kind"] = frame["kind"].cat.add_categories("classification").mask(frame.target == "af_ever", "classification")
    assert assess(arrange(frame, "t"), QUICK).undefined["af_ever"] == "one class only: all 90 values are 0"


def test_differences_are_paired_and_corrected(data: Arrangement, found: Assessment) -> None:
    pair = {"method": "mae+alignment", "reference": "mae", "labels": 50}
    row = one(found.differences, target="lv_edv", **pair)
    column = [target.name for target in data.targets].index("lv_edv")
    values = []
    for seed in (0, 101):
        first, second = (
            next(own[seed] for variant, own in data.test.predictions.items() if (variant.method, variant.labels) == key)
            for key in (("mae+alignment", 50), ("mae", 50))
        )
        draws, truth = Resamples.draw(data.test.subjects, 60, 0), data.test.truth[:, [column]]
        one_seed, two = (resample(TASKS["regression"], truth, own[:, [column]], draws) for own in (first, second))
        values.append(one_seed - two)
    single = [value.entry("r2", [0]) for value in values]
    assert row.value == pytest.approx(np.mean([value.value for value in single]), abs=1e-9)
    drawn = np.mean([value.drawn["r2"][:, 0] for value in values], axis=0)
    low, high = np.percentile(drawn, (2.5, 97.5)) - (drawn.mean() - row.value)
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high), abs=1e-9)
    assert row.ci_low < row.value < row.ci_high
    assert row.family == 3
    assert row.p <= row.p_holm
    assert not [row for row in found.differences if "oracle" in (row.method, row.reference)]
    (note,) = (note for note in found.notes if "resamples" in note)
    assert note == (
        "With 60 resamples p is at least 0.033, which Holm's correction over 3 comparisons lifts to 0.098: 1000 "
        "resolve 0.05 (--resamples of evaluate and compare, evaluation.resamples of an experiment)."
    )
    with pytest.raises(UserError, match="no such method; the table has mae"):
        assess(data, Settings(resamples=60, focus="nobody"))


def test_the_order_and_titles_of_targets_are_those_that_are_asked_for(data: Arrangement) -> None:
    assert [target.name for target in data.targets] == ["lv_edv", "lv_ef", "rv_edv", "af_ever", "af_incident", "gone"]
    wanted = [Target("gone", "other"), Target("rv_edv", "RV", "mL", "Volume"), Target("lv_mass", "LV")]
    found = arrange(checked_table(TABLE, "made"), "made", targets=wanted).targets
    assert [target.name for target in found] == ["gone", "rv_edv", "lv_edv", "lv_ef", "af_ever", "af_incident"]
    assert [target.title for target in found[:3]] == ["", "Volume", data.targets[0].title]


def test_p_values_and_holm() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    drawn = np.random.default_rng(0).normal(2.0, 1.0, 999)
    drawn += 2.0 - drawn.mean()
    assert two_sided_p(2.0, drawn) == pytest.approx(2 * ((drawn <= 0).sum() + 1) / 1000)
    assert two_sided_p(-9.0, drawn) == pytest.approx(2 / 1000)
    assert two_sided_p(0.0, np.zeros(99)) == 1.0
    assert np.isnan(two_sided_p(1.0, np.full(10, np.nan)))
    shares = [two_sided_p(x, x + np.random.default_rng(k).normal(size=400))
              for k, x in enumerate(np.random.default_rng(1).normal(size=400))]  # fmt: skip
    assert abs(np.mean(np.array(shares) < 0.1) - 0.1) < 0.05  # a true null is rejected as often as it says


def test_subgroups_are_counted_and_small_ones_suppressed(data: Arrangement, found: Assessment) -> None:
    test = TABLE[(TABLE.split == "test") & (TABLE.method == "mae") & (TABLE.labels == 50) & (TABLE.target == "af_ever")]
    women = test[test.sex == 0]
    row = one(found.subgroups, target="af_ever", subgroup="women", metric="auroc", **MAE)
    assert row.n_test == len(women) // 2
    own = [roc_auc_score(part.truth, part.prediction) for _, part in women.groupby("seed")]
    assert row.value == pytest.approx(np.mean(own), abs=1e-9)
    assert {row.labels for row in found.subgroups} == {50}
    strict = assess(data, Settings(resamples=20, smallest_group=40))
    hidden = [row for row in strict.subgroups if row.n_test is None]
    assert hidden
    assert all(np.isnan(row.value) and row.reason == "fewer than 40 subjects" for row in hidden)
    assert all(row.n_test is None or row.n_test >= 40 for row in strict.subgroups)


def test_bands_hold_their_lower_edge() -> None:
    made = subgroups_of(
        {
            "age": np.array([49.9, 50.0, None, 70.0], dtype=object),
            "sex": np.array(["Female", 1.0, "m", 0], dtype=object),
            "signal_quality": np.array(["good", "poor", "good", None], dtype=object),
        }
    )
    members = {name: np.flatnonzero(rows).tolist() for name, rows in made["age"].items()}
    assert members == {"under 50 years": [0], "50 to 60 years": [1], "70 years and over": [3], "unknown": [2]}
    assert {name: list(np.flatnonzero(rows)) for name, rows in made["sex"].items()} == {"women": [0, 3], "men": [1, 2]}
    assert list(made["signal_quality"]) == ["good", "poor", "unknown"]
    with pytest.raises(UserError, match="sex is 'x'"):
        subgroups_of({"sex": np.array(["x"], dtype=object)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["truth", "seed"]), "no column truth, seed"),
        (lambda t: t.iloc[:0], "holds no rows"),
        (lambda t: pd.concat([t, t.iloc[[5]]]), "1 rows repeat a subject"),
        (lambda t: t.assign(prediction=t.prediction.mask(t.index == 3)), "prediction is missing .* first row 4"),
        (lambda t: t.assign(truth="high"), "column truth holds text"),
        (lambda t: t.assign(target=1.0), "column target holds numbers"),
        (lambda t: t.assign(seed=0.5), "seed is no whole number"),
        (lambda t: t.assign(split="exam"), "split is 'exam'; it must be one of train, val, test"),
        (lambda t: t.assign(split="val"), "no rows of split test; it has val"),
        (lambda t: t.assign(event=2.0), "event is neither 0 nor 1"),
        (lambda t: t.assign(truth=t.truth + (t.method == "mae")), "truth of .* differs between methods"),
        (lambda t: t.assign(sex=np.arange(len(t)) // 7 % 2), "sex of a subject differs"),
        (lambda t: t.assign(unit=np.where(t.method == "mae", "mL", "L")), "unit of .* is both"),
    ],
)
def test_bad_tables_are_refused_in_one_line(change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        arrange(checked_table(change(TABLE), "bad.csv"), "bad.csv")
    assert "\n" not in str(caught.value)
    assert "0000" not in str(caught.value)  # no subject


def call(name: str, *arguments: object) -> int:
    module = evaluate_command if name == "evaluate" else compare_command
    return run_command(name, module, [str(argument) for argument in arguments])


@pytest.mark.long
def test_evaluate_writes_the_same_bytes_from_parquet_and_csv(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    parquet = write_prediction_table(tmp_path / "a" / "predictions.parquet", TABLE)
    csv = write_prediction_table(tmp_path / "a" / "predictions.csv", TABLE.sample(frac=1.0, random_state=1))
    assert parquet.read_bytes() == write_prediction_table(tmp_path / "again.parquet", TABLE).read_bytes()
    for name, file in (("p", parquet), ("c", csv)):
        figures = [] if name == "p" else ["--no-figures"]
        assert call("evaluate", "--predictions", file, "--out", tmp_path / name, "--resamples", 40, *figures) == 0
    assert "not scored: gone: all 90 values missing" in capsys.readouterr().out
    for name in ("results.json", "results.tex"):
        assert (tmp_path / "p" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    content = json.loads((tmp_path / "p" / "results.json").read_text())
    assert list(content)[:2] == ["format", "settings"]
    assert all(f"{k:032x}" not in (tmp_path / "p" / "results.json").read_text() for k in range(5))
    gone = [row for row in content["scores"] if row["target"] == "gone"]
    assert gone
    assert all(row["value"] is None and row["reason"] for row in gone)
    text = (tmp_path / "p" / "results.md").read_text()
    for part in (
        "; seeds 0, 101 (values are means over seeds);",
        "## Targets that cannot be scored",
        "p, Holm",
        "## Subgroups",
        "lv_edv [mL]",
        "fewer than 20 subjects",
    ):
        assert part in text, part
    assert "lv\\_edv" in (tmp_path / "p" / "results.tex").read_text()
    drawn = {path.stem for path in (tmp_path / "p" / "figures").iterdir()}
    assert drawn >= {
        "regression_bland_altman",
        "regression_scatter",
        "classification_calibration",
        "classification_roc",
    }
    assert drawn >= {
        f"{kind}_{what}" for kind in ("regression", "time_to_event") for what in ("forest", "label_efficiency")
    }
    assert len(read_results_json(tmp_path / "p" / "results.json")) == len(content["scores"])


def test_evaluate_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_prediction_table(tmp_path / "absent.csv")
    for name in ("text.parquet", "text.npz"):
        (tmp_path / name).write_text("no table")
        with pytest.raises(UserError, match=name):
            read_prediction_table(tmp_path / name)
    with pytest.raises(ValueError, match="keyed hashes"):
        write_prediction_table(tmp_path / "x.csv", TABLE.assign(subject="1000012"))


def run_folder(folder: Path, method: str, keep: int = N, shift: float = 0.0) -> Path:
    table = made_table(((method, "linear_probe", 1.0),))
    table = table[(table.subject < f"{keep:032x}") & (table.split == "test")]
    return write_prediction_table(folder / "predictions.csv", table.assign(truth=table.truth + shift)).parent


def test_compare_pairs_runs_on_the_subjects_they_share(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = run_folder(tmp_path / "one", "mae"), run_folder(tmp_path / "two", "byol", keep=70)
    assert call("compare", first, second, "--out", tmp_path / "out", "--resamples", 40) == 0
    said = capsys.readouterr().out
    assert "Test subjects differ: one has 90, two has 70; paired differences are over the 70 in both." in said
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["method"] for row in content["scores"]} == {"one", "two"}
    assert {row["n_test"] for row in content["differences"] if row["target"] == "af_ever"} == {70}
    assert {row["n_test"] for row in content["scores"] if row["target"] == "af_ever"} == {70, 90}
    assert "**" in (tmp_path / "out" / "results.md").read_text().split("\n\n", 3)[3]
    third = run_folder(tmp_path / "three", "clocs")
    call("compare", first, third, "--out", tmp_path / "same", "--resamples", 40)
    assert "All runs were tested on the same 90 subjects." in capsys.readouterr().out


def test_runs_that_share_no_test_subject_are_not_ranked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = run_folder(tmp_path / "one", "mae", keep=45), tmp_path / "two"
    table = made_table((("byol", "linear_probe", 1.0),))
    table = table[(table.subject >= f"{45:032x}") & (table.split == "test")]
    second.mkdir()
    write_prediction_table(second / "predictions.csv", table)
    assert call("compare", first, second, "--out", tmp_path / "out", "--resamples", 40) == 0
    assert "they share none, so there is no paired difference" in capsys.readouterr().out
    text = (tmp_path / "out" / "results.md").read_text()
    assert "None is marked as best: two methods share no test subject." in text
    assert "**" not in text
    assert "textbf" not in (tmp_path / "out" / "results.tex").read_text()


def test_compare_takes_results_alone_and_refuses_other_truths(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first = run_folder(tmp_path / "one", "mae")
    call("evaluate", "--predictions", first / "predictions.csv", "--resamples", 40, "--no-figures")
    scores = read_results_json(first / "evaluation" / "results.json")
    write_rows(scores, tmp_path / "old" / "results.json")
    capsys.readouterr()
    assert call("compare", first, tmp_path / "old", "--out", tmp_path / "out", "--resamples", 40) == 0
    assert "old has results.json alone" in capsys.readouterr().out
    text = (tmp_path / "out" / "results.md").read_text()
    assert "| one, linear probe |" in text
    assert "| old, linear probe |" in text
    with pytest.raises(UserError, match="truth of lv_edv differs"):
        call("compare", first, run_folder(tmp_path / "moved", "byol", shift=1.0), "--resamples", 40)
    for runs, message in (
        ([first], "two runs or more"),
        ([first, first], "given twice"),
        ([first, tmp_path], "holds neither"),
        ([first, tmp_path / "absent"], "no such folder"),
    ):
        with pytest.raises(UserError, match=message):
            call("compare", *runs, "--out", tmp_path / "o", "--resamples", 40)


def test_a_method_has_rows_in_the_tasks_that_it_predicts_alone() -> None:
    numbers = TABLE[~((TABLE.method == "mae") & TABLE.target.isin(["af_ever", "af_incident"]))]
    found = assess(arrange(checked_table(numbers, "t"), "t"), QUICK)
    assert {row.method for row in found.scores if row.task == "regression"} == {"mae", "mae+alignment", "oracle"}
    assert {row.method for row in found.scores if row.task != "regression"} == {"mae+alignment", "oracle"}
    assert not [note for note in found.notes if "af_ever" in note]


def with_tasks(table: pd.DataFrame) -> pd.DataFrame:
    """Name two tasks of one kind, and leave the others unnamed."""
    names = {"lv_edv": "left", "lv_ef": "left", "rv_edv": "right", "gone": "right"}
    return table.assign(task=table.target.astype(object).map(names))


@pytest.mark.long
def test_tasks_of_one_kind_have_means_and_figures_of_their_own(tmp_path: Path) -> None:
    write_prediction_table(tmp_path / "p.parquet", with_tasks(TABLE))
    assert call("evaluate", "--predictions", tmp_path / "p.parquet", "--resamples", 20) == 0
    out = tmp_path / "evaluation"
    content = json.loads((out / "results.json").read_text())
    chosen = [row for row in content["scores"] if (row["method"], row["labels"], row["metric"]) == ("mae", 50, "r2")]
    means = {row["task_name"]: row["value"] for row in chosen if (row["target"], row["group"]) == ("mean", "all")}
    single = {row["target"]: row["value"] for row in chosen if row["target"] != "mean"}
    assert means["left"] == pytest.approx((single["lv_edv"] + single["lv_ef"]) / 2, abs=2e-6)
    assert means["right"] == single["rv_edv"]
    assert {row["task_name"] for row in content["subgroups"]} == {"left", "right", "classification", "time_to_event"}
    text = (out / "results.md").read_text()
    assert "## Phenotypes, left: mean over 2 targets, 50 labels" in text
    assert "## Mean R2 over 1 of 2 targets (all), right" in text
    drawn = {path.stem for path in (out / "figures").iterdir()}
    assert drawn >= {"left_forest", "right_forest", "classification_roc"}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("left", "task 'left' has a target that is a"),
        ("../left", "task is '../left', which no figure can be named after"),
    ],
)
def test_a_task_of_two_kinds_or_of_no_name_is_refused(task: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        arrange(checked_table(TABLE.assign(task=task), "t"), "t")


def test_compare_gives_up_names_of_tasks_that_runs_do_not_share(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, second, third = (run_folder(tmp_path / name, name) for name in ("mae", "byol", "clocs"))
    for run in (first, third):
        write_prediction_table(run / "predictions.csv", with_tasks(read_prediction_table(run / "predictions.csv")))
    assert call("compare", first, third, "--out", tmp_path / "same", "--resamples", 20) == 0
    assert "differently" not in capsys.readouterr().out
    rows = json.loads((tmp_path / "same" / "results.json").read_text())["scores"]
    assert {row["task_name"] for row in rows if row["task"] == "regression"} == {"left", "right"}
    assert call("compare", first, second, "--out", tmp_path / "out", "--resamples", 20) == 0
    assert (
        "name the tasks of their targets differently; means are over all targets of a kind" in capsys.readouterr().out
    )
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["scores"]
    assert {row["task_name"] for row in rows if row["task"] == "regression"} == {"regression"}


def with_recordings(table: pd.DataFrame, each: int = 2) -> pd.DataFrame:
    """Make every ``each`` subjects one with so many recordings."""
    place = table.subject.map(lambda name: int(name, 16)).astype(int)
    subject = (place // each).map(lambda number: f"{number:032x}")
    return table.assign(subject=subject, recording=place % each, sex=np.where(place // each % 3 == 0, 0.0, 1.0))


def test_several_recordings_of_a_subject_are_all_scored_and_drawn_together(found: Assessment) -> None:
    several = assess(arrange(checked_table(with_recordings(TABLE), "t"), "t"), Settings(resamples=400))
    wide, narrow = (one(own.scores, target="lv_edv", metric="mae", **MAE) for own in (several, found))
    assert wide.value == pytest.approx(narrow.value, abs=1e-12)
    assert wide.n_test <= 45 < narrow.n_test
    assert several.notes[0].startswith("90 recordings of 45 subjects were scored")
    variant = next(v for v in several.data.variants if (v.method, v.labels) == ("mae", 50))
    truth, prediction = several.data.test.truth, several.data.test.predictions[variant]
    k = [target.name for target in several.data.targets].index("lv_edv")
    known, place = np.isfinite(truth[:, k]), np.arange(90) // 2
    slow = []
    for draw in np.random.default_rng(0).integers(0, 45, size=(400, 45)):
        rows = np.concatenate([np.flatnonzero(known & (place == subject)) for subject in draw])
        slow.append(np.mean([np.abs(truth[rows, k] - own[rows, k]).mean() for own in prediction.values()]))
    low, high = np.percentile(slow, (2.5, 97.5)) - (np.mean(slow) - wide.value)
    assert (wide.ci_low, wide.ci_high) == pytest.approx((low, high), abs=1e-9)
    women = one(several.subgroups, target="af_ever", subgroup="women", metric="auroc", **MAE)
    assert (women.n_test, women.reason) == (None, "fewer than 20 subjects")  # 15 of them, with 30 recordings
