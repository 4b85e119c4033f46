from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_file_writers import LEADS as FILE_LEADS
from raw_file_writers import cardiosoft_xml, sample_counts

from ecgcmr.errors import UserError
from ecgcmr.formats.cardiosoft import parse_cardiosoft
from ecgcmr.formats.record import ECGRecord
from ecgcmr.preparation import LEADS, clean_ecg, remove_baseline, standardise_record
from ecgcmr.preparation import ecg as ecg_module
from ecgcmr.preparation.ecg import LEAD_GROUPS, StandardOptions, standard_windows
from ecgcmr.preparation.resampling import resample, resampling_ratio


def record(signal, leads=LEADS, rate=500.0):
    return ECGRecord(np.asarray(signal, dtype=float), tuple(leads), rate)


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
    leads = (*present, *FILE_LEADS[6:])
    some = ECGRecord(counts[[FILE_LEADS.index(lead) for lead in leads]] * 0.005, leads, 500)
    np.testing.assert_allclose(standardise_record(some), counts * 0.005, atol=1e-9)


def test_eight_leads_of_a_file_are_enough():
    counts = sample_counts()
    keep = [0, 1, *range(6, 12)]
    partial = parse_cardiosoft(cardiosoft_xml(counts[keep], leads=tuple(FILE_LEADS[i] for i in keep)))
    np.testing.assert_allclose(standardise_record(partial), counts * 0.005, atol=1e-9)


def test_chest_leads_cannot_be_derived():
    with pytest.raises(UserError, match="leads V6 are missing"):
        standardise_record(ECGRecord(sample_counts()[:11] * 0.005, FILE_LEADS[:11], 500))


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
        (np.ones((12, 4974)) * np.arange(4974) / 5000, 500.0, r"lasts 9.95 s, needed are 10 s"),
        (np.ones((12, 5000)) * np.arange(5000), 500.0, r"reaches 5e\+03 mV"),
        (np.zeros((12, 5000)), 500.0, "empty or flat"),
        (np.full((12, 5000), np.nan), 500.0, "empty or flat"),
        (np.arange(12)[:, None] * np.ones(5000), 500.0, "empty or flat"),
        (np.zeros((12, 5000)), -1.0, "sampling rate"),
        (np.zeros((12, 5000)), 49.0, "sampling rate is 49 Hz, expected are 50 to 20000 Hz"),
        (np.zeros((12, 5000)), 20_001.0, "sampling rate"),
        (np.zeros((12, 5000)), float("nan"), "sampling rate"),
        (np.zeros((12, 5000)), float("inf"), "sampling rate"),
        (np.zeros((12, 0)), 500.0, "lasts 0.00 s"),
    ],
)
def test_unusable_recordings_are_told(signal, rate, reason):
    with pytest.raises(UserError, match=reason):
        standardise_record(record(signal, rate=rate))


def tones(rate, seconds):
    """Twelve sines of 1 to 12 Hz and 0.1 to 1.2 mV."""
    time = np.arange(round(rate * seconds)) / rate
    return np.stack([0.1 * lead * np.sin(2 * np.pi * lead * time) for lead in range(1, 13)])


@pytest.mark.parametrize(
    "rate", [50.0, 128.3, 250.0, 257.0, 333.3333, 360.0, 500.0, 512.0, 999.9, 1000.0, 2000.0, 20_000.0]
)
def test_odd_rates_arrive_at_the_right_moments(rate):
    # The record is a little longer than the window, so that no end of it lies near the window's end.
    result = standardise_record(record(tones(rate, 10.5), rate=rate))
    assert result.shape == (12, 5000)
    leads = slice(0, 12) if rate > 60 else slice(0, 8)  # 12 Hz lie in the filter's flank at 50 Hz
    assert np.abs(result - tones(500, 10))[leads, 150:].max() < 4e-3


@settings(max_examples=200, deadline=None)
@given(rate=st.floats(50, 20_000))
def test_any_rate_is_met_within_ten_microseconds_a_second(rate):
    ratio = resampling_ratio(rate, 500.0)
    assert abs(float(ratio) * rate / 500 - 1) < 1e-5
    assert max(ratio.numerator, ratio.denominator) <= 100_000


def test_resampling_removes_what_would_be_aliased():
    time = np.arange(20_000) / 2000
    high = np.tile(np.sin(2 * np.pi * 440 * time), (12, 1))  # 60 Hz if it were only thinned out
    assert np.abs(resample(high, resampling_ratio(2000, 500))[:, 50:-50]).max() < 5e-3


def test_gaps_stay_gaps_and_spread_nothing():
    signal = tones(1000, 10)
    gappy = signal.copy()
    gappy[3, 4000:4400] = np.nan
    gappy[5, :1000] = np.nan
    gappy[7] = np.inf
    window = standard_windows(record(gappy, rate=1000.0))[0]
    missing = np.isnan(window.signal)
    assert window.missing == ("V2",)
    np.testing.assert_array_equal(np.flatnonzero(missing[3]), np.arange(2000, 2200))
    np.testing.assert_array_equal(np.flatnonzero(missing[5]), np.arange(500))
    assert missing[7].all()
    rest = ~missing
    rest[3, 1980:2220] = False  # the filter reaches a few samples beyond the gap
    rest[5, :520] = False
    assert np.abs(window.signal - signal[:, ::2])[rest & (np.arange(5000) > 20) & (np.arange(5000) < 4980)].max() < 5e-3


def test_constant_offset_leaves_no_ringing_at_the_ends():
    result = standardise_record(record(5 + 0.01 * tones(360, 10), rate=360.0))
    assert np.abs(result - 5).max() < 0.02


@pytest.mark.parametrize(
    ("leads", "derived"), [(("I", "II"), ("III", "aVR", "aVL", "aVF")), (("I", "III"), ("II", "aVR"))]
)
def test_derived_leads_are_named(leads, derived):
    counts = sample_counts() * 0.005
    present = [*leads, *LEADS[6:]]
    window = standard_windows(record(counts[[LEADS.index(lead) for lead in present]], present))[0]
    assert set(derived) <= set(window.derived)
    assert not set(window.derived) & set(present)
    assert window.missing == ()
    np.testing.assert_allclose(window.signal, counts, atol=1e-12)


def test_empty_leads_are_derived_where_they_can_be():
    counts = sample_counts() * 0.005
    signal = counts.copy()
    signal[[2, 3, 8]] = np.nan
    window = standard_windows(record(signal))[0]
    assert window.derived == ("III", "aVR")
    assert window.missing == ("V3",)
    np.testing.assert_allclose(np.delete(window.signal, 8, 0), np.delete(counts, 8, 0), atol=1e-12)
    signal[0] = np.nan
    assert standard_windows(record(signal))[0].missing == ("I", "III", "aVR", "V3")


def test_lead_absent_beside_empty_ones_is_missing():
    counts = sample_counts() * 0.005
    signal = np.delete(counts, 2, 0)
    signal[0] = np.nan
    signal[2:5] = np.nan
    window = standard_windows(record(signal, np.delete(LEADS, 2)))[0]
    assert window.missing == ("I", "III", "aVR", "aVL", "aVF")
    assert window.derived == ()


@pytest.mark.parametrize("rate", [500.0, 400.0])
def test_short_recordings_are_continued_by_missing_samples(rate):
    signal = sample_counts(0, round(rate * 6)) * 0.005
    with pytest.raises(UserError, match="lasts 6.00 s, needed are 10 s"):
        standard_windows(record(signal, rate=rate))
    (window,) = standard_windows(record(signal, rate=rate), StandardOptions(short="pad"))
    assert window.signal.shape == (12, 5000)
    assert np.isfinite(window.signal[:, :3000]).all()
    assert np.isnan(window.signal[:, 3000:]).all()
    assert not clean_ecg(window.signal)[:, 3500:].any() or np.isfinite(clean_ecg(window.signal)).all()
    with pytest.raises(UserError, match="lasts 2.00 s, needed are 2.5 s"):
        standard_windows(record(signal[:, : round(rate * 2)], rate=rate), StandardOptions(short="pad"))


@pytest.mark.parametrize("rate", [500.0, 250.0, 257.0, 999.9])
def test_windows_of_long_recordings(rate):
    signal = tones(rate, 34)
    source = record(signal, rate=rate)
    whole = resample(signal, resampling_ratio(rate, 500.0))
    (first,) = standard_windows(source)
    every = standard_windows(source, StandardOptions(window="all"))
    assert len(every) == 3
    for number, window in enumerate(every):
        np.testing.assert_allclose(window.signal, whole[:, 5000 * number : 5000 * (number + 1)])
    np.testing.assert_allclose(first.signal, every[0].signal, atol=2e-3)
    (middle,) = standard_windows(source, StandardOptions(window="middle"))
    start = (whole.shape[1] - 5000) / 2
    moment = (np.arange(5000) + start) / 500
    expected = np.stack([0.1 * lead * np.sin(2 * np.pi * lead * moment) for lead in range(1, 13)])
    # The middle is met within one sample of the source.
    assert np.abs(middle.signal - expected).max() < 1.2 * 2 * np.pi * 12 / min(rate, 500)
    np.testing.assert_array_equal(standardise_record(source), first.signal)


def test_windows_without_signal_are_left_out():
    signal = tones(500, 40)
    signal[:, 5000:10_000] = 0.3
    signal[:, 15_000:] = np.nan
    windows = standard_windows(record(signal), StandardOptions(window="all"))
    assert len(windows) == 2
    np.testing.assert_array_equal(windows[1].signal, signal[:, 10_000:15_000])
    with pytest.raises(UserError, match="empty or flat"):
        standard_windows(record(signal[:, 5000:10_000]), StandardOptions(window="all"))


@pytest.mark.parametrize("window", ["first", "middle"])
def test_long_recordings_are_cut_before_they_are_resampled(window, monkeypatch):
    lengths = []

    def spy(signal, ratio):
        lengths.append(signal.shape[1])
        return resample(signal, ratio)

    monkeypatch.setattr(ecg_module, "resample", spy)
    (found,) = standard_windows(record(tones(257, 200), rate=257.0), StandardOptions(window=window))
    assert found.signal.shape == (12, 5000)
    assert lengths[0] < 11 * 257


@pytest.mark.parametrize("options", [{"samples": 0}, {"sampling_rate": 0.0}, {"short": "cut"}, {"window": "last"}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=r"need samples|choose one of"):
        StandardOptions(**options)


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(range(12)),
    rate=st.sampled_from([250.0, 360.0, 500.0, 1000.0]),
    upper=st.booleans(),
    seed=st.integers(0, 99),
)
def test_order_of_the_leads_does_not_matter(order, rate, upper, seed):
    signal = sample_counts(seed, round(10 * rate)) * 0.005
    names = [LEADS[lead].upper() if upper else LEADS[lead] for lead in order]
    shuffled = standardise_record(record(signal[list(order)], names, rate))
    np.testing.assert_array_equal(shuffled, standardise_record(record(signal, rate=rate)))


def test_real_recordings_come_out_normalised(real_data_dir):
    from ecgcmr.formats import read_ecg

    for header in sorted((real_data_dir / "ptbxl").rglob("*_hr.hea"))[:10]:
        cleaned = clean_ecg(standardise_record(read_ecg(header)))
        assert np.isfinite(cleaned).all()
        assert abs(cleaned[6:].std(dtype=float) - 1) < 1e-4
