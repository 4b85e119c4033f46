"""Recordings a little short of their window, and recordings whose amplitude only another unit explains."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
from raw_file_writers import LEADS, cardiosoft_xml, sample_counts, write_declaration

from ecgcmr.errors import UserError
from ecgcmr.formats.amplitude import doubts_unit, typical_range_mv
from ecgcmr.formats.cardiosoft import parse_cardiosoft
from ecgcmr.formats.record import ecg_record
from ecgcmr.preparation import command
from ecgcmr.preparation.ecg import StandardOptions, standard_windows


def recording(samples=5000, factor=1.0, rate=500.0):
    return ecg_record(sample_counts(2, samples) * 0.01 * factor, LEADS, rate)


@pytest.mark.parametrize("lacking", [1, 25])
@pytest.mark.parametrize("short", ["reject", "pad"])
def test_half_a_percent_short_is_the_whole_length(lacking, short):
    (window,) = standard_windows(recording(5000 - lacking), StandardOptions(short=short))
    recorded = recording(5000 - lacking).signal
    np.testing.assert_array_equal(window.signal[:, : 5000 - lacking], recorded)
    np.testing.assert_array_equal(window.signal[:, 5000 - lacking :], np.repeat(recorded[:, -1:], lacking, axis=1))
    assert window.held == lacking
    assert window.notes == (f"is {lacking} sample{'s' * (lacking > 1)} short of 10 s at 500 Hz; its last one is held",)


def test_more_is_a_short_recording_and_a_whole_one_is_not_touched():
    with pytest.raises(UserError, match="recording lasts 9.95 s, needed are 10 s"):
        standard_windows(recording(4974))
    (window,) = standard_windows(recording(4974), StandardOptions(short="pad"))
    assert window.held == 0
    assert np.isnan(window.signal[:, 4974:]).all()
    (window,) = standard_windows(recording())
    assert (window.held, window.notes) == (0, ())


def test_of_several_windows_the_last_may_lack_a_little():
    first, second = standard_windows(recording(9990), StandardOptions(window="all"))
    assert (first.held, second.held) == (0, 10)
    assert len(standard_windows(recording(9970), StandardOptions(window="all"))) == 1


def test_an_averaged_beat_is_called_one():
    with pytest.raises(UserError, match=r"lasts 1.20 s, as an averaged \(median\) beat does, needed are 10 s"):
        standard_windows(recording(600))


@pytest.mark.parametrize("factor", [1000.0, 300.0, 1e-3])
def test_a_unit_wrong_by_a_thousand_is_refused(factor):
    with pytest.raises(UserError, match="its unit may be wrong") as caught:
        standard_windows(recording(factor=factor))
    assert doubts_unit(str(caught.value))


@pytest.mark.parametrize("factor", [60.0, 0.1])
def test_an_unusual_amplitude_is_used_and_noted(factor):
    record = recording(factor=factor)
    assert any(doubts_unit(note) for note in record.notes)
    assert len(standard_windows(record)) == 1


def test_usual_amplitudes_offsets_and_artefacts_are_not_doubted():
    usual = recording()
    assert 0.4 < typical_range_mv(usual.signal) < 4
    assert not any(doubts_unit(note) for note in usual.notes)
    signal = usual.signal + 250.0 * np.arange(12)[:, None] / 11  # offsets of electrodes
    signal[:, 1000] = 300.0  # a spike in every lead
    signal[:5] = np.sign(signal[:5]) * 320.0  # saturated or flat leads
    assert not any(doubts_unit(note) for note in ecg_record(signal, LEADS, 500.0).notes)
    assert len(standard_windows(ecg_record(signal, LEADS, 500.0))) == 1


def test_a_refusal_lists_the_leads_that_were_found():
    record = ecg_record(sample_counts(1)[:3] * 0.01, ("I", "MLII", "C1"), 500.0, others=("RESP",))
    with pytest.raises(UserError, match="leads II, III, .*; found I, MLII, C1, RESP$"):
        standard_windows(record)


def test_an_exercise_test_is_called_one():
    content = cardiosoft_xml().replace(b"<RestingECGMeasurements>", b"<ExerciseMeasurements>")
    content = content.replace(b"</RestingECGMeasurements>", b"</ExerciseMeasurements>")
    with pytest.raises(
        UserError, match=r"is an exercise test \(UK Biobank field 6025\), no resting ECG; take field 20205"
    ):
        parse_cardiosoft(content)


def test_report_and_terminal_count_doubtful_units_and_held_samples(tmp_path, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    steps = sample_counts(2) * 0.01
    for name, array in (
        ("1", steps),
        ("2", steps * 300),
        ("3", steps / 1000),
        ("4", steps * 60),
        ("5", steps[:, :4999]),
    ):
        np.save(
            raw / f"{name}.npy", array + np.random.default_rng(int(name)).normal(size=array.shape) * array.std() / 50
        )
    write_declaration(raw)
    (tmp_path / "key").write_bytes(bytes(range(32)))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ("--ecg", raw, "--out", tmp_path / "out", "--key-file", tmp_path / "key", "--workers", "1", "--no-beats")
    assert command.run(parser.parse_args([str(word) for word in words])) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert report["written"] == 3
    assert report["units_doubtful"] == {"skipped": 2, "used": 1}
    said = "3 files have an amplitude that speaks against their unit (2 skipped, 1 used); check V, mV or uV"
    assert said in capsys.readouterr().err.splitlines()
    assert {item["file"] for item in report["skipped"]} == {"2.npy", "3.npy"}
    notes = {(item["file"], item["note"]) for item in report["notes"]}
    assert ("5.npy", "is 1 sample short of 10 s at 500 Hz; its last one is held") in notes
