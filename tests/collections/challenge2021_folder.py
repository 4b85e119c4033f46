"""A folder of PhysioNet Challenge 2021's layout: WFDB headers over MATLAB files, diagnoses in the headers' comments."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from raw_file_writers import sample_counts

from ecgcmr.leads import LEADS

GAIN = 1000
SINUS, LBBB, CLBBB, OTHER = "426783006", "164909002", "733534002", "164861001"
RECORDS = (
    # part, group, name, rate, seconds, age, sex, codes
    ("cpsc_2018", "g1", "A0001", 500, 10, "74", "Male", LBBB),
    ("cpsc_2018", "g1", "A0002", 500, 12, "NaN", "Female", "164889003"),
    ("georgia", "g1", "E00001", 500, 10, "60", "Female", f"{SINUS},{OTHER}"),
    ("georgia", "g2", "E00002", 500, 5, "61", "Unknown", CLBBB),
    ("georgia", "g2", "E00003", 500, 10, "62", "Male", ""),
    ("ptb", "g1", "S0001", 1000, 38, "81", "Female", SINUS),
    ("ptb", "g1", "S0002", 1000, 20, "55", "Male", "39732003"),
    ("ptb-xl", "g1", "HR00001", 500, 10, "56", "Female", SINUS),
    ("st_petersburg_incart", "g1", "I0001", 257, 1800, "68", "Male", "17338001"),
    ("chapman_shaoxing", "g1", "JS00001", 500, 10, "85", "Male", f"164889003,{LBBB}"),
    ("ningbo", "g1", "JS10647", 500, 10, "56", "Male", "426177001"),
)


def write_record(folder: Path, name: str, signal: np.ndarray, rate: float, age: str, sex: str, codes: str) -> Path:
    """Write one recording and return its header.

    Args:
        folder: Where.
        name: Of the record.
        signal: (12, T) in mV.
        rate: In Hz.
        age: As text.
        sex: As text.
        codes: SNOMED CT, joined by commas.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = np.rint(signal * GAIN).astype("<i2")
    head = struct.pack("<5i", 30, *steps.shape, 0, 4) + b"val\0"
    (folder / f"{name}.mat").write_bytes(head + np.ascontiguousarray(steps.T).tobytes())
    lines = [f"{name} 12 {rate:g} {steps.shape[1]} 05-Feb-2020 11:39:16"]
    lines += [
        f"{name}.mat 16+24 {GAIN}/mV 16 0 {row[0]} {row.astype(int).sum() % 65536} 0 {lead}"
        for lead, row in zip(LEADS, steps, strict=True)
    ]
    lines += [f"# Age: {age}", f"# Sex: {sex}", f"# Dx: {codes or 'Unknown'}", "# Rx: Unknown", "# Hx: Unknown"]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.hea"


def signal_of(name: str, samples: int) -> np.ndarray:
    """Return the (12, samples) signal of a record in mV, in whole steps."""
    return sample_counts(sum(name.encode()), min(samples, 5000))[:, np.arange(samples) % 5000] * 0.005


def write_challenge2021(root: Path) -> Path:
    """Write the folder of ``training`` and return it."""
    for part, group, name, rate, seconds, age, sex, codes in RECORDS:
        signal = signal_of(name, int(rate * seconds))
        write_record(root / "training" / part / group, name, signal, rate, age, sex, codes)
    return root


def write_arrhythmia(root: Path) -> Path:
    """Write Chapman-Shaoxing-Ningbo by itself, with its table of names, and return its root."""
    for name, codes in (("JS00001", "164889003,164909002"), ("JS00002", "426177001")):
        write_record(root / "WFDBRecords" / "01" / "010", name, signal_of(name, 5000), 500, "85", "Male", codes)
    text = "Acronym Name,Full Name,Snomed_CT\nAFIB,Atrial Fibrillation,164889003\nSB,Sinus Bradycardia,426177001\n"
    (root / "ConditionNames_SNOMED-CT.csv").write_text(text, encoding="utf-8-sig")
    return root
