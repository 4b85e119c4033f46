from __future__ import annotations

import numpy as np
import pytest
from raw_file_writers import (
    MUSE_LEADS,
    MUSE_STEP_UV,
    SECRET_NAME,
    independent_counts,
    muse_xml,
    write_muse_xml,
)

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg
from ecgcmr.formats.muse import parse_muse


def test_eight_leads_are_read_in_millivolts():
    counts = independent_counts(1)
    record = parse_muse(muse_xml(counts))
    assert record.leads == MUSE_LEADS
    assert record.sampling_rate == 500
    assert record.notes == ()
    np.testing.assert_allclose(record.signal, counts * MUSE_STEP_UV / 1000, rtol=1e-12)


def test_extreme_steps_survive_base64():
    counts = independent_counts(1)
    counts[0, :2] = [-32768, 32767]
    np.testing.assert_allclose(parse_muse(muse_xml(counts)).signal[0, :2], np.array([-32768, 32767]) * 0.00488)


def test_the_averaged_beat_is_never_taken_for_the_recording():
    assert parse_muse(muse_xml(kinds=("Median", "Rhythm"))).signal.shape == (8, 5000)
    assert parse_muse(muse_xml(kinds=("Rhythm", "Median"))).signal.shape == (8, 5000)
    with pytest.raises(UserError, match="no Waveform of type Rhythm"):
        parse_muse(muse_xml(kinds=("Median",)))


def test_the_first_of_two_recordings_is_read_and_noted():
    assert "holds 2 rhythm recordings, of which the first is read" in parse_muse(muse_xml(kinds=("Rhythm",) * 2)).notes


@pytest.mark.parametrize(
    ("rate", "expected"), [(("500", "0"), 500.0), (("250", "0"), 250.0), (("25", "1"), 250.0), (("5000", "-1"), 500.0)]
)
def test_rate_is_base_times_a_power_of_ten(rate, expected):
    assert parse_muse(muse_xml(rate=rate)).sampling_rate == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "units", "microvolts"),
    [("4.88", "MICROVOLTS", 4.88), ("4,88", "MICROVOLTS", 4.88), ("0.00488", "MILLIVOLTS", 4.88), ("5", "uV", 5.0)],
)
def test_steps_in_any_unit_and_with_a_decimal_comma(step, units, microvolts):
    record = parse_muse(muse_xml(independent_counts(2), step=step, units=units))
    np.testing.assert_allclose(record.signal, independent_counts(2) * microvolts / 1000)


def test_remarks_of_the_device_are_kept():
    record = parse_muse(muse_xml(statement="*** Poor data quality, interpretation may be affected"))
    assert "the device reports poor data quality" in record.notes
    assert "the device reports lead V1 off" in parse_muse(muse_xml(extra="<LeadOff>TRUE</LeadOff>")).notes
    assert any("no unit" in note for note in parse_muse(muse_xml(units="")).notes)


def test_nothing_of_the_person_is_kept(tmp_path):
    write_muse_xml(tmp_path / "a.xml")
    text = repr(read_ecg(tmp_path / "a.xml"))
    assert not [secret for secret in (SECRET_NAME, "1000011", "1950") if secret in text]


def test_a_document_type_outside_the_file_is_never_fetched(tmp_path):
    (tmp_path / "restecg.dtd").write_text('<!ENTITY leak "leaked">')
    content = muse_xml(statement="&leak;")
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(UserError, match=r"a.xml: uses entities"):
        read_ecg(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (muse_xml()[:9000], "not well-formed"),
        (muse_xml(rate=("", "0")), "SampleBase"),
        (muse_xml(rate=("500", "400")), "SampleExponent"),
        (muse_xml(rate=("-500", "0")), "sampling rate of -500"),
        (muse_xml(rate=("nan", "0")), "sampling rate of nan"),
        (muse_xml(step="0"), "LeadAmplitudeUnitsPerBit"),
        (muse_xml(step="x"), "LeadAmplitudeUnitsPerBit"),
        (muse_xml(units="mmHg"), "not a voltage"),
        (muse_xml().replace(b"<LeadSampleSize>2<", b"<LeadSampleSize>4<"), "LeadSampleSize"),
        (muse_xml().replace(b"Total>5000<", b"Total>5001<"), "LeadSampleCountTotal"),
        (muse_xml().replace(b"Total>5000<", b"Total>999999999999999999<"), "LeadSampleCountTotal"),
        (muse_xml().replace(b"<WaveFormData>\n", b"<WaveFormData>\n?"), "not base64"),
        (muse_xml().replace(b"<LeadID>V1<", b"<LeadID>V2<"), "lead V2 twice"),
        (muse_xml().replace(b"<LeadID>V1<", b"<LeadID><"), "without a LeadID"),
        (muse_xml(doctype='<!DOCTYPE RestingECG [<!ENTITY a "b">]>'), "document type"),
        (muse_xml(np.empty((8, 0), int), kinds=("Rhythm",)), "holds no samples"),
    ],
)
def test_defects_are_told_in_one_line_with_the_file_name(tmp_path, content, reason):
    (tmp_path / "x.xml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_ecg(tmp_path / "x.xml")
    message = str(caught.value)
    assert message.startswith("x.xml: ")
    assert reason in message
    assert "\n" not in message
    assert SECRET_NAME not in message
