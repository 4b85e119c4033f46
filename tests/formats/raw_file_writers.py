"""Writes small raw files for tests: CardioSoft XML and NIfTI folders, with any defect a test asks for."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

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
