"""Diagnostics of a representation against slow twins, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from ecgcmr.interpretation.diagnostics import alignment, cka_table, effective_rank, linear_cka, uniformity

seeds = st.integers(0, 100_000)


def draws(seed: int, n: int = 30, d: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def slow_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. 2012, equation 5, element by element."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    trace = sum(k[i, j] * m[j, i] for i in range(n) for j in range(n))
    through = sum(k[i, j] * m[j, q] for i in range(n) for j in range(n) for q in range(n))
    return (trace + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 * through / (n - 2)) / n / (n - 3)


def test_cka_equals_a_slow_twin():
    x, y = draws(0, 12, 4), draws(1, 12, 7) + draws(0, 12, 7)
    k, m = x @ x.T, y @ y.T  # not centred: the estimate does not change with an offset
    expected = slow_hsic(k, m) / np.sqrt(slow_hsic(k, k) * slow_hsic(m, m))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-10)


@given(seeds, st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=25, deadline=None)
def test_cka_does_not_change_with_rotation_scale_and_offset(seed: int, scale: float, offset: float):
    x, y = draws(seed), draws(seed + 1) + 0.5 * draws(seed)
    turned = scale * (y @ ortho_group.rvs(5, random_state=seed)) + offset
    assert linear_cka(x, turned) == pytest.approx(linear_cka(x, y), abs=1e-9)
    assert linear_cka(x, turned) == pytest.approx(linear_cka(turned, x), abs=1e-12)
    assert linear_cka(y, turned) == pytest.approx(1.0, abs=1e-9)


def test_unrelated_representations_of_many_features_come_out_at_0():
    found = [linear_cka(draws(2 * k, 25, 200), draws(2 * k + 1, 25, 200)) for k in range(60)]
    assert abs(np.mean(found)) < 0.02  # the biased estimate is about 0.9 here


def test_cka_of_a_constant_representation_is_undefined_and_other_rows_are_refused():
    assert np.isnan(linear_cka(np.ones((10, 3)), draws(0, 10)))
    with pytest.raises(ValueError, match="10 and 9 rows"):
        linear_cka(draws(0, 10), draws(0, 9))
    with pytest.raises(ValueError, match="at least 4 rows"):
        linear_cka(draws(0, 3), draws(1, 3))
    table = cka_table({"ecg": draws(0), "cmr": draws(1)})
    assert table["ecg"]["cmr"] == table["cmr"]["ecg"]
    assert table["ecg"]["ecg"] == pytest.approx(1.0)


def test_uniformity_and_alignment_equal_slow_twins():
    x, y = draws(3, 15), draws(4, 15)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    pairs = [np.exp(-2 * ((a[i] - a[j]) ** 2).sum()) for i in range(15) for j in range(i)]
    assert uniformity(x) == pytest.approx(np.log(np.mean(pairs)))
    assert alignment(x, y) == pytest.approx(np.mean([((p - q) ** 2).sum() for p, q in zip(a, b, strict=True)]))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_sphere_and_rank_do_not_change_with_rotation_and_scale(seed: int):
    x, turn = draws(seed), ortho_group.rvs(5, random_state=seed)
    assert uniformity(3 * x @ turn) == pytest.approx(uniformity(x))
    assert effective_rank(3 * x @ turn + 2) == pytest.approx(effective_rank(x))
    assert alignment(x @ turn, 2 * x @ turn) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4)
    assert 1 <= effective_rank(x) <= 5


def test_a_collapse_has_uniformity_0_and_an_even_spread_the_least():
    assert uniformity(np.ones((9, 4))) == pytest.approx(0, abs=1e-9)
    assert uniformity(draws(0, 2000, 400)) == pytest.approx(-4, abs=0.05)


def test_effective_rank_counts_directions_of_equal_spread():
    axes = np.concatenate([np.eye(6)[:3], -np.eye(6)[:3]])
    assert effective_rank(axes) == pytest.approx(3)
    assert effective_rank(np.ones((5, 4))) == 0.0
    assert effective_rank(np.outer(np.arange(5.0), np.ones(4))) == pytest.approx(1)


def test_values_that_are_not_finite_are_refused():
    broken = draws(0)
    broken[2, 1] = np.inf
    for measure in (uniformity, effective_rank):
        with pytest.raises(ValueError, match="NaN or infinity"):
            measure(broken)
