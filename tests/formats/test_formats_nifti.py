from __future__ import annotations

import gzip

import nibabel
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


def test_long_axis_views_have_names_of_their_own(tmp_path):
    cine, _ = beating_disc(slices=1)
    write_nifti(tmp_path / "la_4ch.nii.gz", cine)
    images = read_short_axis(tmp_path, "4ch")
    assert images.load_cine is not None
    np.testing.assert_array_equal(images.load_cine(), cine)
    with pytest.raises(UserError, match=r"neither la_2ch.nii.gz nor la_2ch_ED.nii.gz"):
        read_short_axis(tmp_path, "2ch")
    with pytest.raises(UserError, match="choose one of sax"):
        read_short_axis(tmp_path, "short")


@pytest.mark.parametrize("kind", ["<u1", "<i2", ">i2", "<u2", "<i4", "<f4", ">f8"])
def test_values_are_those_that_nibabel_reads(tmp_path, kind):
    values = np.random.default_rng(0).integers(0, 200, (9, 8, 3, 5)).astype(kind)
    image = nibabel.Nifti1Image(values, np.diag([1.5, 1.5, 8.0, 1.0]))
    image.header.set_data_dtype(kind[1:])
    nibabel.save(image, tmp_path / "sa.nii.gz")
    loaded = read_short_axis(tmp_path).load_cine()
    np.testing.assert_array_equal(loaded, np.asanyarray(nibabel.load(tmp_path / "sa.nii.gz").dataobj))
    assert loaded.dtype.isnative


def test_scaling_and_units_of_the_header_are_obeyed(tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (9, 8, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(values, np.diag([0.0015, 0.002, 0.008, 1.0]))
    image.header.set_slope_inter(0.5, -3)
    image.header.set_xyzt_units("meter", "sec")
    nibabel.save(image, tmp_path / "sa_ED.nii")
    images = read_short_axis(tmp_path)
    np.testing.assert_allclose(images.ed, nibabel.load(tmp_path / "sa_ED.nii").get_fdata(), rtol=1e-6)
    assert images.spacing_mm == pytest.approx((1.5, 2.0))


def test_a_changed_voxel_shows_in_the_checksum(tmp_path):
    write_nifti(tmp_path / "sa_ED.nii.gz", np.ones((8, 8, 3), dtype=np.int16))
    raw = gzip.decompress((tmp_path / "sa_ED.nii.gz").read_bytes())
    stored = bytearray(gzip.compress(raw, 0))
    stored[-20] ^= 1
    (tmp_path / "sa_ED.nii.gz").write_bytes(stored)
    with pytest.raises(UserError, match=r"data cannot be read \(BadGzipFile\)"):
        read_short_axis(tmp_path)


def test_a_header_is_held_against_the_length_of_the_file(tmp_path):
    write_nifti(tmp_path / "sa.nii.gz", np.ones((8, 8, 3, 4), dtype=np.int16))
    raw = gzip.decompress((tmp_path / "sa.nii.gz").read_bytes())
    header = nibabel.Nifti1Header(raw[:348])
    header["dim"] = [4, 500, 500, 10, 20, 1, 1, 1]
    claims = header.binaryblock + raw[348:]
    (tmp_path / "sa.nii.gz").unlink()
    (tmp_path / "sa.nii").write_bytes(claims)
    with pytest.raises(UserError, match="too short"):
        read_short_axis(tmp_path).load_cine()
    header["dim"] = [4, 4000, 4000, 100, 20, 1, 1, 1]
    (tmp_path / "sa.nii").write_bytes(header.binaryblock + raw[348:])
    with pytest.raises(UserError, match="more than can be read"):
        read_short_axis(tmp_path)
