"""A table that is of other recordings than those it stands beside is told by the recorder's heart rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numbered_cohort import write

from ecgcmr.preparation.device_rates import doubt_of, rate_doubts
from ecgcmr.shards import Label

RATE = Label("ventricular_rate", "phenotype", "1/min", "device", "rate")
MEASURED = Label("heart_rate", "measurement", "1/min", "ECG", "heart rate")


def test_a_shuffled_table_is_doubted_and_its_order_is_not() -> None:
    draw = np.random.default_rng(0)
    measured = np.clip(draw.normal(75, 16, 400), 40, 160)
    said = np.round(measured + draw.normal(0, 2, 400))
    said[::9] = np.nan
    assert doubt_of("ventricular_rate", measured, said) == ""
    assert doubt_of("rr_interval", measured, 60_000 / said) == ""
    for name, values in (("ventricular_rate", said), ("rr_interval", 60_000 / said)):
        doubt = doubt_of(name, measured, draw.permutation(values))
        assert doubt.startswith(f"{name} of the table and the heart rate of the recordings agree within 10% in ")
        assert doubt_of(name, measured[:40], values[::-1][:40]) == ""  # too few to say


def test_a_cohort_without_beats_or_without_a_recorders_rate_is_not_doubted(tmp_path: Path) -> None:
    splits = ("train",) * 60
    for name, labels in (("without", (MEASURED,)), ("beats", (RATE,))):
        assert rate_doubts(write(tmp_path / name, range(40, 100), splits, labels)) == []
    assert rate_doubts(write(tmp_path / "both", range(40, 100), splits, (MEASURED, RATE))) == []
