"""Malformed cardiac images made from good ones by a seeded generator: NIfTI folders and zips of DICOM files."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from cine_zip_writer import dicom_bytes, frame_dataset, members_of, sax_series, write_zip
from raw_file_writers import beating_disc, write_cine_folder

Generator = np.random.Generator
_FILES = ("sa.nii.gz", "sa_ED.nii.gz", "sa_ES.nii.gz", "seg_sa_ED.nii.gz", "seg_sa_ES.nii.gz", "seg_sa.nii.gz")


def flip_bits(content: bytes, rng: Generator, count: int, start: int = 0, end: int | None = None) -> bytes:
    """Turn over single bits at random places."""
    result = bytearray(content)
    for place in rng.integers(start, min(end or len(result), len(result)), count):
        result[place] ^= 1 << int(rng.integers(8))
    return bytes(result)


def _truncate(content: bytes, rng: Generator) -> bytes:
    return content[: int(rng.integers(1, len(content)))]


def _plain_bits(content: bytes, rng: Generator) -> bytes:
    return flip_bits(content, rng, int(rng.integers(1, 40)))


def _header_bits(content: bytes, rng: Generator) -> bytes:
    return gzip.compress(flip_bits(gzip.decompress(content), rng, int(rng.integers(1, 12)), 0, 352), 1, mtime=0)


def _field(name: str, value: object) -> Callable[[bytes, Generator], bytes]:
    def change(content: bytes, rng: Generator) -> bytes:
        raw = gzip.decompress(content)
        header = nibabel.Nifti1Header(raw[:348], check=False)
        header[name] = value
        return gzip.compress(header.binaryblock + raw[348:], 1, mtime=0)

    return change


def _bomb(head: bytes, mebibytes: int) -> bytes:
    """Bytes and then many zeros, compressed without ever holding them."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as stream:
        stream.write(head)
        for _ in range(mebibytes):
            stream.write(bytes(2**20))
    return buffer.getvalue()


def _zeros_after_header(content: bytes, rng: Generator) -> bytes:
    """A header that claims much, and a stream that inflates to more than that."""
    raw = gzip.decompress(content)
    header = nibabel.Nifti1Header(raw[:348], check=False)
    header["dim"] = [4, 2000, 2000, 200, 50, 1, 1, 1]
    return _bomb(header.binaryblock, 300)


def _extension_bomb(content: bytes, rng: Generator) -> bytes:
    raw = gzip.decompress(content)
    header = nibabel.Nifti1Header(raw[:348], check=False)
    header["vox_offset"] = 2.0**30
    return _bomb(header.binaryblock + b"\1\0\0\0" + struct.pack("<2i", 2**30, 6), 200)


def _special_values(value: float) -> Callable[[bytes, Generator], bytes]:
    def change(content: bytes, rng: Generator) -> bytes:
        shape = nibabel.Nifti1Header(gzip.decompress(content)[:348], check=False).get_data_shape()
        values = rng.random(shape).astype(np.float32)
        values.ravel()[rng.integers(0, values.size, 5)] = value
        return nibabel_bytes(values)

    return change


def nibabel_bytes(values: np.ndarray) -> bytes:
    """An image as a compressed file."""
    image = nibabel.Nifti1Image(values, np.diag([1.8, 1.8, 8.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    return gzip.compress(image.to_bytes(), 1, mtime=0)


def _other(content: bytes) -> Callable[[bytes, Generator], bytes]:
    return lambda _good, _rng: content


NIFTI_DAMAGE: tuple[Callable[[bytes, Generator], bytes], ...] = (
    _truncate,
    _plain_bits,
    _header_bits,
    _header_bits,
    _header_bits,
    _other(b""),
    _other(b"\x1f\x8b"),
    _other(b"<html>not found</html>"),
    lambda _good, _rng: _bomb(b"", 300),
    _other(nibabel_bytes(np.ones((8, 8, 2, 3, 2), dtype=np.int16))),
    _other(nibabel_bytes(np.ones((3, 3, 1, 4), dtype=np.uint8))),
    _other(nibabel_bytes(np.ones((6, 6), dtype=np.float64))),
    _field("dim", [4, 30000, 30000, 30000, 30000, 1, 1, 1]),
    _field("dim", [4, 4096, 4096, 64, 50, 1, 1, 1]),
    _field("dim", [4, -5, 48, 4, 8, 1, 1, 1]),
    _field("dim", [0, 48, 48, 4, 8, 1, 1, 1]),
    _field("dim", [9, 48, 48, 4, 8, 1, 1, 1]),
    _field("datatype", 128),
    _field("datatype", 9999),
    _field("datatype", 1792),
    _field("vox_offset", float("nan")),
    _field("vox_offset", -7.0),
    _field("vox_offset", 3e38),
    _field("scl_slope", float("inf")),
    _field("scl_inter", float("nan")),
    _field("pixdim", [1, 0, 0, 8, 1, 1, 1, 1]),
    _field("pixdim", [1, float("nan"), 1, 8, 1, 1, 1, 1]),
    _field("pixdim", [1, 1e30, 1, 8, 1, 1, 1, 1]),
    _field("xyzt_units", 7),
    _field("magic", b"ni1"),
    _field("sizeof_hdr", 12),
    _zeros_after_header,
    _extension_bomb,
    _special_values(float("nan")),
    _special_values(float("inf")),
)


def malformed_folders(root: Path, count: int, seed: int) -> list[Path]:
    """Make ``count`` subjects' folders, each with one NIfTI file that is not as it should be.

    Args:
        root: Where to make them.
        count: How many; every kind of damage comes up once there are as many as kinds.
        seed: The same seed gives the same files.
    """
    rng = np.random.default_rng(seed)
    good = root / "good"
    write_cine_folder(good, seed, four_dimensional_labels=True)
    folders = []
    for number in range(count):
        folder = root / f"folder{number:03d}"
        shutil.copytree(good, folder)
        name = _FILES[number % len(_FILES)]
        damage = NIFTI_DAMAGE[number % len(NIFTI_DAMAGE)]
        content = damage((folder / name).read_bytes(), rng)
        (folder / name).write_bytes(content)
        if number % 7 == 6:  # the same without compression
            plain = folder / name.removesuffix(".gz")
            try:
                with gzip.open(io.BytesIO(content)) as stream:
                    plain.write_bytes(stream.read(2**24))
            except (OSError, EOFError, ValueError, zlib.error):
                plain.write_bytes(content)
            (folder / name).unlink()
        folders.append(folder)
    shutil.rmtree(good)
    return folders


def _tiny_series() -> list:
    cine, _ = beating_disc(size=16, slices=3, frames=6, centre=(7, 8))
    return sax_series(cine)


def _changed(**values: object) -> Callable[[Generator], list[tuple[str, bytes]]]:
    """Frames of which every third has other values in its tags."""

    def make(rng: Generator) -> list[tuple[str, bytes]]:
        def change(ds: object, t: int) -> None:
            if t % 3 == 0:
                for keyword, value in values.items():
                    setattr(ds, keyword, value)

        series = _tiny_series()
        for one in series:
            one.change = change
        return members_of(series)

    return make


def _damaged_members(rng: Generator) -> list[tuple[str, bytes]]:
    return [
        (name, flip_bits(content, rng, int(rng.integers(1, 30)))) if rng.random() < 0.4 else (name, content)
        for name, content in members_of(_tiny_series())
    ]


def _damaged_headers(rng: Generator) -> list[tuple[str, bytes]]:
    return [(name, flip_bits(content, rng, 6, 132, 1200)) for name, content in members_of(_tiny_series())]


def _cut_members(rng: Generator) -> list[tuple[str, bytes]]:
    return [(name, content[: int(rng.integers(0, len(content)))]) for name, content in members_of(_tiny_series())]


def _nested_sequences(rng: Generator) -> list[tuple[str, bytes]]:
    """Headers with sequences within sequences, none of which ends."""
    head = dicom_bytes(frame_dataset(_tiny_series()[0], 0))[:400]
    item = struct.pack("<2H2s2xI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack("<2HI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return [(f"{i}.dcm", head[:300] + item * 20_000) for i in range(3)]


def _long_elements(rng: Generator) -> list[tuple[str, bytes]]:
    head = dicom_bytes(frame_dataset(_tiny_series()[0], 0))[:330]
    return [(f"{i}.dcm", head + struct.pack("<2H2s2xI", 8, 0x2112, b"OB", 0xFFFFFFF0) + bytes(5000)) for i in range(9)]


def _deflated_bomb(rng: Generator) -> list[tuple[str, bytes]]:
    content = dicom_bytes(frame_dataset(_tiny_series()[0], 0))
    head = content[: content.index(b"UI\x14\x001.2.840.10008.1.2.1\0")] + b"UI\x16\x001.2.840.10008.1.2.1.99"
    packed = zlib.compressobj(wbits=-15)
    zeros = b"".join(packed.compress(bytes(2**20)) for _ in range(200))
    return [("bomb.dcm", head + zeros + packed.flush())]


ZIP_CONTENTS: tuple[Callable[[Generator], list[tuple[str, bytes]]], ...] = (
    lambda rng: [],
    lambda rng: [("a.txt", b"nothing"), ("b.dcm", b"neither")],
    lambda rng: [("../../up.dcm", members_of(_tiny_series())[0][1])],
    lambda rng: [("/root.dcm", members_of(_tiny_series())[0][1])],
    lambda rng: [("inner.zip", b"PK\x03\x04" + bytes(1000))],
    lambda rng: [(f"{i}", b"") for i in range(25_000)],
    lambda rng: [(f"{i}.dcm", bytes(128) + b"DICM") for i in range(50)],
    lambda rng: [("zeros.dcm", bytes(128) + b"DICM" + bytes(15 * 2**20))],
    lambda rng: [("bomb.dcm", bytes(60 * 2**20))],
    _damaged_members,
    _damaged_members,
    _damaged_headers,
    _damaged_headers,
    _cut_members,
    _nested_sequences,
    _long_elements,
    _deflated_bomb,
    _changed(Rows=65535, Columns=65535),
    _changed(Rows=0),
    _changed(PixelSpacing=["1e-30", "1e30"]),
    _changed(ImagePositionPatient=["1e300", "0", "0"]),
    _changed(ImageOrientationPatient=["0", "0", "0", "0", "0", "0"]),
    _changed(TriggerTime="1e308"),
    _changed(TriggerTime="-5"),
    _changed(CardiacNumberOfImages=2**31 - 1),
    _changed(CardiacNumberOfImages=-3),
    _changed(BitsStored=0),
    _changed(RescaleSlope="1e300"),
    _changed(SeriesDescription="CINE_segmented_SAX_b" + "9" * 40),
    _changed(PixelData=b"\0\0"),
    _changed(SeriesNumber=-1, InstanceNumber=-(2**31)),
)


def malformed_zips(root: Path, count: int, seed: int, first: int = 0) -> list[Path]:
    """Make ``count`` archives, each wrong in its content or, for every other one, in its bytes.

    Args:
        root: Where to make them.
        count: How many; every kind of content comes up once there are as many as kinds.
        seed: The same seed gives the same files.
        first: Kind to begin with; from ``len(ZIP_CONTENTS)`` on the bytes of good archives are changed.
    """
    rng = np.random.default_rng(seed)
    good = write_zip(root / "good", members_of(_tiny_series()))
    content = good.read_bytes()
    good.unlink()
    paths = []
    for number in range(first, first + count):
        path = root / f"{number:03d}_20209_2_0.zip"
        if number < len(ZIP_CONTENTS):
            paths.append(write_zip(path, ZIP_CONTENTS[number](rng)))
            continue
        directory = content.index(b"PK\x01\x02")
        places = ((0, None), (directory, None), (len(content) - 22, None), (0, directory))
        start, end = places[number % len(places)]
        damaged = _truncate(content, rng) if number % 5 == 0 else flip_bits(content, rng, 3, start, end)
        path.write_bytes(damaged)
        paths.append(path)
    return paths
