"""One cine frame as DICOM: the few tags that place it in a stack, and its pixels.

Only tags of geometry, timing and pixel format are read; nothing that tells of the person leaves this module.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

Vector = tuple[float, float, float]

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_BYTE_ORDER = {"1.2.840.10008.1.2": "<", "1.2.840.10008.1.2.1": "<", "1.2.840.10008.1.2.2": ">"}
_PIXELS = Tag(0x7FE00010)
_LAST = Tag("RescaleSlope")
_TAGS = [
    Tag(keyword)
    for keyword in (
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "SeriesDescription",
        "SeriesNumber",
        "AcquisitionNumber",
        "InstanceNumber",
        "TriggerTime",
        "CardiacNumberOfImages",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "RescaleIntercept",
        "RescaleSlope",
    )
]
_LARGEST_SIDE = 2048
_MOST_READS = 20_000  # an element takes about three and a scanner writes 200; a hostile file would take minutes


class NotUsable(Exception):
    """A DICOM object is no cine frame that can be read; the text says why and names no value of the person."""


@dataclass(frozen=True)
class PixelFormat:
    """How pixels are stored.

    Attributes:
        rows: Height.
        columns: Width.
        allocated: Bits a pixel takes, 8 or 16.
        stored: Bits of them that count.
        signed: Whether values are signed.
        order: Byte order, ``<`` or ``>``.
        slope: Factor from stored value to intensity.
        intercept: Summand.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool
    order: str
    slope: float
    intercept: float

    @property
    def is_scaled(self) -> bool:
        """Whether stored values are not the intensities themselves."""
        return (self.slope, self.intercept) != (1.0, 0.0)


@dataclass(frozen=True)
class FrameHeader:
    """Where a frame belongs.

    Attributes:
        instance_uid: The same for copies of one frame.
        series_uid: The same for all frames of a series.
        description: Series description, such as ``CINE_segmented_SAX_b3``.
        series: Series number, 0 if there is none.
        acquisition: Acquisition number, 0 if there is none.
        instance: Instance number, 0 if there is none.
        trigger_ms: Time since the R wave, if noted.
        expected: Frames that the cine should have, if noted.
        position: Of the first pixel's centre in mm, towards the patient's left, back and head.
        along_x: Direction in which the column index grows.
        along_y: Direction in which the row index grows.
        spacing_mm: Distance of neighbouring pixels along x and y.
        pixels: How the pixels are stored.
    """

    instance_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    description: str
    series: int
    acquisition: int
    instance: int
    trigger_ms: float | None
    expected: int | None
    position: Vector
    along_x: Vector
    along_y: Vector
    spacing_mm: tuple[float, float]
    pixels: PixelFormat


def is_dicom(head: bytes) -> bool:
    """Whether bytes begin as a DICOM file does."""
    return head[128:132] == b"DICM"


def parse_tags(data: bytes) -> tuple[Dataset, bool]:
    """Read the tags that this module needs from a DICOM file or its beginning.

    Args:
        data: The file's bytes, perhaps without its end.

    Returns:
        The tags and whether all of them were reached; if not, more of the file is needed.

    Raises:
        NotUsable: The bytes are damaged.
    """
    reached = False

    def beyond(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal reached
        reached = tag > _LAST
        return reached

    return _parse(data, _TAGS, beyond), reached


class _CountedBytes(io.BytesIO):
    """Bytes that break off a parser that reads them in too many pieces."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise NotUsable("has more elements than a picture needs")
        return super().read(size)


def _parse(data: bytes, tags: list[BaseTag], stop_when: Callable[..., bool] | None) -> Dataset:
    if _DEFLATED in data:  # the library would inflate it without a bound
        raise NotUsable("is stored in the deflated transfer syntax")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they repeat values of tags
            return read_partial(_CountedBytes(data), stop_when=stop_when, specific_tags=list(tags))
    except NotUsable:
        raise
    except Exception as error:  # the library meets damage with whatever its parsing happens to raise
        raise NotUsable(f"cannot be read as DICOM ({type(error).__name__})") from error


def _value(tags: Dataset, keyword: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tags.get(keyword)
    except Exception as error:  # a value that does not suit its tag shows only when it is converted
        raise NotUsable(f"has an unreadable {keyword}") from error


def _numbers(tags: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    value = _value(tags, keyword)
    if value is None or value == "":
        return None
    try:
        numbers = tuple(float(part) for part in (value if count > 1 else [value]))
    except (TypeError, ValueError) as error:
        raise NotUsable(f"has an unreadable {keyword}") from error
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise NotUsable(f"has {keyword} that is not {count} finite number(s)")
    return numbers


def _number(tags: Dataset, keyword: str, default: float) -> float:
    numbers = _numbers(tags, keyword, 1)
    return default if numbers is None else numbers[0]


def _required(tags: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    numbers = _numbers(tags, keyword, count)
    if numbers is None:
        raise NotUsable(f"lacks {keyword}")
    return numbers


def series_description(tags: Dataset) -> str:
    """Return the series description, empty if there is none."""
    return str(_value(tags, "SeriesDescription") or "").strip()


def frame_header(tags: Dataset) -> FrameHeader:
    """Check the tags of one frame.

    Raises:
        NotUsable: A tag is missing, impossible, or of a kind of picture that is not read here.
    """
    position = _required(tags, "ImagePositionPatient", 3)
    directions = _required(tags, "ImageOrientationPatient", 6)
    along_x, along_y = np.array(directions[:3]), np.array(directions[3:])
    lengths = np.linalg.norm(along_x), np.linalg.norm(along_y)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(along_x @ along_y)) > 0.01:
        raise NotUsable("has an ImageOrientationPatient that is not two perpendicular directions")
    if max(map(abs, position)) > 1e5:
        raise NotUsable("has an ImagePositionPatient beyond 100 m")
    between_rows, between_columns = _required(tags, "PixelSpacing", 2)
    if not (0.1 <= between_rows <= 20 and 0.1 <= between_columns <= 20):
        raise NotUsable("has a PixelSpacing outside 0.1 to 20 mm")
    trigger = _numbers(tags, "TriggerTime", 1)
    expected = int(_number(tags, "CardiacNumberOfImages", 0))
    return FrameHeader(
        instance_uid=str(_value(tags, "SOPInstanceUID") or ""),
        series_uid=str(_value(tags, "SeriesInstanceUID") or ""),
        description=series_description(tags),
        series=int(_number(tags, "SeriesNumber", 0)),
        acquisition=int(_number(tags, "AcquisitionNumber", 0)),
        instance=int(_number(tags, "InstanceNumber", 0)),
        trigger_ms=None if trigger is None else trigger[0],
        expected=expected if expected > 0 else None,
        position=position,  # type: ignore[arg-type]  # three numbers
        along_x=directions[:3],  # type: ignore[arg-type]
        along_y=directions[3:],  # type: ignore[arg-type]
        spacing_mm=(between_columns, between_rows),
        pixels=_pixel_format(tags),
    )


def _pixel_format(tags: Dataset) -> PixelFormat:
    syntax = str(getattr(getattr(tags, "file_meta", None), "TransferSyntaxUID", "1.2.840.10008.1.2"))
    if syntax not in _BYTE_ORDER:
        raise NotUsable("has compressed pixels; store them without compression")
    if _number(tags, "SamplesPerPixel", 1) != 1 or _number(tags, "NumberOfFrames", 1) != 1:
        raise NotUsable("is a colour or multi-frame picture")
    if str(_value(tags, "PhotometricInterpretation") or "MONOCHROME2").strip() != "MONOCHROME2":
        raise NotUsable("is no MONOCHROME2 picture")
    rows, columns, allocated = (int(_required(tags, name, 1)[0]) for name in ("Rows", "Columns", "BitsAllocated"))
    stored = int(_number(tags, "BitsStored", allocated))
    if not (1 <= rows <= _LARGEST_SIDE and 1 <= columns <= _LARGEST_SIDE):
        raise NotUsable(f"has {rows} x {columns} pixels; expected 1 to {_LARGEST_SIDE} a side")
    if allocated not in (8, 16) or not 1 <= stored <= allocated or _number(tags, "HighBit", stored - 1) != stored - 1:
        raise NotUsable(f"keeps {stored} of {allocated} bits a pixel, which is not read here")
    slope, intercept = _number(tags, "RescaleSlope", 1.0), _number(tags, "RescaleIntercept", 0.0)
    if not (0 < abs(slope) <= 1e6 and abs(intercept) <= 1e9):
        raise NotUsable("has an impossible RescaleSlope or RescaleIntercept")
    signed = _number(tags, "PixelRepresentation", 0) == 1
    return PixelFormat(rows, columns, allocated, stored, signed, _BYTE_ORDER[syntax], slope, intercept)


def decode_pixels(data: bytes, form: PixelFormat) -> npt.NDArray:
    """Return the picture of one DICOM file.

    Args:
        data: The whole file.
        form: How its pixels are stored.

    Returns:
        (X, Y): x along the columns, y along the rows, in the stored type, or float32 if the file asks for scaling.

    Raises:
        NotUsable: There are fewer pixels than the header says.
    """
    element = _parse(data, [_PIXELS], None).get_item(_PIXELS)
    content = getattr(element, "value", None)
    needed = form.rows * form.columns * form.allocated // 8
    if not isinstance(content, bytes) or len(content) < needed:
        raise NotUsable("has fewer pixels than it says")
    kind = f"{form.order}{'i' if form.signed else 'u'}{form.allocated // 8}"
    values = np.frombuffer(content, dtype=kind, count=form.rows * form.columns).astype(kind[1:])
    spare = form.allocated - form.stored
    if spare:  # the upper bits may hold something else, such as an overlay
        values = (values << spare) >> spare
    picture = values.reshape(form.rows, form.columns).T
    if form.is_scaled:
        return (picture * form.slope + form.intercept).astype(np.float32)
    return np.ascontiguousarray(picture)
