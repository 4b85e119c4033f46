"""Voxels of NIfTI files. A header's claim is compared with the file's length before any memory is taken.

Never more is inflated than the header asks for, and a gzip stream's checksum is verified.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.nifti_header import LARGEST_CINE, LARGEST_VOLUME, NiftiHeader, open_nifti, read_header

LEFT_FIRST, RIGHT_FIRST = (1, 3), (3, 1)
"""Numbers of the left and the right cavity in a segmentation, as UK Biobank and M&Ms count, and as ACDC does."""

_CHUNK = 2**22
_DEFLATE_LIMIT = 1032  # deflate cannot shrink further than this
_DAMAGE = (OSError, EOFError, zlib.error)


def load_voxels(path: Path, largest: int = LARGEST_CINE) -> npt.NDArray:
    """Return the voxels in their stored type, float32 where the header asks for scaling.

    Raises:
        UserError: The file is damaged, or has more than ``largest`` voxels.
    """
    header = read_header(path)
    if math.prod(header.shape) > largest:
        raise UserError(f"{path.name}: its header says {header.shape} voxels, more than a volume has")
    with _voxel_stream(path, header) as stream:
        raw = _read(stream, header.size)
        stream.read(1)  # at its end a gzip stream's checksum is verified
    values = raw.view(header.kind).reshape(header.shape, order="F")
    _require_finite(path, values)
    if header.slope is None:
        return values.astype(header.kind.newbyteorder("="), copy=False)
    scaled = np.empty(header.shape, dtype=np.float32, order="F")
    for last in range(header.shape[-1]):  # bounds the memory of the exact sum
        scaled[..., last] = values[..., last].astype(np.float64) * header.slope + header.intercept
    return scaled


def labelled_moments(path: Path) -> dict[int, npt.NDArray[np.uint8]]:
    """Return the moments of a segmented cine that anybody has segmented; one moment at a time is in memory.

    Returns:
        Moment -> (X, Y, Z) labels, numbered as in the file.

    Raises:
        UserError: The file is damaged, has other axes than X, Y, Z and T, or holds other than 0 to 255.
    """
    header = read_header(path)
    if len(header.shape) != 4:
        raise UserError(f"{path.name}: has shape {header.shape}, expected axes X, Y, Z, T")
    found, size = dict[int, npt.NDArray[np.uint8]](), header.size // header.shape[3]
    with _voxel_stream(path, header) as stream:
        for moment in range(header.shape[3]):
            values = _read(stream, size).view(header.kind).reshape(header.shape[:3], order="F")
            _require_finite(path, values)
            if header.slope is not None:
                values = values.astype(np.float64) * header.slope + header.intercept
            if values.any():
                found[moment] = _as_labels(path, values)
        stream.read(1)
    return found


@contextmanager
def _voxel_stream(path: Path, header: NiftiHeader) -> Iterator[IO[bytes]]:
    """Open a file at its voxels, having made sure that it can hold them; damage becomes one line."""
    with open_nifti(path) as stream:
        length = path.stat().st_size
        room = length * _DEFLATE_LIMIT if isinstance(stream, gzip.GzipFile) else length
        if header.offset + header.size > room:
            raise UserError(f"{path.name}: its data cannot be read (the file is too short), probably cut off")
        try:
            stream.read(header.offset)
            yield stream
        except _DAMAGE as error:
            raise UserError(
                f"{path.name}: its data cannot be read ({type(error).__name__}), probably cut off"
            ) from error


def _read(stream: IO[bytes], size: int) -> npt.NDArray[np.uint8]:
    """Read so many bytes; EOFError where there are fewer."""
    raw = np.empty(size, dtype=np.uint8)
    for start in range(0, size, _CHUNK):
        wanted = min(_CHUNK, size - start)
        piece = stream.read(wanted)
        if len(piece) < wanted:
            raise EOFError
        raw[start : start + wanted] = np.frombuffer(piece, dtype=np.uint8)
    return raw


def _require_finite(path: Path, values: npt.NDArray) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{path.name}: holds NaN or infinite intensities")


def _as_labels(path: Path, values: npt.NDArray) -> npt.NDArray[np.uint8]:
    if values.min() < 0 or values.max() > 255:
        raise UserError(f"{path.name}: labels outside 0 to 255")
    return (np.rint(values) if values.dtype.kind == "f" else values).astype(np.uint8)


def load_volume(path: Path) -> npt.NDArray[np.float32]:
    """Return a volume (X, Y, Z); UserError where the file is damaged or holds another number of axes."""
    values = load_voxels(path, LARGEST_VOLUME)
    if values.ndim != 3:
        raise UserError(f"{path.name}: expected axes X, Y, Z, found shape {values.shape}")
    return values.astype(np.float32)


def load_labels(
    path: Path, largest: int = LARGEST_CINE, cavities: tuple[int, int] = LEFT_FIRST
) -> npt.NDArray[np.uint8]:
    """Return a segmentation: 1 LV cavity, 2 myocardium, 3 RV cavity.

    Args:
        path: The file.
        largest: Most voxels.
        cavities: Numbers of the left and the right cavity in the file.

    Raises:
        UserError: The file is damaged or too large, or holds other than 0 to 255.
    """
    labels = _as_labels(path, load_voxels(path, largest))
    if cavities == LEFT_FIRST:
        return labels
    standard = np.arange(256, dtype=np.uint8)
    standard[list(cavities)] = LEFT_FIRST
    return standard[labels]


def load_segmentation(
    path: Path | None, volume: npt.NDArray | None, cavities: tuple[int, int] = LEFT_FIRST
) -> npt.NDArray[np.uint8] | None:
    """Return the segmentation of a volume (X, Y, Z), as ``load_labels`` does; None without a file.

    Raises:
        UserError: The file is damaged, or has another shape than its image.
    """
    if path is None:
        return None
    labels = load_labels(path, LARGEST_VOLUME, cavities)
    if labels.ndim != 3 or (volume is not None and labels.shape != volume.shape):
        image = "expected axes X, Y, Z" if volume is None else f"its image has shape {volume.shape}"
        raise UserError(f"{path.name}: has shape {labels.shape}, {image}")
    return labels
