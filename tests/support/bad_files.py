"""Files that are no ECG, or a broken one, under the suffix of one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from one_ecg import ecg_steps
from raw_file_writers import cardiosoft_xml


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ecg.xml", "x")
    return buffer.getvalue()


def bad_files() -> dict[str, bytes]:
    """Return name -> content; none of them may give a number."""
    xml = cardiosoft_xml(ecg_steps()[0])
    return {
        "photograph.xml": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 40,
        "empty.xml": b"",
        "cut_off.xml": xml[: len(xml) // 2],
        "other.xml": b"<?xml version='1.0'?><Invoice><Sum>3</Sum></Invoice>",
        "letter.xml": b"Dear colleague, the ECG is normal. " * 50,
        "scan.dcm": b"%PDF-1.7 a scan of an ECG",
        "archive.dcm": _zip(),
        "cut_off.dcm": bytes(128) + b"DICM" + bytes(20),
        "pickle.npy": b"\x80\x04\x95" + bytes(50),
        "random.xml": np.random.default_rng(0).bytes(4000),
        "header_alone.hea": b"header_alone 12 500 5000\n" + b"header_alone.dat 16 200(0)/mV 16 0 0 0 0 I\n" * 12,
        "zeros.xml": bytes(5000),
    }


def write_bad_files(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in bad_files().items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths
