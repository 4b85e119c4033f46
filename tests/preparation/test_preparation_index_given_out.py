"""``verify`` finds an index that is whole in itself and wrong: edited statistics, or from before somebody withdrew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_raw import IDS, prepare, write_ecgs

from ecgcmr.verification import verify_cohort


@pytest.fixture
def out(tmp_path: Path, key_file: Path) -> Path:
    raw = write_ecgs(tmp_path / "raw", [f"{i}_20205_2_0.xml" for i in IDS])
    (tmp_path / "table.csv").write_text("eid,24100-2.0\n" + "".join(f"{i},{100 + n}\n" for n, i in enumerate(IDS)))
    (tmp_path / "gone.csv").write_text(f"{IDS[0]}\n")
    prepare("--out", tmp_path / "out", "--ecg", raw, "--table", tmp_path / "table.csv", "--key-file", key_file)
    return tmp_path / "out"


@pytest.mark.parametrize("quick", [False, True])
def test_an_index_from_before_a_withdrawal_is_a_fault(out: Path, tmp_path: Path, key_file: Path, quick: bool) -> None:
    earlier = (out / "index.json").read_bytes()
    prepare("--out", out, "--withdrawn", tmp_path / "gone.csv", "--key-file", key_file)
    assert verify_cohort(out, quick=quick) == []
    (out / "index.json").write_bytes(earlier)
    assert verify_cohort(out, quick=quick) == [
        "index.json: gives out 1 rows of subjects who have withdrawn according to shards/membership.json; "
        "run 'ecgcmr prepare' again"
    ]


@pytest.mark.parametrize("value", [200.0, None, "100"])
def test_statistics_that_are_not_of_the_training_rows_are_a_fault(out: Path, value: object) -> None:
    assert verify_cohort(out, quick=True) == []
    content = json.loads((out / "index.json").read_text())
    content["statistics"]["lv_edv"]["mean"] = value
    content["statistics"].pop("age")
    (out / "index.json").write_text(json.dumps(content))
    assert verify_cohort(out, quick=True) == [
        f"index.json: statistics.{name} are not those of the training rows" for name in ("age", "lv_edv")
    ]
