"""Cardiac images as a folder of NIfTI files per subject, the layout of the ukbb_cardiac conversion.

``sa.nii.gz`` is the cine (X, Y, Z, T), ``sa_ED.nii.gz`` and ``sa_ES.nii.gz`` are its two phases, ``seg_sa.nii.gz``,
``seg_sa_ED.nii.gz`` and ``seg_sa_ES.nii.gz`` their segmentations (1 LV cavity, 2 LV myocardium, 3 RV cavity). Any of
them may be absent; ``.nii`` without compression works too. Long-axis views are named ``la_2ch``, ``la_3ch`` and
``la_4ch`` instead of ``sa``; their segmentations have other labels and are not read. Folders of ACDC are read under the
names they have, see ``acdc``.

Headers come from nibabel. Voxels are read here, so that a header's claim is held against the file's length before any
memory is taken, never more is inflated than the header asks for, and a gzip stream's checksum is verified.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import nibabel
import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.acdc import INFO, acdc_image, acdc_moments, is_acdc, is_acdc_segmentation
from ecgcmr.formats.record import ShortAxis

CINE, END_DIASTOLE, END_SYSTOLE = "sa", "sa_ED", "sa_ES"
STEMS = {"sax": "sa", "2ch": "la_2ch", "3ch": "la_3ch", "4ch": "la_4ch"}
"""How the files of each view begin."""

LEFT_FIRST, RIGHT_FIRST = (1, 3), (3, 1)
"""Numbers of the left and the right cavity in a segmentation, as UK Biobank and M&Ms count, and as ACDC does."""

LARGEST_CINE = 64 * 2**20
LARGEST_VOLUME = 16 * 2**20
"""Voxels that are still read; UK Biobank's cines have about 20 million, a volume 0.4 million."""

_MOST_BYTES = 384 * 2**20
_LARGEST_SIDE = 4096
_LARGEST_OFFSET = 2**20
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_CHUNK = 2**22
_DEFLATE_LIMIT = 1032  # deflate cannot shrink further than this
_DAMAGE = (OSError, EOFError, zlib.error)


def stem_of_view(view: str) -> str:
    """Return how the files of a view begin; UserError where there is no such view."""
    if view not in STEMS:
        raise UserError(f"view {view!r}: choose one of {', '.join(STEMS)}")
    return STEMS[view]


def find_image(folder: Path, stem: str) -> Path | None:
    """Return ``folder/stem.nii.gz`` or ``folder/stem.nii``, whichever is there; in a folder of ACDC its own file."""
    return nifti_file(folder, stem) or acdc_image(folder, stem)


def nifti_file(folder: Path, stem: str) -> Path | None:
    """Return ``folder/stem.nii.gz`` or ``folder/stem.nii``, whichever is there; None if none is."""
    for suffix in (".nii.gz", ".nii"):
        path = folder / (stem + suffix)
        if path.is_file():
            return path
    return None


def short_axis_files(folder: Path, view: str = "sax") -> list[Path]:
    """Return the files of a subject's folder that ``read_short_axis`` reads, sorted by name."""
    stem = STEMS[view]
    found = (find_image(folder, name) for name in (stem, f"{stem}_ED", f"{stem}_ES"))
    files = [*(path for path in found if path is not None), *segmentation_files(folder, view)]
    return sorted([*files, *([folder / INFO] if files and view == "sax" and is_acdc(folder) else [])])


def segmentation_files(folder: Path, view: str = "sax") -> list[Path]:
    """Return the files of a subject's folder that hold segmentations of a view."""
    if view != "sax":
        return []
    found = (find_image(folder, f"seg_{name}") for name in (CINE, END_DIASTOLE, END_SYSTOLE))
    return [path for path in found if path is not None]


def read_short_axis(folder: str | Path, view: str = "sax") -> ShortAxis:
    """Read one subject's images; cines are left on the disk until asked for.

    Args:
        folder: The subject's folder.
        view: ``sax``, or ``2ch``, ``3ch`` or ``4ch`` for a long axis, which has one slice and no segmentation.

    Returns:
        The images, intensities in the scanner's units.

    Raises:
        UserError: No image is there, or a file is damaged or does not fit the others.
    """
    folder, stem = Path(folder), stem_of_view(view)
    cine, ed, es = (find_image(folder, name) for name in (stem, f"{stem}_ED", f"{stem}_ES"))
    first = cine or ed
    if first is None:
        raise UserError(f"holds neither {stem}.nii.gz nor {stem}_ED.nii.gz")
    ed_volume = None if ed is None else load_volume(ed)
    es_volume = None if es is None else load_volume(es)
    moments = acdc_moments(folder) if view == "sax" and cine is not None and not is_named(cine, stem) else {}
    if cine is not None:
        check_cine(cine)
    return ShortAxis(
        spacing_mm=spacing_of(first),
        ed=ed_volume,
        es=es_volume,
        ed_segmentation=_segmentation(folder, "seg_sa_ED", ed_volume) if view == "sax" else None,
        es_segmentation=_segmentation(folder, "seg_sa_ES", es_volume) if view == "sax" else None,
        load_cine=None if cine is None else partial(load_voxels, cine),
        load_cine_segmentation=_cine_segmentation(folder) if view == "sax" else None,
        ed_frame=moments.get("ED"),
        es_frame=moments.get("ES"),
    )


def is_named(path: Path, stem: str) -> bool:
    """Whether a file has the name by which a folder of this layout calls an image."""
    return path.name in (f"{stem}.nii.gz", f"{stem}.nii")


def spacing_of(path: Path) -> tuple[float, float]:
    """Return the pixel size in X and Y in mm; UserError where the header is damaged."""
    return _read_header(path).spacing_mm


def voxel_mm3(path: Path) -> float | None:
    """Return the volume that a voxel stands for, the gap between slices in it; None where slices have no possible one.

    Raises:
        UserError: The header is damaged.
    """
    header = _read_header(path)
    x, y = header.spacing_mm
    return None if header.slice_mm is None else x * y * header.slice_mm


def check_cine(path: Path) -> None:
    """Say now what is wrong with a cine's header, not when its pixels are asked for; UserError if anything is."""
    _read_header(path)


@dataclass(frozen=True)
class _Header:
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


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        magic = stream.read(2)
    return gzip.open(path, "rb") if magic == b"\x1f\x8b" else path.open("rb")  # type: ignore[return-value]


def _read_header(path: Path) -> _Header:
    try:
        with _open(path) as stream:
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


def _check_header(header: nibabel.Nifti1Header, name: str) -> _Header:
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
    found = _Header(shape, kind, int(offset), slope, intercept, (x, y), slice_mm)
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


def load_voxels(path: Path, largest: int = LARGEST_CINE) -> npt.NDArray:
    """Return the voxels in their stored type, float32 where the header asks for scaling.

    Raises:
        UserError: The file is damaged, or has more than ``largest`` voxels.
    """
    header = _read_header(path)
    if math.prod(header.shape) > largest:
        raise UserError(f"{path.name}: its header says {header.shape} voxels, more than a volume has")
    raw = _read_bytes(path, header)
    values = raw.view(header.kind).reshape(header.shape, order="F")
    if header.kind.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{path.name}: holds NaN or infinite intensities")
    if header.slope is None:
        return values.astype(header.kind.newbyteorder("="), copy=False)
    scaled = np.empty(header.shape, dtype=np.float32, order="F")
    for last in range(header.shape[-1]):  # bounds the memory of the exact sum
        scaled[..., last] = values[..., last].astype(np.float64) * header.slope + header.intercept
    return scaled


def _read_bytes(path: Path, header: _Header) -> npt.NDArray[np.uint8]:
    """Read the voxels' bytes, having made sure that the file can hold them."""
    with _open(path) as stream:
        length = path.stat().st_size
        room = length * _DEFLATE_LIMIT if isinstance(stream, gzip.GzipFile) else length
        if header.offset + header.size > room:
            raise UserError(f"{path.name}: its data cannot be read (the file is too short), probably cut off")
        raw = np.empty(header.size, dtype=np.uint8)
        try:
            stream.read(header.offset)
            for start in range(0, len(raw), _CHUNK):
                wanted = min(_CHUNK, len(raw) - start)
                piece = stream.read(wanted)
                if len(piece) < wanted:
                    raise EOFError
                raw[start : start + wanted] = np.frombuffer(piece, dtype=np.uint8)
            stream.read(1)  # at its end a gzip stream's checksum is verified
        except _DAMAGE as error:
            raise UserError(
                f"{path.name}: its data cannot be read ({type(error).__name__}), probably cut off"
            ) from error
    return raw


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
    values = load_voxels(path, largest)
    if values.min() < 0 or values.max() > 255:
        raise UserError(f"{path.name}: labels outside 0 to 255")
    labels = (np.rint(values) if values.dtype.kind == "f" else values).astype(np.uint8)
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


def _cavities(path: Path) -> tuple[int, int]:
    return RIGHT_FIRST if is_acdc_segmentation(path) else LEFT_FIRST


def _segmentation(folder: Path, stem: str, volume: npt.NDArray | None) -> npt.NDArray[np.uint8] | None:
    path = find_image(folder, stem)
    return None if path is None else load_segmentation(path, volume, _cavities(path))


def _cine_segmentation(folder: Path) -> partial[npt.NDArray[np.uint8]] | None:
    path = find_image(folder, "seg_sa")
    return None if path is None else partial(load_labels, path, cavities=_cavities(path))
