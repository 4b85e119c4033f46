"""Targets stand in the order of the declared phenotypes, others after them by name, however a table's rows lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgcmr.cli import main
from ecgcmr.evaluation.prediction_table import write_prediction_table

ORDER = ["lv_edv", "lv_ef", "rv_edv", "la_sv", "wt_aha_2", "wt_aha_10", "wt_global", "ecc_aha_1", "albumin", "zinc"]
"""By name ``albumin`` would be first, ``la_sv`` before ``lv_edv`` and ``wt_aha_10`` before ``wt_aha_2``."""


@pytest.mark.parametrize(("suffix", "seed"), [(".parquet", 0), (".csv", 1)])
def test_the_order_of_targets_is_the_catalogues_whatever_that_of_rows(tmp_path: Path, suffix: str, seed: int) -> None:
    generator = np.random.default_rng(0)
    subjects = [f"{k:032x}" for k in range(25)]
    cells = pd.MultiIndex.from_product([subjects, ORDER], names=["subject", "target"]).to_frame(index=False)
    truth = generator.normal(size=len(cells))
    table = cells.assign(truth=truth, prediction=truth + generator.normal(size=len(cells)), split="test", seed=0)
    file = write_prediction_table(tmp_path / f"table{suffix}", table.sample(frac=1.0, random_state=seed))
    assert main(["evaluate", "--predictions", str(file), "--resamples", "20", "--no-figures"]) == 0
    found = json.loads((tmp_path / "evaluation" / "results.json").read_text())
    assert [target["name"] for target in found["targets"]] == ORDER
    scored = [row["target"] for row in found["scores"] if row["metric"] == "r2" and row["target"] != "mean"]
    assert list(dict.fromkeys(scored)) == ORDER
    one_by_one = (tmp_path / "evaluation" / "results.md").read_text().split("one by one")[1].splitlines()
    assert [line.split()[1] for line in one_by_one if line.startswith("| ")][1:] == ORDER
