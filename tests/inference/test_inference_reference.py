"""Reference ranges by sex and where a value lies in them."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcmr.inference.reference import reference_ranges


def test_ranges_are_percentiles_at_ranks_of_n_plus_one():
    women, men = np.arange(1.0, 200.0), np.arange(1001.0, 1400.0)  # 199 and 399: whole ranks 5, 195 and 10, 390
    values = np.concatenate([women, men])
    sex = np.concatenate([np.zeros(199), np.ones(399)])
    found = reference_ranges(values, sex, np.arange(598))
    assert found["female"] == pytest.approx((5.0, 195.0))
    assert found["male"] == pytest.approx((1010.0, 1390.0))


def test_fewer_than_120_subjects_give_no_range():
    values = np.arange(239.0)
    sex = np.concatenate([np.zeros(120), np.ones(119)])
    found = reference_ranges(values, sex, np.arange(239))
    assert found["female"] is not None
    assert found["male"] is None
    one_each = reference_ranges(values, np.zeros(239), np.arange(239) // 2)  # 120 subjects, two rows each
    twice = reference_ranges(values, np.zeros(239), np.arange(239) // 3)
    assert one_each["female"] is not None
    assert twice["female"] is None


def test_unknown_values_and_sexes_and_the_ill_are_left_out():
    draw = np.random.default_rng(0)
    values, sex = draw.normal(100, 10, 300), np.zeros(300)
    values[:50] = np.nan
    sex[50:60] = np.nan
    ill = np.zeros(300, dtype=bool)
    ill[60:160] = True
    values[60:160] += 500
    low, high = reference_ranges(values, sex, np.arange(300), healthy=~ill)["female"]
    assert 75 < low < high < 130
    with pytest.raises(ValueError, match="differ in length"):
        reference_ranges(values, sex[1:], np.arange(300))
