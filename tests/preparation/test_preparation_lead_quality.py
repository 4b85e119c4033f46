from __future__ import annotations

import re
import warnings

import neurokit2 as nk
import numpy as np
import pytest

from ecgcmr.preparation.bands import Bands
from ecgcmr.preparation.beats import mark_beats
from ecgcmr.preparation.lead_quality import LeadQuality, assess_leads, beat_similarity
from ecgcmr.shards.layout import LEAD_FLAGS, LEADS
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

MOMENT = np.arange(5000) / 500


@pytest.fixture(scope="module")
def clean():
    """Three recordings (3, 12, 5000) mV with a tenth of the recorder's noise."""
    states = sample_states(60, 8)
    rows = np.flatnonzero(~states.disease.atrial_fibrillation)[:3]
    return render_ecgs(states, rows, np.random.default_rng(8), noise=0.1).astype(np.float64) / 1000


def assess(signal, derived=()):
    return assess_leads(signal, 500.0, mark_beats(signal).r_peaks, derived)


def flagged(quality, flag):
    return [LEADS[lead] for lead in np.flatnonzero(quality.has(flag))]


def test_good_recordings_have_no_flags(clean):
    for signal in clean:
        quality = assess(signal)
        assert quality.flags.dtype == np.uint8
        assert quality.index.dtype == np.float32
        assert not quality.flags.any()
        assert np.all((quality.index > 0.9) & (quality.index <= 1))


def test_bits_are_those_of_the_layout():
    quality = LeadQuality(np.array([1 << i for i in range(5)], dtype=np.uint8), np.zeros(5, dtype=np.float32))
    for bit, name in enumerate(LEAD_FLAGS):
        np.testing.assert_array_equal(quality.has(name), np.arange(5) == bit)


def test_missing_and_derived(clean):
    signal = clean[0].copy()
    signal[4] = np.nan
    signal[9, 1000:] = np.nan
    signal[10, :1000] = np.nan
    quality = assess(signal, derived=("III", "aVR"))
    assert flagged(quality, "missing") == ["aVL", "V4"]
    assert flagged(quality, "derived") == ["III", "aVR"]
    assert np.isnan(quality.index[[4, 9]]).all()
    assert np.isfinite(quality.index[10])


def test_padding_counts_against_no_lead(clean):
    signal = clean[0].copy()
    signal[:, 2000:] = np.nan
    quality = assess(signal)
    assert not quality.flags.any()
    assert np.isfinite(quality.index).all()


def test_flat(clean):
    signal = clean[1].copy()
    signal[3] = 0.21
    signal[8, 3000:3600] = signal[8, 3000] + 0.005 * (np.arange(600) % 2)  # the recorder's last bit
    signal[9, 3000:3300] = signal[9, 3000]  # 0.6 s may be a long pause
    quality = assess(signal)
    assert flagged(quality, "flat") == ["aVR", "V3"]
    assert not np.isnan(quality.index[3])


def test_clipped_by_the_range_of_the_recorder(clean):
    signal = clean[2].copy()
    signal[6:] *= 3
    # Every fifth sample or so of QRS lies beyond these rails.
    for lead in (7, 9):
        limit = 0.4 * np.abs(signal[lead] - np.median(signal[lead])).max()
        signal[lead] = np.clip(signal[lead], np.median(signal[lead]) - limit, np.median(signal[lead]) + limit)
    signal[11, 4000:4150] = 5.0
    quality = assess(signal)
    assert set(flagged(quality, "clipped")) == {"V2", "V4", "V6"}


def test_rounded_tops_are_not_clipped():
    waves = np.stack([np.exp(-0.5 * (((MOMENT % 1) - 0.5) / width) ** 2) for width in np.linspace(0.004, 0.12, 12)])
    signal = np.rint(np.linspace(0.6, 2, 12)[:, None] * waves / 0.005) * 0.005
    assert not assess(signal).has("clipped").any()
    assert not assess(-signal).has("clipped").any()


def test_noise_and_drift(clean):
    generator = np.random.default_rng(1)
    signal = clean[0].copy()
    signal[2] += 0.05 * generator.normal(size=5000)
    signal[5, 2000:2600] += 0.08 * generator.normal(size=600)  # a burst
    signal[7] += 0.6 * np.sin(2 * np.pi * 0.2 * MOMENT)
    signal[10] += 0.05 * np.sin(2 * np.pi * 50 * MOMENT)
    assert flagged(assess(signal), "noisy") == ["III", "aVF", "V2", "V5"]


def test_index_falls_with_noise(clean):
    generator = np.random.default_rng(2)
    noise = generator.normal(size=clean[0].shape)
    peaks = mark_beats(clean[0]).r_peaks
    index = [assess_leads(clean[0] + level * noise, 500.0, peaks).index for level in (0.0, 0.1, 0.4)]
    assert np.all(index[0] > index[1])
    assert np.all(index[1] > index[2])


def test_no_index_without_beats():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for signal in (np.zeros((12, 5000)), np.full((12, 5000), np.nan), np.zeros((12, 0)), np.zeros((12, 1))):
            assert np.isnan(assess_leads(signal).index).all()
            quality = assess_leads(signal, r_peaks=[0] if signal.shape[1] else [])
            assert np.isnan(quality.index).all()
    assert assess_leads(np.full((12, 5000), np.nan)).has("missing").all()
    assert assess_leads(np.zeros((12, 5000))).has("flat").all()


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="expected"):
        assess_leads(np.zeros((5000, 12)))


def test_similarity_equals_neurokit(clean):
    for signal in clean:
        filtered = Bands(signal, 500.0).between(0.5, 40.0)
        peaks = mark_beats(signal).r_peaks
        ours = beat_similarity(filtered, peaks, 500.0)
        cycle = 500 / np.mean(500 / np.diff(peaks))
        whole = peaks[(peaks >= 0.5 * cycle) & (peaks + 0.5 * cycle <= 5000)]
        assert ours.shape == (12, len(whole))
        for lead in (0, 4, 8):
            theirs = nk.ecg_quality(filtered[lead], peaks, sampling_rate=500, method="templatematch")
            # neurokit2 gives no value to the last whole beat.
            np.testing.assert_allclose(ours[lead, :-1], theirs[whole[:-1]], rtol=0, atol=1e-9)


def noted_leads(text):
    """Read a remark of PTB-XL such as ``I-AVF,V6`` or ``alles``."""
    noted = np.zeros(12, dtype=bool)
    if not isinstance(text, str):
        return noted
    names = [name.upper() for name in LEADS]
    pattern = r"(?<![A-Z\d])(I{1,3}|AV[RLF]|V[1-6])(?:\s*-\s*(I{1,3}|AV[RLF]|V[1-6]))?(?![A-Z\d])"
    for first, last in re.findall(pattern, text.upper()):
        noted[names.index(first) : names.index(last or first) + 1] = True
    return noted if noted.any() else np.ones(12, dtype=bool)


def test_agrees_with_the_remarks_on_real_recordings(real_data_dir):
    import pandas as pd

    from ecgcmr.formats import read_ecg
    from ecgcmr.preparation.ecg import standardise_record

    table = pd.read_csv(real_data_dir / "ptbxl" / "ptbxl_database.csv")
    columns = ("static_noise", "burst_noise", "baseline_drift")
    remarked = table[list(columns)].notna().any(axis=1)
    part = pd.concat([table[remarked][::3], table[~remarked][::12]])
    noted, noisy, index = [], [], []
    for row in part.itertuples():
        signal = standardise_record(read_ecg(real_data_dir / "ptbxl" / f"{row.filename_hr}.hea"))
        quality = assess_leads(signal, 500.0, mark_beats(signal).r_peaks)
        noted.append(np.any([noted_leads(getattr(row, column)) for column in columns], axis=0))
        noisy.append(quality.has("noisy"))
        index.append(quality.index)
    noted, noisy, index = np.array(noted), np.array(noisy), np.array(index)
    assert noisy[noted].mean() > 0.25
    assert noisy[~noted].mean() < 0.1
    assert np.nanmedian(index[noted]) < np.nanmedian(index[~noted])
