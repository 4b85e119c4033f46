"""Formats that a library reads: the right leads, unit, rate and samples, and our own checks of what it answers."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from library_file_writers import (
    GOOD,
    SIX_LEADS,
    edf_bytes,
    hl7_xml,
    ishne_bytes,
    kardia_json,
    mfer_bytes,
    mortara_xml,
    scp_bytes,
    sierra_xml,
)
from raw_file_writers import LEADS, SECRET_NAME, sample_counts

from ecgcmr.errors import UserError
from ecgcmr.formats import ecg_files, identify_ecg, read_ecg
from ecgcmr.formats.ecg_formats import FORMATS
from ecgcmr.formats.library_formats import LIBRARY_FORMATS
from ecgcmr.formats.memory_file import memory_file

COUNTS = sample_counts(5, 1000)
MILLIVOLTS = COUNTS * 0.005
SECRETS = (SECRET_NAME, SECRET_NAME.encode().decode("latin-1"), "1000011", "1950", "M\\xfcller")


def read(tmp_path: Path, content: bytes, name: str = "recording.xyz"):
    (tmp_path / name).write_bytes(content)
    return read_ecg(tmp_path / name)


def refusal(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith("recording.xyz: ")
    assert "\n" not in message
    assert not any(secret in message for secret in SECRETS)
    return message


@pytest.mark.parametrize("kind", GOOD)
def test_leads_unit_rate_and_samples_are_those_written(tmp_path, kind):
    counts = COUNTS[:6] if kind == "kardia" else COUNTS
    path = tmp_path / "recording.xyz"
    path.write_bytes(GOOD[kind](counts))
    record = read_ecg(path)
    assert identify_ecg(path).kind == kind
    assert ecg_files(path) == [path]
    assert record.format == FORMATS[kind].title == LIBRARY_FORMATS[kind].title
    assert record.leads == (SIX_LEADS if kind == "kardia" else LEADS)
    assert record.sampling_rate == (300 if kind == "kardia" else 500)
    np.testing.assert_allclose(record.signal, counts * 0.005, rtol=1e-12, atol=1e-12)
    assert [note for note in record.notes if "lasts" not in note] == []
    assert not any(secret in repr(record) for secret in SECRETS)


@pytest.mark.parametrize("kind", ["hl7", "scp", "edf"])
def test_packed_files_and_files_in_memory_are_read(tmp_path, kind):
    content = GOOD[kind](COUNTS)
    packed = read(tmp_path, gzip.compress(content), "a.gz")
    in_memory = read_ecg(memory_file("upload", {"upload": content}))
    for record in (packed, in_memory):
        np.testing.assert_allclose(record.signal, MILLIVOLTS, atol=1e-12)


@pytest.mark.parametrize(
    ("content", "rate"),
    [
        (hl7_xml(COUNTS, increment="4", time_unit="ms"), 250.0),
        (hl7_xml(COUNTS, increment="0.0078125"), 128.0),
        (hl7_xml(COUNTS, increment="0.00390", prefix="x"), 1 / 0.0039),
        (scp_bytes(COUNTS, microseconds=3906), 1e6 / 3906),
        (edf_bytes(COUNTS, seconds="0.75"), 500 / 0.75),
        (edf_bytes(COUNTS, seconds="2"), 250.0),
        (mfer_bytes(COUNTS, rate=257), 257.0),
        (kardia_json(COUNTS[:6], rate=299.5), 299.5),
        (sierra_xml(COUNTS, rate=1000), 1000.0),
        (mortara_xml(COUNTS, rate="1000"), 1000.0),
        (ishne_bytes(COUNTS, rate=1000), 1000.0),
    ],
)
def test_rates_are_kept_as_stated_not_as_whole_numbers(tmp_path, content, rate):
    assert read(tmp_path, content).sampling_rate == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(
    "content",
    [
        hl7_xml(COUNTS, scale="0.005", unit="mV"),
        hl7_xml(COUNTS, scale="5000", unit="nV"),
        hl7_xml(COUNTS * 5, scale="1"),
        scp_bytes(COUNTS, differences=1),
        scp_bytes(COUNTS, differences=2),
        scp_bytes(COUNTS, differences=1, huffman=True),
        scp_bytes(COUNTS, differences=2, huffman=True),
        sierra_xml(COUNTS, version="1.03"),
        sierra_xml(COUNTS, compressed=True),
        sierra_xml(COUNTS, version="1.04.01", encoding="utf-16"),
        mortara_xml(COUNTS * 5, per_mv="1000"),
        ishne_bytes(COUNTS * 5, nanovolts=1000),
        edf_bytes(COUNTS / 1, unit="uV", kind="EDF+C"),
        edf_bytes(COUNTS, unit="\N{MICRO SIGN}V"),
        mfer_bytes(COUNTS, preamble=False),
    ],
)
def test_units_codings_and_versions_give_the_same_millivolts(tmp_path, content):
    record = read(tmp_path, content)
    assert record.leads == LEADS
    np.testing.assert_allclose(record.signal, MILLIVOLTS, rtol=1e-9, atol=1e-9)


def test_the_order_of_the_file_is_the_order_of_the_leads(tmp_path):
    turned = tuple(reversed(LEADS))
    for write in (hl7_xml, mortara_xml, scp_bytes, ishne_bytes, edf_bytes, mfer_bytes):
        record = read(tmp_path, write(COUNTS[::-1], leads=turned))
        assert record.leads == turned, write.__name__
        np.testing.assert_allclose(record.signal, MILLIVOLTS[::-1], atol=1e-9)


def test_missing_samples_are_missing(tmp_path):
    counts = COUNTS.copy()
    counts[2, 10:13] = -32768
    for content in (ishne_bytes(counts), ishne_bytes(counts, nanovolts=1000)):
        signal = read(tmp_path, content).signal
        assert np.isnan(signal[2, 10:13]).all()
        assert np.isnan(signal).sum() == 3


def test_signals_that_are_no_leads_are_left_out_with_a_note(tmp_path):
    names = ("I", "II", "Resp", "ABP")
    rows = COUNTS[:4]
    record = read(tmp_path, edf_bytes(rows, leads=names, units={"Resp": "l", "ABP": "mmHg"}))
    assert record.leads == ("I", "II")
    assert record.others == ("Resp", "ABP")
    assert any("signal ABP is left out: unit 'mmHg' is not a voltage" in note for note in record.notes)
    slower = read(tmp_path, edf_bytes(rows, leads=("I", "II", "EMG", "V9"), rates=(500, 500, 250, 500)))
    assert slower.leads == ("I", "II", "V9")
    assert "signal EMG is left out: it has another sampling rate" in slower.notes


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (hl7_xml(COUNTS, unit=""), "lead I: states no unit"),
        (hl7_xml(COUNTS, unit="mmHg"), "lead I: "),
        (hl7_xml(COUNTS, scale="0"), "step size"),
        (hl7_xml(COUNTS, scale="1e300"), "the unit or the gain is wrong"),
        (hl7_xml(COUNTS, time_unit="min"), "cannot be read as HL7 aECG"),
        (hl7_xml(COUNTS, leads=("I", "II", "II", *LEADS[3:])), "holds lead II twice"),
        (hl7_xml(COUNTS)[:5000], "is not well-formed XML at line"),
        (hl7_xml(COUNTS).replace(b"<digits>", b"<digits>x ", 1), "cannot be read as HL7 aECG, probably damaged"),
        (sierra_xml(COUNTS, resolution="0"), "states no unit or step size"),
        (sierra_xml(COUNTS, version="1.02"), "is Philips Sierra XML of a kind that is not read"),
        (mortara_xml(COUNTS, per_mv=""), "states no unit or step size"),
        (mortara_xml(COUNTS, rate="0"), "cannot be read as Mortara ELI XML"),
        (b"<ECG><nothing/></ECG>", "begins as Mortara ELI XML, but is not built like it"),
        (scp_bytes(COUNTS, nanovolts=0), "states no unit or step size"),
        (scp_bytes(COUNTS, microseconds=0), "cannot be read as SCP-ECG"),
        (scp_bytes(COUNTS)[:9000], "cannot be read as SCP-ECG, probably damaged"),
        (scp_bytes(COUNTS, starts=[1] * 11 + [40]), "leads differ in beginning: sample 1, sample 40"),
        (ishne_bytes(COUNTS, nanovolts=0), "states no unit or step size"),
        (ishne_bytes(COUNTS)[:-3], "probably cut off"),
        (ishne_bytes(COUNTS)[:300], "cannot be read as ISHNE Holter"),
        (edf_bytes(COUNTS)[:-3000], "probably cut off"),
        (edf_bytes(COUNTS, unit="")[:], "states no unit or step size"),
        (edf_bytes(COUNTS, rates=(500,) * 11 + (250,)), "leads differ in sampling rate: 250 Hz, 500 Hz"),
        (edf_bytes(COUNTS, kind="EDF+D", onsets=(0, 7)), "has gaps between its parts"),
        (mfer_bytes(COUNTS, nanovolts=None), "states no unit or step size"),
        (mfer_bytes(COUNTS)[:-3000], "cannot be read as MFER"),
        (kardia_json(COUNTS[:6], nanovolts=None), "states no unit or step size"),
        (kardia_json(COUNTS[:6])[:900], "cannot be read as AliveCor Kardia JSON"),
    ],
)
def test_what_a_recording_needs_is_not_guessed(tmp_path, content, reason):
    assert reason in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (scp_bytes(COUNTS, right_checksum=False), "its checksum is wrong"),
        (hl7_xml(COUNTS, series=2), "holds several rhythm recordings, of which the first is read"),
        (mortara_xml(COUNTS, offset="12"), "states an offset of its leads, which is not applied"),
        (ishne_bytes(COUNTS)[:-2400], "leads hold 900 samples where the file says 1000"),
        (mfer_bytes(COUNTS, rate=None), "states no sampling rate, 1000 Hz assumed as its format has it"),
    ],
)
def test_doubts_of_the_library_become_notes(tmp_path, content, note):
    assert note in read(tmp_path, content).notes


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("ecgcmr.formats.library_record.importlib.util.find_spec", lambda name: None)
    assert "is SCP-ECG, for which ecgdatakit is needed: pip install 'ecgcmr[formats]'" in refusal(tmp_path, scp_bytes())


def test_other_files_are_not_taken_for_these(tmp_path):
    for content in (b'{"recordedAt": 1}', b"\1\1\1\0\0\0", b"0       " + b"x" * 300, b"ISHNE", b"MFR @(MFR "):
        (tmp_path / "a").write_bytes(content)
        assert identify_ecg(tmp_path / "a").kind not in LIBRARY_FORMATS


def test_every_kind_is_named_where_none_is_known(tmp_path):
    (tmp_path / "a").write_bytes(b"nothing of the kind\n")
    reason = identify_ecg(tmp_path / "a").reason
    for kind in LIBRARY_FORMATS.values():
        assert re.split(r"[ -]", kind.title)[0] in reason or kind.title.split()[1] in reason
