"""Tables of a finished experiment within a page: what is kept of it, and how it is shown."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "docs" / "hooks"), str(ROOT / "docs")]

import collect_results  # noqa: E402
from benchmark_tables import with_tables  # noqa: E402
from result_pages import result_pages  # noqa: E402

PAGE = "Before\n\n<!-- results: trial -->\n\nAfter\n"


def _row(task: str, method: str, labels: int, value: float | None, target: str = "mean") -> dict:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.05)
    return {
        "target": target, "group": "all", "task": "classification", "task_name": task, "method": method,
        "protocol": "linear_probe", "labels": labels, "metric": "auroc", "value": value, "ci_low": low, "ci_high": high,
        "n_test": 30,
    }  # fmt: skip


def _finished(folder: Path) -> Path:
    rows = [_row("form", "mae", 12, 0.6), _row("form", "mae", 120, 0.75), _row("form", "random", 120, None)]
    rows += [_row("rhythm", "mae", 20, 0.65), _row("rhythm", "mae", 200, 0.875), _row("rhythm", "mae", 200, 0.1, "x")]
    other = {"method": "S4", "source": "a paper", "task": "classification", "task_name": "rhythm", "metric": "auroc",
             "asked": "all", "labels": 200, "value": 0.956}  # fmt: skip
    run = folder / "trial"
    run.mkdir()
    (run / "results.json").write_text(json.dumps({"scores": rows, "published": [other]}))
    (run / "differences.json").write_text("[]")
    plan = {"description": "A trial", "cohort": {"root": "x"}, "evaluation": {"labels": ["10 %", "all"]}}
    (run / "experiment.yaml").write_text(yaml.safe_dump(plan))
    return run


def test_a_page_shows_the_numbers_of_a_finished_experiment_and_those_of_others_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "RESULTS", tmp_path / "results")
    assert collect_results.main(_finished(tmp_path)) == 0
    page = with_tables(PAGE, tmp_path / "results")
    assert page.startswith("Before\n")
    assert page.endswith("After\n")
    everything, tenth = page.split("**10 % of the labels**")
    assert "**All labels** (form 120, rhythm 200)." in everything
    assert "| mae, linear probe | 0.750 (0.650-0.800) | 0.875 (0.775-0.925) |" in everything
    assert "| random, linear probe |  |  |" in everything
    assert "| *S4 (published)* |  | 0.956 |" in everything
    assert "(form 12, rhythm 20)." in tenth
    assert "| mae, linear probe | 0.600 (0.500-0.650) | 0.650 (0.550-0.700) |" in tenth
    assert "S4" not in tenth.split("Rows marked")[0]
    assert "others', as they stand in a paper." in tenth
    assert "results/trial.md" in result_pages(tmp_path / "results")


def test_an_experiment_that_is_not_kept_yet_is_said_to_be_missing(tmp_path):
    assert "The numbers of `trial` have not been kept yet." in with_tables(PAGE, tmp_path)


def test_the_page_of_benchmarks_asks_for_files_that_experiments_of_this_program_make():
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    names = re.findall(r"^<!-- results: (\w+) -->$", page, re.MULTILINE)
    assert names
    for name in names:
        assert (ROOT / "configs" / "experiments" / f"{name}.yaml").is_file()
        assert f"runs/{name}" in page
