"""Writing the synthetic cohort in the formats of UK Biobank: CardioSoft XML, NIfTI folders and CSV tables.

Everything is written as a hospital device or the research platform would name it, so that the readers of
``ecgcmr.formats`` are exercised on the synthetic cohort exactly as on real files. Name and birth date in the XML are
made up. No file holds the time of writing: the same content gives the same bytes.
"""

from __future__ import annotations

import gzip
import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.files import replace_atomically
from ecgcmr.phenotypes import phenotypes as declared_phenotypes
from ecgcmr.shards.layout import LEADS
from ecgcmr.synthesis.phantom import Cine

MICROVOLTS_PER_STEP = 5
"""Resolution of the CardioSoft strips of UK Biobank field 20205."""

_VALUES_PER_LINE = 25
_GZIP_LEVEL = 1  # noise hardly compresses; higher levels take several times as long for a few per cent


def quantise(microvolts: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return recorder steps of 5 microvolts; the shards of a bulk cohort hold what these steps say, too."""
    return np.rint(microvolts / MICROVOLTS_PER_STEP).astype(np.int32)


@dataclass(frozen=True)
class DeviceNotes:
    """What a CardioSoft device notes beside the recording.

    Attributes:
        observed: ``ObservationDateTime`` tags in order.
        person: ``PatientInfo`` tags in order; made up.
        measurements: ``RestingECGMeasurements`` tags in order, written as integers; None leaves a tag out, as the
            device does with a P wave that it cannot find.
    """

    observed: Mapping[str, str | Mapping[str, str]]
    person: Mapping[str, str | Mapping[str, str]]
    measurements: Mapping[str, float | None]


def write_cardiosoft(path: Path, steps: NDArray[np.int32], notes: DeviceNotes, *, sampling_rate: int) -> None:
    """Write one resting ECG as CardioSoft XML (UK Biobank field 20205).

    Args:
        path: ``{eid}_20205_2_0.xml``.
        steps: (12, T) recorder steps in the order I II III aVR aVL aVF V1-V6.
        notes: Who, when and what was measured.
        sampling_rate: In Hz.
    """
    root = ET.Element("CardiologyXML")
    _add(root, "ObservationType", "RestECG")
    _add_all(_add(root, "ObservationDateTime"), notes.observed)
    _add_all(_add(root, "PatientInfo"), notes.person)
    interpretation = _add(root, "Interpretation")
    _add(_add(interpretation, "Diagnosis"), "DiagnosisText", "---")
    resting = _add(root, "RestingECGMeasurements")
    for tag, value in notes.measurements.items():
        if value is not None:
            _add(resting, tag, f"{value:.0f}")
    strip = _add(root, "StripData")
    _add(strip, "NumberOfLeads", str(len(LEADS)))
    _add(strip, "SampleRate", str(sampling_rate), units="Hz")
    _add(strip, "ChannelSampleCountTotal", str(steps.shape[1]))
    _add(strip, "Resolution", str(MICROVOLTS_PER_STEP), units="uVperLsb")
    for lead, values in zip(LEADS, steps.tolist(), strict=True):
        _add(strip, "WaveformData", _waveform(values), lead=lead)
    ET.indent(root, space="\t")
    with replace_atomically(path) as temporary:
        temporary.write_bytes(ET.tostring(root, encoding="ISO-8859-1", xml_declaration=True))


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    child.text = text
    return child


def _add_all(parent: ET.Element, content: Mapping[str, str | Mapping[str, str]]) -> None:
    for tag, value in content.items():
        if isinstance(value, str):
            _add(parent, tag, value)
        else:
            _add_all(_add(parent, tag), value)


def _waveform(values: Sequence[int]) -> str:
    words = [str(value) for value in values]
    lines = [",".join(words[i : i + _VALUES_PER_LINE]) for i in range(0, len(words), _VALUES_PER_LINE)]
    return "\n\t\t\t" + ",\n\t\t\t".join(lines) + "\n\t\t"


def write_cine(folder: Path, cine: Cine) -> None:
    """Write one subject's short axis as ``sa.nii.gz``, ``sa_ED``, ``sa_ES``, ``seg_sa_ED`` and ``seg_sa_ES``."""
    parts: dict[str, NDArray] = {
        "sa_ED": cine.volume[..., 0],
        "sa_ES": cine.volume[..., cine.es_frame],
        "seg_sa_ED": cine.ed_labels,
        "seg_sa_ES": cine.es_labels,
        "sa": cine.volume,
    }
    for name, data in parts.items():
        zooms = cine.spacing_mm if data.ndim == 3 else (*cine.spacing_mm, cine.frame_seconds)
        _write_nifti(folder / f"{name}.nii.gz", data, zooms)


def _write_nifti(path: Path, data: NDArray, zooms: Sequence[float]) -> None:
    image = nib.Nifti1Image(data, np.diag([*zooms[:3], 1.0]))
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", "sec")
    packed = io.BytesIO()
    # No name and no time in the header of the archive.
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=_GZIP_LEVEL, mtime=0) as stream:
        stream.write(image.to_bytes())
    with replace_atomically(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def phenotype_table(
    eids: Sequence[int],
    covariates: Mapping[str, NDArray],
    imaging: Sequence[object],
    phenotypes: NDArray[np.float64],
) -> pd.DataFrame:
    """Lay out ``phenotypes.csv`` with the column names of the research platform's wide export.

    Args:
        eids: Participant numbers.
        covariates: ``sex`` (1 male), ``age`` (years), ``height_cm`` and ``weight_kg``, (N,) each.
        imaging: Day of imaging, ``datetime.date`` or ISO text.
        phenotypes: (N, 82) measured values in column order, NaN = missing.

    Returns:
        Columns eid, 31-0.0, 21003-2.0, 50-2.0, 21002-2.0, 53-2.0, 24100-2.0 ... 24181-2.0.
    """
    table = pd.DataFrame(
        {
            "eid": np.asarray(eids, dtype=np.int64),
            "31-0.0": np.asarray(covariates["sex"]).astype(np.int64),
            "21003-2.0": np.floor(covariates["age"]).astype(np.int64),
            "50-2.0": np.round(covariates["height_cm"], 1),
            "21002-2.0": np.round(covariates["weight_kg"], 1),
            "53-2.0": [str(day) for day in imaging],
        }
    )
    columns = {f"{p.column}-2.0": np.round(phenotypes[:, i], 3) for i, p in enumerate(declared_phenotypes())}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def diagnosis_table(eids: Sequence[int], diagnoses: Sequence[Sequence[tuple[str, object]]]) -> pd.DataFrame:
    """Lay out ``diagnoses.csv``: ICD-10 codes and the dates of their first record, paired by array index.

    Args:
        eids: Participant numbers.
        diagnoses: For each participant, (code, day) pairs, in the order wanted.

    Returns:
        Columns eid, 41270-0.0 ... and 41280-0.0 ...; empty where a participant has fewer diagnoses.
    """
    width = max(1, max((len(pairs) for pairs in diagnoses), default=0))
    padded = [[*pairs, *[("", "")] * (width - len(pairs))] for pairs in diagnoses]
    table: dict[str, object] = {"eid": np.asarray(eids, dtype=np.int64)}
    for part, field in enumerate((41270, 41280)):
        for array in range(width):
            table[f"{field}-0.{array}"] = [str(pairs[array][part]) for pairs in padded]
    return pd.DataFrame(table)


def write_table(path: Path, table: pd.DataFrame, *, significant: int | None = None) -> None:
    """Write a table as CSV; a missing value is an empty field.

    Args:
        path: The file.
        table: What to write.
        significant: Significant digits of fractional numbers; all of them if None.
    """
    digits = None if significant is None else f"%.{significant}g"
    with replace_atomically(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format=digits)
