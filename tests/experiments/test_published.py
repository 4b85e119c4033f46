"""Scores that others have published: beside ours in every table, marked as theirs, with their source, never ranked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_experiment import LITTLE, change, write_experiment

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.assessment_file import read_assessment
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.evaluation.result_rows import read_results_json
from ecgcmr.experiments.plan_file import load_plan

S4 = {"method": "S4, from scratch", "source": "arXiv 1234.56789", "scores": {"diseases": 0.999, "phenotypes": None}}
NET = {"method": "Net1D", "source": "A journal, 2026", "scores": {"diseases": {"50%": 0.91, "all": 0.9876}}}
PUBLISHED = [S4, NET]


@pytest.fixture
def shown(copied: Path, undrawn: None, commands: list) -> Path:
    """An experiment that shows published scores beside a baseline; nothing is trained for them."""
    path, out = copied / "trial.yaml", copied / "out"
    change(path, lambda plan: plan["evaluation"].update({**LITTLE, "labels": [20, "50 %"]}))
    change(path, lambda plan: plan.update(published=PUBLISHED))
    assert main(["experiment", str(path), "--out", str(out), "--workers", "1"]) == 0
    assert commands == []
    return out


@pytest.mark.long
def test_published_scores_stand_in_the_table_with_their_source_and_are_never_the_best(shown: Path) -> None:
    table = (shown / "results.md").read_text()
    lead = table.partition("## Mean AUROC")[2].partition("\n## ")[0]
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lead.splitlines()
             if line.startswith("| ")}  # fmt: skip
    # We ran 20 labels and half of them (26); what others did with all of theirs stands in the last column, and says so.
    assert lines["method"] == ["20 labels", "26 labels"]
    assert lines["S4, from scratch (published, all)"] == ["-", "0.999"]
    assert lines["Net1D (published)"] == ["-", "0.910"]
    assert lines["Net1D (published, all)"] == ["-", "0.988"]
    assert lines["age+sex"][1].startswith("**")  # ours is the best of ours
    assert "Sources: arXiv 1234.56789 (S4, from scratch); A journal, 2026 (Net1D)" in lead
    phenotypes = table.partition("## Mean R2")[2].partition("\n## ")[0]
    assert "published" not in phenotypes
    assert "S4, from scratch (published, all) & 0.999 &" in (shown / "results.tex").read_text()


@pytest.mark.long
def test_published_scores_have_a_section_of_their_own_in_results_json(shown: Path) -> None:
    content = json.loads((shown / "results.json").read_text())
    assert list(content) == ["scores", "published"]
    assert {row["method"] for row in content["scores"]} == {"age+sex"}
    assert [(row["method"], row["asked"], row["labels"], row["value"]) for row in content["published"]] == [
        ("S4, from scratch", "all", None, 0.999), ("Net1D", "50 %", 26, 0.91), ("Net1D", "all", None, 0.9876),
    ]  # fmt: skip
    assert {row.method for row in read_results_json(shown / "results.json")} == {"age+sex"}
    found = read_assessment(shown / "evaluation" / "diseases" / "results.json")
    assert found.published[1] == PublishedRow(
        "Net1D", "A journal, 2026", "classification", "diseases", "auroc", "50 %", 26, 0.91
    )
    assert read_assessment(shown / "evaluation" / "phenotypes" / "results.json").published == ()


@pytest.mark.long
def test_the_page_marks_published_scores(shown: Path) -> None:
    assert main(["report", str(shown)]) == 0
    page = (shown / "report.html").read_text()
    assert "S4, from scratch (published, all)" in page
    assert "scores of others, not computed here" in page
    assert "<strong>0.999" not in page


@pytest.mark.long
def test_without_published_scores_results_json_is_the_list_it_was(copied: Path, undrawn: None) -> None:
    path, out = copied / "trial.yaml", copied / "out"
    change(path, lambda plan: plan["evaluation"].update(LITTLE))
    assert main(["experiment", str(path), "--out", str(out), "--workers", "1"]) == 0
    assert isinstance(json.loads((out / "results.json").read_text()), list)
    assert "published" not in (out / "results.md").read_text()


def test_a_task_that_is_taken_out_takes_its_published_scores_along(tmp_path: Path, cohort_root: Path) -> None:
    path = write_experiment(tmp_path, cohort_root)
    both = {"method": "both", "source": "x", "scores": {"diseases": 0.9, "phenotypes": 0.5}}
    change(path, lambda plan: plan.update(published=[NET, both]))
    plan = load_plan(path, overrides=["evaluation.tasks.diseases=null", "evaluation.gain=null"])
    assert [(entry.method, entry.scores) for entry in plan.published] == [("both", {"phenotypes": 0.5})]


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ({"method": "S4"}, "published: expected a list of mappings, found dict"),
        (["S4"], "published[0]: expected a mapping, found str"),
        ([{"method": "S4", "scores": {"diseases": 0.9}}], "source"),
        ([{"method": "S4", "source": "x", "score": {"diseases": 0.9}}], "score"),
        ([{"method": "S4", "source": " ", "scores": {"diseases": 0.9}}], "published[0].source"),
        ([{"method": "S4", "source": "x", "scores": {}}], "published[0].scores: is empty"),
        ([{"method": "S4", "source": "x", "scores": {"phenotypes": {}}}], "published[0].scores.phenotypes: is empty"),
        ([{"method": "S4", "source": "x", "scores": {"disease": 0.9}}], "'disease' is no task; one of diseases, phen"),
        ([{"method": "S4", "source": "x", "scores": {"diseases": 93.2}}], "is 93.2; it is a mean AUROC"),
        ([{"method": "S4", "source": "x", "scores": {"diseases": "high"}}], "'high'"),
        ([{"method": "S4", "source": "x", "scores": {"diseases": {"some": 0.9}}}], "'some' is no number of labels"),
        ([{**NET, "scores": {"diseases": {"10 %": 0.9, "10%": 0.8}}}], "has a score of diseases at 10% labels twice"),
        ([S4, S4], "has a score of diseases at all labels twice"),
    ],
)
def test_published_scores_that_cannot_be_are_refused(
    tmp_path: Path, cohort_root: Path, published: Any, words: str
) -> None:
    path = write_experiment(tmp_path, cohort_root)
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "published": published}))
    with pytest.raises(UserError) as refused:
        load_plan(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
