"""No file of the formats that libraries read, however malformed, may do more than be refused in one line."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from byte_mutators import BYTES, one_or_more
from fuzzer import Files, good_ecgs
from library_file_writers import GOOD, edf_bytes, hl7_xml, kardia_json, matlab_4, matlab_5, mfer_bytes, scp_bytes
from raw_file_writers import sample_counts, write_declaration
from test_robustness_ecg import SECRETS, promise_broken
from text_mutators import TEXT

from ecgcmr.errors import UserError
from ecgcmr.formats import ecg_files, identify_ecg, read_ecg
from ecgcmr.formats.library_process import MEGABYTES, SECONDS, library_process

COUNT = 200
SAMPLES = 800
COUNTS = sample_counts(11, SAMPLES)
TEXTS = ("hl7", "sierra", "mortara", "kardia", "cardiosoft", "muse")
WRITERS = {**GOOD, "matlab 4": matlab_4, "matlab 7": matlab_5}
OURS = ("cardiosoft", "muse", "dicom", "wfdb")
_BOMB = b'<!DOCTYPE AnnotatedECG [<!ENTITY a "xxxxxxxxxx">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
)


def put(content: bytes, old: bytes, new: bytes) -> bytes:
    """Replace what is there, the first of it."""
    assert old in content
    return content.replace(old, new, 1)


def little(number: int) -> bytes:
    """A number in four bytes."""
    return number.to_bytes(4, "little")


def packed_zeros(count: int) -> bytes:
    """Bytes that unpack to so many zeros."""
    squeezer = zlib.compressobj()
    return b"".join(squeezer.compress(bytes(2**20)) for _ in range(count >> 20)) + squeezer.flush()


HUGE = b"\xff\xff\xff\x7f"
CRAFTED = {
    "hl7 entities": lambda: put(
        put(hl7_xml(COUNTS), b"<AnnotatedECG", _BOMB + b"]><AnnotatedECG"), b"digits>", b"digits>&j;"
    ),
    "hl7 deep": lambda: b"<AnnotatedECG>" + b"<a>" * 200_000,
    "hl7 wide": lambda: b"<AnnotatedECG>" + b"<a/>" * 3_000_000 + b"</AnnotatedECG>",
    "hl7 infinite": lambda: put(hl7_xml(COUNTS), b"<digits>", b"<digits>inf nan 1e999 "),
    "sierra wide": lambda: b"<restingecgdata>" + b"<a/>" * 3_000_000 + b"</restingecgdata>",
    "sierra deep": lambda: b"<restingecgdata>" + b"<a>" * 200_000,
    "mortara deep": lambda: b"<ECG><SUBJECT>" + b"<a>" * 200_000,
    "scp leads": lambda: put(scp_bytes(COUNTS), bytes([12, 4 | 12 << 3]), bytes([255, 4 | 12 << 3])),
    "scp vast": lambda: scp_bytes(COUNTS, huffman=True).replace(little(SAMPLES), HUGE),
    "edf records": lambda: put(edf_bytes(COUNTS), b"1       1       12  ", b"999999991       12  "),
    "edf samples": lambda: put(edf_bytes(COUNTS), b"500     ", b"99999999"),
    "edf signals": lambda: put(edf_bytes(COUNTS), b"12  I ", b"9999I "),
    "mfer block": lambda: put(mfer_bytes(COUNTS), b"\x04\x04" + little(SAMPLES), b"\x04\x04" + HUGE),
    "mfer sequences": lambda: put(mfer_bytes(COUNTS), b"\x06\x01\x01", b"\x06\x04" + HUGE),
    "mfer length": lambda: put(mfer_bytes(COUNTS), b"\x1e\x84", b"\x1e\x84\xff\xff\xff\xff"),
    "kardia deep": lambda: b'{"recordedAt": 1, "patientID": ' + b"[" * 100_000,
    "kardia number": lambda: put(kardia_json(COUNTS[:6]), b'Resolution": 5000', b'Resolution": ' + b"9" * 5000),
    "matlab packed": lambda: matlab_5(np.zeros((12, 2_000_000), np.int8)),
    "matlab claims": lambda: put(matlab_4(COUNTS), little(SAMPLES), HUGE),
    "matlab zeros": lambda: b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM\x0f\0\0\0\0\0\2\0" + packed_zeros(2**28),
}


def held(path: Path) -> tuple[str, bool]:
    """What is wrong with how a file was met, empty if nothing is; and whether it was refused."""
    refused = False
    began = time.monotonic()
    try:
        identify_ecg(path)
        ecg_files(path)
        problem = promise_broken(read_ecg(path)) or ""
    except UserError as error:
        said, refused = str(error), True
        fine = said.startswith(f"{path.name}: ") and "\n" not in said and len(said) < 600
        problem = "" if fine and not any(secret in said for secret in SECRETS) else said
    except Exception as error:  # what this test is there to find
        problem = repr(error)
    taken = time.monotonic() - began
    return problem or (f"{taken:.0f} s" if taken > SECONDS + 40 else ""), refused


def peak_of_child() -> float:
    """The most memory, in MB, that the process of the libraries has held; 0 if there is none."""
    try:
        lines = Path(f"/proc/{library_process().pid or 0}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def good_files(folder: Path, kind: str) -> Files:
    """A good recording of a kind: the file to be read, and its signal file if it has one."""
    if kind in OURS:
        return good_ecgs(folder)[kind]
    return {"a.bin": WRITERS[kind](COUNTS[:6] if kind == "kardia" else COUNTS)}


@pytest.mark.long
@pytest.mark.parametrize("kind", [*WRITERS, *OURS])
def test_mutants_are_refused_or_read_never_worse(tmp_path, kind):
    good = good_files(tmp_path / "good", kind)
    names = list(good)
    write_declaration(tmp_path)
    change = one_or_more((*TEXT, *BYTES) if kind in TEXTS else BYTES)
    wrong, count = [], 0
    path = tmp_path / names[0]
    for number in range(COUNT):
        for name, content in good.items():
            (tmp_path / name).write_bytes(content)
        name = names[number % len(names)]
        random = np.random.default_rng([zlib.crc32(kind.encode()), number])
        (tmp_path / name).write_bytes(change(good[name], random))
        problem, refused = held(path)
        count += refused
        if problem or peak_of_child() > MEGABYTES:
            wrong.append(f"{number}: {problem}, {peak_of_child():.0f} MB")
    assert not wrong, "\n".join(wrong)
    assert COUNT / 6 < count < COUNT, count
    for name, content in good.items():
        (tmp_path / name).write_bytes(content)
    assert promise_broken(read_ecg(path)) is None


@pytest.mark.long
@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_files_are_refused_within_bounds(tmp_path, name):
    write_declaration(tmp_path)
    path = tmp_path / "a.bin"
    path.write_bytes(CRAFTED[name]())
    problem, _ = held(path)
    assert problem == ""
    assert peak_of_child() < MEGABYTES
