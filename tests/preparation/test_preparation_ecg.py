from __future__ import annotations

import numpy as np
import pytest
from raw_file_writers import LEADS as FILE_LEADS
from raw_file_writers import cardiosoft_xml, sample_counts

from ecgcmr.errors import UserError
from ecgcmr.formats.cardiosoft import parse_cardiosoft
from ecgcmr.formats.record import ECGRecord
from ecgcmr.preparation import LEADS, clean_ecg, clean_ecgs, remove_baseline, standardise_record
from ecgcmr.preparation.ecg import LEAD_GROUPS, complete_leads


def record(signal, leads=LEADS, rate=500.0):
    return ECGRecord(np.asarray(signal, dtype=float), tuple(leads), rate)


def test_equals_the_published_preparation(parity_dir):
    golden = np.load(parity_dir / "preprocess_als_groupnorm.npz")
    for raw, expected in zip(golden["raw"], golden["processed"], strict=True):
        # The golden arrays are stored in float32, whose rounding alone is 6e-8 of the largest value.
        assert np.abs(clean_ecg(raw) - expected).max() <= 1e-6 * np.abs(expected).max()


def test_unit_does_not_matter():
    millivolts = sample_counts() * 0.005
    np.testing.assert_allclose(clean_ecg(millivolts), clean_ecg(millivolts * 1000), atol=2e-5)


def test_groups_have_mean_zero_and_deviation_one():
    cleaned = clean_ecg(sample_counts() * 0.005)
    assert cleaned.dtype == np.float32
    for group in LEAD_GROUPS:
        assert abs(cleaned[group].mean(dtype=float)) < 1e-6
        assert abs(cleaned[group].std(dtype=float) - 1) < 1e-5


def test_equals_the_recipe_written_out():
    signal = sample_counts().astype(float)
    signal[8, 2500] = 1e6
    signal[2, 40:60] = np.nan
    expected = np.nan_to_num(signal)
    limit = 4 * expected.std()
    assert limit < 1e6
    expected = remove_baseline(np.clip(expected, -limit, limit))
    for group in (slice(0, 3), slice(3, 6), slice(6, 12)):
        expected[group] = (expected[group] - expected[group].mean()) / np.sqrt(expected[group].var() + 1e-12)
    np.testing.assert_allclose(clean_ecg(signal), expected, rtol=1e-5, atol=1e-6)


def test_missing_samples_count_as_zero_and_flat_group_stays_finite():
    signal = sample_counts().astype(float)
    signal[3:6] = 0
    zeroed = signal.copy()
    zeroed[7, 100:200] = 0
    signal[7, 100:200] = np.nan
    np.testing.assert_array_equal(clean_ecg(signal), clean_ecg(zeroed))
    assert not clean_ecg(signal)[3:6].any()


def test_batch_equals_one_by_one():
    signals = np.stack([sample_counts(seed).astype(np.float32) for seed in range(4)])
    np.testing.assert_array_equal(clean_ecgs(signals), np.stack([clean_ecg(signal) for signal in signals]))


def test_wrong_shape_and_infinity_are_refused():
    with pytest.raises(ValueError, match="expected"):
        clean_ecg(np.zeros((11, 5000)))
    with pytest.raises(ValueError, match="infinite"):
        clean_ecg(np.full((12, 100), np.inf))


@pytest.mark.parametrize(
    "present",
    [("I", "II"), ("I", "III"), ("II", "III"), ("I", "II", "III"), ("I", "II", "aVF")],
)
def test_limb_leads_are_derived(present):
    counts = sample_counts().astype(float)
    full = dict(zip(FILE_LEADS, counts, strict=True))
    some = {name: full[name] for name in (*present, "V1", "V2", "V3", "V4", "V5", "V6")}
    np.testing.assert_allclose(complete_leads(some), counts, atol=1e-9)


def test_eight_leads_of_a_file_are_enough():
    counts = sample_counts()
    keep = [0, 1, *range(6, 12)]
    partial = parse_cardiosoft(cardiosoft_xml(counts[keep], leads=tuple(FILE_LEADS[i] for i in keep)))
    np.testing.assert_allclose(standardise_record(partial), counts * 0.005, atol=1e-9)


def test_chest_leads_cannot_be_derived():
    counts = dict(zip(FILE_LEADS[:11], sample_counts()[:11], strict=True))
    with pytest.raises(UserError, match="leads V6 are missing"):
        complete_leads(counts)


def test_leads_are_put_in_order_and_long_recordings_cut():
    counts = sample_counts(0, 6000).astype(float)
    order = np.random.default_rng(0).permutation(12)
    result = standardise_record(record(counts[order], [LEADS[i].lower() for i in order]))
    np.testing.assert_array_equal(result, counts[:, :5000])


def test_other_rates_are_resampled():
    time = np.arange(10_000) / 1000
    signal = np.stack([np.sin(2 * np.pi * (1 + lead) * time) for lead in range(12)])
    result = standardise_record(record(signal, rate=1000.0))
    assert result.shape == (12, 5000)
    assert np.abs(result[:, 200:-200] - signal[:, ::2][:, 200:-200]).max() < 1e-3


@pytest.mark.parametrize(
    ("signal", "rate", "reason"),
    [
        (np.ones((12, 4999)) * np.arange(4999), 500.0, r"lasts 10.00 s|lasts 9.99"),
        (np.zeros((12, 5000)), 500.0, "empty or flat"),
        (np.full((12, 5000), np.nan), 500.0, "empty or flat"),
        (np.zeros((12, 5000)), -1.0, "sampling rate"),
    ],
)
def test_unusable_recordings_are_told(signal, rate, reason):
    with pytest.raises(UserError, match=reason):
        standardise_record(record(signal, rate=rate))


def test_real_recordings_come_out_normalised(real_data_dir):
    from ecgcmr.formats import read_ecg

    for header in sorted((real_data_dir / "ptbxl").rglob("*_hr.hea"))[:10]:
        cleaned = clean_ecg(standardise_record(read_ecg(header)))
        assert np.isfinite(cleaned).all()
        assert abs(cleaned[6:].std(dtype=float) - 1) < 1e-4
