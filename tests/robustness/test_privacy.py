"""Nothing that says who somebody is leaves the raw files: planted values are sought in all that is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cine_zip_writer import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, VISIT_DATE, write_cine_zip
from raw_file_writers import beating_disc, cardiosoft_xml, muse_xml, sample_counts, write_dicom_ecg

from ecgcmr.cli import main

NAME, IDENTITY = "Zwölfender-Planted", "99887766"
BORN, VISITED, DIAGNOSED = "1943-02-17", "2019-05-23", "2016-11-03"
IDS = ("4100001", "4100002", "4100003")


def planted_demographics() -> str:
    """What a device writes of a person, in the places of both XML formats."""
    year, month, day = VISITED.split("-")
    born = BORN.split("-")
    return f"""<PatientInfo><PID>{IDENTITY}</PID><Name><FamilyName>{NAME}</FamilyName></Name>
<BirthDateTime><Day>{born[2]}</Day><Month>{born[1]}</Month><Year>{born[0]}</Year><Text>{BORN}</Text></BirthDateTime>
</PatientInfo><ObservationDateTime><Year>{year}</Year><Month>{month}</Month><Day>{day}</Day><Text>{VISITED}</Text>
</ObservationDateTime>"""


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three subjects whose files name a person everywhere, two broken files and tables with dates."""
    raw = tmp_path / "Clinic-of-Planted-Persons"
    (raw / "ecg").mkdir(parents=True)
    (raw / "cmr").mkdir()
    demographics = planted_demographics().encode("iso-8859-1")
    for subject, content in (
        (IDS[0], cardiosoft_xml(sample_counts(1), diagnosis=f"Poor data quality, {NAME}")),
        (IDS[1], muse_xml()),
    ):
        root_end = re.search(rb"<(CardiologyXML|RestingECG)>", content).end()
        content = content[:root_end] + demographics + content[root_end:]
        (raw / "ecg" / f"{subject}_20205_2_0.xml").write_bytes(content)
        (raw / "ecg" / f"{subject}x.xml").write_bytes(content[:-4000])
    write_dicom_ecg(raw / "ecg" / f"{IDS[2]}.dcm")
    volume = beating_disc()[0]
    for subject in IDS:
        write_cine_zip(raw / "cmr" / f"{subject}_20209_2_0.zip", volume)
    (raw / "cmr" / "broken.zip").write_bytes((raw / "cmr" / f"{IDS[0]}_20209_2_0.zip").read_bytes()[:3000])
    rows = "".join(f"{subject},{BORN},{VISITED},I48,{DIAGNOSED},140,{NAME}\n" for subject in IDS)
    (raw / "t.csv").write_text(f"eid,33-0.0,53-2.0,41270-0.0,41280-0.0,24100-2.0,note\n{rows}", encoding="utf-8")
    (raw / "key").write_bytes(bytes(range(32)))
    return raw


def secrets() -> list[str]:
    compact = [text.replace("-", "") for text in (BORN, VISITED, DIAGNOSED)]
    german = [".".join(reversed(text.split("-"))) for text in (BORN, VISITED, DIAGNOSED)]
    people = [NAME, "Planted", "Secret^Person", "19500102", IDENTITY, PATIENT_NAME, PATIENT_ID, BIRTH_DATE, VISIT_DATE]
    return [*people, BORN, VISITED, DIAGNOSED, *compact, *german]


@pytest.mark.long
def test_planted_values_occur_nowhere(raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    out, figures = tmp_path / "out", tmp_path / "figures"
    words = f"--out {out} --key-file {raw / 'key'} --workers 1 --size 32"
    prepare = ["prepare", *words.split(), "--ecg", raw / "ecg", "--cmr", raw / "cmr", "--table", raw / "t.csv"]
    assert main([str(word) for word in prepare]) == 0
    inspected = [out, *sorted(out.glob("shards/*.h5")), *(raw / "ecg").iterdir(), *(raw / "cmr").iterdir()]
    for number, path in enumerate(inspected):
        main(["inspect", str(path), "--out", str(figures / str(number))])  # of broken files the error counts too
    printed = capfd.readouterr()
    written = {path: path.read_bytes() for folder in (out, figures) for path in folder.rglob("*") if path.is_file()}
    assert len(list(figures.rglob("*.png"))) >= 6
    assert (out / "report.json") in written
    for secret in secrets():
        for encoding in ("utf-8", "iso-8859-1"):
            hidden = secret.encode(encoding)
            for path, content in written.items():
                assert hidden not in content, f"{secret} in {path.name}"
        assert secret not in printed.out, secret
        assert secret not in printed.err.replace(str(raw), ""), secret
    for identity in IDS:  # part of a file's own name, so that the report of files may hold it, and nothing else
        for path, content in written.items():
            assert path.name == "report.json" or identity.encode() not in content, f"an id in {path.name}"
