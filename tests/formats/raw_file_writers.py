"""Writes small raw files for tests: ECGs of every kind and NIfTI folders, with any defect a test asks for."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
RESOLUTION_UV = 5
SECRET_NAME = "Müller-Geheim"


def sample_counts(seed: int = 0, samples: int = 5000) -> np.ndarray:
    """Integer converter steps (12, samples) that obey Einthoven's and Goldberger's relations exactly."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 500
    beats = np.exp(-(((time * 1.1) % 1.0 - 0.4) ** 2) / 0.0008)
    independent = np.rint(rng.normal(size=(8, 1)) * 40 * beats + rng.normal(size=(8, samples)) * 2).astype(int) * 2
    one, two = independent[:2]
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.stack([*limb, *independent[2:]])


def waveform_text(values: np.ndarray) -> str:
    """Comma-separated integers broken into lines as the device writes them."""
    tokens = [str(value) for value in values]
    return ",\n\t\t\t".join(",".join(tokens[i : i + 50]) for i in range(0, len(tokens), 50))


def cardiosoft_xml(
    counts: np.ndarray | None = None,
    *,
    leads: tuple[str, ...] = LEADS,
    strip: bool = True,
    units: str = "uVperLsb",
    diagnosis: str = "Sinus rhythm",
    doctype: str = "",
    texts: dict[str, str] | None = None,
) -> bytes:
    """A CardioSoft recording; ``texts`` replaces the waveform text of single leads."""
    counts = sample_counts() if counts is None else counts
    waves = "\n".join(
        f'<WaveformData lead="{lead}">\n\t\t\t{(texts or {}).get(lead, waveform_text(values))}\n</WaveformData>'
        for lead, values in zip(leads, counts, strict=True)
    )
    strip_data = f"""<StripData><NumberOfLeads>{len(leads)}</NumberOfLeads><SampleRate units="Hz">500</SampleRate>
<ChannelSampleCountTotal>{counts.shape[1]}</ChannelSampleCountTotal>
<Resolution units="{units}">{RESOLUTION_UV}</Resolution>{waves}</StripData>"""
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>{doctype}
<CardiologyXML><ObservationType>RestECG</ObservationType>
<PatientInfo><PID>1000011</PID><Name><FamilyName>{SECRET_NAME}</FamilyName></Name></PatientInfo>
<Interpretation><Diagnosis><DiagnosisText>{diagnosis}</DiagnosisText></Diagnosis></Interpretation>
<RestingECGMeasurements><MedianSamples><SampleRate units="Hz">500</SampleRate>
<WaveformData lead="I">1,2,3</WaveformData></MedianSamples></RestingECGMeasurements>
{strip_data if strip else ""}</CardiologyXML>""".encode("iso-8859-1")


def write_nifti(path: Path, values: np.ndarray, spacing: float = 1.8) -> None:
    """Write an image with a pixel size in mm."""
    image = nibabel.Nifti1Image(values, np.diag([spacing, spacing, 8.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def beating_disc(size: int = 48, slices: int = 4, frames: int = 8, centre: tuple[int, int] = (20, 28)):
    """A bright cavity in a dark ring that is smallest in frame 3: cine (X, Y, Z, T) int16 and its labels uint8."""
    x, y = np.meshgrid(np.arange(size) - centre[0], np.arange(size) - centre[1], indexing="ij")
    radius = np.hypot(x, y)
    cine = np.zeros((size, size, slices, frames), dtype=np.int16)
    labels = np.zeros(cine.shape, dtype=np.uint8)
    for t in range(frames):
        inner = 9 - 5 * max(0.0, 1 - abs(t - 3) / 3)
        labels[..., t] = np.where(radius < inner, 1, np.where(radius < 12, 2, 0))[:, :, None]
        cine[..., t] = np.array([40, 400, 90])[labels[..., t]]
    return cine, labels


def write_cine_folder(folder: Path, seed: int = 0, *, four_dimensional_labels: bool = False) -> None:
    """A subject's folder in the ukbb_cardiac layout."""
    rng = np.random.default_rng(seed)
    cine, labels = beating_disc()
    cine = (cine + rng.integers(0, 10, cine.shape)).astype(np.int16)
    write_nifti(folder / "sa.nii.gz", cine)
    for name, frame in (("ED", 0), ("ES", 3)):
        write_nifti(folder / f"sa_{name}.nii.gz", cine[..., frame])
        write_nifti(folder / f"seg_sa_{name}.nii.gz", labels[..., frame])
    if four_dimensional_labels:
        write_nifti(folder / "seg_sa.nii.gz", labels)


MUSE_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
MUSE_STEP_UV = 4.88


def independent_counts(seed: int = 0, samples: int = 5000) -> np.ndarray:
    """Integer converter steps (8, samples) of the leads I, II, V1-V6."""
    return sample_counts(seed, samples)[[0, 1, 6, 7, 8, 9, 10, 11]]


def muse_xml(
    counts: np.ndarray | None = None,
    *,
    leads: tuple[str, ...] = MUSE_LEADS,
    kinds: tuple[str, ...] = ("Median", "Rhythm"),
    step: str = str(MUSE_STEP_UV),
    units: str = "MICROVOLTS",
    rate: tuple[str, str] = ("500", "0"),
    statement: str = "Normal ECG",
    doctype: str = '<!DOCTYPE RestingECG SYSTEM "restecg.dtd">',
    extra: str = "",
) -> bytes:
    """A MUSE recording; the averaged beat holds the first 600 samples. ``extra`` goes into every LeadData."""
    counts = independent_counts() if counts is None else counts

    def waveform(kind: str) -> str:
        parts = []
        for lead, values in zip(leads, counts[:, :600] if kind == "Median" else counts, strict=True):
            data = base64.encodebytes(values.astype("<i2").tobytes()).decode("ascii")
            parts.append(f"""<LeadData><LeadByteCountTotal>{2 * len(values)}</LeadByteCountTotal>
<LeadSampleCountTotal>{len(values)}</LeadSampleCountTotal>
<LeadAmplitudeUnitsPerBit>{step}</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>{units}</LeadAmplitudeUnits>
<LeadID>{lead}</LeadID><LeadOffsetFirstSample>0</LeadOffsetFirstSample><LeadSampleSize>2</LeadSampleSize>{extra}
<WaveFormData>
{data}</WaveFormData></LeadData>""")
        return f"""<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>{len(leads)}</NumberofLeads>
<SampleBase>{rate[0]}</SampleBase><SampleExponent>{rate[1]}</SampleExponent>{"".join(parts)}</Waveform>"""

    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
{doctype}
<RestingECG><PatientDemographics><PatientID>1000011</PatientID><PatientLastName>{SECRET_NAME}</PatientLastName>
<DateofBirth>01-02-1950</DateofBirth></PatientDemographics>
<Diagnosis><DiagnosisStatement><StmtText>{statement}</StmtText></DiagnosisStatement></Diagnosis>
{"".join(waveform(kind) for kind in kinds)}</RestingECG>""".encode("iso-8859-1")


def write_muse_xml(path: Path, counts: np.ndarray | None = None, **options: Any) -> None:
    """Write a MUSE recording; options as for ``muse_xml``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(muse_xml(counts, **options))


SCP_CODES = dict(zip(LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))


def dicom_ecg_dataset(
    counts: np.ndarray | None = None,
    *,
    leads: tuple[str, ...] = LEADS,
    sensitivity: float = RESOLUTION_UV,
    factor: float = 1.0,
    baseline: float = 0.0,
    unit: str = "uV",
    rate: float = 500.0,
    naming: str = "SCPECG",
    sample_type: tuple[int, str] = (16, "SS"),
    big_endian: bool = False,
) -> FileDataset:
    """A 12-lead ECG object; ``naming`` tells leads by SCPECG or MDC codes, by their meaning, or by label alone."""
    counts = sample_counts() if counts is None else counts
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = TwelveLeadECGWaveformStorage, "1.2.3.4"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Secret^Person", "1000011", "19500102"
    dataset.SpecificCharacterSet, dataset.Modality = "ISO_IR 100", "ECG"
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = counts.shape
    group.SamplingFrequency = rate
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = sample_type
    group.ChannelDefinitionSequence = [
        _dicom_channel(lead, naming, sensitivity, factor, baseline, unit, sample_type[0]) for lead in leads
    ]
    letter = {"SS": "i", "SL": "i", "SB": "i", "US": "u", "UL": "u", "UB": "u"}.get(sample_type[1], "i")
    dtype = np.dtype(f"{'>' if big_endian else '<'}{letter}{sample_type[0] // 8}")
    group.WaveformData = np.ascontiguousarray(counts.T).astype(dtype).tobytes()
    group["WaveformData"].VR = "OW"
    dataset.WaveformSequence = [group]
    return dataset


def _dicom_channel(
    lead: str, naming: str, sensitivity: float, factor: float, baseline: float, unit: str, bits: int
) -> Dataset:
    channel, source, units = Dataset(), Dataset(), Dataset()
    channel.ChannelLabel = lead if naming == "label" else "channel"
    if naming in ("SCPECG", "MDC"):
        prefix = "5.6.3-9-" if naming == "SCPECG" else "2:"
        source.CodeValue, source.CodingSchemeDesignator = f"{prefix}{SCP_CODES.get(lead, 0)}", naming
        source.CodeMeaning = "something else"
        channel.ChannelSourceSequence = [source]
    elif naming == "meaning":
        source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = "x", "99LOCAL", f"Lead {lead} (limb)"
        channel.ChannelSourceSequence = [source]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = sensitivity, factor
    channel.ChannelBaseline, channel.ChannelSampleSkew = baseline, 0
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit, "UCUM", "a unit"
    channel.ChannelSensitivityUnitsSequence = [units]
    channel.WaveformBitsStored = bits
    return channel


def dicom_bytes(dataset: FileDataset) -> bytes:
    """The bytes of a DICOM file."""
    buffer = BytesIO()
    little = dataset.file_meta.TransferSyntaxUID != ExplicitVRBigEndian
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=little, enforce_file_format=False)
    return buffer.getvalue()


def write_dicom_ecg(path: Path, counts: np.ndarray | None = None, **options: Any) -> None:
    """Write a DICOM ECG; options as for ``dicom_ecg_dataset``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(dicom_ecg_dataset(counts, **options)))


def write_wfdb_record(
    folder: Path,
    name: str = "rec1",
    signal: np.ndarray | None = None,
    *,
    leads: tuple[str, ...] = LEADS,
    unit: str = "mV",
    gain: float = 200.0,
    rate: float = 500.0,
) -> Path:
    """Write a WFDB recording in format 16 with a gain in steps per unit, and return its header's path.

    Args:
        folder: Where.
        name: Of the record.
        signal: (leads, T) in the unit; by default ``sample_counts`` x 5 uV in mV.
        leads: Names.
        unit: Written into the header.
        gain: Converter steps per unit.
        rate: In Hz.
    """
    signal = sample_counts() * RESOLUTION_UV / 1000 if signal is None else signal
    folder.mkdir(parents=True, exist_ok=True)
    steps = np.rint(signal * gain).astype("<i2")
    (folder / f"{name}.dat").write_bytes(np.ascontiguousarray(steps.T).tobytes())
    lines = [f"{name} {len(leads)} {rate:g} {signal.shape[1]}"]
    lines += [f"{name}.dat 16 {gain:g}(0)/{unit} 16 0 {row[0]} {row.sum() % 65536} 0 {lead}" for lead, row in
              zip(leads, steps.astype(int), strict=True)]  # fmt: skip
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / f"{name}.hea"


def write_declaration(folder: Path, *, leads: tuple[str, ...] = LEADS, unit: str = "mV", rate: float = 500.0) -> None:
    """Write the ``ecg.yaml`` that gives bare signals in a folder their meaning."""
    named = f"leads: [{', '.join(leads)}]\n" if leads else ""
    (folder / "ecg.yaml").write_text(f"{named}unit: {unit}\nsampling_rate: {rate:g}\n", encoding="utf-8")


def write_signal_table(
    path: Path, signal: np.ndarray, *, header: tuple[str, ...] | None = LEADS, separator: str = ",", digits: int = 6
) -> None:
    """Write a column per lead; NaN becomes an empty cell."""
    lines = [] if header is None else [separator.join(header)]
    lines += [separator.join("" if np.isnan(value) else f"{value:.{digits}f}" for value in row) for row in signal.T]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
