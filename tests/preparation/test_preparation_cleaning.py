from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_file_writers import sample_counts

from ecgcmr.errors import UserError
from ecgcmr.preparation.cleaning import PRESETS, Cleaning, clean_ecg
from ecgcmr.preparation.cleaning_steps import NEUROKIT_METHODS, STEPS, ZScore
from ecgcmr.preparation.ecg import LEAD_GROUPS

MOMENT = np.arange(5000) / 500


def millivolts(seed=0):
    return sample_counts(seed) * 0.005


def power_at(signal, frequency):
    spectrum = np.abs(np.fft.rfft(signal, axis=1)) ** 2
    near = np.abs(np.fft.rfftfreq(signal.shape[1], 1 / 500) - frequency) < 0.15
    return spectrum[:, near].sum()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_finite_float32(name):
    cleaning = Cleaning.from_name(name)
    signal = millivolts()
    signal[2, 100:400] = np.nan
    signal[5] = np.nan
    signal[8] = 0.4
    before = signal.copy()
    cleaned = cleaning(signal)
    assert cleaned.shape == (12, 5000)
    assert cleaned.dtype == np.float32
    assert np.isfinite(cleaned).all()
    np.testing.assert_array_equal(signal, before)
    assert cleaning.name == name


def test_published_is_the_published_recipe_bit_by_bit():
    cleaning = Cleaning.from_name("published")
    for seed in range(5):
        signal = millivolts(seed)
        signal[seed, 10:50] = np.nan
        np.testing.assert_array_equal(cleaning(signal), clean_ecg(signal))
    shorter = millivolts(9)[:, :777]
    np.testing.assert_array_equal(cleaning(shorter), clean_ecg(shorter))


def test_none_leaves_millivolts():
    signal = millivolts()
    signal[4, :100] = np.nan
    cleaning = Cleaning.from_name("none")
    assert cleaning.unit == "mV"
    np.testing.assert_array_equal(cleaning(signal), np.nan_to_num(signal).astype(np.float32))


@pytest.mark.parametrize("name", ["published", "neurokit", "bandpass"])
def test_z_scores_are_by_lead_groups(name):
    cleaning = Cleaning.from_name(name)
    assert cleaning.unit == "z-score"
    cleaned = cleaning(millivolts()).astype(float)
    for group in LEAD_GROUPS:
        assert abs(cleaned[group].mean()) < 1e-5
        assert abs(cleaned[group].std() - 1) < 1e-5


@pytest.mark.parametrize("name", ["neurokit", "bandpass"])
def test_filters_remove_drift_and_mains(name):
    disturbed = millivolts() + 0.5 * np.sin(2 * np.pi * 0.1 * MOMENT) + 0.2 * np.sin(2 * np.pi * 50 * MOMENT)
    steps = [step for step in PRESETS[name] if not isinstance(step, ZScore)]
    kept = Cleaning(steps)(disturbed).astype(float)
    assert power_at(kept, 0.1) < 0.01 * power_at(disturbed, 0.1)
    assert power_at(kept, 50) < 0.01 * power_at(disturbed, 50)
    assert power_at(kept, 10) > 0.8 * power_at(disturbed, 10)


def test_band_pass_moves_no_wave():
    pulse = np.tile(np.exp(-0.5 * ((MOMENT - 5) / 0.02) ** 2), (12, 1))
    filtered = Cleaning.from_name("bandpass")(pulse)
    assert filtered[0].argmax() == 2500
    np.testing.assert_allclose(filtered[:, 1500:2500], filtered[:, 3500:2500:-1], atol=1e-3)


def test_neurokit_is_neurokit():
    import neurokit2 as nk

    signal = millivolts()
    cleaned = Cleaning.from_dict({"steps": [{"neurokit": {"powerline": 60}}]})(signal)
    expected = nk.ecg_clean(signal[7], sampling_rate=500, method="neurokit", powerline=60)
    np.testing.assert_allclose(cleaned[7], expected, atol=1e-6)


@pytest.mark.parametrize("method", NEUROKIT_METHODS)
def test_every_neurokit_method_works(method):
    cleaned = Cleaning.from_dict({"steps": [{"neurokit": {"method": method}}]})(millivolts())
    assert np.isfinite(cleaned).all()
    assert cleaned.any()


def test_too_short_for_neurokit_is_told():
    with pytest.raises(UserError, match="neurokit2 cannot clean 12 samples"):
        Cleaning.from_name("neurokit")(millivolts()[:, :12])


@pytest.mark.parametrize(("groups", "parts"), [("each", [[i] for i in range(12)]), ("all", [list(range(12))])])
def test_other_groups(groups, parts):
    cleaned = Cleaning.from_dict({"steps": [{"zscore": {"groups": groups}}]})(millivolts()).astype(float)
    for part in parts:
        assert abs(cleaned[part].mean()) < 1e-5
        assert abs(cleaned[part].std() - 1) < 1e-5


def test_gaps_may_be_bridged_by_lines():
    signal = np.tile(np.linspace(1, 2, 5000), (12, 1))
    signal[3, 1000:2000] = np.nan
    signal[4, :50] = np.nan
    cleaned = Cleaning.from_dict({"steps": [{"fill": {"method": "line"}}]})(signal)
    np.testing.assert_allclose(cleaned[3], np.linspace(1, 2, 5000), atol=1e-6)
    np.testing.assert_allclose(cleaned[4, :50], cleaned[4, 50])


def test_yaml_file_as_in_the_documentation(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "steps: [{clip: {deviations: 4}}, {als: {lambda_: 1e7, p: 0.3, solves: 5}}, {zscore: {groups: leads}}]"
    )
    cleaning = Cleaning.from_name(path)
    assert cleaning == Cleaning.from_name("published")
    assert cleaning.name == "published"
    assert cleaning.to_dict() == Cleaning.from_name("published").to_dict()
    path.write_text("steps:\n  - fill\n  - bandpass:\n      high: 35\n")
    other = Cleaning.from_name(str(path))
    assert other.name == "custom"
    assert other.unit == "mV"
    assert other.to_dict() == {
        "steps": [{"fill": {"method": "zero"}}, {"bandpass": {"low": 0.5, "high": 35.0, "order": 2}}]
    }


@pytest.mark.parametrize("name", PRESETS)
def test_round_trips(name):
    cleaning = Cleaning.from_name(name)
    signal = millivolts()
    expected = cleaning(signal)
    for other in (
        Cleaning.from_dict(json.loads(json.dumps(cleaning.to_dict()))),
        Cleaning.from_dict(yaml.safe_load(yaml.safe_dump(cleaning.to_dict()))),
        pickle.loads(pickle.dumps(cleaning)),
    ):
        assert other == cleaning
        assert hash(other) == hash(cleaning)
        np.testing.assert_array_equal(other(signal), expected)
    assert cleaning != Cleaning.from_name("none" if name != "none" else "bandpass")


def test_one_recording_does_not_reach_the_next():
    cleaning = Cleaning.from_name("bandpass")
    first = cleaning(millivolts(0)).copy()
    cleaning(millivolts(1))
    cleaning(millivolts(2)[:, :900])
    np.testing.assert_array_equal(cleaning(millivolts(0)), first)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"steps": [{"smooth": {}}]}, "'smooth', is unknown: choose one of fill, clip, als"),
        ({"steps": [{"clip": {"sd": 4}}]}, "step 1, clip: parameter 'sd' is unknown: choose from deviations"),
        ({"steps": ["fill", {"als": {"p": 1.5}}]}, "step 2, als: p must lie between 0 and 1"),
        ({"steps": [{"als": {"solves": 2.5}}]}, "solves must be a whole number, not 2.5"),
        ({"steps": [{"als": {"solves": 10**9}}]}, "solves must be 1 to 100"),
        ({"steps": [{"als": {"lambda_": -1}}]}, "lambda_ must be above 0"),
        ({"steps": [{"clip": {"deviations": True}}]}, "deviations must be a number"),
        ({"steps": [{"clip": {"deviations": float("nan")}}]}, "deviations must be a number"),
        ({"steps": [{"clip": {"deviations": 10**400}}]}, "deviations must be a number"),
        ({"steps": [{"clip": {"deviations": [4]}}]}, "deviations must be a number"),
        ({"steps": [{"clip": 4}]}, "parameters are given as"),
        ({"steps": [{"bandpass": {"low": 50}}]}, "low must be below high"),
        ({"steps": [{"bandpass": {"high": 250}}]}, "high must lie between 0 and 250 Hz"),
        ({"steps": [{"bandpass": {"order": 0}}]}, "order must be 1 to 8"),
        ({"steps": [{"notch": {"frequency": 0}}]}, "frequency must lie between"),
        ({"steps": [{"zscore": {"groups": "chest"}}]}, "'chest' is not one of leads, each, all"),
        ({"steps": [{"zscore": {"groups": 3}}]}, "groups must be a word"),
        ({"steps": [{"neurokit": {"method": "best"}}]}, "'best' is not one of neurokit"),
        ({"steps": [{"neurokit": {"method": "biosppy", "powerline": 60}}]}, "powerline is for the method neurokit"),
        ({"steps": [{"fill": None, "clip": None}]}, "step 1 must be one name"),
        ({"steps": [["fill"]]}, "step 1 must be one name"),
        ({"steps": []}, "at least one step"),
        ({"steps": {"fill": {}}}, "has one key, steps"),
        ({"step": []}, "has one key, steps"),
        ({"steps": ["fill"], "name": "x"}, "has one key, steps"),
        (["fill"], "has one key, steps"),
        (None, "has one key, steps"),
    ],
)
def test_mistakes_are_told(content, reason):
    with pytest.raises(UserError, match=reason) as raised:
        Cleaning.from_dict(content)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        b"steps: [",
        b"\xff\xfe\x00",
        b"",
        b"steps: !!python/object/apply:os.system [ls]",
        b"? [a]\n: b\n",
        b"- " * 3000 + b"a",
    ],
)
def test_bad_files_are_told(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"^bad\.yaml: ") as raised:
        Cleaning.from_name(path)
    assert "\n" not in str(raised.value)


def test_large_files_and_unknown_names_are_refused(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(b"# " + b"x" * 2**20)
    with pytest.raises(UserError, match="larger than"):
        Cleaning.from_name(path)
    with pytest.raises(UserError, match="choose one of published, neurokit, bandpass, none, or name a YAML file"):
        Cleaning.from_name("butterworth")


def test_wrong_shape_and_infinity_are_refused():
    for name in PRESETS:
        with pytest.raises(ValueError, match="expected"):
            Cleaning.from_name(name)(np.zeros((11, 5000)))
        with pytest.raises(ValueError, match="infinite"):
            Cleaning.from_name(name)(np.full((12, 100), np.inf))


words = st.text(max_size=8) | st.sampled_from(sorted(STEPS))
values = st.none() | st.booleans() | st.integers() | st.floats() | words | st.lists(st.integers(), max_size=2)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(words | st.dictionaries(words, st.dictionaries(words, values, max_size=2), max_size=2), max_size=3)
)
def test_anything_is_a_cleaning_or_a_user_error(steps):
    try:
        cleaning = Cleaning.from_dict({"steps": steps})
    except UserError:
        return
    assert Cleaning.from_dict(cleaning.to_dict()) == cleaning
