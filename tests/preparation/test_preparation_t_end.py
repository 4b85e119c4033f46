"""Where T ends: what each definition gives on synthetic truth; a cohort says by which its beats were marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.preparation.beats import mark_beats, measure_beats
from ecgcmr.preparation.cohort_layout import cohort_layout
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.splits import split_rule_by_hash
from ecgcmr.preparation.t_end import DEFAULT_T_END, T_ENDS, end_of_t, t_end_of, tangent_end
from ecgcmr.probes.ecg_features import FEATURE_NAMES, extract_features
from ecgcmr.shards.layout import ECGLayout, Layout
from ecgcmr.synthesis.dipole import heartbeats
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

COUNT, RATE = 40, 500.0


@pytest.fixture(scope="module")
def cohort() -> tuple[np.ndarray, np.ndarray]:
    """Give recordings (n, 12, 5000) in mV in sinus rhythm and the QT interval in ms that the generator states."""
    states = sample_states(3000, 5)
    rows = np.flatnonzero(~states.disease.atrial_fibrillation)[:COUNT]
    signals = render_ecgs(states, rows, np.random.default_rng(5)).astype(np.float64) / 1000
    state = states.take(rows)
    return signals, heartbeats(state).parameters["qtc"] * np.cbrt(60 / state.body.heart_rate)


def measured(signals: np.ndarray, t_end: str, name: str = "qt_interval") -> np.ndarray:
    return np.array([measure_beats(mark_beats(signal, RATE, t_end=t_end))[name] for signal in signals])


@pytest.mark.parametrize(
    ("t_end", "bias"), [("threshold", -1), ("tangent", -13), ("tangent-median", -13), ("tangent-latest", -11)]
)
def test_each_definition_has_its_bias_against_the_qt_that_is_true(
    cohort: tuple[np.ndarray, np.ndarray], t_end: str, bias: float
) -> None:
    signals, true = cohort
    error = measured(signals, t_end) - true
    assert np.isfinite(error).mean() > 0.95
    error = error[np.isfinite(error)]
    assert np.median(error) == pytest.approx(bias, abs=4)
    assert 1.4826 * np.median(np.abs(error - np.median(error))) < 9


def test_the_default_has_the_least_bias(cohort: tuple[np.ndarray, np.ndarray]) -> None:
    signals, true = cohort
    bias = {t_end: abs(float(np.nanmedian(measured(signals[:20], t_end) - true[:20]))) for t_end in T_ENDS}
    assert min(bias, key=lambda name: bias[name]) == DEFAULT_T_END


def test_only_the_end_of_t_moves_with_the_definition(cohort: tuple[np.ndarray, np.ndarray]) -> None:
    for signal in cohort[0][:5]:
        marks = {t_end: mark_beats(signal, RATE, t_end=t_end) for t_end in ("threshold", "tangent")}
        np.testing.assert_array_equal(marks["threshold"].r_peaks, marks["tangent"].r_peaks)
        np.testing.assert_array_equal(marks["threshold"].waves[:, :5], marks["tangent"].waves[:, :5])


def test_features_take_the_definition_too(cohort: tuple[np.ndarray, np.ndarray]) -> None:
    qt = FEATURE_NAMES.index("qt")
    by_tangent, by_threshold = (
        extract_features(cohort[0][:6], RATE, t_end=t_end).values[:, qt] for t_end in ("tangent", "threshold")
    )
    assert np.nanmedian(by_threshold - by_tangent) > 5
    with pytest.raises(ValueError, match="choose one of threshold, tangent, tangent-median, tangent-latest"):
        extract_features(cohort[0][:1], RATE, t_end="visual")
    with pytest.raises(ValueError, match="end of T"):
        mark_beats(cohort[0][0], RATE, t_end="visual")


def test_a_bell_ends_where_its_definition_says() -> None:
    """A bell of standard deviation s: the tangent meets rest 2 s after its peak, 5 % is left after 2.45 s."""
    spread, peak = 20.0, 100
    bell = np.exp(-0.5 * ((np.arange(300) - peak) / spread) ** 2)
    tangent = peak + (tangent_end(bell[peak:]) or 0)
    assert tangent == pytest.approx(peak + 2 * spread, abs=1)
    beat = np.stack([bell, -2 * bell, 0.01 * bell, np.roll(bell, 10)])
    for definition, end in (("threshold", 149), ("tangent", 140), ("tangent-median", 140), ("tangent-latest", 140)):
        found = end_of_t(beat, bell, peak, tangent, 280, RATE, definition)
        assert found == pytest.approx(end, abs=1), definition


def test_a_cohort_says_how_its_t_waves_end() -> None:
    options = PrepareOptions(Path("x"), ecg=Path("y"), t_end="tangent-latest")
    layout = cohort_layout(options, None, (), split_rule_by_hash())
    assert layout.preparation["beats"] == {"t_end": "tangent-latest"}
    assert t_end_of(layout) == "tangent-latest"
    usual = cohort_layout(PrepareOptions(Path("x"), ecg=Path("y")), None, (), split_rule_by_hash())
    assert usual.preparation["beats"] == {"t_end": DEFAULT_T_END}
    assert usual.fingerprint != layout.fingerprint
    before = Layout(ecg=ECGLayout(max_beats=64), cmr=None, labels=(), preparation={"version": 2})
    assert t_end_of(before) == "tangent"
    assert t_end_of(Layout(ecg=ECGLayout(), cmr=None, labels=())) == DEFAULT_T_END
    without = cohort_layout(PrepareOptions(Path("x"), ecg=Path("y"), beats=False), None, (), split_rule_by_hash())
    assert "beats" not in without.preparation


def test_an_end_of_t_without_beats_would_do_nothing_and_is_refused() -> None:
    with pytest.raises(UserError, match="--t-end: belongs to stored beats"):
        PrepareOptions(Path("x"), ecg=Path("y"), beats=False, t_end="tangent")
    with pytest.raises(UserError, match="--t-end visual: choose one of threshold, tangent"):
        PrepareOptions(Path("x"), ecg=Path("y"), t_end="visual")
