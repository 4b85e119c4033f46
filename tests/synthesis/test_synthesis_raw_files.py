"""Raw files must be what the readers of real files expect, and the same bytes for the same content."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from ecgcmr.formats import read_ecg
from ecgcmr.formats.nifti import read_short_axis
from ecgcmr.phenotypes import phenotypes
from ecgcmr.synthesis.phantom import Cine
from ecgcmr.synthesis.raw_files import (
    DeviceNotes,
    diagnosis_table,
    phenotype_table,
    quantise,
    write_cardiosoft,
    write_cine,
    write_table,
)

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture
def steps():
    return quantise(300 * np.random.default_rng(0).standard_normal((12, 5000), dtype=np.float32))


def _write(path, steps):
    notes = DeviceNotes(
        observed={"Hour": "10", "Day": "3"},
        person={"PID": "1234567", "Name": {"FamilyName": "Müller"}},
        measurements={"VentricularRate": 61.4, "PQInterval": None, "QRSDuration": 92.0},
    )
    write_cardiosoft(path, steps, notes, sampling_rate=500)


def test_an_ecg_comes_back_to_within_half_a_step(tmp_path, steps):
    _write(tmp_path / "1234567_20205_2_0.xml", steps)
    record = read_ecg(tmp_path / "1234567_20205_2_0.xml")
    assert record.leads == LEADS
    assert record.sampling_rate == 500
    np.testing.assert_allclose(record.signal, steps * 0.005, atol=1e-9)


def test_quantising_rounds_to_the_nearest_step():
    np.testing.assert_array_equal(quantise(np.array([0.0, 2.4, 2.6, -7.6, 12.4], dtype=np.float32)), [0, 0, 1, -2, 2])


def test_the_xml_has_the_parts_of_a_cardiosoft_file(tmp_path, steps):
    path = tmp_path / "ecg.xml"
    _write(path, steps)
    content = path.read_bytes()
    assert content.startswith(b"<?xml version='1.0' encoding='ISO-8859-1'?>")
    assert "Müller".encode("latin-1") in content
    root = ET.fromstring(content)
    assert root.tag == "CardiologyXML"
    assert root.findtext("PatientInfo/Name/FamilyName") == "Müller"
    assert root.findtext("ObservationDateTime/Day") == "3"
    assert root.findtext("RestingECGMeasurements/VentricularRate") == "61"
    assert root.find("RestingECGMeasurements/PQInterval") is None
    strip = root.find("StripData")
    assert strip.find("Resolution").attrib == {"units": "uVperLsb"}
    assert strip.findtext("Resolution") == "5"
    assert [wave.get("lead") for wave in strip.iter("WaveformData")] == list(LEADS)
    text = strip.find("WaveformData").text
    assert "\n" in text
    assert "\t" in text
    assert text.count(",") == 4999


def _cine():
    generator = np.random.default_rng(1)
    volume = generator.integers(0, 300, (12, 14, 8, 6)).astype(np.uint16)
    labels = generator.integers(0, 4, (2, 12, 14, 8)).astype(np.uint8)
    return Cine(volume, labels[0], labels[1], 2, (1.8, 1.8, 10.5), 0.019)


def test_a_cine_comes_back_with_its_geometry(tmp_path):
    cine = _cine()
    write_cine(tmp_path, cine)
    axis = read_short_axis(tmp_path)
    np.testing.assert_array_equal(axis.load_cine(), cine.volume)
    np.testing.assert_array_equal(axis.ed, cine.volume[..., 0])
    np.testing.assert_array_equal(axis.es, cine.volume[..., 2])
    np.testing.assert_array_equal(axis.ed_segmentation, cine.ed_labels)
    np.testing.assert_array_equal(axis.es_segmentation, cine.es_labels)
    assert axis.spacing_mm == pytest.approx((1.8, 1.8))
    zooms = nib.load(tmp_path / "sa.nii.gz").header.get_zooms()
    assert zooms == pytest.approx((1.8, 1.8, 10.5, 0.019), rel=1e-5)


def test_the_same_content_gives_the_same_bytes(tmp_path, steps):
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_cine(folder, _cine())
        _write(folder / "ecg.xml", steps)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["ecg.xml", "sa.nii.gz", "sa_ED.nii.gz", "sa_ES.nii.gz", "seg_sa_ED.nii.gz", "seg_sa_ES.nii.gz"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # Bytes 4 to 7 of a gzip archive are the time of writing.
    assert (tmp_path / "a" / "sa.nii.gz").read_bytes()[4:8] == b"\0\0\0\0"


def test_tables_have_the_columns_of_the_research_platform(tmp_path):
    values = np.full((2, 82), 1.23456)
    values[1, 0] = np.nan
    covariates = {"sex": [1.0, 0.0], "age": [61.9, 58.0], "height_cm": [171.23, 160.0], "weight_kg": [70.04, 61.0]}
    table = phenotype_table([1000001, 1000002], covariates, [date(2017, 3, 1), date(2018, 5, 2)], values)
    write_table(tmp_path / "phenotypes.csv", table)
    back = pd.read_csv(tmp_path / "phenotypes.csv")
    assert list(back.columns[:6]) == ["eid", "31-0.0", "21003-2.0", "50-2.0", "21002-2.0", "53-2.0"]
    assert list(back.columns[6:]) == [f"{p.column}-2.0" for p in phenotypes()]
    assert back["21003-2.0"].tolist() == [61, 58]
    assert back["53-2.0"].tolist() == ["2017-03-01", "2018-05-02"]
    assert np.isnan(back["24100-2.0"][1])
    assert back["24100-2.0"][0] == 1.235


def test_diagnoses_are_paired_by_array_index(tmp_path):
    table = diagnosis_table([1, 2, 3], [[("I251", date(2015, 1, 2)), ("E119", date(2019, 3, 4))], [], [("I48", "")]])
    write_table(tmp_path / "diagnoses.csv", table)
    back = pd.read_csv(tmp_path / "diagnoses.csv", dtype=str, keep_default_na=False)
    assert list(back.columns) == ["eid", "41270-0.0", "41270-0.1", "41280-0.0", "41280-0.1"]
    assert back.iloc[0, 1:].tolist() == ["I251", "E119", "2015-01-02", "2019-03-04"]
    assert back.iloc[1, 1:].tolist() == ["", "", "", ""]
    assert back.iloc[2, 1:].tolist() == ["I48", "", "", ""]
