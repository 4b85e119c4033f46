"""A reader of the user's own: asked first, by every command alike; what goes wrong in it costs one file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from raw_file_writers import LEADS, cardiosoft_xml, sample_counts, write_wfdb_record

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.formats import ECGRecord, ecg_files, identify_ecg, read_ecg
from ecgcmr.formats.ecg_reader import USER_KIND, NamedReader, load_reader
from ecgcmr.preparation.sources import find_ecgs

SIGNAL = sample_counts(3, 5000) * 0.005


class Any:
    """Accepts and reads what a test says."""

    def __init__(self, accepts=True, read=None):
        self.answer, self.record = accepts, read

    def accepts(self, path: Path):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, bool | None) else self.answer(path)

    def read(self, path: Path):
        if isinstance(self.record, Exception):
            raise self.record
        return self.record


def named(**given) -> NamedReader:
    return NamedReader("lab.readers:Any", "f", Any(**given))


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "patient 7.raw").write_bytes(b"anything")
    return tmp_path / "patient 7.raw"


def test_it_is_asked_before_the_others_and_they_read_what_it_leaves(tmp_path):
    record = ECGRecord(SIGNAL, tuple(f"Lead {lead}" for lead in LEADS), 500)
    reader = named(accepts=lambda path: path.suffix == ".raw", read=record)
    (tmp_path / "a.raw").write_bytes(cardiosoft_xml())
    (tmp_path / "b.xml").write_bytes(cardiosoft_xml())
    assert identify_ecg(tmp_path / "a.raw", reader=reader).kind == USER_KIND
    read = read_ecg(tmp_path / "a.raw", reader=reader)
    assert read.leads == LEADS
    np.testing.assert_array_equal(read.signal, SIGNAL)
    assert identify_ecg(tmp_path / "b.xml", reader=reader).kind == "cardiosoft"
    assert identify_ecg(tmp_path / "a.raw").kind == "cardiosoft"
    assert ecg_files(tmp_path / "a.raw", reader) == [tmp_path / "a.raw"]


def test_files_of_which_another_reader_needs_the_half_are_found(tmp_path):
    write_wfdb_record(tmp_path, "r", sample_counts(1))
    assert set(find_ecgs(tmp_path).sources) == {"r"}
    reader = named(accepts=lambda path: path.suffix == ".dat")
    names = {source.name for several in find_ecgs(tmp_path, reader=reader).sources.values() for source in several}
    assert names == {"r.dat", "r.hea"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"accepts": ValueError("x\ny")}, r"lab.readers:Any: accepts() raised ValueError: x\ny"),
        ({"accepts": None}, "lab.readers:Any: accepts() returned a NoneType, not true or false"),
        ({"read": KeyError("leads")}, "lab.readers:Any: read() raised KeyError: 'leads'"),
        ({"read": UserError("is damaged")}, "is damaged"),
        ({"read": SIGNAL}, "lab.readers:Any: read() returned a ndarray, not an ECGRecord"),
        ({"read": ECGRecord(SIGNAL[:3], LEADS, 500)}, "returned a signal of shape (3, 5000) for 12 leads"),
        ({"read": ECGRecord(SIGNAL[0], LEADS[:1], -5)}, "sampling rate"),
        ({"read": ECGRecord(None, LEADS, 500)}, "returned"),
        ({"read": ECGRecord(SIGNAL, None, 500)}, "lab.readers:Any: returned an impossible record"),
        ({"read": ECGRecord(SIGNAL, ("I",) * 12, 500)}, "holds lead I twice"),
        ({"read": ECGRecord(SIGNAL + np.inf, LEADS, 500)}, "infinite"),
        ({"read": ECGRecord(SIGNAL, LEADS, "fast")}, "lab.readers:Any: returned an impossible record"),
    ],
)
def test_what_it_does_wrong_is_one_line_that_names_it(path, given, reason):
    with pytest.raises(UserError) as caught:
        read_ecg(path, reader=named(**given))
    assert reason in str(caught.value)
    assert str(caught.value).startswith("patient 7.raw: ")
    assert "\n" not in str(caught.value)


def test_its_words_hold_no_name_of_the_file(path):
    error = OSError(f"cannot map {path} ({path.name})")
    with pytest.raises(UserError) as caught:
        named(read=error).read(path)
    assert "patient" not in str(caught.value)
    record = ECGRecord(SIGNAL, LEADS, 500, notes=("from patient 7.raw",))
    assert named(read=record).read(path).notes[0] == "from the file"


def test_a_pipe_is_never_given_to_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = named(accepts=lambda path: pytest.fail("it was asked"))
    assert "named pipe" in identify_ecg(tmp_path / "pipe", reader=reader).reason


def test_a_changed_reader_is_another_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "class R:\n    def accepts(self, path): return True\n    def read(self, path): return None\n"
    (tmp_path / "changing_reader.py").write_text(source)
    first = load_reader("changing_reader:R").fingerprint
    assert load_reader("changing_reader:R").fingerprint == first
    (tmp_path / "changing_reader.py").write_text(source + "# other\n")
    load_reader.cache_clear()
    assert load_reader("changing_reader:R").fingerprint != first
    del sys.modules["changing_reader"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("json", "is no name of a class"),
        ("json:loads", "not a class"),
        ("json:JSONDecoder", "has no method accepts(path); it needs accepts(path) and read(path)"),
        ("no_such_module:R", "cannot be imported"),
    ],
)
def test_a_class_that_is_no_reader_is_refused_before_anything_is_read(tmp_path, capsys, name, reason):
    (tmp_path / "a.xml").write_bytes(cardiosoft_xml())
    for command in (["inspect", str(tmp_path / "a.xml")], ["prepare", "--ecg", str(tmp_path), "--out", "unused"]):
        assert main([*command, "--reader", name]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: --reader {name}: ")
        assert reason in error
        assert error.count("\n") == 1


def test_a_folder_is_not_inspected_with_a_reader(tmp_path, capsys):
    assert main(["inspect", str(tmp_path), "--reader", "json:JSONDecoder"]) == 2
    assert "reads single ECG files" in capsys.readouterr().err
