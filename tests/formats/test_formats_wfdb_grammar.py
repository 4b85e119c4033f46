"""The whole grammar of WFDB headers and every signal format, against the reference library where it copes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import wfdb
from raw_file_writers import LEADS, sample_counts

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg
from ecgcmr.formats.wfdb_samples import BYTES

STEPS = sample_counts(3, 400).astype("<i2")
MILLIVOLTS = STEPS / 1000.0


def write_record(folder, record_line, *, name="E07835", signal_file="E07835.mat", line=None, offset=24):
    """A recording as the PhysioNet Challenge has it: MATLAB version 4, 24 bytes before the samples."""
    head = np.array([30, 12, STEPS.shape[1], 0, 4], "<i4").tobytes() + b"val\0"
    (folder / signal_file).write_bytes(head + np.ascontiguousarray(STEPS.T).tobytes())
    stated = f"+{offset}" if offset else ""
    lines = [
        (line or "{file} 16{offset} 1000.0(0)/mV 16 0 {first} {sum} 0 {lead}").format(
            file=signal_file, offset=stated, first=row[0], sum=int(row.astype(int).sum()) % 65536, lead=lead
        )
        for lead, row in zip(LEADS, STEPS, strict=True)
    ]
    (folder / f"{name}.hea").write_text("\n".join([record_line, *lines, "#Age: 63", "#Dx: 426783006"]) + "\n")
    return folder / f"{name}.hea"


@pytest.mark.parametrize(
    "record_line",
    [
        "E07835.mat 12 500 400 05-May-2020 09:49:17",
        "E07835 12 500 400 05-May-2020 09:49:17",
        "E07835 12 500 400 09:49:17 05/05/2020",
        "E07835 12 500 400 2020-05-05 9:49",
        "E07835 12 500 400 99:99:99.9 yesterday",
        "E07835 12 500 400",
        "E07835 12 500 400.0",
        "E07835 12 500",
        "E07835 12 500 0",
        "E07835 12 500 09:49:17 05/05/2020",
        "E07835 12 500/100(0) 400",
        "E07835 12 500.0/250.0(-12.5) 400 09:49:17",
        "E07835 12 5e2 400",
        "E07835 12 500Hz 400",
        "\ufeffE07835 12 500 400",
        "# a comment\n\n  E07835\t12\t500\t400",
    ],
)
def test_what_a_recording_does_not_need_cannot_cost_it(tmp_path, record_line):
    record = read_ecg(write_record(tmp_path, record_line))
    assert record.leads == LEADS
    assert record.sampling_rate == 500
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert [note for note in record.notes if "lasts" not in note] == []


@pytest.mark.parametrize(
    "line",
    [
        "{file} 16{offset} 1000/mV 16 0 {first} {sum} 0 {lead}",
        "{file} 16{offset} 1e3(0)/mV 16 0 {first} {sum} 0 {lead}",
        "{file} 16x1:0{offset} 1(0)/uV 16 0 {first} {sum} 0 {lead}",
        "{file}\t16{offset}\t1000(0)/mV\t16\t0\t{first}\t{sum}\t0\tECG lead {lead}",
        "{file} 16{offset} 1000/mV {lead}",
        "{file} 16{offset} 1000(0.0)/mV 16 0 {lead}",
    ],
)
def test_short_and_long_signal_lines(tmp_path, line):
    record = read_ecg(write_record(tmp_path, "E07835 12 500 400", line=line))
    assert record.leads == LEADS
    np.testing.assert_allclose(record.signal, MILLIVOLTS, atol=1e-12)


def test_the_zero_of_the_converter_is_the_baseline_unless_one_is_stated(tmp_path):
    record = read_ecg(
        write_record(tmp_path, "E07835 12 500 400", line="{file} 16{offset} 1000/mV 16 100 0 {sum} 0 {lead}")
    )
    np.testing.assert_allclose(record.signal, (STEPS - 100) / 1000.0, atol=1e-12)
    line = "{file} 16{offset} 1000(-7)/mV 16 100 0 {sum} 0 {lead}"
    record = read_ecg(write_record(tmp_path, "E07835 12 500 400", line=line))
    np.testing.assert_allclose(record.signal, (STEPS + 7) / 1000.0, atol=1e-12)


def test_a_matlab_file_whose_head_the_header_forgets(tmp_path):
    record = read_ecg(write_record(tmp_path, "E07835 12 500 400", offset=0))
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert any("MATLAB" in note for note in record.notes)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (np.array([0, 12, 400, 0, 4], "<i4").tobytes() + b"val\0", "does not hold the integers of format 16"),
        (np.array([20, 12, 400, 0, 4], "<i4").tobytes() + b"val\0", "does not hold the integers of format 16"),
        (b"MATLAB 5.0 MAT-file, Platform", "cannot be read as a MATLAB file"),
    ],
)
def test_matlab_files_of_another_type_are_not_read_as_integers(tmp_path, head, reason):
    header = write_record(tmp_path, "E07835 12 500 400")
    path = tmp_path / "E07835.mat"
    path.write_bytes(head + path.read_bytes()[len(head) :])
    with pytest.raises(UserError, match=f"E07835.hea: .*{reason}"):
        read_ecg(header)


@pytest.mark.parametrize(
    ("record_line", "reason"),
    [
        ("E07835 12 500,5 400", "no sampling rate"),
        ("E07835 12 fast 400", "no sampling rate"),
        ("E07835 12", "no sampling rate"),
        ("E07835/3 12 500 400", "several segments"),
        ("E07835 12 500 1000000000000", "claims more than"),
        ("E07835 12 500 4000", "shorter than the header says"),
    ],
)
def test_what_a_recording_needs_is_not_guessed(tmp_path, record_line, reason):
    with pytest.raises(UserError, match=f"E07835.hea: .*{reason}"):
        read_ecg(write_record(tmp_path, record_line))


def test_each_signal_is_moved_by_its_skew(tmp_path):
    content = np.arange(300, dtype="<i2").tobytes()
    signal = read_ecg(write_bytes_record(tmp_path, "16", [(1, 0), (1, 4), (1, 1)], 100, content)).signal
    for lead, skew in enumerate((0, 4, 1)):
        expected = (np.arange(lead, 300, 3) - 3) / 2e6
        np.testing.assert_allclose(signal[lead, : 100 - skew], expected[skew:])
        assert np.isnan(signal[lead, 100 - skew :]).all()


@pytest.mark.parametrize("gain", ["0/mV", "0(0)/mV", "", "mV", "nan/mV"])
def test_a_lead_without_gain_has_no_voltage(tmp_path, gain):
    header = write_record(tmp_path, "E07835 12 500 400")
    header.write_text(header.read_text().replace("1000.0(0)/mV", gain, 1))
    with pytest.raises(
        UserError, match=r"without a gain \(I\), so that its voltage is unknown; write the steps per mV"
    ):
        read_ecg(header)


def test_signals_that_are_no_leads_do_not_cost_the_recording(tmp_path):
    header = write_record(tmp_path, "E07835 12 500 400")
    lines = header.read_text().splitlines()
    lines[0] = "E07835 14 500 400"
    lines[13:13] = ["abp.dat 16 100(0)/mmHg 16 0 0 0 0 ABP", "~ 0 200/mV 12 0 0 0 0 MCL"]
    header.write_text("\n".join(lines) + "\n")
    record = read_ecg(header)  # abp.dat need not even be there
    assert record.leads == LEADS
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    left_out = [note for note in record.notes if "left out" in note]
    assert len(left_out) == 2
    assert left_out[0].startswith("signal ABP is left out: unit 'mmHg' is not a voltage")


def test_signals_without_names_are_reported_as_such(tmp_path):
    line = "{file} 16{offset} 1000(0)/mV 16 0 {first} {sum} 0"
    with pytest.raises(UserError, match="does not name its 12 signals"):
        read_ecg(write_record(tmp_path, "E07835 12 500 400", line=line))
    header = write_record(tmp_path, "E07835 12 500 400")
    header.write_text(header.read_text().replace(" V5\n", "\n").replace(" V6\n", "\n"))
    assert read_ecg(header).leads == (*LEADS[:10], "unnamed 11", "unnamed 12")


# --- formats ----------------------------------------------------------------------------------------------------------


def write_bytes_record(folder, kind, layouts, frames, content, initial=0):
    """A header of signals with the given samples in a frame and skew, over any bytes."""
    width = sum(per_frame for per_frame, _ in layouts)
    (folder / "r.dat").write_bytes(content[: math.ceil(frames * width * BYTES[kind] - 1e-6)])
    lines = [f"r {len(layouts)} 100 {frames}"]
    lines += [f"r.dat {kind}x{n}:{skew} 2e6(3)/mV 12 0 {initial} 0 0 s{i}" for i, (n, skew) in enumerate(layouts)]
    (folder / "r.hea").write_text("\n".join(lines) + "\n")
    return folder / "r.hea"


@pytest.mark.parametrize("kind", list(BYTES))
@pytest.mark.parametrize("layouts", [[(1, 0)] * 3, [(1, 0), (1, 4), (1, 4)], [(2, 0)] * 2])
def test_every_format_is_decoded_as_by_the_reference_library(tmp_path, kind, layouts):
    if kind == "8" and layouts[1][1]:
        pytest.skip("the library fails where a signal of this format has a skew")
    frames = 60  # whole groups of every format
    content = np.random.default_rng(0).bytes(60 * 4 * 4)
    if kind == "311":  # the library reads a padding bit of this format into the sample
        content = (np.frombuffer(content, "<u4") & 0x3FFFFFFF).tobytes()
    header = write_bytes_record(tmp_path, kind, layouts, frames, content, initial=17)
    expected = wfdb.rdrecord(str(tmp_path / "r"), physical=True, smooth_frames=False).e_p_signal
    record = read_ecg(header)
    assert record.sampling_rate == 100 * layouts[0][0]
    for found, known in zip(record.signal, expected, strict=True):
        np.testing.assert_array_equal(found, known)


def test_leads_of_different_rates_come_at_the_lowest(tmp_path):
    content = np.arange(300, dtype="<i2").tobytes()
    record = read_ecg(write_bytes_record(tmp_path, "16", [(1, 0), (2, 0)], 100, content))
    assert record.sampling_rate == 100
    np.testing.assert_allclose(record.signal[0], (np.arange(0, 300, 3) - 3) / 2e6)
    np.testing.assert_allclose(record.signal[1], (np.arange(0, 300, 3) + 1.5 - 3) / 2e6)
    assert any("averaged" in note for note in record.notes)
