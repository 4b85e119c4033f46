from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cine_zip_writer import (
    ALONG_Y,
    BIRTH_DATE,
    NORMAL,
    PATIENT_ID,
    PATIENT_NAME,
    VISIT_DATE,
    Series,
    dicom_bytes,
    frame_dataset,
    members_of,
    sax_series,
    write_cine_zip,
    write_zip,
)
from raw_file_writers import beating_disc, write_cine_folder

from ecgcmr.errors import UserError
from ecgcmr.formats import zip_members
from ecgcmr.formats.dicom_cine import DicomCine, read_cine_zip
from ecgcmr.formats.short_axis_file import cine_notes, cmr_files, cmr_kind, read_cmr

NAME = "1234567_20209_2_0.zip"


@pytest.fixture
def cine():
    values, _ = beating_disc(size=24, slices=4, frames=8, centre=(10, 13))
    return values[:, :20] + np.random.default_rng(0).integers(0, 50, (24, 20, 4, 8)).astype(np.int16)


def test_orderly_zip_equals_the_array(tmp_path, cine):
    images = read_cine_zip(write_cine_zip(tmp_path / NAME, cine))
    assert images.spacing_mm == (1.8, 1.8)
    assert images.ed is None
    assert isinstance(images.load_cine, DicomCine)
    assert images.load_cine.shape == cine.shape == (24, 20, 4, 8)
    np.testing.assert_array_equal(images.load_cine(), cine)
    np.testing.assert_array_equal(images.load_cine.read([2, 0], [5]), cine[:, :, [2, 0]][..., [5]])
    assert cine_notes(images) == ()


def test_axes_agree_with_the_nifti_folder(tmp_path):
    write_cine_folder(tmp_path / "folder")
    nifti = read_cmr(tmp_path / "folder")
    cine = nifti.load_cine()
    write_cine_zip(tmp_path / NAME, cine)
    zipped = read_cmr(tmp_path / NAME)
    np.testing.assert_array_equal(zipped.load_cine(), cine)
    assert zipped.spacing_mm == pytest.approx(nifti.spacing_mm)


def test_nothing_is_written_and_only_wanted_members_are_inflated_fully(tmp_path, cine, monkeypatch):
    path = write_cine_zip(tmp_path / NAME, cine)
    images = read_cine_zip(path)
    read = []
    original = zip_members.ZipMembers.read
    monkeypatch.setattr(zip_members.ZipMembers, "read", lambda self, *a: read.append(a) or original(self, *a))
    images.load_cine.read([2])
    assert len(read) == 8
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_pixel_spacing_is_rows_then_columns(tmp_path, cine):
    series = [dataclasses.replace(one, spacing=(1.5, 2.5)) for one in sax_series(cine)]
    assert read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).spacing_mm == (1.5, 2.5)


@pytest.mark.parametrize("direction", [1, -1])
def test_slices_follow_their_numbers_whichever_way_the_normal_points(tmp_path, cine, direction):
    series = sax_series(cine)
    for z, one in enumerate(series):
        one.position = np.array([0.0, 0.0, 0.0]) + direction * z * 8.0 * NORMAL
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine(), cine)


def test_slices_without_numbers_go_from_base_to_apex(tmp_path, cine):
    series = sax_series(cine)
    for z, one in enumerate(series):  # the apex lies to the left, front and feet of the base
        one.description = "CINE_segmented_SAX"
        one.position = np.array([0.0, 0.0, 0.0]) + z * 8.0 * np.array([1.0, 0.0, 0.0])
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine(), cine)


def test_one_number_for_all_slices_says_nothing(tmp_path, cine):
    series = sax_series(cine)
    for z, one in enumerate(series):
        one.description = "CINE_segmented_SAX_b1"
        one.position = z * 8.0 * np.array([1.0, 0.0, 0.0])
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine(), cine)


def test_other_series_are_left_out(tmp_path, cine):
    series = sax_series(cine)
    others = [
        dataclasses.replace(series[1], description=name, number=90 + i, pictures=series[1].pictures * 0)
        for i, name in enumerate(
            ("CINE_segmented_SAX_InlineVF", "cine_tagging_3sl_SAX_b1s", "CINE_segmented_LAX_2Ch", "localizer")
        )
    ]
    members = members_of([*series, *others])
    members += [("notes.txt", b"nothing"), ("inner.zip", b"PK\x03\x04 nested")]
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members)).load_cine(), cine)


@pytest.mark.slow
def test_of_repeated_series_the_last_complete_one_stays(tmp_path, cine):
    series = sax_series(cine)
    earlier = dataclasses.replace(series[1], number=3, uid="1.2.3.4.1", pictures=series[1].pictures * 0)
    moved = series[1].position + 3.0 * NORMAL  # planned anew, so the place differs
    aborted = dataclasses.replace(series[1], number=77, uid="1.2.3.4.2", keep=(0, 1), position=moved)
    images = read_cine_zip(write_zip(tmp_path / NAME, members_of([*series, earlier, aborted])))
    np.testing.assert_array_equal(images.load_cine(), cine)
    assert any("3 series of one slice" in note for note in cine_notes(images))
    later = dataclasses.replace(series[1], number=78, uid="1.2.3.4.3", pictures=series[1].pictures + 7)
    changed = read_cine_zip(write_zip(tmp_path / NAME, members_of([*series, earlier, later]))).load_cine()
    np.testing.assert_array_equal(changed[:, :, 1], cine[:, :, 1] + 7)


def test_passes_within_one_series_are_told_apart(tmp_path, cine):
    series = sax_series(cine)
    first = dataclasses.replace(series[0], pictures=series[0].pictures * 0, frame_ms=20.5)
    series[0].first_instance, series[0].acquisition = 9, 2
    images = read_cine_zip(write_zip(tmp_path / NAME, members_of([first, *series])))
    np.testing.assert_array_equal(images.load_cine(), cine)
    assert any("2 passes" in note for note in cine_notes(images))


def test_a_series_that_mixes_positions_is_split(tmp_path, cine):
    series = sax_series(cine)
    for z, one in enumerate(series):
        one.description, one.uid, one.first_instance = "CINE_segmented_SAX", "1.2.3.99", 1 + 8 * z
        one.position = z * 8.0 * np.array([1.0, 0.0, 0.0])
    images = read_cine_zip(write_zip(tmp_path / NAME, members_of(series)))
    np.testing.assert_array_equal(images.load_cine(), cine)
    assert any("split" in note for note in cine_notes(images))


def test_a_slice_of_another_size_or_orientation_is_left_out(tmp_path, cine):
    series = sax_series(cine)
    series[0].pictures = series[0].pictures[:-2]
    turn = np.deg2rad(20)
    series[3].along_y = np.cos(turn) * ALONG_Y + np.sin(turn) * NORMAL
    images = read_cine_zip(write_zip(tmp_path / NAME, members_of(series)))
    np.testing.assert_array_equal(images.load_cine(), cine[:, :, 1:3])
    assert any("2 slices of another orientation" in note for note in cine_notes(images))


def test_missing_frames_are_filled_from_their_neighbours_in_time(tmp_path, cine):
    series = sax_series(cine)
    series[2].keep = (0, 1, 2, 4, 5, 6, 7)
    images = read_cine_zip(write_zip(tmp_path / NAME, members_of(series)))
    result = images.load_cine()
    for t in (0, 1, 2, 4, 5, 6, 7):
        np.testing.assert_array_equal(result[..., t], cine[..., t])
    assert any(np.array_equal(result[:, :, 2, 3], cine[:, :, 2, t]) for t in (2, 4))
    assert any("slice 3 has 7 frames" in note for note in cine_notes(images))
    series[2].keep = (0, 1, 2)
    with pytest.raises(UserError, match="slice 3 of 4 has 3 of 8 frames"):
        read_cine_zip(write_zip(tmp_path / NAME, members_of(series)))


def test_frames_without_trigger_times_follow_their_numbers(tmp_path, cine):
    series = sax_series(cine)
    for one in series:
        one.change = lambda ds, t: ds.__delattr__("TriggerTime")
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine(), cine)


def test_frames_follow_trigger_times_even_if_numbers_do_not(tmp_path, cine):
    order = [3, 0, 7, 2, 5, 1, 6, 4]

    def renumber(ds, t):
        ds.InstanceNumber = 1 + order[t]

    series = [dataclasses.replace(one, change=renumber) for one in sax_series(cine)]
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine(), cine)


def test_copies_of_a_frame_count_once(tmp_path, cine):
    members = members_of(sax_series(cine))
    images = read_cine_zip(write_zip(tmp_path / NAME, [*members, ("copy.dcm", members[3][1])]))
    np.testing.assert_array_equal(images.load_cine(), cine)
    assert cine_notes(images) == ("1 images are there twice",)


def test_intensities_are_scaled_as_the_file_asks(tmp_path, cine):
    def rescale(ds, t):
        ds.RescaleSlope, ds.RescaleIntercept = "0.5", "-3"

    series = [dataclasses.replace(one, change=rescale) for one in sax_series(cine)]
    result = read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine()
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, cine * 0.5 - 3)


def test_spare_bits_do_not_count_and_signs_do(tmp_path, cine):
    def overlay(ds, t):
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") | 0xF000).tobytes()

    series = [dataclasses.replace(one, change=overlay) for one in sax_series(cine)]
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine(), cine)

    def signed(ds, t):
        ds.PixelRepresentation = 1
        ds.PixelData = (-np.frombuffer(ds.PixelData, "<i2")).tobytes()

    series = [dataclasses.replace(one, change=signed) for one in sax_series(cine)]
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members_of(series))).load_cine(), -cine)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_the_uncompressed_transfer_syntaxes_are_read(tmp_path, cine, syntax):
    def swap(ds, t):
        if syntax.endswith(".2.2"):
            ds["PixelData"].VR = "OW"
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()

    members = []
    for one in sax_series(cine):
        one.change = swap
        members += [(f"{one.number}.{t}", dicom_bytes(frame_dataset(one, t), syntax)) for t in range(8)]
    np.testing.assert_array_equal(read_cine_zip(write_zip(tmp_path / NAME, members)).load_cine(), cine)


def long_axis(cine, description, number, direction, uid="", first=1):
    return Series(
        cine[:, :, 0], description, number, np.array([0.0, 0.0, 0.0]), uid, first_instance=first, along_y=direction
    )


def test_long_axis_views(tmp_path, cine):
    planes = {"2ch": ALONG_Y, "3ch": np.array([0.6, 0.0, -0.8]), "4ch": np.array([0.8, 0.0, -0.6])}
    series = [
        long_axis(cine + 100 * i, f"CINE_segmented_LAX_{view[0]}Ch", 5 + i, planes[view])
        for i, view in enumerate(planes)
    ]
    path = write_zip(tmp_path / "1_20208_2_0.zip", members_of(series))
    for i, view in enumerate(planes):
        np.testing.assert_array_equal(read_cine_zip(path, view).load_cine(), cine[:, :, :1] + 100 * i)
    with pytest.raises(UserError, match="no cine of the short axis view"):
        read_cine_zip(path)
    with pytest.raises(UserError, match="choose one of sax, 2ch"):
        read_cine_zip(path, "5ch")


def test_an_undivided_long_axis_series_is_split_in_the_order_of_acquisition(tmp_path, cine):
    planes = [np.array([0.6, 0.0, -0.8]), np.array([0.8, 0.0, -0.6]), ALONG_Y]
    series = [
        long_axis(cine + 100 * i, "CINE_segmented_LAX", 5, plane, uid="1.2.9", first=1 + 8 * i)
        for i, plane in enumerate(planes)
    ]
    path = write_zip(tmp_path / "1_20208_2_0.zip", members_of(series))
    for i, view in enumerate(("3ch", "4ch", "2ch")):
        np.testing.assert_array_equal(read_cine_zip(path, view).load_cine(), cine[:, :, :1] + 100 * i)


def spoil(**values):
    def change(ds, t):
        for name, value in values.items():
            if value is None:
                delattr(ds, name)
            else:
                setattr(ds, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (spoil(PixelSpacing=None), "lacks PixelSpacing"),
        (spoil(PixelSpacing=["0.001", "1"]), "PixelSpacing outside"),
        (spoil(ImageOrientationPatient=["1", "0", "0", "1", "0", "0"]), "not two perpendicular"),
        (spoil(ImagePositionPatient=None), "lacks ImagePositionPatient"),
        (spoil(Rows=60000), "60000 x 24 pixels"),
        (spoil(BitsAllocated=32), "of 32 bits"),
        (spoil(SamplesPerPixel=3), "colour or multi-frame"),
        (spoil(NumberOfFrames=50), "colour or multi-frame"),
        (spoil(PhotometricInterpretation="MONOCHROME1"), "MONOCHROME2"),
        (spoil(RescaleSlope="0"), "impossible RescaleSlope"),
    ],
)
def test_unusable_frames_are_told_by_reason(tmp_path, cine, change, reason):
    series = [dataclasses.replace(one, change=change) for one in sax_series(cine)]
    with pytest.raises(UserError, match=reason) as caught:
        read_cine_zip(write_zip(tmp_path / NAME, members_of(series)))
    assert str(caught.value).startswith(f"{NAME}: holds no usable cine")
    assert "\n" not in str(caught.value)


def test_compressed_and_deflated_pixels_are_refused(tmp_path, cine):
    for syntax, reason in (("1.2.840.10008.1.2.4.70", "compressed"), ("1.2.840.10008.1.2.1.99", "deflated")):
        old, new = b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\0" + syntax.encode()
        members = [(name, content.replace(old, new)) for name, content in members_of(sax_series(cine))]
        with pytest.raises(UserError, match=reason):
            read_cine_zip(write_zip(tmp_path / NAME, members))


def test_short_pixels_are_told_when_they_are_wanted(tmp_path, cine):
    def cut(ds, t):
        ds.PixelData = ds.PixelData[:200]

    series = sax_series(cine)
    series[1].change = cut
    images = read_cine_zip(write_zip(tmp_path / NAME, members_of(series)))
    images.load_cine.read([0])
    with pytest.raises(UserError, match="fewer pixels than it says"):
        images.load_cine.read([1])


def test_a_zip_that_changed_is_told(tmp_path, cine):
    path = write_cine_zip(tmp_path / NAME, cine)
    images = read_cine_zip(path)
    write_zip(path, members_of(sax_series(cine))[:3])
    with pytest.raises(UserError, match="has changed|fewer pixels|damaged"):
        images.load_cine()


def test_nothing_of_the_person_stays(tmp_path, cine):
    images = read_cine_zip(write_cine_zip(tmp_path / NAME, cine))
    text = repr(images) + repr(images.load_cine) + repr(images.load_cine.plan)
    for secret in (PATIENT_NAME, PATIENT_ID, BIRTH_DATE, VISIT_DATE, "1234567", "1.2.3.10"):
        assert secret not in text
    assert isinstance(images.load_cine, DicomCine)


def test_kinds_are_told_by_content(tmp_path, cine):
    write_cine_folder(tmp_path / "folder")
    path = write_cine_zip(tmp_path / "archive", cine)
    (tmp_path / "text.dcm").write_text("nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.zip").write_bytes(b"")
    assert cmr_kind(tmp_path / "folder") == "nifti"
    assert cmr_kind(path) == "dicom-zip"
    assert cmr_kind(tmp_path / "cut.zip") == "dicom-zip"
    assert [cmr_kind(tmp_path / name) for name in ("text.dcm", "empty", "absent")] == [None] * 3
    assert cmr_kind(tmp_path / "folder", "4ch") is None
    assert cmr_files(path) == [path]
    assert [p.name for p in cmr_files(tmp_path / "folder")][0] == "sa.nii.gz"
    for name in ("text.dcm", "cut.zip", "absent"):
        with pytest.raises(UserError, match=f"^{name}: "):
            read_cmr(tmp_path / name)
    with pytest.raises(UserError, match="choose one of"):
        read_cmr(path, "lvot")
