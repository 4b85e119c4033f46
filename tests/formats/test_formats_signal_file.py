from __future__ import annotations

import numpy as np
import pytest
from raw_file_writers import LEADS, sample_counts, write_declaration, write_signal_table

from ecgcmr.errors import UserError
from ecgcmr.formats import SignalDeclaration, load_declaration, read_ecg
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.signal_file import load_parquet

SIGNAL = sample_counts(4, 800) * 0.005
DECLARED = SignalDeclaration(LEADS, "mV", 500)


# --- declaration ------------------------------------------------------------------------------------------------------


def test_declaration_is_read_and_leads_are_spelt_the_standard_way(tmp_path):
    (tmp_path / "d.yaml").write_text("leads: [Lead I, AVR, v1]\nunit: uV\nsampling_rate: 257.5\n")
    assert load_declaration(tmp_path / "d.yaml") == SignalDeclaration(("I", "aVR", "V1"), "uV", 257.5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must hold the fields leads, unit, sampling_rate"),
        ("[1, 2]", "must hold the fields"),
        ("unit: [", "cannot be read as YAML"),
        ("unit: !!python/object/apply:os.system ['true']\nsampling_rate: 500", "cannot be read as YAML"),
        ("unit: mV\nrate: 500", "unknown field 'rate'; the fields are leads, unit, sampling_rate"),
        ("unit: mmHg\nsampling_rate: 500", "unit 'mmHg' is not a voltage; expected V, mV, uV or nV"),
        ("sampling_rate: 500", "`unit` is missing"),
        ("unit: mV", "`sampling_rate` is missing"),
        ("unit: mV\nsampling_rate: true", "`sampling_rate` is missing"),
        ("unit: mV\nsampling_rate: .nan", "`sampling_rate` is missing"),
        ("unit: mV\nsampling_rate: 0", "sampling rate of 0 Hz; expected 1 to 100000"),
        ("leads: I\nunit: mV\nsampling_rate: 500", "`leads` must be a list"),
        ("leads: [I, 2]\nunit: mV\nsampling_rate: 500", "`leads` must be a list"),
        ("leads: [I, lead i]\nunit: mV\nsampling_rate: 500", "different names"),
        ("unit: mV\nsampling_rate: 500\n#" + "x" * 20_000, "is larger than 16,384 bytes"),
    ],
)
def test_malformed_declarations_are_told(tmp_path, text, reason):
    (tmp_path / "ecg.yaml").write_text(text)
    (tmp_path / "a.csv").write_text("I,II\n1,2\n")
    with pytest.raises(UserError) as caught:
        read_ecg(tmp_path / "a.csv")
    message = str(caught.value)
    assert message.startswith("a.csv: ecg.yaml: ")
    assert reason in message
    assert "\n" not in message


def test_without_declaration_nothing_is_guessed(tmp_path):
    np.save(tmp_path / "a.npy", SIGNAL)
    write_signal_table(tmp_path / "a.csv", SIGNAL)
    for name in ("a.npy", "a.csv"):
        with pytest.raises(UserError, match=f"{name}: does not state its unit and rate; declare them in ecg.yaml"):
            read_ecg(tmp_path / name)


def test_a_given_declaration_comes_before_the_one_in_the_folder(tmp_path):
    np.save(tmp_path / "a.npy", SIGNAL)
    write_declaration(tmp_path, unit="uV", rate=100)
    assert read_ecg(tmp_path / "a.npy").sampling_rate == 100
    np.testing.assert_allclose(read_ecg(tmp_path / "a.npy").signal, SIGNAL / 1000)
    record = read_ecg(tmp_path / "a.npy", DECLARED)
    assert record.sampling_rate == 500
    np.testing.assert_array_equal(record.signal, SIGNAL)


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_known_by_the_header_row(tmp_path, separator):
    order = [3, 11, 0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    header = tuple(LEADS[i].upper() for i in order)
    write_signal_table(tmp_path / "a.txt", SIGNAL[order], header=header, separator=separator)
    record = read_ecg(tmp_path / "a.txt", SignalDeclaration((), "mV", 500))
    assert record.leads == tuple(LEADS[i] for i in order)
    np.testing.assert_allclose(record.signal, SIGNAL[order], atol=1e-9)
    chosen = read_ecg(tmp_path / "a.txt", SignalDeclaration(("V1", "II"), "mV", 500))
    assert set(chosen.leads) == {"V1", "II"}


def test_without_header_row_the_declared_order_holds(tmp_path):
    write_signal_table(tmp_path / "a.csv", SIGNAL, header=None)
    np.testing.assert_allclose(read_ecg(tmp_path / "a.csv", DECLARED).signal, SIGNAL, atol=1e-9)
    write_signal_table(tmp_path / "b.csv", SIGNAL, header=tuple(f"channel {i}" for i in range(12)))
    np.testing.assert_allclose(read_ecg(tmp_path / "b.csv", DECLARED).signal, SIGNAL, atol=1e-9)
    for name in ("a.csv", "b.csv"):
        with pytest.raises(UserError, match=f"{name}: "):
            read_ecg(tmp_path / name, SignalDeclaration((), "mV", 500))


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_row_per_lead_is_read_too(tmp_path, separator):
    signal = SIGNAL.copy()
    signal[2, 5] = np.nan
    write_signal_table(tmp_path / "a.csv", signal.T, header=None, separator=separator)
    np.testing.assert_allclose(read_ecg(tmp_path / "a.csv", DECLARED).signal, signal, atol=1e-9)
    with pytest.raises(UserError, match="not of one row for each of the 2 declared leads"):
        read_ecg(tmp_path / "a.csv", SignalDeclaration(("I", "II"), "mV", 500))


def named_rows(signal, separator: str = ",", names=LEADS, header: str = "") -> str:
    """A row per lead under its name, and perhaps a header of what the samples are called."""
    rows = [separator.join([name, *(f"{v:.6f}" for v in row)]) for name, row in zip(names, signal, strict=True)]
    rows = [row.replace(".", ",") for row in rows] if separator in ";|" else rows
    return "\n".join([header, *rows] if header else rows) + "\n"


NUMBERS = ",".join(map(str, range(800)))
TIMES = ",".join(f"{i / 500:.3f}" for i in range(800))


@pytest.mark.parametrize(
    "header", ["", f",{NUMBERS}", f"lead,{NUMBERS}", f"time,{TIMES}", f"# written\n\nLead,{TIMES}"]
)
def test_rows_may_begin_with_the_name_of_their_lead(tmp_path, header):
    order = [3, 11, 0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    names = [f'"{LEADS[i].upper()}"' for i in order]
    (tmp_path / "a.csv").write_text(named_rows(SIGNAL[order], names=names, header=header))
    assert identify_ecg(tmp_path / "a.csv").kind == "csv"
    record = read_ecg(tmp_path / "a.csv", SignalDeclaration((), "mV", 500))
    assert record.leads == tuple(LEADS[i] for i in order)
    np.testing.assert_allclose(record.signal, SIGNAL[order], atol=1e-6)
    assert read_ecg(tmp_path / "a.csv", SignalDeclaration(("V1", "II"), "mV", 500)).leads == ("II", "V1")
    if TIMES in header:
        with pytest.raises(UserError, match="times grows by 0.002 a sample, which is not the declared rate of 250 Hz"):
            read_ecg(tmp_path / "a.csv", SignalDeclaration((), "mV", 250))


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_named_rows_have_the_separators_of_other_tables(tmp_path, separator):
    (tmp_path / "a.csv").write_text(named_rows(SIGNAL, separator))
    assert identify_ecg(tmp_path / "a.csv").kind == "csv"
    record = read_ecg(tmp_path / "a.csv", SignalDeclaration((), "mV", 500))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


@pytest.mark.parametrize("samples", [5000, 100_000])  # of which a header of bytes shows a part of the first row
def test_long_named_rows_of_integers_are_read(tmp_path, samples):
    steps = np.arange(2 * samples).reshape(2, samples) % 7
    rows = [",".join([name, *map(str, row)]) for name, row in zip(("I (uV)", "II (uV)"), steps, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert identify_ecg(tmp_path / "a.csv").kind == "csv"
    record = read_ecg(tmp_path / "a.csv", SignalDeclaration((), "uV", 500))
    np.testing.assert_allclose(record.signal, steps / 1000)
    with pytest.raises(UserError, match="states the unit uV of a column, but mV is declared"):
        read_ecg(tmp_path / "a.csv", SignalDeclaration((), "mV", 500))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I,1,2,3\nII,4,5\n", "rows of different length"),
        ("I,1,2,3\nII,4,x,6\n", "lead II"),
        ("I,1,2,3\nI,4,5,6\n", "lead I twice"),
        ("I,1,2,3\n4,5,6,7\n", "a row that does not begin with a lead's name, and others that do"),
        ("I,1,2,3\nII\n", "a row that does not begin with a lead's name, and others that do"),
        ("II,1,2,3\nV1,4,5,6\n", "no column for the declared lead I;"),
        ("I,1,2,3\n" * 70, "more than 64 leads"),
        (f"I,{NUMBERS}\nII,{NUMBERS},1\n", "rows of different length"),
    ],
)
def test_damaged_named_rows_are_refused(tmp_path, text, reason):
    (tmp_path / "a.csv").write_text(text)
    declared = SignalDeclaration(("I", "II") if text.startswith("II,") else (), "mV", 500)
    with pytest.raises(UserError, match=reason) as caught:
        read_ecg(tmp_path / "a.csv", declared)
    assert str(caught.value).startswith("a.csv: ")


def test_times_comments_marks_and_foreign_line_ends(tmp_path):
    text = '\ufeff# written by hand\r\n\r\n"time";"I";"II";"age"\r\n0,000;1,5;-2,25;70\r\n0,002;;3,5;70\r\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    record = read_ecg(tmp_path / "a.csv", SignalDeclaration((), "mV", 500))
    assert record.leads == ("I", "II")
    np.testing.assert_array_equal(record.signal, [[1.5, np.nan], [-2.25, 3.5]])
    assert "lead I lacks 1 of 2 samples" in record.notes


def test_integers_between_tabs_are_a_table_and_no_wfdb_header(tmp_path):
    write_signal_table(tmp_path / "a.tsv", np.rint(SIGNAL * 1000), header=None, separator="\t", digits=0)
    record = read_ecg(tmp_path / "a.tsv", SignalDeclaration(LEADS, "uV", 500))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I,II\n", "no samples|not a number"),
        ("I,II", "no samples|not a number"),
        ("I,II\n1,2\n3", "different length"),
        ("I,II\n1,2\n3,4,5\n", "different length"),
        ("I,II\n1,2\nx,4\n", "not a number"),
        ("I,II\n1,2\ninf,4\n", "infinite"),
        ("I,II\n,\n,\n", "no samples"),
        ("I,I\n1,2\n", "lead I twice"),
        ("I,V2\n1,2\n", "no column for the declared lead II"),
        (",".join(["I", *["x"] * 200]) + "\n" + ",".join("1" * 201) + "\n", "more than 64 leads"),
    ],
)
def test_damaged_tables_are_told(tmp_path, text, reason):
    (tmp_path / "a.csv").write_text(text)
    declared = SignalDeclaration(("I", "II") if "V2" in text else (), "mV", 500)
    with pytest.raises(UserError, match=reason) as caught:
        read_ecg(tmp_path / "a.csv", declared)
    assert str(caught.value).startswith("a.csv: ")


# --- NumPy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f4", "<i2", "<u2", "<i8"])
@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_arrays_of_any_number_type_and_layout(tmp_path, dtype, fortran, transposed):
    values = np.abs(sample_counts(4, 100)).astype(dtype)
    array = values.T if transposed else values
    np.save(tmp_path / "a.npy", np.asfortranarray(array) if fortran else np.ascontiguousarray(array))
    record = read_ecg(tmp_path / "a.npy", SignalDeclaration(LEADS, "uV", 500))
    assert record.signal.dtype == np.float64
    assert record.signal.flags.c_contiguous
    np.testing.assert_allclose(record.signal, values.astype(np.float64) / 1000, rtol=1e-12)


def header_only(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header_only("(12, 1000000)"), "shorter than its header says"),
        (header_only("(12, 10000000000)"), "claims more than"),
        (header_only("(12, 0)"), "no samples"),
        (header_only("(12, 12)"), "shape 12 x 12"),
        (header_only("(5, 100)"), "shape 5 x 100"),
        (header_only("(12,)"), "two-dimensional"),
        (header_only("(1, 12, 100)"), "two-dimensional"),
        (header_only("(12, -100)"), "no samples"),
        (header_only("(12, 100)", "'|O'"), "two-dimensional array of integers"),
        (header_only("(12, 100)", "'<c16'"), "two-dimensional array of integers"),
        (header_only("(12, 100)", "[('a', '<f8')]"), "two-dimensional array of integers"),
        (header_only("(" * 3000), "not a NumPy file"),
        (header_only("__import__('os').getcwd()"), "not a NumPy file"),
        (b"\x93NUMPY\x09\x00", "not a NumPy file"),
        (b"\x93NUMPY", "not a NumPy file"),
    ],
)
def test_damaged_arrays_are_told(tmp_path, content, reason):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_ecg(tmp_path / "a.npy", DECLARED)
    assert str(caught.value).startswith("a.npy: ")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[print, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="integers or floating-point"):
        read_ecg(tmp_path / "a.npy", DECLARED)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_columns_are_leads(tmp_path):
    import pyarrow
    from pyarrow import parquet

    columns = {lead: SIGNAL[i] for i, lead in enumerate(LEADS)}
    columns["I"] = [None, *SIGNAL[0, 1:]]
    table = pyarrow.table({"time": np.arange(800) / 500, **columns, "label": ["x"] * 800})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=300)
    record = read_ecg(tmp_path / "a.parquet", SignalDeclaration((), "mV", 500))
    assert record.leads == LEADS
    assert np.isnan(record.signal[0, 0])
    np.testing.assert_array_equal(record.signal[:, 1:], SIGNAL[:, 1:])
    content = (tmp_path / "a.parquet").read_bytes()
    for damaged in (
        content[:2000],
        content[:-8] + b"\xff\xff\xff\x7fPAR1",
        content[:40] + bytes(3000) + content[3040:],
    ):
        (tmp_path / "b.parquet").write_bytes(damaged)
        with pytest.raises(UserError, match=r"b.parquet: "):
            read_ecg(tmp_path / "b.parquet", DECLARED)
    parquet.write_table(pyarrow.table({"I": ["a", "b"]}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match="no plain numbers"):
        load_parquet(tmp_path / "c.parquet", ())
    huge = pyarrow.table({"I": pyarrow.array(np.zeros(3_000_000))})
    parquet.write_table(huge, tmp_path / "d.parquet")
    with pytest.raises(UserError, match="claims more than"):
        load_parquet(tmp_path / "d.parquet", ())
