"""How devices, tables and countries spell leads and units, and what must not be taken for a lead."""

from __future__ import annotations

import numpy as np
import pytest
from raw_file_writers import LEADS, sample_counts, write_signal_table

from ecgcmr.errors import UserError
from ecgcmr.formats import SignalDeclaration, read_ecg
from ecgcmr.formats.lead_columns import is_time
from ecgcmr.formats.lead_names import lead_and_unit, listed, standard_lead
from ecgcmr.formats.units import millivolts_per

SIGNAL = sample_counts(4, 300) * 0.01
UNNAMED = SignalDeclaration((), "mV", 500)


@pytest.mark.parametrize(
    ("spelt", "lead"),
    [
        ("DI", "I"), ("DII", "II"), ("DIII", "III"), ("D1", "I"), ("D 2", "II"), ("D3", "III"),
        ("ECG I", "I"), ("EKG III", "III"), ("ECG_aVL", "aVL"), ("MDC_ECG_LEAD_AVF", "aVF"), ("ECG Lead V3", "V3"),
        ("Lead_V1", "V1"), ("LEAD II", "II"), ("lead-v6", "V6"), ("Lead: aVR", "aVR"), ("leadii", "II"),
        ("Abl. I", "I"), ("Ableitung V2", "V2"), ("Dérivation aVF", "aVF"), ("Derivación DII", "II"), ("dér. V4", "V4"),
        ("AVR", "aVR"), ("aVr", "aVR"), ("a VL", "aVL"), ("aV-F", "aVF"), ("VR", "aVR"), ("vl", "aVL"), ("AV_F", "aVF"),
        ("V 1", "V1"), ("V_2", "V2"), ("v-3", "V3"), ("V1-REF", "V1"), ("V6 WCT", "V6"),
        ("I (mV)", "I"), ("V1[uV]", "V1"), ("aVR_mV", "aVR"), ("II / µV", "II"), ("'V5'", "V5"), ('"I"', "I"),
    ],
)  # fmt: skip
def test_spellings_that_are_read(spelt, lead):
    assert standard_lead(spelt) == lead


@pytest.mark.parametrize(
    "other",
    [
        "",
        "-aVR", "\N{MINUS SIGN}aVR", "Lead -aVR", "ECG -aVR", "-VR", "aVR-", "-I", "aVR neg", "aVR (inverted)",
        "inv. aVR",
        "MLII", "ML2", "V7", "V3R", "V0", "V10", "IV", "I-II", "I II", "V1-V2", "C1", "1", "Lead 1", "L1", "D4", "D",
        "A", "V", "aV", "I-REF", "Resp", "MCL1", "X", "vx", "time",
    ],
)  # fmt: skip
def test_what_could_be_another_lead_is_not_read_as_one_of_the_twelve(other):
    assert standard_lead(other) not in LEADS


def test_units_in_names_and_lists_for_messages():
    assert lead_and_unit("I (mV)") == ("I", "mV")
    assert lead_and_unit("V1, \N{MICRO SIGN}V") == ("V1", "\N{MICRO SIGN}V")
    assert lead_and_unit("aVL") == ("aVL", None)
    assert lead_and_unit("Resp (mV)") == ("Resp (mV)", "mV")
    assert listed(["DI", "", "a\x1b[31m\nname"]) == "I, one without a name, a?[31m name"
    assert listed([str(i) for i in range(40)]).endswith("15 and 24 more")


@pytest.mark.parametrize(
    ("unit", "millivolts"),
    [
        ("4.88 uV", 0.00488), ("4,88uV", 0.00488), ("0.1 mV", 0.1), ("1e-3 V", 1.0), ("5 \N{MICRO SIGN}V/LSB", 0.005),
        ("2.5 uV per bit", 0.0025), ("4.88 x uV", 0.00488), ("+1 mV", 1.0), ("mV/LSB", 1.0), (" MICROVOLTS ", 1e-3),
    ],
)  # fmt: skip
def test_a_factor_may_stand_before_the_unit(unit, millivolts):
    assert millivolts_per(unit) == pytest.approx(millivolts, rel=1e-12)


@pytest.mark.parametrize("unit", ["0 mV", "-1 mV", "1e999 mV", "4.88", "uV 4.88", "4.88 uA", "1 000 uV", "mV/s", "mV2"])
def test_factors_that_are_none(unit):
    with pytest.raises(UserError, match=r"is not a voltage; expected V, mV, uV or nV|not a positive number"):
        millivolts_per(unit)


def test_a_factor_in_a_declaration(tmp_path):
    (tmp_path / "ecg.yaml").write_text(f"leads: [{', '.join(LEADS)}]\nunit: 4.88 uV\nsampling_rate: 500\n")
    np.save(tmp_path / "a.npy", sample_counts(1, 200).astype(np.int16))
    np.testing.assert_allclose(read_ecg(tmp_path / "a.npy").signal, sample_counts(1, 200) * 0.00488, rtol=1e-12)
    (tmp_path / "ecg.yaml").write_text("unit: 4.88\nsampling_rate: 500\n")
    with pytest.raises(UserError, match="`unit` is a number without a unit; write it as in: unit: 4.88 uV"):
        read_ecg(tmp_path / "a.npy")


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["time", "Time (s)", "time_ms", "t", "Zeit", "temps", "sample #", "'Elapsed time'", ""]
)
def test_names_of_times(name):
    assert is_time(name)


@pytest.mark.parametrize("name", ["I", "V1", "times of day", "heart rate"])
def test_other_names_are_no_times(name):
    assert not is_time(name)


def table(rows, header="", separator=","):
    lines = [header] if header else []
    lines += [separator.join(f"{value:.4f}" for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def german():
    header = "Zeit;" + ";".join(f"Ableitung {lead}" for lead in LEADS)
    return table(timed(), header, ";").replace(".", ",")


def timed(step=0.002):
    return np.vstack([np.arange(300) * step, SIGNAL]).T


@pytest.mark.parametrize(
    "text",
    [
        table(timed(), "time," + ",".join(LEADS)),
        table(timed(2.0), "time (ms)," + ",".join(f"{lead} (mV)" for lead in LEADS)),
        table(timed(1.0), "sample," + ",".join(LEADS)),
        table(timed(), "time," + ",".join(LEADS) + "\ns" + ",mV" * 12),
        table(timed(), "'Elapsed time'," + ",".join(f"'{lead}'" for lead in LEADS) + "\n'hh:mm:ss.mmm'" + ",'mV'" * 12),
        table(timed(), '"time","' + '","'.join(f"{lead}, mV" for lead in LEADS) + '"'),
        german(),
        table(SIGNAL.T, " ".join(LEADS), " "),
        table(SIGNAL.T, "  " + "   ".join(f"D{x}" if "I" in x else x for x in LEADS), "    "),
        table(SIGNAL.T, "\t".join(f"Lead_{lead}" for lead in LEADS), "\t"),
        "\ufeff# by hand\r\n\r\n" + table(SIGNAL.T, ",".join(LEADS)).replace("\n", "\r\n"),
    ],
)  # fmt: skip
def test_habits_of_tables(tmp_path, text):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    record = read_ecg(tmp_path / "a.txt", UNNAMED)
    assert record.leads == LEADS
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-9)


@pytest.mark.parametrize("separator", [" ", "   ", ",", ";", "\t"])
@pytest.mark.parametrize("times", [False, True])
def test_bare_numbers_with_and_without_times(tmp_path, separator, times):
    (tmp_path / "a.txt").write_text(table(timed() if times else SIGNAL.T, "", separator))
    record = read_ecg(tmp_path / "a.txt", SignalDeclaration(LEADS, "mV", 500))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-9)


def test_numpy_text_is_read(tmp_path):
    np.savetxt(tmp_path / "a.txt", SIGNAL.T)
    np.testing.assert_allclose(
        read_ecg(tmp_path / "a.txt", SignalDeclaration(LEADS, "mV", 500)).signal, SIGNAL, atol=1e-9
    )
    np.savetxt(tmp_path / "b.txt", SIGNAL)  # a row of 7 KB for each lead
    np.testing.assert_allclose(
        read_ecg(tmp_path / "b.txt", SignalDeclaration(LEADS, "mV", 500)).signal, SIGNAL, atol=1e-9
    )


def test_utf16_text_is_read(tmp_path):
    (tmp_path / "a.txt").write_text(table(SIGNAL.T, "\t".join(LEADS), "\t"), encoding="utf-16")
    np.testing.assert_allclose(read_ecg(tmp_path / "a.txt", UNNAMED).signal, SIGNAL, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (table(SIGNAL.T, ",".join(f"{lead} (uV)" for lead in LEADS)), "the unit uV of a column, but mV is declared"),
        (table(SIGNAL.T, ",".join(LEADS) + "\n" + ",".join(["uV"] * 12)), "states the unit uV of a column"),
        (table(timed(0.004), "time," + ",".join(LEADS)), "column of times grows by 0.004 a sample, which is not the"),
        (table(SIGNAL.T[:, :2], "I,DI"), r"holds lead I twice \(columns 'I' and 'DI'\)"),
        (table(SIGNAL.T[:, :2], "a,b"), "is a table whose columns have no lead's name"),
        ("I went home. The weather\nwas fine, and so was I\nfor once\n", "no ECG file of a known kind"),
        ("I,II\nTrue,False\nTrue,True\n", "not a number"),
        ("I,II\n2020-01-01,2020-01-02\n", "not a number"),
    ],
)  # fmt: skip
def test_tables_that_contradict_themselves_are_refused(tmp_path, text, reason):
    (tmp_path / "a.csv").write_text(text)
    declared = None if "no lead" in reason or "known kind" in reason else UNNAMED
    with pytest.raises(UserError, match=f"^a.csv: .*{reason}"):
        read_ecg(tmp_path / "a.csv", declared)


def test_a_table_without_any_known_lead_is_refused_with_the_remedy(tmp_path):
    write_signal_table(tmp_path / "a.csv", SIGNAL, header=tuple(f"C{i}" for i in range(12)))
    with pytest.raises(UserError, match="none of its 12 columns has the name of a lead; declare `leads` in ecg.yaml"):
        read_ecg(tmp_path / "a.csv", UNNAMED)


def test_parquet_flags_dates_and_text_are_no_voltages(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {
        "bool": pa.array([True, False] * 50),
        "timestamp": pa.array(np.arange(100).astype("datetime64[ms]")),
        "string": pa.array(["1.0"] * 100),
        "duration": pa.array(np.arange(100).astype("timedelta64[ms]")),
        "list": pa.array([[1.0]] * 100),
    }
    for kind, values in kinds.items():
        parquet.write_table(pa.table({"I": np.arange(100.0), "II": values}), tmp_path / "a.parquet")
        with pytest.raises(UserError, match=f"a.parquet: column II holds no plain numbers but values of type .*{kind}"):
            read_ecg(tmp_path / "a.parquet", UNNAMED)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((12, 9), bool), "holds booleans"),
        (np.ones((12, 9), complex), "holds complex numbers"),
        (np.full((12, 9), "1.0"), "holds text"),
        (np.zeros((12, 9), "datetime64[s]"), "holds dates"),
        (
            np.ones((3, 12, 9)),
            r"holds an array of 3 axes; it must be two-dimensional, \(leads, samples\) of one recording",
        ),
    ],
)
def test_arrays_of_no_voltages_say_what_they_hold(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=f"a.npy: {reason}"):
        read_ecg(tmp_path / "a.npy", SignalDeclaration(LEADS, "mV", 500))
