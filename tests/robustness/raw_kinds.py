"""Raw files: recordings, images, tables of participants, and the lists that a preparation takes."""

from __future__ import annotations

import numpy as np
from array_mutators import npy_array
from byte_mutators import BYTES, Mutator
from cine_zip_writer import write_zip
from cmr_fuzzer import NIFTI_DAMAGE, ZIP_CONTENTS
from fuzz_kind import PARQUET, PREPARE, YAML, Kind
from fuzzer import CRAFTED, DECLARATIONS, whole
from text_mutators import TEXT
from zip_mutators import ZIP

ECG_FILES = {
    "cardiosoft": "a.xml",
    "muse": "a.xml",
    "dicom": "a.dcm",
    "wfdb": "rec1.hea",
    "csv": "a.csv",
    "npy": "a.npy",
    "parquet": "a.parquet",
}
_OF_ECG: dict[str, tuple[Mutator, ...]] = {"npy": (npy_array, *BYTES), "parquet": PARQUET, "dicom": BYTES}


def ecg_kinds() -> list[Kind]:
    made = []
    for kind, file in ECG_FILES.items():
        mutators = _OF_ECG.get(kind, (*TEXT, *BYTES))
        inspect = f"inspect {file} --no-figures"
        made.append(Kind(f"ecg-{kind}", f"raw/{kind}", file, mutators, (inspect,), tuple(CRAFTED.get(kind, ())), 9))
        many = (f"{PREPARE} --ecg ecg",)
        made.append(Kind(f"cohort-{kind}", f"ecgs/{kind}", f"ecg/{file}", mutators, many, (), 4, goes_on=True))
    signal = ("inspect rec1.hea --no-figures",)
    made.append(Kind("wfdb-signal", "raw/wfdb", "rec1.dat", BYTES, signal, weight=4, words=("rec1.hea",)))
    for kind in ("npy", "csv"):
        declared = (f"inspect {ECG_FILES[kind]} --no-figures",)
        crafted = tuple(whole(text) for text in DECLARATIONS) if kind == "npy" else ()
        words = (ECG_FILES[kind],)
        made.append(
            Kind(f"declaration-{kind}", f"raw/{kind}", "ecg.yaml", YAML, declared, crafted, 6, words, names=True)
        )
    declared = (f"{PREPARE} --ecg ecg --declare ecg/ecg.yaml",)
    made.append(Kind("declaration-given", "ecgs/npy", "ecg/ecg.yaml", YAML, declared, weight=5, names=True))
    return made


def _zip_of(make: object) -> Mutator:
    def change(content: bytes, rng: np.random.Generator) -> bytes:
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            return write_zip(Path(folder) / "a.zip", make(rng)).read_bytes()  # type: ignore[operator]

    return change


def cmr_kinds() -> list[Kind]:
    look, many = "inspect cmr/1000000 --no-figures", f"{PREPARE} --cmr cmr"
    made = []
    for file in ("sa.nii.gz", "sa_ED.nii.gz", "seg_sa_ES.nii.gz"):
        kind = file.split(".")[0]
        words = ("1000000",)
        made.append(Kind(f"nifti-{kind}", "nifti", f"cmr/1000000/{file}", BYTES, (look,), NIFTI_DAMAGE, 8, words))
        made.append(
            Kind(
                f"cohort-nifti-{kind}",
                "nifti",
                f"cmr/1000000/{file}",
                BYTES,
                (many,),
                NIFTI_DAMAGE[:5],
                3,
                goes_on=True,
            )
        )
    file = "1000000_20209_2_0.zip"
    crafted = tuple(_zip_of(make) for make in ZIP_CONTENTS)
    made.append(Kind("cine-zip", "zip", f"cmr/{file}", ZIP, (f"inspect cmr/{file} --no-figures",), crafted, 12))
    made.append(Kind("cohort-cine-zip", "zip", f"cmr/{file}", ZIP, (many,), crafted[:10], 4, goes_on=True))
    return made


def table_kinds() -> list[Kind]:
    made = []
    for file, mutators in (
        ("phenotypes.csv", (*TEXT, *BYTES)),
        ("diagnoses.csv", (*TEXT, *BYTES)),
        ("diagnoses.csv.gz", BYTES),
        ("diagnoses.parquet", PARQUET),
    ):
        commands = (f"inspect {file}", f"{PREPARE} --ecg ecg --table {file}")
        made.append(Kind(f"table-{file}", "tables", file, mutators, commands, weight=8))
    for file in ("ptbxl_database.csv", "scp_statements.csv"):
        commands = ("inspect ptb", f"{PREPARE} --ecg ptb")
        made.append(
            Kind(f"ptbxl-{file.split('_')[0]}", "ptbxl", f"ptb/{file}", (*TEXT, *BYTES), commands, weight=6, names=True)
        )
    base = f"{PREPARE} --ecg ecg --table table.csv"
    for option, file, mutators in (
        ("--subjects", "subjects.csv", (*TEXT, *BYTES)),
        ("--withdrawn", "withdrawn.csv", (*TEXT, *BYTES)),
        ("--codes", "codes.yaml", YAML),
        ("--cleaning", "cleaning.yaml", YAML),
        ("--key-file", "key", BYTES),
    ):
        weight = 6 if mutators == YAML else 5
        kind = Kind(
            f"list{option}", "lists", file, mutators, (f"{base} {option} {file}",), (), weight, (option,), names=True
        )
        made.append(kind)
    return made
