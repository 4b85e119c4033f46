"""Headers of NIfTI files: what is needed of one, within bounds; nibabel parses, and nothing else is read of a file."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import nibabel
import numpy as np

from ecgcmr.errors import UserError

LARGEST_CINE = 64 * 2**20
LARGEST_VOLUME = 16 * 2**20
"""Voxels that are still read; UK Biobank's cines have about 20 million, a volume 0.4 million."""

_MOST_BYTES = 384 * 2**20
_LARGEST_SIDE = 4096
_LARGEST_OFFSET = 2**20
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class NiftiHeader:
    """What is needed of a header.

    Attributes:
        shape: Voxels along each axis, trailing axes of length 1 beyond the third dropped.
        kind: Stored type with its byte order.
        offset: Byte at which the voxels begin.
        slope: Factor from stored value to intensity; None if there is no scaling.
        intercept: Summand.
        spacing_mm: Pixel size in X and Y.
        slice_mm: Distance of neighbouring slices; None where none is stated that could be.
    """

    shape: tuple[int, ...]
    kind: np.dtype
    offset: int
    slope: float | None
    intercept: float
    spacing_mm: tuple[float, float]
    slice_mm: float | None

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.kind.itemsize


def open_nifti(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where its first bytes say so."""
    with path.open("rb") as stream:
        magic = stream.read(2)
    return gzip.open(path, "rb") if magic == b"\x1f\x8b" else path.open("rb")  # type: ignore[return-value]


def read_header(path: Path) -> NiftiHeader:
    """Read a header; UserError where it is damaged or claims what cannot be."""
    try:
        with open_nifti(path) as stream:
            block = stream.read(540)
        for kind, length, magic in ((nibabel.Nifti1Header, 348, b"n+1"), (nibabel.Nifti2Header, 540, b"n+2")):
            if block[:4] in (length.to_bytes(4, "little"), length.to_bytes(4, "big")):
                header = kind(block[:length], check=False)
                if bytes(header["magic"])[:3] != magic:
                    raise UserError(f"{path.name}: cannot be read as NIfTI (voxels in a file of their own?)")
                return _check_header(header, path.name)
    except UserError:
        raise
    except Exception as error:  # the library meets damage with whatever its parsing happens to raise
        raise UserError(f"{path.name}: cannot be read as NIfTI ({type(error).__name__}), probably damaged") from error
    raise UserError(f"{path.name}: cannot be read as NIfTI (no such header), probably damaged")


def _check_header(header: nibabel.Nifti1Header, name: str) -> NiftiHeader:
    axes = int(header["dim"][0])
    shape = tuple(int(length) for length in header["dim"][1 : 1 + axes]) if 1 <= axes <= 7 else ()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not shape or not all(1 <= length <= _LARGEST_SIDE for length in shape):
        raise UserError(f"{name}: its header says {axes} axes of lengths {shape}; expected 1 to {_LARGEST_SIDE} each")
    kind = header.get_data_dtype()
    if kind.kind not in "uif" or kind.itemsize > 8:
        raise UserError(f"{name}: holds {kind}, no grey values")
    offset = float(header["vox_offset"]) or float(header.sizeof_hdr + 4)
    if not header.sizeof_hdr <= offset <= _LARGEST_OFFSET:  # NaN, too
        raise UserError(f"{name}: its header says that voxels begin at byte {offset:g}")
    slope: float | None = float(header["scl_slope"])
    intercept = float(header["scl_inter"])
    is_scaled = slope is not None and math.isfinite(slope) and slope != 0
    if is_scaled and not math.isfinite(intercept):
        raise UserError(f"{name}: its header has the intercept {intercept}")
    if (slope, intercept) == (1.0, 0.0):
        is_scaled = False
    x, y, z = _spacing(header, name)
    slice_mm = z if 0.1 <= z <= 50 else None
    if not is_scaled:
        slope, intercept = None, 0.0
    found = NiftiHeader(shape, kind, int(offset), slope, intercept, (x, y), slice_mm)
    if math.prod(shape) > LARGEST_CINE or found.size > _MOST_BYTES:
        raise UserError(f"{name}: its header says {' x '.join(map(str, shape))} voxels, more than can be read")
    return found


def _spacing(header: nibabel.Nifti1Header, name: str) -> tuple[float, float, float]:
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        unit = f"code {int(header['xyzt_units'])}"
    if unit not in _MILLIMETRES:
        raise UserError(f"{name}: unit of length is {unit!r}")
    x, y, z = (abs(float(size)) * _MILLIMETRES[unit] for size in header["pixdim"][1:4])
    if not (0.1 <= x <= 20 and 0.1 <= y <= 20):
        raise UserError(f"{name}: pixel spacing is {x:g} x {y:g} mm; expected 0.1 to 20 mm")
    return x, y, z


def spacing_of(path: Path) -> tuple[float, float]:
    """Return the pixel size in X and Y in mm; UserError where the header is damaged."""
    return read_header(path).spacing_mm


def voxel_mm3(path: Path) -> float | None:
    """Return the volume that a voxel stands for, the gap between slices in it; None where slices have no possible one.

    Raises:
        UserError: The header is damaged.
    """
    header = read_header(path)
    x, y = header.spacing_mm
    return None if header.slice_mm is None else x * y * header.slice_mm


def check_cine(path: Path) -> None:
    """Say now what is wrong with a cine's header, not when its pixels are asked for; UserError if anything is."""
    read_header(path)
