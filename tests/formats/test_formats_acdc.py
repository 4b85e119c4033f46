"""Folders as ACDC hands them out: its names, its Info.cfg, its own numbers of the regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raw_file_writers import beating_disc, write_nifti

from ecgcmr.formats import read_short_axis
from ecgcmr.formats.nifti import short_axis_files
from ecgcmr.formats.short_axis_file import cmr_kind, has_segmentation

INFO = "ED: 1\nES: 4\nGroup: DCM\nHeight: 184.0\nNbFrame: 8\nWeight: 95.0\n"


def acdc_labels(labels: np.ndarray) -> np.ndarray:
    """ACDC counts 1 RV, 2 myocardium, 3 LV."""
    return np.array([0, 3, 2, 1], dtype=np.uint8)[labels]


def write_patient(folder: Path, info: str | None = INFO, name: str = "patient001") -> tuple[np.ndarray, np.ndarray]:
    """Write a patient's folder without the 4D file; an RV lies beside the disc."""
    cine, labels = beating_disc()
    labels[30:40, :20], cine[30:40, :20] = 3, 350
    for number in (1, 4):
        write_nifti(folder / f"{name}_frame{number:02d}.nii.gz", cine[..., number - 1])
        write_nifti(folder / f"{name}_frame{number:02d}_gt.nii.gz", acdc_labels(labels[..., number - 1]))
    if info is not None:
        (folder / "Info.cfg").write_text(info)
    return cine, labels


def test_volumes_and_labels_are_found_and_counted_as_everywhere(tmp_path: Path) -> None:
    cine, labels = write_patient(tmp_path)
    assert cmr_kind(tmp_path) == "nifti"
    assert has_segmentation(tmp_path)
    images = read_short_axis(tmp_path)
    np.testing.assert_array_equal(images.ed, cine[..., 0])
    np.testing.assert_array_equal(images.es, cine[..., 3])
    np.testing.assert_array_equal(images.ed_segmentation, labels[..., 0])
    np.testing.assert_array_equal(images.es_segmentation, labels[..., 3])
    assert images.load_cine is None
    names = [path.name for path in short_axis_files(tmp_path)]
    assert names == [
        "Info.cfg",
        "patient001_frame01.nii.gz",
        "patient001_frame01_gt.nii.gz",
        "patient001_frame04.nii.gz",
        "patient001_frame04_gt.nii.gz",
    ]


def test_the_cine_is_found_too(tmp_path: Path) -> None:
    cine, _ = write_patient(tmp_path)
    write_nifti(tmp_path / "patient001_4d.nii", cine)
    load = read_short_axis(tmp_path).load_cine
    assert load is not None
    np.testing.assert_array_equal(load(), cine)


def test_info_says_which_frame_is_which(tmp_path: Path) -> None:
    cine, _ = write_patient(tmp_path, "ED: 4\r\nES: 1\r\n")
    np.testing.assert_array_equal(read_short_axis(tmp_path).ed, cine[..., 3])


@pytest.mark.parametrize("info", [None, "", "ED: one\nES: two\n", "ED: 7\nES: 8\n", "\x00\xff" * 9])
def test_without_a_usable_info_no_frame_is_guessed(tmp_path: Path, info: str | None) -> None:
    write_patient(tmp_path, info)
    assert cmr_kind(tmp_path) is None
    assert not has_segmentation(tmp_path)


def test_two_patients_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    write_patient(tmp_path)
    write_patient(tmp_path, name="patient002")
    assert cmr_kind(tmp_path) is None


def test_names_of_the_usual_layout_go_before_and_keep_their_numbers(tmp_path: Path) -> None:
    _, labels = write_patient(tmp_path)
    cine, _ = beating_disc(centre=(22, 22))
    write_nifti(tmp_path / "sa_ED.nii.gz", cine[..., 0])
    write_nifti(tmp_path / "seg_sa_ED.nii.gz", labels[..., 0])
    images = read_short_axis(tmp_path)
    np.testing.assert_array_equal(images.ed, cine[..., 0])
    np.testing.assert_array_equal(images.ed_segmentation, labels[..., 0])
