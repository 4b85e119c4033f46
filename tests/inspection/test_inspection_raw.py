from __future__ import annotations

import argparse
import re

import numpy as np
import pytest
from cine_zip_writer import write_cine_zip
from inspected_cohort import beats_signal
from PIL import Image
from raw_file_writers import (
    LEADS,
    MUSE_LEADS,
    SECRET_NAME,
    beating_disc,
    cardiosoft_xml,
    write_cine_folder,
    write_declaration,
    write_dicom_ecg,
    write_muse_xml,
    write_nifti,
    write_signal_table,
    write_wfdb_record,
)

from ecgcmr.errors import UserError
from ecgcmr.inspection import command
from ecgcmr.inspection.raw_file import raw_kind
from ecgcmr.inspection.raw_table import _OTHERS
from ecgcmr.preparation.diagnoses import HISTORY_FIELDS

pytestmark = pytest.mark.slow

ID = "1000011"


def call(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def cells(text, name):
    line = next(line for line in text.splitlines() if re.match(rf"{re.escape(name)}\s", line))
    return re.split(r"\s{2,}", line.strip())


def microvolts(leads=LEADS, samples=5000):
    """Converter steps of 5 uV of the known signal, for the leads given."""
    signal = np.tile(beats_signal(), (1, 2))[:, :samples]
    return np.rint(signal[[LEADS.index(lead) for lead in leads]] * 200).astype(int)


# --------------------------------------------------------------------------------------------------------------- ECG


def write_ecg(folder, kind):
    """One recording of each kind, in a file whose name is the subject's id."""
    if kind == "cardiosoft":
        path = folder / f"{ID}_20205_2_0.xml"
        path.write_bytes(cardiosoft_xml(microvolts()))
    elif kind == "muse":
        path = folder / f"{ID}.xml"
        write_muse_xml(path, microvolts(MUSE_LEADS), step="5")
    elif kind == "dicom":
        path = folder / f"{ID}.dcm"
        write_dicom_ecg(path, microvolts())
    elif kind == "wfdb":
        path = write_wfdb_record(folder, ID, beats_signal().astype(float))
    elif kind == "npy":
        path = folder / f"{ID}.npy"
        np.save(path, beats_signal())
        write_declaration(folder)
    else:
        path = folder / f"{ID}.csv"
        write_signal_table(path, beats_signal())
        write_declaration(folder)
    return path


@pytest.mark.parametrize("kind", ["cardiosoft", "muse", "dicom", "wfdb", "npy", "csv"])
def test_an_ecg_of_every_kind_is_described_and_drawn(kind, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    path = write_ecg(tmp_path / "raw", kind)
    assert raw_kind(path) == "ecg"
    assert call(path, "--out", tmp_path / "look") == 0
    text = capsys.readouterr().out
    assert "5,000 samples at 500 Hz: 10 s" in text
    assert "prepare takes this recording as it is" in text
    assert float(cells(text, "I")[-3]) == pytest.approx(1.0, abs=0.01)  # largest millivolts
    assert float(cells(text, "V6")[-3]) == pytest.approx(2.1, abs=0.02)
    assert "10 beats" in text
    assert float(cells(text, "heart rate")[1]) == pytest.approx(60 * 500 / 450, abs=0.1)
    assert ("derived" in cells(text, "III")[1]) == (kind == "muse")
    assert [file.name for file in (tmp_path / "look").glob("[!.]*")] == ["ecg.png"]
    with Image.open(tmp_path / "look" / "ecg.png") as image:
        assert image.size == (2970, 2100)
    for secret in (ID, SECRET_NAME, "1950", str(tmp_path / "raw")):
        assert secret not in text


def test_the_folder_of_figures_does_not_carry_the_id(tmp_path, capsys, monkeypatch):
    path = write_ecg(tmp_path, "cardiosoft")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert call(path) == 0
    assert [folder.name for folder in (tmp_path / "work").iterdir()] == ["inspect-ecg"]
    assert ID not in capsys.readouterr().out
    assert ID.encode() not in (tmp_path / "work" / "inspect-ecg" / "ecg.png").read_bytes()


def test_a_short_recording_is_drawn_and_told_of(tmp_path, capsys):
    path = tmp_path / "short.xml"
    path.write_bytes(cardiosoft_xml(microvolts(samples=2000)))
    assert call(path, "--out", tmp_path / "look") == 0
    text = capsys.readouterr().out
    assert "prepare skips this recording" in text
    assert "lasts 4" in text
    assert (tmp_path / "look" / "ecg.png").is_file()


def test_a_recording_without_chest_leads_is_drawn_with_what_there_is(tmp_path, capsys):
    path = tmp_path / "limb.xml"
    path.write_bytes(cardiosoft_xml(microvolts(("I", "II")), leads=("I", "II")))
    assert call(path, "--out", tmp_path / "look") == 0
    text = capsys.readouterr().out
    assert "2 leads, 5,000 samples" in text
    assert "prepare skips this recording" in text
    assert "V1, V2, V3, V4, V5, V6 are missing" in text
    assert float(cells(text, "II")[-3]) == pytest.approx(1.1, abs=0.01)
    assert "derived" in cells(text, "aVF")[1]
    assert (tmp_path / "look" / "ecg.png").is_file()


def test_a_declaration_may_be_given(tmp_path, capsys):
    (tmp_path / "other").mkdir()
    write_declaration(tmp_path / "other", unit="V")
    np.save(tmp_path / "signal.npy", beats_signal().astype(float) / 1000)
    words = ("--declare", tmp_path / "other" / "ecg.yaml", "--no-figures")
    assert call(tmp_path / "signal.npy", *words) == 0
    assert float(cells(capsys.readouterr().out, "I")[-3]) == pytest.approx(1.0, abs=0.01)


# --------------------------------------------------------------------------------------------------------------- CMR


def test_a_folder_of_images_is_described_and_drawn(tmp_path, capsys):
    folder = tmp_path / ID
    write_cine_folder(folder, four_dimensional_labels=True)
    assert call(folder, "--out", tmp_path / "look") == 0
    text = capsys.readouterr().out
    assert cells(text, "cine")[1] == "48 x 48 x 4 x 8"
    assert cells(text, "end-systole")[1] == "48 x 48 x 4"
    assert "segmented: the cine, end-diastole, end-systole" in text
    assert "prepare makes frames ES, mid, ED" in text
    assert sorted(path.name for path in (tmp_path / "look").glob("[!.]*")) == ["frames.png", "slices.png"]
    assert ID not in text


def test_a_zip_of_dicom_files_is_described_and_drawn(tmp_path, capsys):
    cine, _ = beating_disc(frames=12)
    path = write_cine_zip(tmp_path / f"{ID}_20209_2_0.zip", cine)
    assert raw_kind(path) == "cmr"
    assert call(path, "--out", tmp_path / "look") == 0
    text = capsys.readouterr().out
    assert "CMR, zip of DICOM files, short axis" in text
    assert cells(text, "cine")[1] == "48 x 48 x 4 x 12"
    assert "prepare makes frames ES, mid, ED" in text
    assert sorted(path.name for path in (tmp_path / "look").glob("[!.]*")) == ["frames.png", "slices.png"]
    assert ID not in text


def test_two_phases_without_segmentation(tmp_path, capsys):
    folder = tmp_path / ID
    cine, _ = beating_disc()
    write_nifti(folder / "sa_ED.nii.gz", cine[..., 0])
    write_nifti(folder / "sa_ES.nii.gz", cine[..., 3])
    assert call(folder / "sa_ED.nii.gz", "--out", tmp_path / "look") == 0  # a file stands for its folder
    text = capsys.readouterr().out
    assert "prepare makes frames ES, ED" in text
    assert "segmented: nothing" in text
    assert sorted(path.name for path in (tmp_path / "look").glob("[!.]*")) == ["frames.png", "slices.png"]


def test_images_that_prepare_would_skip_are_still_shown(tmp_path, capsys):
    cine, _ = beating_disc()
    write_nifti(tmp_path / ID / "sa_ED.nii.gz", cine[..., 0])
    assert call(tmp_path / ID, "--out", tmp_path / "look") == 0
    assert "prepare skips these images" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "look").glob("[!.]*")] == ["slices.png"]


# ------------------------------------------------------------------------------------------------------------- table


def write_table(path):
    header = "eid,24100-2.0,24101-2.0,31-0.0,53-2.0,41270-0.0,41270-0.1,41280-0.0,99999-0.0,surname"
    rows = [
        f"{ID},140,60,Male,2016-03-04,I48,E11,2012-01-01,x,{SECRET_NAME}",
        "1000012,9000,sixty,Female,2017-03-04,,,,x,Other",
        "1000013,160,,Male,,,E119,,x,Other",
        "1000013,161,,Male,,,,,x,Other",
    ]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_table_is_described_by_its_known_columns(tmp_path, capsys):
    path = write_table(tmp_path / "phenotypes.csv")
    assert raw_kind(path) == "table"
    assert call(path) == 0
    text = capsys.readouterr().out
    assert "4 rows of 3 participants; 10 columns, 2 of them not known" in text
    known = cells(text, "24100-2.0")
    assert known[1:7] == ["lv_edv", "mL", "3", "25.0 %", "1", "0"]
    assert known[-1] == "161"
    assert cells(text, "24101-2.0")[3:7] == ["1", "75.0 %", "0", "1"]
    assert cells(text, "31-0.0")[1] == "sex"
    assert cells(text, "41270")[1:] == ["ICD-10 diagnoses", "0", "2", "2", "50.0 %"]
    for secret in (ID, "1000012", SECRET_NAME, "surname", "2016", "2012"):
        assert secret not in text


def test_every_field_that_tells_of_diagnoses_is_known():
    assert set(_OTHERS) == set(HISTORY_FIELDS)


def test_plain_names_and_packed_tables(tmp_path, capsys):
    import gzip

    with gzip.open(tmp_path / "acdc.csv.gz", "wt") as file:
        file.write("patient,group,lvedv_ml,age\np1,DCM,295.5,61\np2,NOR,,44\n")
    assert call(tmp_path / "acdc.csv.gz") == 0
    text = capsys.readouterr().out
    assert cells(text, "lvedv_ml")[1:5] == ["lv_edv", "mL", "1", "50.0 %"]
    assert cells(text, "age")[-1] == "61"


def test_ptbxl_is_described_in_its_own_coding(tmp_path, capsys):
    (tmp_path / "scp_statements.csv").write_text(",diagnostic,diagnostic_class\nNORM,1,NORM\nIMI,1,MI\nSR,,\n")
    (tmp_path / "ptbxl_database.csv").write_text(
        "ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr\n"
        f"1,{ID},300,1,\"{{'NORM': 100.0}}\",1,records500/1\n"
        f"2,{ID},50,1,\"{{'SR': 0.0}}\",1,records500/2\n"
        "3,17,40,0,\"{'IMI': 15.0}\",2,records500/3\n"
    )
    for path in (tmp_path, tmp_path / "ptbxl_database.csv"):
        assert call(path) == 0
        text = capsys.readouterr().out
        assert "3 recordings of 2 patients; files of 0 recordings are there" in text
        assert cells(text, "NORM")[-1] == "1 (50.0 %)"
        assert cells(text, "age")[-1] == "90"
        assert float(cells(text, "sex")[4]) == pytest.approx(1 / 3, abs=1e-3)  # male 1, the table has it otherwise
        assert ID not in text


# ------------------------------------------------------------------------------------------------------------ errors


def test_files_of_no_known_kind_are_told(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    (tmp_path / "empty.xml").write_bytes(b"")
    for name in ("notes.txt", "empty.xml"):
        with pytest.raises(UserError, match=name):
            call(tmp_path / name)
    with pytest.raises(UserError, match="--view top"):
        call(tmp_path / "notes.txt", "--view", "top")


def test_rows_and_splits_are_refused_for_raw_files(tmp_path):
    path = write_table(tmp_path / "table.csv")
    for words in (("--row", "1"), ("--split", "train")):
        with pytest.raises(UserError, match="only a prepared folder or shard"):
            call(path, *words)


# --------------------------------------------------------------------------------------------------------- real data


def test_a_recording_of_ptbxl(real_data_dir, tmp_path, capsys):
    headers = sorted((real_data_dir / "ptbxl").rglob("*.hea"))
    if not headers:
        pytest.skip("no PTB-XL recording there")
    assert call(headers[0], "--out", tmp_path / "look") == 0
    assert 25 < float(cells(capsys.readouterr().out, "heart rate")[1]) < 240
    assert (tmp_path / "look" / "ecg.png").is_file()


def test_a_patient_of_acdc(real_data_dir, tmp_path, capsys):
    folder = real_data_dir / "acdc" / "patient001"
    if not folder.is_dir():
        pytest.skip("no ACDC patient there")
    assert call(folder, "--out", tmp_path / "look") == 0
    assert "segmented: end-diastole, end-systole" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "look").glob("[!.]*")) == ["frames.png", "slices.png"]
