"""Segmentations beside images become masks of the prepared frames, and only of the frames that somebody segmented."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_file_writers import beating_disc, write_cine_folder, write_nifti

from ecgcmr.formats import read_short_axis
from ecgcmr.formats.record import ShortAxis
from ecgcmr.preparation import CineOptions, command
from ecgcmr.preparation.cine import frames_and_masks
from ecgcmr.preparation.cine_masks import finish_masks
from ecgcmr.preparation.cine_options import TWO_PHASE_FRAMES
from ecgcmr.shards import ShardIndex, read_cmr, read_masks
from ecgcmr.shards.layout import MASK_UNKNOWN
from ecgcmr.verification import verify_cohort

OPTIONS = CineOptions(size=64, field_of_view_mm=96.0)
ALL, VOLUMES = CineOptions(content="all", phases=8, size=32), CineOptions(content="volumes", slices=4, size=32)
U = MASK_UNKNOWN


def heart() -> tuple[np.ndarray, np.ndarray]:
    """The beating disc with a right ventricle beside it."""
    cine, labels = beating_disc()
    cine[30:40, 22:34], labels[30:40, 22:34] = 350, 3
    x, y = np.meshgrid(np.arange(48) - 20, np.arange(48) - 28, indexing="ij")
    ring = np.hypot(x, y) < 12
    original, original_labels = beating_disc()
    cine[ring], labels[ring] = original[ring], original_labels[ring]
    return cine, labels


def images(**parts: object) -> ShortAxis:
    return ShortAxis(spacing_mm=(1.8, 1.8), **parts)  # type: ignore[arg-type]


def known(masks: np.ndarray | None) -> list[bool]:
    assert masks is not None
    unknown = (masks == MASK_UNKNOWN).reshape(len(masks), -1)
    assert (unknown.all(axis=1) == unknown.any(axis=1)).all()
    return (~unknown.any(axis=1)).tolist()


def test_the_nearest_pixel_is_taken_where_the_frames_lie() -> None:
    _, labels = heart()
    masks = np.moveaxis(labels[:, :, 0, :3], -1, 0)
    options = CineOptions(size=40, field_of_view_mm=60.0)
    finished = finish_masks(masks, (1.9, 1.4), (20.3, 27.8), options)
    for row, column in ((0, 0), (5, 31), (20, 20), (39, 12)):
        x = round(20.3 + (column - 19.5) * 1.5 / 1.9)
        y = round(27.8 + (row - 19.5) * 1.5 / 1.4)
        expected = masks[:, x, y] if 0 <= x < 48 and 0 <= y < 48 else 0
        np.testing.assert_array_equal(finished[:, row, column], expected)
    with pytest.raises(ValueError, match="expected"):
        finish_masks(masks[0], 1.8, (20, 28), options)


def test_beyond_the_image_nothing_is_heart_and_unknown_frames_stay_so() -> None:
    masks = np.stack([np.full((20, 20), 1, np.uint8), np.full((20, 20), U, np.uint8)])
    finished = finish_masks(masks, 2.0, (-0.2, -0.2), CineOptions(size=20, field_of_view_mm=40.0))
    assert finished[0].sum() == 10 * 10
    assert (finished[1] == U).all()


@pytest.mark.parametrize("spacing", [(1.8, 1.8), (1.2, 2.1)])
def test_masks_lie_on_what_they_name(spacing: tuple[float, float]) -> None:
    cine, labels = heart()
    made = frames_and_masks(
        ShortAxis(spacing_mm=spacing, load_cine=lambda: cine, load_cine_segmentation=lambda: labels), OPTIONS
    )
    assert made.masks is not None
    assert made.frames.shape == made.masks.shape
    for frame, mask in zip(made.frames, made.masks, strict=True):
        assert set(np.unique(mask)) == {0, 1, 2, 3}
        level = {value: np.median(frame[mask == value]) for value in range(4)}
        assert level[1] > level[3] > level[2] > level[0]


def test_each_kind_of_segmentation_masks_the_frames_it_speaks_of() -> None:
    cine, labels = heart()
    volumes = {"ed": cine[..., 0].astype(np.float32), "es": cine[..., 3].astype(np.float32)}
    ed, es = labels[..., 0], labels[..., 3]
    whole = images(load_cine=lambda: cine, load_cine_segmentation=lambda: labels)
    both = images(load_cine=lambda: cine, ed_segmentation=ed, es_segmentation=es, **volumes)
    alone = images(load_cine=lambda: cine, ed_segmentation=ed, es_segmentation=es)
    sparse = labels.copy()
    sparse[..., [1, 2, 4, 5, 6, 7]] = 0  # a file over the cycle in which two moments were segmented
    two = images(load_cine=lambda: cine, load_cine_segmentation=lambda: sparse)
    assert known(frames_and_masks(whole, OPTIONS).masks) == [True, True, True]
    assert known(frames_and_masks(both, OPTIONS).masks) == [True, False, True]
    assert known(frames_and_masks(alone, OPTIONS).masks) == [False, False, True]  # nobody knows which frame ES was
    assert known(frames_and_masks(two, OPTIONS).masks) == [True, False, True]
    assert known(frames_and_masks(whole, ALL).masks) == [True] * 8
    for of_two in (both, two):
        assert known(frames_and_masks(of_two, ALL).masks) == [t in (0, 3) for t in range(8)]
        assert known(frames_and_masks(of_two, VOLUMES).masks) == [True] * 8
    assert known(frames_and_masks(alone, VOLUMES).masks) == [True] * 4 + [False] * 4
    two_phase = replace(OPTIONS, frames=TWO_PHASE_FRAMES)
    stored = images(ed_segmentation=ed, **volumes)
    assert known(frames_and_masks(stored, two_phase).masks) == [False, True]
    nothing = frames_and_masks(images(**volumes), two_phase)
    assert (nothing.masks, nothing.note) == (None, "")
    empty = frames_and_masks(images(ed_segmentation=np.zeros_like(ed), **volumes), two_phase)
    assert (empty.masks, empty.note) == (None, "")


def test_a_stored_volume_of_another_moment_masks_that_moment() -> None:
    cine, labels = heart()
    late = images(
        load_cine=lambda: cine,
        ed=cine[..., 7].astype(np.float32),
        es=cine[..., 3].astype(np.float32),
        ed_segmentation=labels[..., 7],
        es_segmentation=labels[..., 3],
    )
    cine[..., 6] += 5  # the frames of the disc at rest differ
    cine[..., 7] += 9
    late = replace(late, ed=cine[..., 7].astype(np.float32))
    assert known(frames_and_masks(late, OPTIONS).masks) == [True, False, False]
    assert known(frames_and_masks(late, ALL).masks) == [t in (3, 7) for t in range(8)]


def test_the_masks_of_more_or_fewer_moments_are_the_nearest_ones() -> None:
    cine, labels = heart()
    whole = images(load_cine=lambda: cine, load_cine_segmentation=lambda: labels)
    exact = frames_and_masks(whole, ALL).masks
    assert exact is not None
    for phases, moments in ((16, [0, 0, 1, 2, 2, 2, 3, 4]), (4, [0, 2, 4, 6])):
        masks = frames_and_masks(whole, replace(ALL, phases=phases, frames=())).masks
        assert masks is not None
        np.testing.assert_array_equal(masks[: len(moments)], exact[moments])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda labels: np.array([0, 3, 2, 1], np.uint8)[labels], "label 2 encloses label 3"),
        (lambda labels: np.where(labels == 2, 4, labels).astype(np.uint8), "holds the label 4"),
        (lambda labels: np.where(labels == 0, 255, labels).astype(np.uint8), "holds the label 255"),
        (lambda labels: labels[::-1], "hardly brighter than its myocardium"),
    ],
)
def test_labels_that_cannot_be_right_give_no_mask_but_the_frames(spoil, reason: str) -> None:  # noqa: ANN001
    cine, labels = heart()
    wrong = spoil(labels)
    volumes = {"ed": cine[..., 0].astype(np.float32), "es": cine[..., 3].astype(np.float32)}
    options = replace(OPTIONS, frames=TWO_PHASE_FRAMES, crop="centre")
    made = frames_and_masks(images(ed_segmentation=wrong[..., 0], es_segmentation=wrong[..., 3], **volumes), options)
    assert made.masks is None
    assert made.frames.shape == (2, 64, 64)
    assert made.note.startswith("its segmentation is not stored: ")
    assert reason in made.note
    assert "\n" not in made.note


def test_a_wall_without_a_right_ventricle_is_no_sign_of_swapped_labels() -> None:
    cine, labels = beating_disc()
    made = frames_and_masks(images(load_cine=lambda: cine, load_cine_segmentation=lambda: labels), OPTIONS)
    assert known(made.masks) == [True, True, True]


# The whole run.


def prepare(out: Path, cmr: Path, key_file: Path, *words: object) -> ShardIndex:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = ("--out", out, "--cmr", cmr, "--size", 32, "--workers", 1, "--key-file", key_file, *words)
    assert command.run(parser.parse_args([str(word) for word in given])) == 0
    return ShardIndex.load(out)


def without_segmentation(folder: Path) -> None:
    for path in folder.glob("seg_*"):
        path.unlink()


def test_a_cohort_in_which_some_are_segmented(tmp_path: Path, key_file: Path) -> None:
    for number in range(4):
        write_cine_folder(tmp_path / "cmr" / f"s{number}", number, four_dimensional_labels=number == 0)
    without_segmentation(tmp_path / "cmr" / "s1")
    write_nifti(tmp_path / "cmr" / "s2" / "seg_sa_ED.nii.gz", np.full((48, 48, 4), 7, np.uint8))
    index = prepare(tmp_path / "out", tmp_path / "cmr", key_file, "--shard-size", 2)
    assert index.counts["with_cmr"] == 4
    assert index.counts["with_cmr_mask"] == 2
    masks = read_masks(index, np.arange(4))
    kinds = sorted(tuple((mask == MASK_UNKNOWN).all(axis=(1, 2)).tolist()) for mask in masks)
    assert kinds == [(False, False, False), (False, True, False), (True, True, True), (True, True, True)]
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["notes"]
    assert [(one["file"], "holds the label 7" in one["note"]) for one in notes] == [("s2", True)]
    assert verify_cohort(tmp_path / "out") == []


def test_a_cohort_without_segmentations_has_the_layout_of_before(tmp_path: Path, key_file: Path) -> None:
    write_cine_folder(tmp_path / "cmr" / "s0", 0)
    without_segmentation(tmp_path / "cmr" / "s0")
    index = prepare(tmp_path / "out", tmp_path / "cmr", key_file)
    assert "mask" not in index.layout.to_dict()["cmr"]
    assert "with_cmr_mask" not in index.counts


def test_a_cohort_grown_by_segmented_subjects_and_shrunk_again(tmp_path: Path, key_file: Path) -> None:
    """Shards in which nobody is segmented are written again with the new layout, their frames are not computed anew."""
    out, cmr = tmp_path / "out", tmp_path / "cmr"
    for number in range(2):
        write_cine_folder(cmr / f"s{number}", number)
        without_segmentation(cmr / f"s{number}")
    before = prepare(out, cmr, key_file, "--shard-size", 2)
    frames = read_cmr(before, np.arange(2))
    write_cine_folder(cmr / "s2", 2)
    grown = prepare(out, cmr, key_file, "--shard-size", 2)
    assert grown.layout.fingerprint != before.layout.fingerprint
    assert grown.counts["with_cmr"] == 3
    assert grown.counts["with_cmr_mask"] == 1
    np.testing.assert_array_equal(read_cmr(grown, np.arange(2)), frames)
    assert [(mask != MASK_UNKNOWN).any() for mask in read_masks(grown, np.arange(3))] == [False, False, True]
    assert verify_cohort(out) == []
    write_nifti(cmr / "s1" / "seg_sa_ED.nii.gz", beating_disc()[1][..., 0])  # segmented later
    assert prepare(out, cmr, key_file, "--shard-size", 2).counts["with_cmr_mask"] == 2
    for number in range(3):
        without_segmentation(cmr / f"s{number}")
    shrunk = prepare(out, cmr, key_file, "--shard-size", 2)
    assert "with_cmr_mask" not in shrunk.counts
    assert shrunk.layout.fingerprint == before.layout.fingerprint
    np.testing.assert_array_equal(read_cmr(shrunk, np.arange(2)), frames)
    assert verify_cohort(out) == []


def test_masks_are_no_different_under_other_labels(tmp_path: Path, key_file: Path) -> None:
    write_cine_folder(tmp_path / "cmr" / "s0", 0)
    first = read_masks(prepare(tmp_path / "out", tmp_path / "cmr", key_file), np.arange(1))
    (tmp_path / "table.csv").write_text("eid,24100-2.0\ns0,140\n")
    index = prepare(tmp_path / "out", tmp_path / "cmr", key_file, "--table", tmp_path / "table.csv")
    assert len(index.label_names) > 0
    np.testing.assert_array_equal(read_masks(index, np.arange(1)), first)


def test_real_acdc_masks_lie_on_their_hearts(real_data_dir: Path) -> None:
    for folder in sorted((real_data_dir / "acdc").glob("patient*"))[:6]:
        made = frames_and_masks(read_short_axis(folder), CineOptions(frames=TWO_PHASE_FRAMES))
        assert known(made.masks) == [True, True], folder.name
        assert made.note == ""
        assert made.masks is not None
        for frame, mask in zip(made.frames, made.masks, strict=True):
            assert frame[mask == 1].mean() > 1.2 * frame[mask == 2].mean()
        volume = [(mask == 1).sum() for mask in made.masks]
        assert volume[0] < volume[1]
