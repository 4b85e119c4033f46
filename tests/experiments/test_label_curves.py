"""No method reads worse with ten times the labels: over the rows of every file of ``label_curves``.

A file holds the rows of a results.json; what is found in one that is there to show the fault stands below.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ecgcmr.evaluation.misleading import worse_with_more_labels
from ecgcmr.evaluation.result_rows import read_results_json

FOLDER = Path(__file__).parent / "label_curves"
FAULTY = {
    "worse_with_more_labels.json": [
        "cnn, fine-tuned (0.380 at 282 labels and 0.330 at 2,815 labels)",
        "mae, linear probe (0.720 at 28 labels and 0.660 at 2,815 labels)",
    ]
}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_no_method_reads_worse_with_ten_times_the_labels_beyond_its_interval(path: Path) -> None:
    found = worse_with_more_labels(read_results_json(path))
    assert list(map(str, found)) == FAULTY.get(path.name, []), "the training budget is the first suspect"


def test_a_file_with_the_fault_and_one_without_are_there() -> None:
    assert {"sound.json", *FAULTY} <= {path.name for path in FOLDER.glob("*.json")}


def test_less_than_ten_times_the_labels_the_oracle_and_single_targets_beside_a_mean_are_left_out() -> None:
    rows = read_results_json(FOLDER / "worse_with_more_labels.json")
    few = [replace(row, labels={28: 28, 282: 50, 2815: 100}[row.labels]) for row in rows if row.labels is not None]
    assert worse_with_more_labels(few) == []
    assert len(worse_with_more_labels(few, times=2.0)) == 2
    renamed = [replace(row, method="oracle") if row.method in ("cnn", "mae") else row for row in rows]
    assert worse_with_more_labels(renamed) == []
    alone = [row for row in rows if row.target == "af_ever"]  # the one target of its task leads
    assert [str(fall) for fall in worse_with_more_labels(alone)] == [
        "mae, linear probe (af_ever: 0.800 at 28 labels and 0.600 at 282 labels)"
    ]
