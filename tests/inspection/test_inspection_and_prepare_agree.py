"""``inspect`` and ``prepare`` decide alike what a file is, for every kind of file that lies in a folder of ECGs."""

from __future__ import annotations

import argparse
import gzip
import os
import pickle
import signal
import socket
import struct
import zipfile
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from cine_zip_writer import write_cine_zip
from library_file_writers import GOOD, hl7_xml, matlab_5
from raw_file_writers import (
    LEADS,
    beating_disc,
    cardiosoft_xml,
    dicom_bytes,
    dicom_ecg_dataset,
    muse_xml,
    sample_counts,
    write_nifti,
    write_wfdb_record,
)

from ecgcmr.errors import UserError
from ecgcmr.formats import load_declaration, read_ecg
from ecgcmr.inspection import command as inspect_command
from ecgcmr.preparation import command as prepare_command
from ecgcmr.preparation.ecg import standard_windows
from ecgcmr.preparation.sources import find_cmr, find_ecgs

COUNTS = sample_counts(6) * 4


def call(command, *words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def no_hang():
    """Turn a hang into a failure."""

    def stop(*_):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 30)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def dicom_of_class(number: str) -> bytes:
    """A 12-lead ECG stored under another class."""
    return dicom_bytes(dicom_ecg_dataset(COUNTS)).replace(
        b"1.2.840.10008.5.1.4.1.1.9.1.1", number.encode().ljust(29, b"\0")
    )


def parquet_of(columns: dict) -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def npy_of(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz_of(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, ecg=array)
    return buffer.getvalue()


def torch_of(array: np.ndarray, *, archive: bool) -> bytes:
    import torch

    buffer = BytesIO()
    torch.save(torch.from_numpy(array), buffer, _use_new_zipfile_serialization=archive)
    return buffer.getvalue()


def text_of(header: tuple[str, ...] | None, separator: str = ",") -> bytes:
    lines = [] if header is None else [separator.join(header)]
    lines += [separator.join(f"{value:.3f}" for value in row) for row in (COUNTS * 0.005).T]
    return ("\n".join(lines) + "\n").encode()


MUSE = muse_xml(COUNTS[[0, 1, 6, 7, 8, 9, 10, 11]])
# name -> content, or a part of the reason why it is no ECG
ECGS = {
    "cardiosoft": lambda: cardiosoft_xml(COUNTS),
    "cardiosoft.gz": lambda: gzip.compress(cardiosoft_xml(COUNTS)),
    "muse": lambda: MUSE,
    "muse-utf16-le-bare": lambda: MUSE.decode("latin-1").encode("utf-16-le"),
    "muse-utf16-be-bare.xml": lambda: MUSE.decode("latin-1").encode("utf-16-be"),
    "muse-utf16": lambda: MUSE.decode("latin-1").encode("utf-16"),
    "dicom": lambda: dicom_bytes(dicom_ecg_dataset(COUNTS)),
    "dicom-general": lambda: dicom_of_class("1.2.840.10008.5.1.4.1.1.9.1.2"),
    "dicom-haemodynamic": lambda: dicom_of_class("1.2.840.10008.5.1.4.1.1.9.2.1"),
    "dicom-private": lambda: dicom_of_class("1.3.12.2.1107.5.9.20000101"),
    "table": lambda: text_of(LEADS),
    "table.csv.gz": lambda: gzip.compress(text_of(LEADS)),
    "spaces.txt": lambda: text_of(LEADS, " "),
    "bare.dat": lambda: text_of(None, "\t"),
    "array": lambda: npy_of(COUNTS * 0.005),
    "parquet": lambda: parquet_of({lead: COUNTS[i] * 0.005 for i, lead in enumerate(LEADS)}),
    "lone.mat": lambda: matlab_5(COUNTS.T * 0.005, "ecg", packed=False),
    "new.mat": lambda: matlab_5(COUNTS * 0.005),
    **{kind: partial(write, COUNTS) for kind, write in GOOD.items() if kind != "kardia"},  # which has six leads
    "packed-hl7": lambda: gzip.compress(hl7_xml(COUNTS)),
}
OTHERS = {
    "empty.xml": (lambda: b"", "file is empty"),
    "blank.csv": (lambda: b" \n\n", "file is empty"),
    "page.xml": (lambda: b"<html><body/></html>", "is XML of kind html"),
    "report.pdf": (lambda: b"%PDF-1.7\n", "is a PDF"),
    "recordings.pt": (lambda: torch_of(COUNTS[None], archive=True), "is a PyTorch file (.pt), which can run code"),
    "old.pt": (lambda: torch_of(COUNTS[None], archive=False), "is a PyTorch file (.pt), which can run code"),
    "recordings.npz": (lambda: npz_of(COUNTS), "is a NumPy archive of several arrays (.npz)"),
    "recordings.pkl": (lambda: pickle.dumps([COUNTS]), "is a Python pickle, which can run code"),
    "recordings.h5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
    "newest.mat": (lambda: b"MATLAB 7.3 MAT-file" + bytes(200), "is a MATLAB file of version 7.3"),
    "lone.dat": (lambda: np.arange(-50, 50).astype("<i2").tobytes(), "lone.hea is not"),
    "a.bdf": (lambda: b"\xffBIOSEMI" + bytes(200), "is BDF, of 24 bits; save it as EDF"),
    "holter.arc": (lambda: b"\3\0\0\0##NEUTRAL HOLTER RECORDING##", "is an EDAN Holter archive"),
    "a.nii.gz": (lambda: gzip.compress(bytes(344) + b"n+1\0" + bytes(100)), "is a NIfTI image"),
    "a.npy.gz": (lambda: gzip.compress(npy_of(COUNTS)), "is packed with gzip; unpack it"),
    "cut.xml.gz": (lambda: gzip.compress(cardiosoft_xml(COUNTS))[:6] + b"\xff" * 50, "is a gzip file that is damaged"),
    "image.dcm": (lambda: dicom_of_class("1.2.840.10008.5.1.4.1.1.4.1"), "is DICOM, but of a class"),
    "notes.txt": (lambda: b"nothing of the kind\n", "is no ECG file of a known kind"),
    "weights.safetensors": (lambda: struct.pack("<Q", 20) + b'{"a":{"dtype":"F32"}', "holds weights of a network"),
    "patients.tsv": (lambda: b"a\tb\tc\nx\ty\tz\nx\ty\tz\n", "is a table whose columns have no lead's name"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one file of each kind."""
    tmp_path = tmp_path_factory.mktemp("kinds")
    for name, content in ECGS.items():
        (tmp_path / "raw" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(content())
    for name, (content, _) in OTHERS.items():
        (tmp_path / "raw" / name).write_bytes(content())
    write_wfdb_record(tmp_path / "raw", "wfdb", COUNTS * 0.005)
    listed = ", ".join(LEADS)
    (tmp_path / "declared.yaml").write_text(f"leads: [{listed}]\nunit: mV\nsampling_rate: 500\n")
    return tmp_path / "raw"


def inspected(path, declaration):
    """What ``inspect`` says to a file: None if it shows it as an ECG, else its refusal."""
    try:
        code = call(inspect_command, path, "--no-figures", "--declare", declaration)
    except UserError as error:
        return str(error)
    assert code == 0
    return None


@pytest.mark.slow
def test_both_commands_decide_alike(folder, capsys):
    declaration = folder.parent / "declared.yaml"
    found = find_ecgs(folder, declared=True)
    taken = {source.name for sources in found.sources.values() for source in sources}
    skipped = dict(found.skipped)
    assert taken == {*ECGS, "wfdb.hea"}
    for name in sorted(taken):
        assert inspected(folder / name, declaration) is None, name
        assert "prepare takes this recording as it is" in capsys.readouterr().out, name
    for name, (_, reason) in OTHERS.items():
        assert reason in skipped[name], name
    for name in ("recordings.pt", "a.bdf", "image.dcm", "notes.txt", "page.xml", "cut.xml.gz"):
        assert inspected(folder / name, declaration) == f"{name}: {skipped[name]}"


def test_every_kind_gives_the_same_signal(folder):
    declaration = load_declaration(folder.parent / "declared.yaml")
    expected = COUNTS * 0.005
    for name in (*ECGS, "wfdb.hea"):
        (window,) = standard_windows(read_ecg(folder / name, declaration))
        scale = 0.00488 / 0.005 if name.startswith("muse") else 1.0
        np.testing.assert_allclose(window.signal, expected * scale, atol=1e-2 if name.startswith("muse") else 1e-3)


def test_a_zip_of_images_is_no_ecg_but_images(tmp_path):
    cine, _ = beating_disc(frames=12)
    write_cine_zip(tmp_path / "1_20209_2_0.zip", cine)
    with zipfile.ZipFile(tmp_path / "b.xyz", "w") as archive:
        archive.writestr("a.txt", "a")
    reasons = dict(find_ecgs(tmp_path).skipped)
    assert all(
        "is a zip archive; unpack it, or if it holds images name its folder with --cmr" in r for r in reasons.values()
    )
    assert len(reasons) == 2


# --- what is no file --------------------------------------------------------------------------------------------------


@pytest.fixture
def special(tmp_path):
    """Things that look like files: by name, with the reason."""
    raw = tmp_path / "raw"
    raw.mkdir()
    os.mkfifo(raw / "pipe.xml")
    (raw / "broken.xml").symlink_to(raw / "nowhere")
    (raw / "loop.xml").symlink_to(raw / "loop.xml")
    (raw / "zero.xml").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(raw / "socket.xml"))
    (raw / "folder.xml").mkdir()
    (raw / "round").symlink_to(raw)
    return raw


REASONS = {
    "pipe.xml": "is a named pipe, not a file; write its content to a file",
    "broken.xml": "is a link to a file that is not there",
    "loop.xml": "is a link that leads back to itself",
    "zero.xml": "is a device, not a file",
    "socket.xml": "is a socket, not a file",
}


@pytest.mark.usefixtures("no_hang")
def test_what_is_no_file_is_never_waited_for(special):
    found = find_ecgs(special)
    assert dict(found.skipped) == REASONS
    for name, reason in REASONS.items():
        with pytest.raises(UserError, match=f"{name}: {reason}"):
            call(inspect_command, special / name)
        with pytest.raises(UserError, match=f"{name}: {reason}"):
            read_ecg(special / name)


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("option", ["--table", "--subjects", "--declare", "--codes", "--withdrawn"])
def test_no_option_waits_for_a_pipe(special, option):
    (special / "a.xml").write_bytes(cardiosoft_xml(COUNTS))
    words = ["--ecg", str(special), "--out", str(special.parent / "out"), option, str(special / "pipe.xml")]
    words += ["--key-file", str(special.parent / "key")]
    (special.parent / "key").write_bytes(bytes(32))
    with pytest.raises(UserError, match=r"pipe\.xml: .*(a named pipe|no such file|a pipe or device)"):
        call(prepare_command, *words)


@pytest.mark.usefixtures("no_hang")
def test_images_of_one_subject_that_are_pipes_do_not_count(special):
    (special / "1").mkdir()
    os.mkfifo(special / "1" / "sa.nii.gz")
    write_nifti(special / "2" / "sa_ED.nii.gz", np.zeros((8, 8, 2), np.int16))
    os.mkfifo(special / "3.zip")
    found = find_cmr(special)
    assert set(found.sources) == {"2"}


def test_a_packed_file_belongs_to_the_subject_of_its_name(tmp_path):
    (tmp_path / "1000011_20205_3_0.xml.gz").write_bytes(gzip.compress(cardiosoft_xml(COUNTS)))
    (tmp_path / "other.xml.gz").write_bytes(gzip.compress(cardiosoft_xml(COUNTS)))
    sources = find_ecgs(tmp_path).sources
    assert set(sources) == {"1000011", "other"}
    assert sources["1000011"][0].visit == 3
