"""Folders of collections that ecgbench describes, in their layouts: SPH, LUDB, Chapman (figshare), MedalCare-XL."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from raw_file_writers import sample_counts, write_wfdb_record

from ecgcmr.leads import LEADS


def signal_of(number: int) -> np.ndarray:
    """Return (12, 5000) in mV."""
    return sample_counts(number) * 0.005


def write_sph(root: Path) -> Path:
    """HDF5, a file a record, (leads, time); two records of one patient; codes with modifiers."""
    (root / "records").mkdir(parents=True)
    rows = (("A00001", "1", "S1", 50, "M"), ("A00002", "60+310;147", "S2", 61, "F"), ("A00003", "147", "S2", 61, "F"))
    for number, (name, *_) in enumerate(rows):
        with h5py.File(root / "records" / f"{name}.h5", "w") as file:
            file["ecg"] = signal_of(number).astype(np.float16)
    lines = ["ECG_ID,AHA_Code,Patient_ID,Age,Sex,N,Date"]
    lines += [f"{name},{codes},{patient},{age},{sex},5000,2020-01-02" for name, codes, patient, age, sex in rows]
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    (root / "code.csv").write_text(
        "Category,Code,Description\nA,1,Normal ECG\nE,60,Ventricular premature complex(es)\n"
        "L,147,T-wave abnormality\nModifier,310,Frequent\n"
    )
    return root


def write_ludb(root: Path) -> Path:
    """WFDB with leads in lower case; cells of several lines."""
    leads = tuple(lead.lower() for lead in LEADS)
    for number in (1, 2):
        write_wfdb_record(root / "data", str(number), signal_of(number), leads=leads)
    head = (
        "ID,Sex,Age,Rhythms,Electric axis of the heart,Conduction abnormalities,Extrasystolies,Hypertrophies,"
        "Cardiac pacing,Ischemia,Non-specific repolarization abnormalities,Other states\n"
    )
    rows = [
        '1,"F\n","51\n","Sinus rhythm\n","Electric axis of the heart: left axis deviation\n",,,"LVH\nLAE\n",,,,\n',
        '2,"M\n",">89\n","Atrial fibrillation\n","Electric axis of the heart: normal\n",,,,,,,\n',
    ]
    (root / "ludb.csv").write_text(head + "".join(rows))
    return root


def write_chapman(root: Path) -> Path:
    """CSV with a column a lead, in microvolts."""
    (root / "ECGData").mkdir(parents=True)
    for number, name in enumerate(("MUSE_1", "MUSE_2")):
        text = "\n".join(",".join(str(round(value)) for value in row) for row in signal_of(number).T * 1000)
        (root / "ECGData" / f"{name}.csv").write_text(",".join(LEADS) + "\n" + text + "\n")
    (root / "Diagnostics.csv").write_text(
        "FileName,Rhythm,Beat,PatientAge,Gender,VentricularRate\nMUSE_2,SB,RBBB,59,MALE,52\nMUSE_1,AFIB,NONE,70,FEMALE,110\n"
    )
    return root


def write_medalcare(root: Path) -> Path:
    """Text with a row a lead and no names; the publisher's own split; no table."""
    for number, (pathology, split) in enumerate((("sinus", "train"), ("lbbb", "validation"), ("lbbb", "test"))):
        folder = root / "WP2_largeDataset_Noise" / pathology / split / f"run_0{number}"
        folder.mkdir(parents=True)
        text = "\n".join(",".join(f"{value:.4f}" for value in row) for row in signal_of(number))
        (folder / "1_filtered.csv").write_text(text + "\n")
    return root
