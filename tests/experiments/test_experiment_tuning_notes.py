"""Networks that were not trained to their end, or whose search chose an outermost rate, are noted under the table."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_experiment_overrides import write

from ecgcmr.errors import UserError
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.stage_runs import StageRun
from ecgcmr.experiments.task_prediction import grouped
from ecgcmr.experiments.tuning_notes import tuning_notes
from ecgcmr.training import tuning_record


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"budget": {"ended": "flat", "steps": 300}, "search": {"outermost": None}}, []),
        ({}, []),
        (
            {"budget": {"ended": "flat", "steps": 32, "best": float("nan"), "monitor": "val/auroc"}},
            ["no validation of fine-tuning gave a number (val/auroc)"],
        ),
        ({"budget": {"ended": "most", "steps": 1200}}, ["ended at the most steps of its budget (1,200)"]),
        ({"budget": {"ended": "below least", "steps": 30, "least": 160}}, ["after 30 steps, below the least"]),
        ({"search": {"outermost": "highest", "chosen": "fast"}}, ["chose the highest learning rate"]),
        (
            {"search": {"outermost": "lowest", "chosen": "slow"}, "final_weights": {"share": 0.0}},
            ["chose the weights that fine-tuning started from (final_weights, share 0)"],
        ),
        ({"final_weights": {"share": 0.25}}, []),
        (
            {"budget": {"ended": "most", "steps": 9}, "search": {"outermost": "lowest", "chosen": "slow"}},
            ["ended at the most steps", "chose the lowest learning rate"],
        ),
    ],
)
def test_a_run_at_the_edge_of_its_budget_or_search_is_noted(tmp_path: Path, sections: dict, words: list) -> None:
    for name, values in sections.items():
        tuning_record.record(tmp_path, name, values)
    notes = tuning_notes(tmp_path)
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))
    lines = grouped({(280, note): ["mae+alignment"] for note in notes})
    assert all(line.startswith("280 labels, ") and line.endswith("(mae+alignment)") for line in lines)


def test_searches_named_by_path_start_beside_the_experiment_and_count_in_the_fingerprint(
    tmp_path: Path, cohort_root: Path
) -> None:
    candidates = [{"name": "a", "set": {"model.optimiser.lr": 0.001}}]
    file = tmp_path / "rates.yaml"
    file.write_text(yaml.safe_dump(candidates))
    path = write(tmp_path, cohort_root, supervised={"scratch": {"set": {"search": file.name, "budget.most": 50}}})

    def fingerprint() -> str:
        settings = load_plan(path).evaluation.supervised["scratch"].set
        return StageRun("", tmp_path, tmp_path / "PhenotypeRegression.yaml", settings, {}).fingerprint

    assert load_plan(path).evaluation.supervised["scratch"].set == {"search": candidates, "budget.most": 50}
    before = fingerprint()
    file.write_text(yaml.safe_dump([{"name": "a", "set": {"model.optimiser.lr": 0.002}}]))
    assert fingerprint() != before
    file.unlink()
    with pytest.raises(UserError, match=r"scratch.set.search: there is no file rates.yaml"):
        load_plan(path)
