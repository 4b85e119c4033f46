"""Good raw files: recordings and images of every kind, tables, lists."""

from __future__ import annotations

import shutil
from pathlib import Path

from cine_zip_writer import write_cine_zip
from fuzzer import good_ecgs
from raw_file_writers import beating_disc, cardiosoft_xml, sample_counts, write_cine_folder, write_wfdb_record

SHORT = 1500  # samples: three seconds, which '--short pad' takes
CODES = "heart_failure:\n  title: heart failure\n  prefixes: [I50, I11.0]\nstroke:\n  prefixes: [I6]\n"
CLEANING = """steps:
  - fill: {method: line}
  - clip: {deviations: 4}
  - als: {lambda_: 1.0e+7, p: 0.3, solves: 5}
  - bandpass: {low: 0.5, high: 40, order: 2}
  - notch: {frequency: 50, quality: 30}
  - zscore: {groups: leads}
"""


def make_raw(folder: Path) -> None:
    for kind, files in good_ecgs(folder / "made").items():
        (folder / "raw" / kind).mkdir(parents=True)
        for name, content in files.items():
            (folder / "raw" / kind / name).write_bytes(content)
    for kind, files in good_ecgs(folder / "made", SHORT).items():
        place = folder / "ecgs" / kind / "ecg"
        place.mkdir(parents=True)
        for name, content in files.items():
            (place / name).write_bytes(content)
        (place / "z.xml").write_bytes(cardiosoft_xml(sample_counts(1, SHORT)))
        (folder / "ecgs" / kind / "key").write_bytes(bytes(range(32)))
    shutil.rmtree(folder / "made")
    write_cine_folder(folder / "nifti" / "cmr" / "1000000", 0, four_dimensional_labels=True)
    cine, _ = beating_disc(size=16, slices=3, frames=6, centre=(7, 8))
    write_cine_zip(folder / "zip" / "cmr" / "1000000_20209_2_0.zip", cine)
    for kind in ("nifti", "zip"):
        write_cine_folder(folder / kind / "cmr" / "1000001", 1)
        (folder / kind / "key").write_bytes(bytes(range(32)))


def make_lists(folder: Path) -> None:
    """Three short recordings with all lists that a preparation takes."""
    place = folder / "lists"
    (place / "ecg").mkdir(parents=True)
    rows = ["eid,41270-0.0,41280-0.0,24100-2.0,53-2.0"]
    for number in range(3):
        (place / "ecg" / f"100000{number}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(number, SHORT)))
        rows.append(f"100000{number},I500,2012-03-0{number + 1},{120 + number},2015-05-05")
    (place / "table.csv").write_text("\n".join(rows) + "\n")
    (place / "subjects.csv").write_text(
        "file,subject\n" + "".join(f"100000{n}_20205_2_0.xml,100000{n}\n" for n in range(3))
    )
    (place / "withdrawn.csv").write_text("1000001\n1000009\n")
    (place / "codes.yaml").write_text(CODES)
    (place / "cleaning.yaml").write_text(CLEANING)
    (place / "key").write_bytes(bytes(range(32)))


def make_tables(folder: Path) -> None:
    from ecgcmr.synthesis.population import draw_population

    people = draw_population(40, 1)
    place = folder / "tables"
    place.mkdir()
    people.phenotypes.to_csv(place / "phenotypes.csv", index=False)
    people.diagnoses.to_csv(place / "diagnoses.csv", index=False)
    people.diagnoses.to_csv(place / "diagnoses.csv.gz", index=False)
    people.diagnoses.to_parquet(place / "diagnoses.parquet")
    shutil.copytree(folder / "lists" / "ecg", place / "ecg")
    for number, path in enumerate(sorted((place / "ecg").iterdir())):
        path.rename(path.with_name(f"{people.eids[number]}_20205_2_0.xml"))
    (place / "key").write_bytes(bytes(range(32)))


def make_ptbxl(folder: Path) -> None:
    place = folder / "ptbxl" / "ptb"
    header = "ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr\n"
    rows = []
    for number in range(4):
        write_wfdb_record(place / "records500", f"0000{number}_hr", sample_counts(number) * 0.005)
        codes = "{'NORM': 100.0, 'SR': 0.0}" if number % 2 else "{'IMI': 15.0}"
        rows.append(
            f'{number},{20 + number},5{number}.0,{number % 2},"{codes}",{7 + number},records500/0000{number}_hr\n'
        )
    (place / "ptbxl_database.csv").write_text(header + "".join(rows))
    (place / "scp_statements.csv").write_text(
        ",description,diagnostic,diagnostic_class\nNORM,normal ECG,1.0,NORM\nIMI,inferior,1.0,MI\nSR,sinus rhythm,,\n"
    )
    (folder / "ptbxl" / "key").write_bytes(bytes(range(32)))
