"""A folder of PTB-XL's layout with the statements of its real table in small, and one of PTB-XL+."""

from __future__ import annotations

from pathlib import Path

from raw_file_writers import sample_counts, write_wfdb_record

# statement, description, diagnostic, form, rhythm, class, subclass
STATEMENTS = (
    ("NORM", "normal ECG", 1, "", "", "NORM", "NORM"),
    ("NDT", "non-diagnostic T abnormalities", 1, 1, "", "STTC", "STTC"),
    ("NST_", "non-specific ST changes", 1, 1, "", "STTC", "NST_"),
    ("IMI", "inferior myocardial infarction", 1, "", "", "MI", "IMI"),
    ("LAFB", "left anterior fascicular block", 1, "", "", "CD", "LAFB/LPFB"),
    ("PVC", "ventricular premature complex", "", 1, "", "", ""),
    ("PRC(S)", "premature complex(es)", "", 1, "", "", ""),
    ("SR", "sinus rhythm", "", "", 1, "", ""),
    ("AFIB", "atrial fibrillation", "", "", 1, "", ""),
)
# ecg_id, patient, age, sex, codes, fold
RECORDS = (
    (1, 11, 50, 0, "{'NORM': 100.0, 'SR': 0.0}", 1),
    (2, 12, 300, 1, "{'IMI': 15.0, 'NST_': 0.0, 'SR': 0.0}", 1),
    (3, 12, 61, 1, "{'AFIB': 0.0, 'PVC': 100.0}", 1),
    (4, 13, 40, 0, "{'LAFB': 50.0}", 2),
    (5, 14, 30, 1, "{'PRC(S)': 100.0}", 3),
    (6, 15, 20, 1, "{'XYZ': 100.0}", 3),
)


def write_ptbxl(root: Path) -> Path:
    """Write the folder and return it."""
    rows = ["ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr"]
    for ecg_id, patient, age, sex, codes, fold in RECORDS:
        name = f"{ecg_id:05d}_hr"
        write_wfdb_record(root / "records500" / "00000", name, sample_counts(ecg_id) * 0.005)
        rows.append(f'{ecg_id},{patient}.0,{age}.0,{sex},"{codes}",{fold},records500/00000/{name}')
    (root / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")
    lines = [",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass"]
    lines += [",".join(f"{cell}.0" if cell == 1 else str(cell) for cell in row) for row in STATEMENTS]
    (root / "scp_statements.csv").write_text("\n".join(lines) + "\n")
    return root


def write_ptbxl_plus(root: Path) -> Path:
    """Write features of two programs: a key in the middle, rows in no order, a recording that is not there."""
    folder = root / "features"
    folder.mkdir(parents=True)
    (folder / "12sl_features.csv").write_text(
        "QRS_Dur_Global,R_Amp_V1,ecg_id,QT_Int_Global\n90,0.3,3,400\n100,0.1,1,380\n,0.2,2,inf\n110,0.5,5,\n"
    )
    (folder / "ecgdeli_features.csv").write_text("ecg_id,QRS_Dur_Global,QRS_Dur_Global_iqr\n1,96,4\n4,120,5\n")
    return root
