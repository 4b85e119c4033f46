"""Files of which a collection says what they do not: right values, and one line where they are damaged."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
from raw_file_writers import sample_counts, write_wfdb_record

from ecgcmr.errors import UserError
from ecgcmr.formats.array_rows import RowContent
from ecgcmr.formats.declared_files import DeclaredFile, LeadRowsFile, ScaledFile, WholeHDF5
from ecgcmr.formats.record_reader import RecordReader, reader_fingerprint
from ecgcmr.leads import LEADS

CONTENT = RowContent(LEADS, 500.0, "uV", time_first=False)
READERS = (DeclaredFile(LEADS, 500.0, "uV"), LeadRowsFile(CONTENT), WholeHDF5("ecg", CONTENT), ScaledFile(0.001))


@pytest.fixture
def signal():
    return sample_counts(3) * 0.005


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
def test_a_reader_is_plain_data_that_travels_and_is_known_by_its_values(reader):
    assert isinstance(reader, RecordReader)
    again = pickle.loads(pickle.dumps(reader))
    assert again == reader
    assert reader_fingerprint(again) == reader_fingerprint(reader)
    assert len({reader_fingerprint(one) for one in READERS}) == len(READERS)


def test_a_file_whose_own_unit_is_wrong_by_a_factor(tmp_path, signal):
    header = write_wfdb_record(tmp_path, "rec", signal * 1000, gain=1.0, unit="mV")  # microvolts that say mV
    record = ScaledFile(0.001).read(header)
    np.testing.assert_allclose(record.signal, signal, atol=6e-4)
    assert record.leads == LEADS
    assert [path.name for path in ScaledFile(0.001).files(header)] == ["rec.hea", "rec.dat"]
    assert not [note for note in record.notes if "unit" in note]


def test_rows_of_leads_and_columns_of_leads_are_the_same_recording(tmp_path, signal):
    microvolts = np.rint(signal * 1000).astype(int)
    rows, columns = tmp_path / "rows.csv", tmp_path / "columns.csv"
    rows.write_text("\n".join(",".join(map(str, lead)) for lead in microvolts))
    columns.write_text(",".join(LEADS) + "\n" + "\n".join(",".join(map(str, row)) for row in microvolts.T) + "\n")
    np.testing.assert_allclose(LeadRowsFile(CONTENT).read(rows).signal, signal, atol=6e-4)
    np.testing.assert_allclose(DeclaredFile(LEADS, 500.0, "uV").read(columns).signal, signal, atol=6e-4)


def test_the_only_data_set_of_a_file_needs_no_name(tmp_path, signal):
    path = tmp_path / "A1.h5"
    with h5py.File(path, "w") as file:
        file["anything"] = signal * 1000
    np.testing.assert_allclose(WholeHDF5("", CONTENT).read(path).signal, signal, atol=1e-9)
    with h5py.File(path, "a") as file:
        file["more"] = 1
    with pytest.raises(UserError, match=r"^A1\.h5: holds 2 data sets, not one recording alone"):
        WholeHDF5("", CONTENT).read(path)


@pytest.mark.parametrize(
    ("reader", "content", "reason"),
    [
        (LeadRowsFile(CONTENT), b"1,2,x\n", "bad: holds no table of numbers, a row for each lead"),
        (LeadRowsFile(CONTENT), b"1,2,3\n4,5,6\n", "bad: its rows are of shape (2, 3), not (12, T)"),
        (LeadRowsFile(CONTENT), b"1,2\n4,5,6\n", "bad: holds no table of numbers"),
        (WholeHDF5("ecg", CONTENT), b"no HDF5 at all", "bad: cannot be read as HDF5 (OSError)"),
        (DeclaredFile(LEADS, 500.0, "uV"), b"hello", "bad: "),
        (ScaledFile(2.0), b"", "bad: file is empty"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line_with_its_name(tmp_path, reader, content, reason):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(UserError) as caught:
        reader.read(tmp_path / "bad")
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path, reader):
    with pytest.raises(UserError, match=r"^gone.hea: no such file"):
        reader.read(tmp_path / "gone.hea")
