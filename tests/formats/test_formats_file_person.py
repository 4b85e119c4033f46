"""Sex and age as files state them; nothing else is taken, and what is no statement is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from library_file_writers import (
    edf_bytes,
    hl7_xml,
    ishne_bytes,
    kardia_json,
    mfer_bytes,
    mortara_xml,
    scp_bytes,
    sierra_xml,
)
from one_ecg import ecg_steps
from raw_file_writers import cardiosoft_xml, dicom_bytes, dicom_ecg_dataset, write_wfdb_record

from ecgcmr.formats.file_person import sex_and_age

XML = {
    "<Gender>MALE</Gender><Age units='years'>63</Age>": ("male", 63.0),
    "<Gender>FEMALE</Gender><PatientAge>61</PatientAge><AgeUnits>YEARS</AgeUnits>": ("female", 61.0),
    "<PatientAge>8</PatientAge><AgeUnits>MONTHS</AgeUnits>": (None, None),
    "<Gender>unknown</Gender><Age>999</Age>": (None, None),
}


@pytest.mark.parametrize("entry", XML)
def test_xml(tmp_path: Path, entry: str):
    content = cardiosoft_xml(ecg_steps()[0]).replace(b"<PatientInfo>", b"<PatientInfo>" + entry.encode())
    (tmp_path / "ecg.xml").write_bytes(content)
    assert sex_and_age(tmp_path / "ecg.xml") == XML[entry]


def test_dicom_and_wfdb(tmp_path: Path):
    dataset = dicom_ecg_dataset()
    dataset.PatientSex, dataset.PatientAge = "F", "057Y"
    (tmp_path / "ecg.dcm").write_bytes(dicom_bytes(dataset))
    assert sex_and_age(tmp_path / "ecg.dcm") == ("female", 57.0)
    header = write_wfdb_record(tmp_path)
    assert sex_and_age(header) == (None, None)
    header.write_text(header.read_text(encoding="utf-8") + "#Age: 74\n#Sex: Male\n", encoding="utf-8")
    assert sex_and_age(header) == ("male", 74.0)


@pytest.mark.parametrize(
    ("content", "person"),
    [
        (hl7_xml(), ("female", None)),
        (hl7_xml().replace(b'code="F"', b'code="UN"'), (None, None)),
        (sierra_xml(), ("female", 59.0)),
        (mortara_xml(), ("female", 70.0)),
        (scp_bytes(), ("female", None)),
        (ishne_bytes(), ("female", 69.0)),
        (edf_bytes(kind="EDF+C"), ("female", 69.0)),
        (mfer_bytes(), ("female", None)),
        (kardia_json(), (None, None)),
    ],
)
def test_formats_that_a_library_reads(tmp_path: Path, content: bytes, person: tuple[str | None, float | None]):
    (tmp_path / "ecg").write_bytes(content)
    assert sex_and_age(tmp_path / "ecg") == person


def test_what_cannot_be_read_states_nothing(tmp_path: Path):
    (tmp_path / "x.xml").write_bytes(b"\x1f\x8b broken")
    assert sex_and_age(tmp_path / "x.xml") == sex_and_age(tmp_path / "none.xml") == (None, None)
