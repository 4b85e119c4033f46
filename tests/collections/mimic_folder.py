"""Tiny folders in the layouts of MIMIC-IV-ECG and MIMIC-IV-ECHO; one in the former's layout of any number of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ecgcmr.leads import LEADS
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

STORED = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the leads: aVF before aVL."""
GAIN = 200
NO_SAMPLE = -32768


def write_mimic(
    folder: Path,
    studies: int = 6,
    seed: int = 0,
    *,
    record_list: str = "record_list.csv",
    patients: bool = True,
    hearts: int | None = None,
) -> pd.DataFrame:
    """Write headers, signals and tables.

    Args:
        folder: Where to.
        studies: Number of ECGs, two of each patient.
        seed: Of hearts and tables.
        record_list: Name of the list.
        patients: Whether to write MIMIC-IV's table of patients beside it.
        hearts: Different ECGs; fewer than studies are written again with a shift, which is faster. None for all.

    Returns:
        The list as written, with ``steps``: the row of what ``signals`` holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng([seed, 4])
    subject = 10_000_000 + 37 * (np.arange(studies) // 2)
    study = 40_000_000 + draw.permutation(studies)
    time = pd.Timestamp("2180-05-06 10:00:00") + pd.to_timedelta(draw.integers(0, 900, studies), "D")
    paths = [f"files/p{s // 10000:04d}/p{s}/s{n}/{n}" for s, n in zip(subject, study, strict=True)]
    signals = mimic_steps(studies if hearts is None else min(hearts, studies), seed)
    for row, path in enumerate(paths):
        steps = signals[row % len(signals)]
        write_record(folder / path, np.roll(steps, 7 * (row // len(signals)), axis=1))
    table = pd.DataFrame(
        {
            "subject_id": subject,
            "study_id": study,
            "file_name": study,
            "ecg_time": time.strftime("%Y-%m-%d %H:%M:%S"),
            "path": paths,
        }
    )
    table.to_csv(folder / record_list, index=False)
    measured = pd.DataFrame({"subject_id": subject, "study_id": study, "cart_id": 1, "ecg_time": table["ecg_time"]})
    measured = measured.assign(report_0="Sinus rhythm", report_1="", report_2="Normal ECG")
    measured = measured.assign(**{f"report_{line}": "" for line in range(3, 18)})
    measured = measured.assign(bandwidth="0.005-150 Hz", filtering="60 Hz notch")
    for name, low, high in (("rr_interval", 600, 1200), ("p_onset", 30, 60), ("p_end", 130, 160)):
        measured[name] = draw.integers(low, high, studies)
    for name, low, high in (("qrs_onset", 180, 220), ("qrs_end", 260, 320), ("t_end", 500, 620)):
        measured[name] = draw.integers(low, high, studies)
    for name in ("p_axis", "qrs_axis", "t_axis"):
        measured[name] = draw.integers(-30, 90, studies)
    measured.iloc[::-1].to_csv(folder / "machine_measurements.csv", index=False)
    if patients:
        people = pd.DataFrame({"subject_id": np.unique(subject)})
        people["gender"] = ["M" if i % 2 else "F" for i in range(len(people))]
        people["anchor_age"] = [91 if i == 0 else 50 + i % 30 for i in range(len(people))]
        people["anchor_year"], people["anchor_year_group"], people["dod"] = 2178, "2011 - 2013", ""
        people.to_csv(folder / "patients.csv", index=False)
    return table


def mimic_steps(count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 12, 5000) steps of 5 uV in the standard order of leads."""
    state = sample_states(count, seed)
    microvolts = render_ecgs(state, np.arange(count), np.random.default_rng(seed))
    return np.round(microvolts * GAIN / 1000).astype("<i2")


def write_record(path: Path, steps: np.ndarray) -> None:
    """Write one record: a header and its signals, leads in MIMIC's order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = steps[[LEADS.index(lead) for lead in STORED]]
    ordered.T.astype("<i2").tofile(path.with_name(path.name + ".dat"))
    lines = [f"{path.name} 12 500 {ordered.shape[1]} 10:00:00 06/05/2180"]
    for lead, values in zip(STORED, ordered, strict=True):
        checksum = int(values.astype(np.int64).sum() & 0xFFFF)
        checksum -= 0x10000 if checksum >= 0x8000 else 0
        lines.append(f"{path.name}.dat 16 {GAIN}(0)/mV 16 0 {values[0]} {checksum} 0 {lead}")
    path.with_name(path.name + ".hea").write_text("\n".join(lines) + "\n")


def write_echo(folder: Path, rows: list[dict[str, object]], name: str = "structured_measurement.csv") -> None:
    """Write the long table of measurements.

    Args:
        folder: Where to.
        rows: Each subject_id, measurement_datetime, measurement, result, and what differs from a usual row.
        name: Of the table; packed if it ends with ``.gz``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    usual = {"measurement_id": 1, "test_type": "tte", "measurement_description": "", "unit": ""}
    columns = ["subject_id", "measurement_id", "measurement_datetime", "test_type", "measurement"]
    columns += ["measurement_description", "result", "unit"]
    pd.DataFrame([{**usual, **row} for row in rows])[columns].to_csv(folder / name, index=False)
