from __future__ import annotations

import ast
import warnings
from pathlib import Path

import neurokit2 as nk
import numpy as np
import pandas as pd
import pytest
import wfdb
from sklearn.metrics import roc_auc_score

from ecgcmr.preparation.beats import mark_beats, measure_beats
from ecgcmr.preparation.cleaning import clean_ecg
from ecgcmr.probes.ecg_features import FEATURE_NAMES, LEADS, extract_features
from ecgcmr.probes.median_beat import find_beats
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

COLUMN = {name: column for column, name in enumerate(FEATURE_NAMES)}
# Frontal directions of the limb leads in degrees; the precordial leads are given a share of X and Y of their own.
LIMB = {"I": 0.0, "II": 60.0, "III": 120.0, "aVR": -150.0, "aVL": -30.0, "aVF": 90.0}
CHEST = {"V1": -0.5, "V2": -0.2, "V3": 0.3, "V4": 0.8, "V5": 1.0, "V6": 0.9}


def made_ecg(
    rr: np.ndarray,
    *,
    axis: float = 40.0,
    t_axis: float = 40.0,
    qrs: float = 0.09,
    p_wave: bool = True,
    noise: float = 0.01,
) -> np.ndarray:
    """An ECG (12, 5000) in mV at 500 Hz of Gaussian P, QRS and T vectors at known times and frontal angles."""
    time = np.arange(5000) / 500.0
    beats = np.cumsum(np.concatenate([[0.3], rr]))
    beats = beats[beats < 10.0]
    waves = [(0.0, qrs / 6, 1.2, axis), (0.3, 0.045, 0.3, t_axis)]
    waves += [(-0.16, 0.022, 0.12, 50.0)] if p_wave else []
    signal = np.zeros((12, 5000))
    for delay, width, size, angle in waves:
        wave = size * np.exp(-0.5 * ((time[None, :] - beats[:, None] - delay) / width) ** 2).sum(axis=0)
        for row, lead in enumerate(LEADS):
            scale = np.cos(np.radians(angle - LIMB[lead])) if lead in LIMB else CHEST[lead]
            scale *= 2 / np.sqrt(3) if lead.startswith("aV") else 1.0
            signal[row] += scale * wave
    return signal + noise * np.random.default_rng(0).normal(size=signal.shape)


def features_of(*ecgs: np.ndarray) -> dict[str, np.ndarray]:
    values = extract_features(np.stack(ecgs)).values
    return {name: values[:, column] for name, column in COLUMN.items()}


@pytest.mark.parametrize("rr", [0.6, 0.8, 1.2])
def test_planted_rhythm_and_intervals(rr: float) -> None:
    found = features_of(made_ecg(np.full(20, rr)))
    assert found["heart_rate"][0] == pytest.approx(60 / rr, abs=0.5)
    assert found["rr_sd"][0] < 3.0
    assert found["qrs_duration"][0] == pytest.approx(90, abs=15)
    assert found["pr"][0] == pytest.approx(160 + 2.5 * 22 - 45, abs=35)
    assert found["qt"][0] == pytest.approx(45 + 300 + 2 * 45, abs=30)
    assert found["beats_p_agreement"][0] > 0.9


@pytest.mark.parametrize("axis", [-60.0, 0.0, 75.0, 140.0])
def test_planted_axes(axis: float) -> None:
    found = features_of(made_ecg(np.full(12, 0.9), axis=axis, t_axis=30.0))
    assert found["qrs_axis"][0] == pytest.approx(axis, abs=4)
    assert found["qrs_axis_sin"][0] == pytest.approx(np.sin(np.radians(axis)), abs=0.07)
    assert found["t_axis"][0] == pytest.approx(30.0, abs=4)
    assert found["qrs_t_frontal"][0] == pytest.approx(abs(axis - 30.0), abs=6)


def test_wider_qrs_and_larger_waves_are_measured_so() -> None:
    found = features_of(*(made_ecg(np.full(12, 0.9), qrs=width) for width in (0.08, 0.11, 0.15)))
    assert (np.diff(found["qrs_duration"]) > 15).all()
    assert found["r_amplitude_II"][0] == pytest.approx(1.2 * np.cos(np.radians(20)), abs=0.06)
    assert found["t_amplitude_II"][0] == pytest.approx(0.3 * np.cos(np.radians(20)), abs=0.05)
    assert found["p_amplitude_II"][0] == pytest.approx(0.12 * np.cos(np.radians(10)), abs=0.03)
    assert found["s_amplitude_V1"][0] + found["q_amplitude_V1"][0] == pytest.approx(-0.6, abs=0.08)


def test_fibrillation_like_rhythm_stands_out() -> None:
    irregular = np.random.default_rng(0).uniform(0.5, 1.1, size=20)
    found = features_of(made_ecg(np.full(14, 0.8)), made_ecg(irregular, p_wave=False, noise=0.03))
    assert found["rr_irregularity"][1] > 0.1 > found["rr_irregularity"][0]
    assert found["beats_p_agreement"][1] < 0.5
    assert np.isnan(found["p_duration"][1])


def test_scale_changes_amplitudes_and_nothing_else() -> None:
    ecg = made_ecg(np.full(12, 0.9))
    found = features_of(ecg, 3.0 * ecg)
    for name, (one, three) in found.items():
        factor = 3.0 if name.split("_")[-1] in LEADS or name in ("sokolow_lyon", "cornell", "qrs_rms", "t_rms") else 1.0
        assert three == pytest.approx(factor * one, rel=1e-3, abs=1e-4, nan_ok=True), name


def test_missing_leads_are_missing_and_the_rest_is_measured() -> None:
    ecg = made_ecg(np.full(12, 0.9))
    without_v2, flat_ii, gap = ecg.copy(), ecg.copy(), ecg.copy()
    without_v2[LEADS.index("V2")] = np.nan
    flat_ii[LEADS.index("II")] = 0.0
    gap[3, 1000:1010] = np.nan
    features = extract_features(np.stack([ecg, without_v2, flat_ii, gap]))
    assert features.r_peak_lead == ("all",) * 4
    missing = [{name for name in FEATURE_NAMES if np.isnan(row[COLUMN[name]])} for row in features.values]
    assert missing[0] == missing[3] == set()
    assert missing[1] == {n for n in FEATURE_NAMES if n.endswith("_V2")} | {"qrs_t_spatial"}
    frontal = {n for n in FEATURE_NAMES if "axis" in n} | {"qrs_t_frontal", "qrs_t_spatial"}
    assert missing[2] == {n for n in FEATURE_NAMES if n.endswith("_II")} | frontal
    np.testing.assert_allclose(features.values[:3, COLUMN["heart_rate"]], 66.7, atol=0.5)


def test_no_rhythm_gives_nothing() -> None:
    noise = 0.01 * np.random.default_rng(0).normal(size=(12, 5000))
    single = np.zeros((12, 5000))
    single[:, 2500] = 1.0
    features = extract_features(np.stack([np.zeros((12, 5000)), np.full((12, 5000), np.nan), single]))
    assert features.r_peak_lead == ("", "", "")
    assert np.isnan(features.values).all()
    assert extract_features(noise[None]).values.shape == (1, len(FEATURE_NAMES))
    assert extract_features(np.empty((0, 12, 5000))).values.shape == (0, len(FEATURE_NAMES))


@pytest.mark.multiprocess
def test_workers_do_not_change_the_values() -> None:
    ecgs = np.stack([made_ecg(np.full(14, rr)) for rr in (0.7, 0.8, 0.9, 1.0, 1.1)])
    alone, spread = extract_features(ecgs), extract_features(ecgs, workers=2, block=2)
    np.testing.assert_array_equal(alone.values, spread.values)
    assert alone.r_peak_lead == spread.r_peak_lead
    with pytest.raises(ValueError, match=r"not \(n, 12, samples\)"):
        extract_features(ecgs[:, :8])


@pytest.mark.slow
def test_real_recordings(real_data_dir: Path) -> None:
    """PTB-XL: heart rate as by neurokit2 on lead II, and diagnoses move the features they are defined by."""
    folder = real_data_dir / "ptbxl"
    table = pd.read_csv(folder / "ptbxl_database.csv")
    codes = [set(ast.literal_eval(text)) for text in table["scp_codes"]]
    wanted = {"NORM": 60, "AFIB": 40, "1AVB": 25, "CLBBB": 20}
    rows = sorted({i for code, count in wanted.items() for i in [j for j, c in enumerate(codes) if code in c][:count]})
    ecgs = np.stack([wfdb.rdsamp(str(folder / table["filename_hr"][i]))[0].T for i in rows])
    frame = pd.DataFrame(extract_features(ecgs).values, columns=list(FEATURE_NAMES))
    member = {code: np.array([code in codes[i] for i in rows]) for code in wanted}

    rates = []
    for ecg in ecgs:
        cleaned = nk.ecg_clean(ecg[1], sampling_rate=500)
        peaks = nk.ecg_peaks(cleaned, sampling_rate=500)[1]["ECG_R_Peaks"]
        rates.append(60 * 500 / np.mean(np.diff(peaks)))
    assert (np.abs(frame["heart_rate"] - rates) < 3).mean() > 0.9
    assert frame["qrs_duration"].between(60, 200).mean() > 0.95
    assert 80 < frame["qrs_duration"][member["NORM"]].median() < 105
    assert frame["qrs_duration"][member["CLBBB"]].median() > 130
    assert 140 < frame["pr"][member["NORM"]].median() < 190
    assert frame["pr"][member["1AVB"]].median() > 215
    assert 350 < frame["qtc"][member["NORM"]].median() < 430
    assert roc_auc_score(member["AFIB"], frame["rr_irregularity"]) > 0.85
    assert roc_auc_score(member["AFIB"], -frame["beats_p_agreement"]) > 0.9
    assert frame["p_amplitude_II"].notna()[member["NORM"]].mean() > 0.95
    assert frame["p_amplitude_II"].notna()[member["AFIB"]].mean() < 0.25


def test_group_wise_scaling_of_cleaned_recordings_keeps_intervals_and_frontal_axes() -> None:
    ecg = made_ecg(np.full(12, 0.9), axis=-20.0, t_axis=50.0)
    cleaned = ecg.copy()
    for first, last in ((0, 3), (3, 6), (6, 12)):
        cleaned[first:last] = (ecg[first:last] - ecg[first:last].mean()) / ecg[first:last].std()
    raw, scaled = (features_of(x) for x in (ecg, cleaned))
    for name in ("heart_rate", "qrs_duration", "pr", "qt"):
        assert scaled[name][0] == pytest.approx(raw[name][0], abs=8), name
    for name in ("qrs_axis", "t_axis", "qrs_t_frontal"):
        assert scaled[name][0] == pytest.approx(raw[name][0], abs=2), name


def test_a_single_lead_serves_where_all_together_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    ecg = made_ecg(np.full(12, 0.9))
    expected = extract_features(ecg[None])
    monkeypatch.setattr("ecgcmr.preparation.r_peaks._principal_component", lambda band: np.zeros(band.shape[1]))
    assert extract_features(ecg[None]).r_peak_lead == ("II",)
    ecg[LEADS.index("II")] = np.nan
    found = extract_features(ecg[None])
    assert found.r_peak_lead == ("V5",)
    assert found.values[0, COLUMN["heart_rate"]] == pytest.approx(expected.values[0, COLUMN["heart_rate"]], abs=0.5)


@pytest.fixture(scope="module")
def synthetic() -> tuple[np.ndarray, np.ndarray]:
    """Recordings (20, 12, 5000) in mV of the synthetic cohort, every fourth in fibrillation, and which those are."""
    states = sample_states(2000, 7)
    fibrillating = np.flatnonzero(states.disease.atrial_fibrillation)[:5]
    rows = np.concatenate([fibrillating, np.flatnonzero(~states.disease.atrial_fibrillation)[:15]])
    ecgs = render_ecgs(states, rows, np.random.default_rng(7)) / 1000
    return ecgs.astype(np.float64), np.arange(20) < 5


def test_intervals_are_those_that_a_cohort_keeps(synthetic: tuple[np.ndarray, np.ndarray]) -> None:
    ecgs, _ = synthetic
    found = features_of(*ecgs)
    kept = [measure_beats(mark_beats(ecg)) for ecg in ecgs]
    for name, source in {"heart_rate": "heart_rate", "pr": "pr_interval", "qt": "qt_interval"}.items():
        np.testing.assert_allclose(found[name], [measured[source] for measured in kept], rtol=1e-6, err_msg=name)


def test_fibrillation_has_no_p_wave_to_measure(synthetic: tuple[np.ndarray, np.ndarray]) -> None:
    ecgs, fibrillating = synthetic
    found = features_of(*ecgs)
    for name in ("p_duration", "pr", "p_amplitude_II", "p_area_V1"):
        assert np.isnan(found[name][fibrillating]).sum() >= 4, name
        assert np.isfinite(found[name][~fibrillating]).all(), name


@pytest.mark.parametrize("samples", [2500, 5000])
def test_cleaned_recordings_and_those_in_millivolts_agree(
    synthetic: tuple[np.ndarray, np.ndarray], samples: int
) -> None:
    ecgs = synthetic[0][~synthetic[1], :, :samples]
    raw, cleaned = features_of(*ecgs), features_of(*(clean_ecg(ecg) for ecg in ecgs))
    for name, most in {"heart_rate": 0.5, "pr": 4, "qrs_duration": 4, "qt": 26, "qrs_axis": 5}.items():
        assert np.isfinite(raw[name]).all(), name
        assert np.median(np.abs(raw[name] - cleaned[name])) < most, name
        assert np.corrcoef(raw[name], cleaned[name])[0, 1] > 0.95, name


def test_half_a_recording_gives_nearly_the_same(synthetic: tuple[np.ndarray, np.ndarray]) -> None:
    ecgs = synthetic[0][~synthetic[1]]
    whole, half = features_of(*ecgs), features_of(*ecgs[:, :, :2500])
    for name in ("qrs_duration", "qt", "r_amplitude_V5", "t_amplitude_V4", "cornell"):
        assert np.corrcoef(whole[name], half[name])[0, 1] > 0.9, name


def test_the_first_beat_counts() -> None:
    ecg = made_ecg(np.full(12, 0.9))[:, 100:]  # the first R peak 0.1 s after the start
    beats = find_beats(ecg, 500.0)
    assert beats is not None
    assert beats.marks.r_peaks[0] == pytest.approx(50, abs=2)


def test_ectopic_beats_are_left_out_of_the_median_beat() -> None:
    ecg, other = made_ecg(np.full(12, 0.9)), made_ecg(np.full(12, 0.9), axis=150.0, t_axis=30.0, qrs=0.16)
    expected = features_of(ecg)
    for beat in (3, 7):
        start = round((0.3 + 0.9 * beat) * 500)
        ecg[:, start - 100 : start + 250] = other[:, start - 100 : start + 250]
    found = features_of(ecg)
    assert found["beats_regular"][0] == pytest.approx(0.8)  # of ten whole beats, the first being cut off
    for name in ("qrs_axis", "r_amplitude_II", "qrs_duration", "qt"):
        assert found[name] == pytest.approx(expected[name], rel=0.05), name


def test_spoilt_recordings_give_numbers_or_nothing_without_a_warning() -> None:
    generator = np.random.default_rng(3)
    ecgs = np.stack([made_ecg(np.full(25, rr)) for rr in (0.4, 0.8, 1.2)])
    spoilt = [
        ecgs + generator.normal(size=ecgs.shape),
        np.where(generator.random(ecgs.shape) < 0.2, np.nan, ecgs),
        np.where(np.arange(5000) < 3000, np.nan, ecgs),
        np.where(np.arange(5000) < 4500, np.nan, ecgs),
        np.where(np.arange(12)[:, None] < 11, 7.0, ecgs),
        np.round(ecgs),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = extract_features(np.concatenate(spoilt)).values
    assert not np.isinf(values).any()
    rates = values[:, COLUMN["heart_rate"]].reshape(6, 3)
    np.testing.assert_allclose(rates[1], [150, 75, 50], atol=1)
    np.testing.assert_allclose(rates[2], [150, 75, 50], atol=1)
    np.testing.assert_allclose(rates[4], [150, 75, 50], atol=1)
    assert np.isnan(rates[3]).all()
