from __future__ import annotations

import copy
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit
from raw_file_writers import LEADS, RESOLUTION_UV, dicom_bytes, dicom_ecg_dataset, sample_counts, write_dicom_ecg

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg
from ecgcmr.formats.dicom_ecg import may_hold_waveforms, parse_dicom_ecg

COUNTS = sample_counts(3, 1000)


def changed(**values):
    """A recording whose multiplex group has other values; None removes one."""
    dataset = dicom_ecg_dataset(COUNTS)
    for name, value in values.items():
        if value is None:
            delattr(dataset.WaveformSequence[0], name)
        else:
            setattr(dataset.WaveformSequence[0], name, value)
    return dataset


def with_channel(**values):
    """A recording whose third channel has other values; None removes one."""
    dataset = dicom_ecg_dataset(COUNTS)
    channel = dataset.WaveformSequence[0].ChannelDefinitionSequence[2]
    for name, value in values.items():
        if value is None:
            delattr(channel, name)
        else:
            setattr(channel, name, value)
    return dataset


@pytest.mark.parametrize("naming", ["SCPECG", "MDC", "meaning", "label"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_leads_are_known_by_code_meaning_or_label(naming, big_endian):
    record = parse_dicom_ecg(dicom_bytes(dicom_ecg_dataset(COUNTS, naming=naming, big_endian=big_endian)))
    assert record.leads == LEADS
    assert record.sampling_rate == 500
    np.testing.assert_allclose(record.signal, COUNTS * RESOLUTION_UV / 1000)


@pytest.mark.parametrize("sample_type", [(16, "SS"), (32, "SL"), (16, "US"), (32, "UL")])
def test_sample_types(sample_type):
    counts = np.abs(COUNTS) if sample_type[1].startswith("U") else COUNTS
    record = parse_dicom_ecg(dicom_bytes(dicom_ecg_dataset(counts, sample_type=sample_type)))
    np.testing.assert_allclose(record.signal, counts * RESOLUTION_UV / 1000)


@pytest.mark.parametrize(("unit", "millivolts"), [("uV", 1e-3), ("mV", 1.0), ("V", 1e3), ("nV", 1e-6)])
def test_voltage_is_steps_times_sensitivity_times_factor_plus_baseline(unit, millivolts):
    dataset = dicom_ecg_dataset(COUNTS, sensitivity=0.004, factor=1.25, baseline=-0.5, unit=unit)
    record = parse_dicom_ecg(dicom_bytes(dataset))
    np.testing.assert_allclose(record.signal, (COUNTS * 0.004 * 1.25 - 0.5) * millivolts)


def test_padding_values_are_missing_samples():
    counts = COUNTS.copy()
    counts[4, 10:20] = -32768
    dataset = dicom_ecg_dataset(counts)
    dataset.WaveformSequence[0].add_new(0x5400100A, "OW", b"\x00\x80")
    record = parse_dicom_ecg(dicom_bytes(dataset))
    assert np.flatnonzero(np.isnan(record.signal[4])).tolist() == list(range(10, 20))
    assert np.isnan(record.signal).sum() == 10
    assert "lead aVL lacks 10 of 1000 samples" in record.notes


def test_the_recording_is_chosen_among_the_groups():
    dataset = dicom_ecg_dataset(COUNTS)
    beat = copy.deepcopy(dataset.WaveformSequence[0])
    beat.WaveformOriginality = "DERIVED"
    pressure = copy.deepcopy(dataset.WaveformSequence[0])
    for channel in pressure.ChannelDefinitionSequence:
        channel.ChannelSourceSequence[0].CodeValue = "109018"
    dataset.WaveformSequence = [beat, pressure, dataset.WaveformSequence[0]]
    dataset.WaveformSequence[0].NumberOfWaveformSamples = 500
    assert parse_dicom_ecg(dicom_bytes(dataset)).signal.shape == (12, 1000)


def test_remarks_of_the_device_are_kept():
    record = parse_dicom_ecg(dicom_bytes(with_channel(ChannelStatus="DISCONNECTED")))
    assert "the device marks lead III as disconnected" in record.notes
    dataset = dicom_ecg_dataset(COUNTS)
    dataset.WaveformAnnotationSequence = [pydicom.Dataset()]
    dataset.WaveformAnnotationSequence[0].UnformattedTextValue = "*** POOR DATA QUALITY ***"
    assert "the device reports poor data quality" in parse_dicom_ecg(dicom_bytes(dataset)).notes


def test_a_file_without_preamble_is_read(tmp_path):
    content = dicom_bytes(dicom_ecg_dataset(COUNTS))
    (tmp_path / "a.dcm").write_bytes(content[132:])
    assert read_ecg(tmp_path / "a.dcm").signal.shape == (12, 1000)


def test_the_library_s_own_recording():
    path = get_testdata_file("waveform_ecg.dcm")
    record = read_ecg(path)
    assert record.leads == LEADS
    assert record.signal.shape == (12, 10_000)
    assert record.sampling_rate == 1000
    raw = pydicom.dcmread(path).waveform_array(0)
    np.testing.assert_allclose(record.signal, raw.T / 1000)
    one, two, three = record.signal[:3]
    assert np.abs(three - (two - one)).max() < 0.005


def test_nothing_of_the_person_is_kept_nor_printed(tmp_path):
    write_dicom_ecg(tmp_path / "a.dcm", COUNTS)
    content = (tmp_path / "a.dcm").read_bytes().replace(b"19500102", b"1950SECR")
    (tmp_path / "a.dcm").write_bytes(content)
    program = "import sys; from ecgcmr.formats import read_ecg; print(read_ecg(sys.argv[1]))"
    result = subprocess.run([sys.executable, "-c", program, tmp_path / "a.dcm"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not [text for text in ("Secret", "1000011", "1950") if text in result.stdout + result.stderr]


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (changed(NumberOfWaveformSamples=2_000_000_000), "claims more than"),
        (changed(NumberOfWaveformSamples=1001), "shorter than NumberOfWaveformSamples"),
        (changed(NumberOfWaveformSamples=0), "no samples"),
        (changed(NumberOfWaveformChannels=11), "NumberOfWaveformChannels"),
        (changed(NumberOfWaveformChannels=None), "lacks NumberOfWaveformChannels"),
        (changed(SamplingFrequency=None), "lacks SamplingFrequency"),
        (changed(SamplingFrequency=0), "sampling rate of 0"),
        (changed(WaveformSampleInterpretation="MB"), "companded"),
        (changed(WaveformBitsAllocated=7), "companded"),
        (changed(WaveformData=None), "lacks WaveformData"),
        (with_channel(ChannelSensitivity=None), "lead III lacks ChannelSensitivity"),
        (with_channel(ChannelSensitivity=0), "sensitivity of zero"),
        (with_channel(ChannelSensitivityUnitsSequence=None), "states no unit"),
        (dicom_ecg_dataset(COUNTS, unit="mm[Hg]"), "not a voltage"),
        (dicom_ecg_dataset(COUNTS, sensitivity=1e30), "the unit or the gain is wrong"),
        (dicom_ecg_dataset(COUNTS, leads=(*LEADS[:11], "I")), "lead I twice"),
    ],
)
def test_defects_are_told_in_one_line_with_the_file_name(tmp_path, dataset, reason):
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom_bytes(dataset))
    with pytest.raises(UserError) as caught:
        read_ecg(path)
    message = str(caught.value)
    assert message.startswith("x.dcm: ")
    assert reason in message
    assert "\n" not in message


def test_images_and_cut_files_are_refused(tmp_path):
    path = tmp_path / "x.dcm"
    dataset = dicom_ecg_dataset(COUNTS)
    del dataset.WaveformSequence
    path.write_bytes(dicom_bytes(dataset))
    with pytest.raises(UserError, match=r"x.dcm: is a DICOM file without waveforms"):
        read_ecg(path)
    path.write_bytes(dicom_bytes(dicom_ecg_dataset(COUNTS))[:6000])
    with pytest.raises(UserError, match=r"x.dcm: "):
        read_ecg(path)


@pytest.mark.slow
def test_compressed_syntaxes_are_refused_before_they_are_expanded(tmp_path):
    path = tmp_path / "x.dcm"
    dataset = dicom_ecg_dataset(COUNTS)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    path.write_bytes(dicom_bytes(dataset))
    with pytest.raises(UserError, match="compressed or unknown transfer syntax"):
        read_ecg(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = squeezer.compress(bytes(200 * 2**20)) + squeezer.flush()
    content = dicom_bytes(dataset)
    path.write_bytes(content[: content.index(b"1.2.840.10008.1.2.1.99") + 22] + bomb)
    with pytest.raises(UserError, match="deflated"):
        read_ecg(path)


def test_only_ecg_storage_counts_as_an_ecg():
    content = dicom_bytes(dicom_ecg_dataset(COUNTS))
    assert may_hold_waveforms(content[:8192])
    assert not may_hold_waveforms(content[:8192].replace(b"5.1.4.1.1.9.1", b"5.1.4.1.1.4.1"))


def test_a_channel_that_is_no_lead_does_not_cost_the_recording():
    dataset = dicom_ecg_dataset(np.vstack([COUNTS, COUNTS[:1]]), leads=(*LEADS, "ABP"), naming="label")
    channel = dataset.WaveformSequence[0].ChannelDefinitionSequence[12]
    channel.ChannelSensitivityUnitsSequence[0].CodeValue = "mm[Hg]"
    record = parse_dicom_ecg(dicom_bytes(dataset))
    assert record.leads == LEADS
    np.testing.assert_allclose(record.signal, COUNTS * 0.005, atol=1e-12)
    assert any(note.startswith("channel ABP is left out: unit 'mm[Hg]' is not a voltage") for note in record.notes)


@pytest.mark.parametrize("meaning", ["Lead aVR (inverted)", "-aVR", "aVR, negative", "Lead -aVR"])
def test_a_negated_lead_is_another_lead(meaning):
    dataset = dicom_ecg_dataset(COUNTS, naming="label")
    dataset.WaveformSequence[0].ChannelDefinitionSequence[3].ChannelLabel = meaning
    assert "aVR" not in parse_dicom_ecg(dicom_bytes(dataset)).leads
    coded = dicom_ecg_dataset(COUNTS)
    coded.WaveformSequence[0].ChannelDefinitionSequence[3].ChannelSourceSequence[0].CodeValue = "5.6.3-9-65"
    assert parse_dicom_ecg(dicom_bytes(coded)).leads[3] == "-aVR"
