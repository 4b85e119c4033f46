"""How close the hearts are that retrieval brings: against a slow twin, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcmr.interpretation.retrieval import retrieve
from ecgcmr.interpretation.retrieved_phenotypes import phenotype_entries, random_difference
from ecgcmr.metrics.bootstrap import Resamples
from ecgcmr.shards import Label

LABELS = (Label("lv_edv", "phenotype", "mL", "LV", "LV end-diastolic volume"),)


def test_the_difference_from_random_subjects_equals_a_slow_twin():
    draw = np.random.default_rng(0)
    value, subjects = draw.normal(150, 30, 40), draw.integers(0, 25, 40)
    value[[3, 17]] = np.nan
    for row, mean in enumerate(random_difference(value, subjects)):
        others = [abs(value[row] - v) for v, s in zip(value, subjects, strict=True) if s != subjects[row]]
        expected = np.nanmean(others) if np.isfinite(value[row]) else np.nan
        assert mean == pytest.approx(expected, nan_ok=True)


def test_embeddings_of_the_volume_bring_hearts_of_that_volume_and_others_bring_random_ones():
    draw = np.random.default_rng(1)
    volume = draw.normal(150, 30, 300)
    angle = (volume - 150) / 60
    of_volume = np.column_stack([np.cos(angle), np.sin(angle)])
    noise = draw.normal(size=(300, 5))
    resamples = Resamples.draw(np.arange(300), 200, 0)
    near = phenotype_entries(
        retrieve(of_volume, of_volume, np.arange(300), "ecg_to_cmr"), LABELS, volume[:, None], resamples
    )
    far = phenotype_entries(retrieve(noise, -noise, np.arange(300), "ecg_to_cmr"), LABELS, volume[:, None], resamples)
    assert [entry["neighbours"] for entry in near] == [1, 5]
    assert near[0]["difference"] == 0.0  # the subject itself
    assert 0 < near[0]["difference_others"] < 2.0
    assert near[1]["ratio_others_ci_high"] < 0.15
    for entry in far:
        assert entry["ratio_others_ci_low"] < 1.0 < entry["ratio_others_ci_high"]
        assert entry["random"] == pytest.approx(30 * 2 / np.sqrt(np.pi), rel=0.1)
        assert entry["unit"] == "mL"


def test_missing_phenotypes_are_left_out_of_queries_and_of_neighbours():
    draw = np.random.default_rng(2)
    a = draw.normal(size=(20, 4))
    value = draw.normal(size=(20, 1))
    value[5:] = np.nan
    found = retrieve(a, a + 0.1, np.arange(20), "ecg_to_cmr")
    entries = phenotype_entries(found, LABELS, value, Resamples.draw(np.arange(20), 50, 0))
    assert [entry["n"] for entry in entries] == [5, 5]
    near = [abs(value[r] - value[k]) for r in range(5) for k in [found.order[r][0]] if np.isfinite(value[k])]
    assert entries[0]["difference"] == pytest.approx(np.mean(near))
    value[1:] = np.nan
    assert phenotype_entries(found, LABELS, value, Resamples.draw(np.arange(20), 50, 0)) == []
