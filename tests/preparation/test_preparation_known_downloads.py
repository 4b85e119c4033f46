"""A folder of a data set that has a name says so, from the folder itself, from within it and from above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcmr.errors import UserError
from ecgcmr.preparation.collections.challenge2021 import Challenge2021Collection
from ecgcmr.preparation.collections.choice import collections_for
from ecgcmr.preparation.collections.protocol import SearchNotes
from ecgcmr.preparation.known_downloads import known_download
from ecgcmr.preparation.nothing_found import nothing_found
from ecgcmr.preparation.options import PrepareOptions

HEADER = "A1 1 500 5000\nA1.mat 16+24 1000/mV 16 0 0 0 0 I\n# Age: 74\n#Dx: {}\n"
DOWNLOADS = {
    "code15": ["exams.csv", "exams_part3.hdf5"],
    "echonext": ["echonext_metadata_100k.csv"],
    "mimic-iv-ecg": ["record_list.csv.gz"],
    "ptbxl": ["ptbxl_database.csv"],
    "challenge2021": ["g1/A1.hea", "g1/A2.hea", "g2/A3.hea"],
}


def write_files(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER.format("426783006,39732003") if name.endswith(".hea") else "a,b\n")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        collections_for(PrepareOptions(folder.parent / "out", ecg=folder))
    return str(caught.value)


@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_download_is_asked_for_by_its_name(tmp_path: Path, name: str) -> None:
    place = write_files(tmp_path / "physionet" / "1.0", DOWNLOADS[name])
    where = f" --ecg {place}" if name != "challenge2021" else ""
    assert f"as the data set {name} does; write --collection {name}{where}, or --collection ukb" in refusal(tmp_path)
    if name == "ptbxl":
        assert [title for title, _ in collections_for(PrepareOptions(tmp_path / "out", ecg=place))] == ["PTB-XL"]
    else:
        assert f"write --collection {name}, or" in refusal(place)
    assert collections_for(PrepareOptions(tmp_path / "out", ecg=place, collection="ukb"))


def test_sami_trop_is_known_and_a_table_of_exams_alone_is_not(tmp_path: Path) -> None:
    assert known_download(write_files(tmp_path / "own", ["exams.csv", "a.csv"])) is None
    known = known_download(write_files(tmp_path / "sami", ["exams.csv", "exams.hdf5"]))
    assert known is not None
    assert (known.name, known.sign) == ("code15", "exams.csv")


def test_few_headers_and_those_without_diagnoses_are_of_strangers(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "raw", ["1.hea", "2.hea"])  # too few to be a download
    assert known_download(folder) is None
    (folder / "3.hea").write_text(HEADER.format("Unknown"))
    assert known_download(folder) is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("acdc", "training/patient001/Info.cfg"),
        ("mnms", "Training/Labeled/A0S9V9/A0S9V9_sa.nii.gz"),
        ("mnms2", "dataset/001/001_SA_CINE.nii.gz"),
        ("dsb2015", "train/train/1/study/sax_5/IM-1.dcm"),
    ],
)
def test_a_download_of_images_that_is_named_as_ecgs_is_known(tmp_path: Path, name: str, file: str) -> None:
    folder = write_files(tmp_path / "raw", [file])
    said = nothing_found(PrepareOptions(tmp_path / "out", ecg=folder), [])
    assert f"write --collection {name} --cmr {folder}" in said


def test_a_group_of_a_part_of_the_challenge_is_of_that_part(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "training" / "ptb", ["g1/A1.hea", "g1/A2.hea"]) / "g1"
    notes = SearchNotes()
    found = list(Challenge2021Collection(PrepareOptions(tmp_path / "out", ecg=folder)).candidates(notes))
    assert [one.split for one in found] == ["train", "train"]
    assert "2 recordings of ptb train" in notes.remarks[0]
