"""A whole experiment on a tiny cohort: what it writes, what it does again and what it does not, how it fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from tiny_experiment import BASELINES, LITTLE, SEEDS, change, write_experiment

from ecgcmr.cli import main
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.interpretation import attribution
from ecgcmr.provenance.run_note import read_note
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.shards.contents import contents_of

KEYS = ["target", "group", "task", "method", "protocol", "labels", "metric", "value", "ci_low", "ci_high", "n_test"]
ADDED = ["task_name", "ended", "n_seeds", "seed_sd", "reason"]
METHODS = {"random", "scratch", "cnn", "mae", "alignment", "mae+alignment", *BASELINES}


def times(out: Path, pattern: str) -> dict[str, int]:
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in sorted(out.rglob(pattern))}


def test_rows_are_what_the_contract_says(finished: Path, cohort_root: Path) -> None:
    rows = json.loads((finished / "out" / "results.json").read_text())
    assert all(list(row) == [*KEYS, *ADDED] for row in rows)
    assert {(row["task"], row["task_name"]) for row in rows} == {
        ("regression", "phenotypes"), ("classification", "diseases"),
    }  # fmt: skip
    assert {row["method"] for row in rows} == METHODS
    assert {row["task"]: set() for row in rows}.keys() == {"regression", "classification"}
    assert {row["metric"] for row in rows} == {"r2", "pearson", "mae", "auroc", "auprc"}
    protocols = {
        method: {row["protocol"] for row in rows if row["method"] == method and row["task"] == "regression"}
        for method in METHODS
    }
    probed = dict.fromkeys(("random", "mae", "alignment", "mae+alignment"), {"linear_probe"})
    trained = dict.fromkeys(("scratch", "cnn"), {"finetune"})
    assert protocols == {**probed, **trained, **dict.fromkeys(BASELINES, {None})}
    ends = {method: {row["ended"] for row in rows if row["method"] == method} for method in METHODS}
    assert ends == {**dict.fromkeys(METHODS, {""}), "cnn": {"most"}}
    assert {row["labels"] for row in rows if row["method"] == "oracle"} == {None}
    # 52 training subjects are labelled: "all" is no second result, 5000 is not to be had, half of them are 26.
    assert {row["labels"] for row in rows if row["method"] != "oracle"} == {20, 26, 52}
    assert {row["labels"] for row in rows if row["protocol"] == "finetune"} == {20}
    identities = [tuple(row[key] for key in KEYS[:7]) for row in rows]
    assert len(set(identities)) == len(identities)
    index = ShardIndex.load(cohort_root)
    test = index.positions("test", ("ecg",))
    names = [label.name for label in index.layout.labels if label.group in ("LV", "RV")]
    assert len(names) == 10
    assert {row["target"] for row in rows if row["task"] == "regression"} == {*names, "mean"}
    known = (read_labels(index, names, test) == read_labels(index, names, test)).sum(axis=0)
    for row in rows:
        if row["target"] in names:
            assert row["n_test"] == known[names.index(row["target"])]
    scored = [row for row in rows if row["value"] is not None and row["ci_low"] is not None]
    assert len(scored) > len(rows) / 2
    assert all(row["ci_low"] <= row["ci_high"] for row in scored)


def test_the_oracle_is_the_best_and_its_predictions_are_kept(finished: Path) -> None:
    rows = json.loads((finished / "out" / "results.json").read_text())
    score = {
        (row["method"], row["labels"]): row["value"]
        for row in rows
        if (row["target"], row["group"], row["metric"]) == ("mean", "LV+RV", "r2")
    }
    assert max(score, key=lambda key: score[key]) == ("oracle", None)
    table = read_prediction_table(finished / "out" / "predictions.parquet")
    table = table[table["split"] == "test"]
    oracle = table[(table["method"] == "oracle") & (table["task"] == "phenotypes")]
    assert (oracle["subject"].nunique(), oracle["target"].nunique(), len(oracle)) == (12, 10, 120)
    # With all 52 labels the seeds differ in nothing but the random encoder.
    probes, others = 3 * 2 + 3 * (2 + 2 + 1), 4 * (2 + 2 + 1) + 1
    lines = table[["task", "method", "protocol", "labels", "seed"]].drop_duplicates()
    assert len(lines) == 2 * (probes + others) + 2
    assert not (finished / "out" / "predictions").exists()  # one form is enough


def test_tables_and_figures_are_written(finished: Path) -> None:
    out = finished / "out"
    table = (out / "results.md").read_text()
    assert table.startswith("# A trial")
    assert all(method in table for method in METHODS)
    assert "too few for [5000]" in table
    figures = {path.stem for path in (out / "figures").glob("*.png")}
    assert {
        "phenotypes_label_efficiency",
        "phenotypes_scatter",
        "diseases_roc",
        "phenotypes_forest_20_labels",
        "phenotypes_bland_altman",
    } <= figures
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (out / "figures").glob("*.png"))
    differences = json.loads((out / "differences.json").read_text())
    assert {row["method"] for row in differences} == {"mae+alignment"}
    pairs = {(row["reference"], row["reference_protocol"]) for row in differences}
    assert pairs >= {(name, "linear_probe") for name in ("mae", "random", "alignment")} | {("scratch", "finetune")}
    assert "means over seeds 0, 7" in table
    assert "phenotypes: of 52 labelled training recordings, all = 52, 50 % = 26" in table
    gain = next(part for part in table.split("\n## ") if part.startswith("Gain of mae+alignment"))
    assert "At 20 labelled training recordings, mae+alignment (linear probe) reaches a mean R2 of" in gain
    assert "Published: up to 27.59 % (a paper)" in gain
    assert "The oracle" in gain


def test_all_predictions_are_one_table_that_can_be_evaluated_again(finished: Path, cohort_root: Path) -> None:
    out = finished / "out"
    table = read_prediction_table(out / "predictions.parquet")
    assert set(table["method"]) == METHODS
    assert set(table["seed"]) == set(SEEDS)
    assert set(table.loc[table["split"] == "val", "kind"]) == {"classification"}
    index = ShardIndex.load(cohort_root)
    positions = index.positions("test")
    age = dict(zip(index.subjects(positions), read_labels(index, ["age"], positions)[:, 0], strict=True))
    for subject, rows in table[table["split"] == "test"].groupby("subject", observed=True):
        assert rows["age"].unique() == pytest.approx([age[subject]])
    rows = {tuple(row[key] for key in KEYS[:7]): row for row in json.loads((out / "results.json").read_text())}
    for task in ("phenotypes", "diseases"):
        folder = out / "evaluation" / task
        assert all((folder / name).is_file() for name in ("results.md", "results.tex"))
        assert (folder / "results.tex").read_text() in (out / "results.tex").read_text()
        assessed = json.loads((folder / "results.json").read_text())
        assert assessed["differences"]
        order = [target["name"] for target in assessed["targets"]]
        assert order == list(dict.fromkeys(name for name, *_ in rows if name in order))  # of the task, not the alphabet
        assert task != "diseases" or order == ["cad_ever", "af_ever"]
        common = [row for row in assessed["scores"] if tuple(row[key] for key in KEYS[:7]) in rows]
        assert len(common) > 100
        for row in common:
            assert rows[tuple(row[key] for key in KEYS[:7])] == row
        assert len(common) == sum(row["task_name"] == task for row in rows.values())
    again = out.parent / "again"
    command = ["evaluate", "--predictions", str(out / "predictions.parquet"), "--out", str(again), "--resamples", "50"]
    assert main([*command, "--focus", "mae+alignment", "--no-figures"]) == 0
    evaluated = json.loads((again / "results.json").read_text())
    found = {tuple(row[key] for key in KEYS[:7]): row for row in evaluated["scores"]}
    assert {key: found[key] for key in rows} == rows
    written = [
        json.loads((out / "evaluation" / task / "results.json").read_text()) for task in ("phenotypes", "diseases")
    ]
    for name in ("differences", "subgroups"):
        rows_again, rows_before = evaluated[name], [row for part in written for row in part[name]]
        assert sorted(map(json.dumps, rows_again)) == sorted(map(json.dumps, rows_before))  # here by target's name


def test_no_result_names_a_place_on_this_machine(finished: Path) -> None:
    out = finished / "out"
    texts = [out / name for name in ("results.json", "results.md", "results.tex", "differences.json")]
    for path in [*texts, *out.glob("evaluation/*/results.*")]:
        assert str(finished) not in path.read_text()


def test_again_nothing_is_computed(finished: Path, commands: list, capsys: pytest.CaptureFixture[str]) -> None:
    out = finished / "out"
    before = times(out, "*")
    assert main(["experiment", str(finished / "trial.yaml"), "--out", str(out)]) == 0
    assert commands == []
    assert times(out, "*") == before
    assert {path.name for path in out.rglob("*.ckpt")} == {"best.ckpt"}  # the last one served an unfinished stage
    assert "finished earlier" in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
@pytest.mark.long
def test_results_are_scored_again_without_training(
    copied: Path, finished: Path, commands: list, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied / "out"
    before = times(out, "*.ckpt") | times(out, "features.npy")
    for name in ("results.json", "results.md"):
        (out / name).unlink()
    assert main(["experiment", str(copied / "trial.yaml"), "--out", str(out)]) == 0
    assert commands == []
    assert times(out, "*.ckpt") | times(out, "features.npy") == before
    assert capsys.readouterr().out.count("finished earlier") == 3 + 2
    again = ["results.json", "results.md", "differences.json", "predictions.parquet", "results.tex"]
    for name in [*again, "evaluation/phenotypes/results.json"]:
        assert (out / name).read_bytes() == (finished / "out" / name).read_bytes()


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("stage", "again"),
    [("alignment", ["alignment"]), ("mae", ["mae", "mae+alignment"])],
)
def test_a_changed_stage_runs_again_with_what_starts_from_it(
    copied: Path, commands: list, stage: str, again: list[str]
) -> None:
    path, out = copied / "trial.yaml", copied / "out"
    change(path, lambda plan: plan["stages"][stage]["set"].update({"model.probe": False}))
    change(path, lambda plan: plan["evaluation"].update(LITTLE))
    before = times(out, "best.ckpt")
    assert main(["experiment", str(path), "--out", str(out)]) == 0
    assert commands == [("fit", name) for name in again]
    after = times(out, "best.ckpt")
    assert {name for name in after if after[name] != before[name]} == {f"stages/{name}/best.ckpt" for name in again}


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_a_changed_label_count_adds_only_what_is_new(copied: Path, commands: list) -> None:
    path, out = copied / "trial.yaml", copied / "out"
    change(path, lambda plan: plan["evaluation"].update(LITTLE))
    few = {"labels": [20, 30], "finetune": ["scratch"], "baselines": []}
    change(path, lambda plan: plan["evaluation"].update(few))
    change(path, lambda plan: plan["evaluation"]["tasks"].pop("diseases"))
    (out / "evaluation" / "results.md").write_text("of ecgcmr evaluate")
    assert main(["experiment", str(path), "--out", str(out)]) == 0
    assert commands == [("fit", "phenotypes-scratch-30"), ("predict", "phenotypes-scratch-30")]
    assert {row["labels"] for row in json.loads((out / "results.json").read_text())} == {20, 30}
    # What a task or method left that the file no longer names does not lie beside the new results.
    assert sorted(path.name for path in (out / "evaluation").iterdir()) == ["phenotypes", "results.md"]
    assert not list(out.glob("figures/*"))  # nothing is drawn here


@pytest.mark.long
def test_results_without_their_table_are_written_again(
    copied: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = copied / "trial.yaml", copied / "out"
    change(path, lambda plan: plan["evaluation"].update(LITTLE))
    for _ in range(2):
        assert main(["experiment", str(path), "--out", str(out)]) == 0
        assert "# A trial" in (out / "results.md").read_text()
        (out / "results.md").unlink()
    assert "nothing to do" not in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
@pytest.mark.long
def test_what_a_stage_learned_is_added_shown_on_the_page_and_removed_again(
    copied: Path, commands: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("save_attribution", "save_attention"):  # figures, which take longer than the rest
        monkeypatch.setattr(attribution, name, lambda *given: None)
    asked = {"method": "mae+alignment", "kinds": ["retrieval", "attribution"], "subjects": 8, "targets": ["rv_edv"]}
    path, out = copied / "trial.yaml", copied / "out"
    again = ["experiment", str(path), "--out", str(out), "--workers", "1"]
    change(path, lambda content: content.update(interpretation=asked))
    assert main(again) == 0
    assert commands == []  # no stage runs again
    shown = out / "interpretation"
    assert [entry["direction"] for entry in json.loads((shown / "retrieval.json").read_text())]
    (explained,) = json.loads((shown / "attribution.json").read_text())["targets"]
    assert explained["target"] == "rv_edv"
    assert not (shown / "localisation.json").exists()
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "What the model learned" in page
    assert "Retrieval among the subjects of the test split" in page
    before = times(shown, "*")
    change(path, lambda content: content["evaluation"].update(resamples=20))
    assert main(again) == 0
    assert times(shown, "*") == before  # finished earlier
    change(path, lambda content: content.pop("interpretation"))
    assert main(again) == 0
    assert not shown.exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"method": "mae", "kinds": ["localisation"]}, "interpretation.kinds: localisation cannot be had of mae"),
        ({"method": "mae", "kinds": ["attribution"]}, "name a stage of alignment, or targets"),
        ({"method": "mae", "targets": ["lv_massive"]}, "interpretation.targets: lv_massive is no target"),
    ],
)
def test_an_interpretation_that_cannot_be_had_is_refused_before_anything_is_trained(
    tmp_path: Path, cohort_root: Path, commands: list, capsys: pytest.CaptureFixture[str], asked: dict, words: str
) -> None:
    path = write_experiment(tmp_path, cohort_root)
    change(path, lambda content: content.update(interpretation=asked))
    assert main(["experiment", str(path), "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    assert words in capsys.readouterr().err
    assert commands == []


@pytest.mark.long
def test_the_note_of_an_experiment_sums_its_stages_and_counts_its_calls(copied: Path) -> None:
    out = copied / "out"
    note = read_note(out)
    assert (note["kind"], note["state"], note["file"]) == ("experiment", "finished", "trial.yaml")
    assert note["seeds"] == {"seed": 0, "seeds": SEEDS, "finetune_seeds": SEEDS[:1]}
    stages = {path.parent.name: read_note(path.parent) for path in out.glob("stages/*/run.json")}
    assert {"mae", "alignment", "mae+alignment"} < set(stages)
    assert {stage["state"] for stage in stages.values()} == {"finished"}
    assert {stage["cohort"]["fingerprint"] for stage in stages.values()} == {note["cohort"]["fingerprint"]}
    for name in ("steps", "samples", "operations"):
        assert note["totals"][name] == sum(stage["totals"][name] for stage in stages.values()) > 0
    assert set(stages["mae+alignment"]["inputs"]) == {"model.ecg_encoder_weights"}
    (out / "results.md").unlink()
    assert main(["experiment", str(copied / "trial.yaml"), "--out", str(out), "--workers", "1"]) == 0
    again = read_note(out)
    assert [call["command"].split()[1] for call in again["calls"]] == ["experiment", "experiment"]
    assert {**again["totals"], "calls": 1, "seconds": 0} == {**note["totals"], "seconds": 0}


def test_a_withdrawn_subject_makes_another_cohort(make_cohort: Callable[..., ShardIndex]) -> None:
    """The index leaves them out at once, the shards only when they are written anew; results must not wait for that."""
    index = make_cohort(["train"] * 3 + ["val"] * 2 + ["test"] * 2)
    before = contents_of(index)
    assert before == [shard["sha256"] for shard in index.shards]
    path = index.root / "index.json"
    content = json.loads(path.read_text())
    for entry, value in (("withdrawn", [content["subjects"]["subject"][0]]), ("duplicates", [1])):
        path.write_text(json.dumps({**content, entry: value}))
        assert contents_of(ShardIndex.load(index.root)) == [*before, *map(str, value)]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.long
def test_the_same_experiment_elsewhere_gives_the_same_bytes(
    finished: Path, cohort_root: Path, tmp_path: Path, commands: list
) -> None:
    """One stage, its probe and a network from scratch, trained anew: each line is one of the whole experiment's."""
    path = write_experiment(tmp_path / "other", cohort_root)
    less = {"linear_probe": ["mae", "random"], "finetune": ["scratch"], "finetune_labels": [20], "labels": [20, 26]}
    change(path, lambda plan: plan["stages"].pop("mae+alignment"))
    change(path, lambda plan: plan["stages"].pop("alignment"))
    change(path, lambda plan: plan["evaluation"].update({**LITTLE, **less, "baselines": [], "resamples": 50}))
    assert main(["experiment", str(path), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert [name for command, name in commands if command == "fit"] == ["mae", "phenotypes-scratch-20"]
    ours, whole = (
        {line.rstrip(",") for line in (folder / "out" / "results.json").read_text().splitlines()}
        for folder in (tmp_path, finished)
    )
    assert len(ours) > 200
    assert ours <= whole


@pytest.mark.usefixtures("undrawn")
def test_a_failing_stage_ends_with_two_and_without_results(
    copied: Path, commands: list, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = copied / "trial.yaml", copied / "out"
    change(path, lambda plan: plan["stages"]["alignment"]["set"].update({"data.samples": 9000}))
    change(path, lambda plan: plan["evaluation"].update(LITTLE))
    assert main(["experiment", str(path), "--out", str(out)]) == 2
    assert not (out / "results.json").exists()
    error = capsys.readouterr().err
    assert [line for line in error.splitlines() if line.startswith("error: ")] == [error.strip().splitlines()[-1]]
    assert "9000" in error
    assert commands == [("fit", "alignment")]
    # Mended, it goes on where it stopped.
    change(path, lambda plan: plan["stages"]["alignment"]["set"].pop("data.samples"))
    commands.clear()
    assert main(["experiment", str(path), "--out", str(out)]) == 0
    assert commands == [("fit", "alignment")]


@pytest.mark.parametrize(("target", "word"), [("lv_edw", "lv_edv"), ("cad_ever", "cad_ever"), ("LW", "LW")])
def test_a_wrong_target_is_told_before_anything_is_trained(
    tmp_path: Path, cohort_root: Path, commands: list, capsys: pytest.CaptureFixture[str], target: str, word: str
) -> None:
    path = write_experiment(tmp_path / "trial", cohort_root)
    change(path, lambda plan: plan["evaluation"]["tasks"]["phenotypes"].update(targets=["LV", target]))
    assert main(["experiment", str(path), "--out", str(tmp_path / "out")]) == 2
    assert word in capsys.readouterr().err
    assert commands == []


ONE_STAGE = """
import sys
from ecgcmr.cli import main
from ecgcmr.experiments import stage_runs

train = stage_runs.run_stage


def train_up_to(stage, **options):
    train(stage, **options)
    if stage.name == "alignment":
        sys.exit(7)


stage_runs.run_stage = train_up_to
sys.exit(main(sys.argv[1:]))
"""
"""``ecgcmr``, left with 7 once that stage of an experiment is trained; nothing is imported before it is by a user."""


@pytest.mark.slow
@pytest.mark.long
def test_counts_of_batches_stay_whole_numbers_in_a_fresh_process(copied: Path) -> None:
    """As they must, whatever was imported before Lightning: 1 would else mean all batches."""
    path, out = copied / "trial.yaml", copied / "out"
    change(path, lambda plan: plan["stages"]["alignment"]["set"].update({"trainer.limit_train_batches": 2}))
    command = [sys.executable, "-c", ONE_STAGE, "experiment", str(path), "--out", str(out)]
    assert subprocess.run(command, timeout=120, check=False).returncode == 7
    trained = yaml.safe_load((out / "stages" / "alignment" / "config.yaml").read_text())["trainer"]
    assert repr(trained["limit_train_batches"]) == "2"  # not 2.0
    assert torch.load(out / "stages" / "alignment" / "best.ckpt", weights_only=True)["global_step"] == 2


def test_an_oracle_where_there_is_none_is_told_before_anything_is_trained(
    tmp_path: Path, cohort_root: Path, commands: list, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Path(shutil.copytree(cohort_root, tmp_path / "real"))
    (real / "oracle.csv").unlink()
    path = write_experiment(tmp_path / "trial", real)
    assert main(["experiment", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "oracle" in capsys.readouterr().err
    assert commands == []
