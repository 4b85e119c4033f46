"""Cardiac images whose files a collection names one by one, where no name in a folder tells which is which."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_cine import read_cine_folders
from ecgcmr.formats.folder_members import list_members
from ecgcmr.formats.nifti_header import check_cine, read_header, spacing_of
from ecgcmr.formats.nifti_voxels import LEFT_FIRST, load_labels, load_segmentation, load_volume, load_voxels
from ecgcmr.formats.record import ShortAxis


@dataclass(frozen=True)
class ImageFiles:
    """The files of one view of one subject's heart; what there is not is None.

    Attributes:
        folder: The subject's, by which the images are known.
        cine: NIfTI of (X, Y, Z, T).
        ed: NIfTI of (X, Y, Z) at end-diastole.
        es: The same at end-systole.
        cine_labels: Segmentation of the cine; a moment without any label is not segmented.
        ed_labels: Segmentation of ``ed``.
        es_labels: Segmentation of ``es``.
        dicom: Folders with the DICOM files of the view, in place of the above.
        ed_frame: Frame of the cine at end-diastole, from 0, where it is stated.
        es_frame: The same of end-systole.
        starts_at_ed: As for ``ShortAxis``.
        cavities: Numbers of the left and the right cavity in the segmentations; the myocardium is 2.
    """

    folder: Path = field(repr=False)
    cine: Path | None = field(default=None, repr=False)
    ed: Path | None = field(default=None, repr=False)
    es: Path | None = field(default=None, repr=False)
    cine_labels: Path | None = field(default=None, repr=False)
    ed_labels: Path | None = field(default=None, repr=False)
    es_labels: Path | None = field(default=None, repr=False)
    dicom: tuple[Path, ...] = field(default=(), repr=False)
    ed_frame: int | None = None
    es_frame: int | None = None
    starts_at_ed: bool = True
    cavities: tuple[int, int] = LEFT_FIRST

    @property
    def name(self) -> str:
        """The folder's own name, which messages begin with."""
        return self.folder.name

    @property
    def has_cine(self) -> bool:
        """Whether there is more than end-diastole and end-systole."""
        return self.cine is not None or bool(self.dicom)

    @property
    def has_segmentation(self) -> bool:
        """Whether any moment is segmented; nothing is opened."""
        return any(path is not None for path in (self.cine_labels, self.ed_labels, self.es_labels))

    @property
    def statement(self) -> str:
        """What is stated of the files and does not stand in them, as text that is equal where it is the same."""
        return f"{self.ed_frame} {self.es_frame} {self.starts_at_ed} {self.cavities}"

    def files(self) -> list[Path]:
        """Return all files that are read, sorted by name within their folder."""
        named = (self.cine, self.ed, self.es, self.cine_labels, self.ed_labels, self.es_labels)
        return [*sorted(path for path in named if path is not None), *list_members(self.dicom)]

    def names(self) -> list[str]:
        """Return what reports call them: paths within the subject's folder, of DICOM files that of theirs."""
        shown = self.dicom or tuple(self.files())
        return [
            path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name
            for path in shown
        ]


def read_image_files(files: ImageFiles, view: str = "sax") -> ShortAxis:
    """Read the images; a cine's pixels are left on the disk until asked for.

    Args:
        files: Where they are.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``; of folders of DICOM files all belong to it.

    Raises:
        UserError: A file is damaged or does not fit the others, or there is no image.
    """
    if files.dicom:
        return read_cine_folders(files.dicom, view, files.name)
    first = files.cine or files.ed
    if first is None:
        raise UserError(f"{files.name}: has neither a cine nor an end-diastolic volume")
    ed, es = (None if path is None else load_volume(path) for path in (files.ed, files.es))
    if files.cine is not None:
        check_cine(files.cine)
    labels = files.cine_labels
    return ShortAxis(
        spacing_mm=spacing_of(first),
        ed=ed,
        es=es,
        ed_segmentation=load_segmentation(files.ed_labels, ed, files.cavities),
        es_segmentation=load_segmentation(files.es_labels, es, files.cavities),
        load_cine=None if files.cine is None else partial(load_voxels, files.cine),
        load_cine_segmentation=None if labels is None else partial(load_labels, labels, cavities=files.cavities),
        ed_frame=files.ed_frame,
        es_frame=files.es_frame,
        starts_at_ed=files.starts_at_ed,
        slice_mm=read_header(first).slice_mm,
    )
