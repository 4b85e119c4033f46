"""Writes small zips of DICOM cine frames as UK Biobank hands them out, with any disorder a test asks for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

PATIENT_NAME, PATIENT_ID, BIRTH_DATE, VISIT_DATE = "Planted^Name", "7654321", "19480229", "20170913"
SLICE_GAP = 10.0
ALONG_X, ALONG_Y = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0])
NORMAL = np.cross(ALONG_X, ALONG_Y)  # towards the patient's right
MANIFEST = b"filename,series discription,date\na.dcm,CINE_segmented_SAX_b1,Sep 13, 2017\n"


@dataclass
class Series:
    """Frames of one series: (X, Y, T) pictures at one place."""

    pictures: np.ndarray
    description: str
    number: int
    position: np.ndarray
    uid: str = ""
    acquisition: int = 1
    first_instance: int = 1
    expected: int | None = None
    frame_ms: float = 20.0
    spacing: tuple[float, float] = (1.8, 1.8)
    along_x: np.ndarray = field(default_factory=lambda: ALONG_X)
    along_y: np.ndarray = field(default_factory=lambda: ALONG_Y)
    keep: tuple[int, ...] | None = None
    change: Callable[[Dataset, int], None] | None = None


def frame_dataset(series: Series, t: int) -> Dataset:
    """One frame with everything a scanner notes, the person included."""
    picture = series.pictures[:, :, t]
    ds = Dataset()
    uid = series.uid or f"1.2.3.{series.number}"
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = UID(f"{uid}.{series.acquisition}.{series.first_instance + t}")
    ds.SeriesInstanceUID = UID(uid)
    ds.StudyDate = ds.SeriesDate = VISIT_DATE
    ds.SeriesDescription = series.description
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT_NAME, PATIENT_ID, BIRTH_DATE
    ds.TriggerTime = f"{t * series.frame_ms:.1f}"
    count = series.pictures.shape[2] if series.expected is None else series.expected
    if count:
        ds.CardiacNumberOfImages = count
    ds.SeriesNumber, ds.AcquisitionNumber = series.number, series.acquisition
    ds.InstanceNumber = series.first_instance + t
    ds.ImagePositionPatient = [f"{v:.4f}" for v in series.position]
    ds.ImageOrientationPatient = [f"{v:.6f}" for v in (*series.along_x, *series.along_y)]
    ds.PixelSpacing = [f"{series.spacing[1]}", f"{series.spacing[0]}"]  # between rows, then between columns
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = picture.shape[1], picture.shape[0]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.add_new((0x0029, 0x0010), "LO", "SIEMENS CSA HEADER")
    ds.add_new((0x0029, 0x1010), "OB", b"\x07" * 2000)
    ds.PixelData = picture.T.astype("<u2").tobytes()
    if series.change is not None:
        series.change(ds, t)
    return ds


def dicom_bytes(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A file of one frame."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    little = syntax != "1.2.840.10008.1.2.2"
    ds.save_as(buffer, enforce_file_format=True, little_endian=little, implicit_vr=syntax == "1.2.840.10008.1.2")
    return buffer.getvalue()


def sax_series(cine: np.ndarray) -> list[Series]:
    """One series a slice of a cine (X, Y, Z, T), numbered from the base at 1."""
    start = np.array([100.0, -90.0, 60.0])
    return [
        Series(cine[:, :, z], f"CINE_segmented_SAX_b{z + 1}", 10 + z, start - z * SLICE_GAP * NORMAL)
        for z in range(cine.shape[2])
    ]


def members_of(series: Iterable[Series], *, shuffle: int | None = 0) -> list[tuple[str, bytes]]:
    """Names and contents of the frames' files, in disorder."""
    members = [
        (
            f"{one.uid or one.number}.{one.acquisition}.{one.first_instance + t:03d}.dcm",
            dicom_bytes(frame_dataset(one, t)),
        )
        for one in series
        for t in (range(one.pictures.shape[2]) if one.keep is None else one.keep)
    ]
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(members))
        members = [members[i] for i in order]
    return members


def _entry(name: str) -> zipfile.ZipInfo:
    """A directory entry without the time of writing."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def write_zip(path: Path, members: Iterable[tuple[str, bytes]], manifest: bool = True) -> Path:
    """Write an archive with a manifest beside the frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(_entry(name), content)
        if manifest:
            archive.writestr(_entry("manifest.cvs"), MANIFEST)
    return path


def write_cine_zip(path: Path, cine: np.ndarray) -> Path:
    """An orderly short-axis archive."""
    return write_zip(path, members_of(sax_series(cine)))
