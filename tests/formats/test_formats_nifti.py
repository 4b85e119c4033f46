from __future__ import annotations

import gzip

import numpy as np
import pytest
from raw_file_writers import beating_disc, write_cine_folder, write_nifti

from ecgcmr.errors import UserError
from ecgcmr.formats import read_short_axis


def test_folder_is_read_and_cine_left_for_later(tmp_path):
    write_cine_folder(tmp_path, four_dimensional_labels=True)
    images = read_short_axis(tmp_path)
    assert images.spacing_mm == pytest.approx((1.8, 1.8))
    assert images.ed is not None
    assert images.ed.shape == (48, 48, 4)
    assert images.load_cine is not None
    assert images.load_cine_segmentation is not None
    cine = images.load_cine()
    assert cine.shape == (48, 48, 4, 8)
    np.testing.assert_array_equal(cine[..., 0], images.ed)
    np.testing.assert_array_equal(images.load_cine_segmentation(), beating_disc()[1])


def test_two_phase_folder_has_no_cine(tmp_path):
    write_cine_folder(tmp_path)
    (tmp_path / "sa.nii.gz").unlink()
    images = read_short_axis(tmp_path)
    assert images.load_cine is None
    assert images.es_segmentation is not None


def test_uncompressed_files_work(tmp_path):
    write_nifti(tmp_path / "sa_ED.nii", np.ones((8, 8, 3), dtype=np.int16), spacing=1.2)
    assert read_short_axis(tmp_path).spacing_mm == pytest.approx((1.2, 1.2))


def test_cut_and_foreign_files_are_told_by_name(tmp_path):
    write_cine_folder(tmp_path)
    path = tmp_path / "sa_ES.nii.gz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match=r"^sa_ES.nii.gz: its data cannot be read"):
        read_short_axis(tmp_path)
    path.write_bytes(gzip.compress(b"this is no image" * 50))
    with pytest.raises(UserError, match=r"^sa_ES.nii.gz: cannot be read as NIfTI"):
        read_short_axis(tmp_path)


def test_cut_cine_is_told_when_it_is_loaded(tmp_path):
    write_cine_folder(tmp_path)
    path = tmp_path / "sa.nii.gz"
    path.write_bytes(path.read_bytes()[:5000])
    images = read_short_axis(tmp_path)
    assert images.load_cine is not None
    with pytest.raises(UserError, match=r"^sa.nii.gz: "):
        images.load_cine()


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("seg_sa_ED.nii.gz", np.zeros((8, 8, 4), dtype=np.uint8), "shape"),
        ("sa_ED.nii.gz", np.full((48, 48, 4), np.nan, dtype=np.float32), "NaN"),
        ("sa_ED.nii.gz", np.zeros((48, 48), dtype=np.int16), "expected axes"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, name, values, reason):
    write_cine_folder(tmp_path)
    write_nifti(tmp_path / name, values)
    with pytest.raises(UserError, match=reason):
        read_short_axis(tmp_path)


def test_absurd_spacing_is_refused(tmp_path):
    write_nifti(tmp_path / "sa_ED.nii.gz", np.ones((8, 8, 3), dtype=np.int16), spacing=900.0)
    with pytest.raises(UserError, match="pixel spacing"):
        read_short_axis(tmp_path)


def test_empty_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="holds neither"):
        read_short_axis(tmp_path)
