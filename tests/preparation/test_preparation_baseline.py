from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve

from ecgcmr.preparation import baseline as baseline_module
from ecgcmr.preparation.baseline import LANES, BaselineSolver, remove_baseline


def slow_baseline(y, smoothness, asymmetry, solves):
    """The definition, written out: sparse matrices, one lead at a time."""
    difference = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(len(y) - 2, len(y)))
    penalty = smoothness * (difference.T @ difference)
    weights = np.ones(len(y))
    for _ in range(solves):
        z = spsolve(sparse.csc_matrix(sparse.diags(weights) + penalty), weights * y)
        weights = np.where(y > z, asymmetry, 1 - asymmetry)
    return z


def wandering(leads=3, samples=700, seed=0):
    rng = np.random.default_rng(seed)
    time_axis = np.linspace(0, 1, samples)
    drift = np.sin(2 * np.pi * rng.uniform(0.3, 2, (leads, 1)) * time_axis + rng.uniform(0, 6, (leads, 1)))
    return 3 * drift + rng.normal(size=(leads, samples)) + 10 * (rng.random((leads, samples)) > 0.99)


@pytest.mark.parametrize(("smoothness", "asymmetry", "solves"), [(1e7, 0.3, 5), (1e4, 0.05, 3), (50.0, 0.7, 1)])
def test_equals_the_definition(smoothness, asymmetry, solves):
    signal = wandering()
    expected = np.stack([y - slow_baseline(y, smoothness, asymmetry, solves) for y in signal])
    result = remove_baseline(signal, lambda_=smoothness, p=asymmetry, solves=solves)
    assert np.abs(result - expected).max() < 1e-7 * np.abs(expected).max()


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(4, 40), leads=st.integers(1, LANES + 3), seed=st.integers(0, 2**16))
def test_equals_the_definition_at_any_size(samples, leads, seed):
    signal = wandering(leads, samples, seed)
    expected = np.stack([y - slow_baseline(y, 100.0, 0.3, 4) for y in signal])
    result = remove_baseline(signal, lambda_=100.0, p=0.3, solves=4)
    assert np.abs(result - expected).max() < 1e-8 * np.abs(signal).max()


def test_equals_pybaselines():
    pybaselines = pytest.importorskip("pybaselines")
    signal = wandering(2, 5000)
    expected = np.stack([y - pybaselines.Baseline().asls(y, lam=1e7, p=0.3, max_iter=4, tol=0)[0] for y in signal])
    assert np.abs(remove_baseline(signal) - expected).max() < 1e-7 * np.abs(expected).max()


def test_straight_line_is_all_baseline():
    line = np.linspace(-5, 9, 5000)[None]
    assert np.abs(remove_baseline(line)).max() < 1e-5


def test_leads_do_not_touch_each_other():
    signal = wandering(LANES + 2, 300)
    together = remove_baseline(signal)
    alone = np.concatenate([remove_baseline(lead[None]) for lead in signal])
    np.testing.assert_array_equal(together, alone)


def test_memory_of_one_recording_does_not_reach_the_next():
    solver = BaselineSolver()
    for seed, leads, samples in ((0, 12, 500), (1, 5, 500), (2, 12, 900), (3, 3, 500)):
        signal = wandering(leads, samples, seed)
        expected = remove_baseline(signal)
        solver.subtract(signal)
        np.testing.assert_array_equal(signal, expected)


@pytest.mark.parametrize(
    ("signal", "parameters"),
    [
        (np.zeros(10), {}),
        (np.zeros((2, 3)), {}),
        (np.array([[0.0, 1, np.nan, 2, 3]]), {}),
        (np.array([[0.0, 1, np.inf, 2, 3]]), {}),
        (np.zeros((2, 10)), {"lambda_": 0.0}),
        (np.zeros((2, 10)), {"p": 1.0}),
        (np.zeros((2, 10)), {"solves": 0}),
    ],
)
def test_impossible_input_is_refused(signal, parameters):
    with pytest.raises(ValueError, match=r"expected|need|NaN"):
        remove_baseline(signal, **parameters)


def test_input_is_left_alone():
    signal = wandering()
    before = signal.copy()
    remove_baseline(signal)
    np.testing.assert_array_equal(signal, before)


def test_compiles_without_cache_where_no_folder_can_be_written(monkeypatch):
    genuine = baseline_module.numba.njit

    def refusing(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return genuine(**options)

    monkeypatch.setattr(baseline_module.numba, "njit", refusing)
    doubled = baseline_module._compile(lambda x: x * 2)
    assert doubled(21) == 42


def test_speed_of_a_recording():
    signal = wandering(12, 5000)
    solver = BaselineSolver()
    durations = []
    for _ in range(20):
        copy = signal.copy()
        start = time.perf_counter()
        solver.subtract(copy)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.02  # 0.6 to 1.5 ms measured; sparse solves would take 60 ms or more
