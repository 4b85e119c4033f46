"""Cine stacks straight from DICOM files, one a frame: UK Biobank's zips of fields 20209 and 20208, folders of a view.

Headers are read first, the pixels of the frames asked for later; nothing is unpacked to the disk, and a manifest in an
archive is not relied on. In an archive series are told by their description, in folders by nothing: all are of the
view. Slices are ordered by position along the slice normal, frames by trigger time. Where the files are untidy:

- series whose description holds ``InlineVF`` (the scanner's own analysis), tagging and mapping series are left out;
- of several series of one slice the last complete one stays (by series number);
- a series that holds several positions or picture sizes is split into one run of frames each;
- of several passes over the cycle within one run the last complete one stays;
- slices of another orientation, size or pixel spacing than most are left out;
- a slice that lacks some frames is filled up with the nearest ones in time; with less than half it is an error.

All of it is told in the notes. The array's axes are those of the NIfTI folders: X along the columns, Y along the rows,
Z from base to apex, T from the R wave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_frame import NotUsable, decode_pixels
from ecgcmr.formats.dicom_moments import align_in_time
from ecgcmr.formats.dicom_series import VIEWS, Frame, Members, find_frames, runs_of
from ecgcmr.formats.dicom_slices import last_complete, numbered_slices, one_geometry, order_slices, slice_distance
from ecgcmr.formats.folder_members import FolderMembers
from ecgcmr.formats.record import ShortAxis
from ecgcmr.formats.zip_members import ZipMembers

LARGEST_CINE = 64 * 2**20
"""Pixels of a whole cine that is still read into memory at once; UK Biobank's have about 20 million."""
_MOST_SLICES = 64


@dataclass(frozen=True)
class _Source:
    """Where the files are: one archive, or some folders.

    Attributes:
        paths: The archive, or the folders.
        name: What messages begin with.
    """

    paths: Path | tuple[Path, ...] = field(repr=False)
    name: str

    def open(self) -> ZipMembers | FolderMembers:
        """Return the files, as a context manager."""
        return FolderMembers(self.paths, self.name) if isinstance(self.paths, tuple) else ZipMembers(self.paths)


@dataclass(frozen=True)
class DicomCine:
    """A cine that stays in its archive or folders until it is asked for; calling it reads all of it.

    Attributes:
        source: The archive or folders.
        shape: X, Y, Z, T.
        notes: What was untidy.
        plan: For each slice, for each moment, the frame that shows it.
    """

    source: _Source = field(repr=False)
    shape: tuple[int, int, int, int]
    notes: tuple[str, ...]
    plan: tuple[tuple[Frame, ...], ...] = field(repr=False)

    def __call__(self) -> npt.NDArray:
        """Read the whole cine as (X, Y, Z, T)."""
        return self.read()

    def read(self, slices: Sequence[int] | None = None, frames: Sequence[int] | None = None) -> npt.NDArray:
        """Read chosen slices and moments only.

        Args:
            slices: Indices along Z; all by default.
            frames: Indices along T; all by default.

        Returns:
            (X, Y, slices, frames) in the stored type, float32 where the scanner scales its values.

        Raises:
            UserError: A frame is damaged, or the archive has changed.
        """
        wanted_z = range(self.shape[2]) if slices is None else slices
        wanted_t = range(self.shape[3]) if frames is None else frames
        size = (*self.shape[:2], len(wanted_z), len(wanted_t))
        if np.prod(size) > LARGEST_CINE:
            raise UserError(f"{self.source.name}: a cine of {' x '.join(map(str, size))} pixels is too large")
        formats = {frame.header.pixels for row in self.plan for frame in row}
        kinds = {np.dtype(f"{'i' if form.signed else 'u'}{form.allocated // 8}") for form in formats}
        kind = np.dtype(np.float32) if any(form.is_scaled for form in formats) else np.result_type(*kinds)
        cine = np.empty(size, dtype=kind)
        with self.source.open() as archive:
            for i, z in enumerate(wanted_z):
                for j, t in enumerate(wanted_t):
                    cine[:, :, i, j] = self._picture(archive, self.plan[z][t])
        return cine

    def _picture(self, archive: Members, frame: Frame) -> npt.NDArray:
        if frame.member >= len(archive.infos):
            raise UserError(f"{self.source.name}: has changed while it was read")
        try:
            return decode_pixels(archive.read(archive.infos[frame.member]), frame.header.pixels)
        except NotUsable as error:
            raise UserError(f"{self.source.name}: an image of it {error}; fetch it again") from error


def read_cine_zip(path: str | Path, view: str = "sax") -> ShortAxis:
    """Read the cine of one view from an archive of DICOM files; pixels are left in it until asked for.

    Args:
        path: The archive.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``; a long-axis view has one slice.

    Returns:
        Images with ``load_cine`` only. ``load_cine`` is a ``DicomCine``, which reads single slices, too.

    Raises:
        UserError: The archive is damaged or holds no usable cine of this view.
    """
    if view not in VIEWS:
        raise UserError(f"view {view!r}: choose one of {', '.join(VIEWS)}")
    path = Path(path)
    return _read(_Source(path, path.name), view, is_sorted=False)


def read_cine_folders(folders: Sequence[Path], view: str, name: str) -> ShortAxis:
    """Read the cine of one view from folders of DICOM files that hold nothing else, whatever their descriptions say.

    Args:
        folders: Where the files lie, such as a folder a slice.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``; a long-axis view has one slice.
        name: What messages begin with.

    Returns:
        As ``read_cine_zip``.

    Raises:
        UserError: A file cannot be read, or there is no usable cine.
    """
    return _read(_Source(tuple(folders), name), view, is_sorted=True)


def _read(source: _Source, view: str, *, is_sorted: bool) -> ShortAxis:
    """Read the headers; ``is_sorted`` says that all files are of the view."""
    with source.open() as archive:
        frames, notes = find_frames(archive, view, source.name, is_sorted=is_sorted)
        notes = [*archive.notes, *notes]
    runs = runs_of(frames)
    runs = numbered_slices(runs, notes) if view == "sax" else [last_complete(runs, notes)]
    runs = one_geometry(runs, notes)
    runs = order_slices(runs, notes)
    if len(runs) > _MOST_SLICES:
        raise UserError(f"{source.name}: has {len(runs)} slices, more than {_MOST_SLICES}")
    plan = align_in_time(runs, source.name, notes)
    header = plan[0][0].header
    shape = (header.pixels.columns, header.pixels.rows, len(plan), len(plan[0]))
    cine = DicomCine(source, shape, tuple(notes), plan)
    return ShortAxis(spacing_mm=header.spacing_mm, load_cine=cine, slice_mm=slice_distance(runs))
