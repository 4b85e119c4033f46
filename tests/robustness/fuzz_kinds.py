"""Every kind of file that a user can hand in: the good file, how mutants are made, and the commands that read them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import container_mutators as within
import numpy as np
from byte_mutators import BYTES, Mutator, one_or_more
from cine_zip_writer import write_zip
from cmr_fuzzer import NIFTI_DAMAGE, ZIP_CONTENTS
from document_mutators import alias_bomb, json_node, json_text, merged_bomb, yaml_node, yaml_text
from fuzzer import CRAFTED, DECLARATIONS, whole
from text_mutators import TEXT

YAML = (yaml_node, yaml_node, yaml_node, yaml_text, alias_bomb, merged_bomb, *TEXT, *BYTES)
JSON = (json_node, json_node, json_node, json_text, *TEXT, *BYTES)
TORCH = (within.torch_entry, within.torch_tensor, within.torch_tensor, *within.ZIP)
SAFETENSORS = (within.safetensors_header, within.safetensors_values, *BYTES)
PARQUET = (within.parquet_column, within.parquet_column, *BYTES)


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: What it is called, and what its random draws are keyed by.
        seed: Folder of the good files; a mutant is a copy of it with one file changed.
        target: That file, within the folder.
        mutators: One of them, now and then several, is applied.
        commands: Commands that read the file, run within the folder; taken in turns.
        crafted: Changes thought out by hand; every second mutant is one of them until there are no more.
        weight: How many of the mutants, relative to other kinds; less for what takes long.
        words: What an error may name beside the file itself, its folder and, of a document, its fields.
        goes_on: Whether one damaged file must not stop the command: it is listed, and the exit code is 0.
        names: Whether fields named in the good file count as naming what is wrong.
    """

    name: str
    seed: str
    target: str
    mutators: tuple[Mutator, ...]
    commands: tuple[str, ...]
    crafted: tuple[Mutator, ...] = ()
    weight: int = 4
    words: tuple[str, ...] = ()
    goes_on: bool = False
    names: bool = False

    def mutant(self, content: bytes, seed: int, number: int) -> bytes:
        """Return the content of one mutant: the same for the same seed and number, whatever else is made."""
        rng = self.random(seed, number)
        if number % 2 == 0 and number // 2 < len(self.crafted):
            return self.crafted[number // 2](content, rng)
        return one_or_more(self.mutators)(content, rng)

    def random(self, seed: int, number: int) -> np.random.Generator:
        """The draws of one mutant."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode()), number])

    def command(self, number: int) -> list[str]:
        """The words after ``ecgcmr`` for one mutant."""
        return self.commands[number % len(self.commands)].split()


PREPARE = "prepare --out out --key-file key --workers 1 --short pad --no-beats --size 16"
ECG_FILES = {
    "cardiosoft": "a.xml",
    "muse": "a.xml",
    "dicom": "a.dcm",
    "wfdb": "rec1.hea",
    "csv": "a.csv",
    "npy": "a.npy",
    "parquet": "a.parquet",
}
_OF_ECG = {"npy": (within.npy_array, *BYTES), "parquet": PARQUET, "dicom": BYTES}
_FIT = (
    "--trainer.default_root_dir out --trainer.max_steps 1 --trainer.limit_val_batches 1 "
    "--trainer.num_sanity_val_steps 0"
)
FIT = f"fit -c mae.yaml {_FIT}"
QUICK = "--resamples 20 --no-figures --out out"


def _ecg_kinds() -> list[Kind]:
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


def _cmr_kinds() -> list[Kind]:
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
    made.append(Kind("cine-zip", "zip", f"cmr/{file}", within.ZIP, (f"inspect cmr/{file} --no-figures",), crafted, 12))
    made.append(Kind("cohort-cine-zip", "zip", f"cmr/{file}", within.ZIP, (many,), crafted[:10], 4, goes_on=True))
    return made


def _table_kinds() -> list[Kind]:
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


def _prepared_kinds() -> list[Kind]:
    raw = "--ecg ecg --cmr cmr --table table.csv --size 16 --shard-size 10 --workers 1 --key-file key --out prepared"
    look = ("verify prepared", "inspect prepared --no-figures", f"fit -c mae.yaml {_FIT}", "verify prepared --quick")
    shard = ("shard-00000.h5", "--data.root", "prepared")
    index = Kind("index.json", "run", "prepared/index.json", JSON, look, weight=16, words=("prepared",), names=True)
    shards = Kind(
        "shard",
        "run",
        "prepared/shards/shard-00000.h5",
        (within.hdf5_entry, within.hdf5_entry, *BYTES),
        look,
        weight=20,
        words=shard,
    )
    again = (f"prepare {raw}",)
    membership = Kind("membership.json", "cohort", "prepared/shards/membership.json", JSON, again, weight=4, names=True)
    record = Kind("shard-record", "cohort", "prepared/shards/shard-00001.json", JSON, again, weight=4, names=True)
    report = Kind("report.json", "cohort", "prepared/report.json", JSON, again, weight=2, names=True)
    old_index = Kind(
        "index.json-again", "cohort", "prepared/index.json", JSON, again, weight=4, words=("prepared",), names=True
    )
    old_shard = Kind(
        "shard-again", "cohort", "prepared/shards/shard-00001.h5", (within.hdf5_entry, *BYTES), again, weight=3
    )
    return [index, shards, membership, record, report, old_index, old_shard]


def _config_kinds() -> list[Kind]:
    regression = f"fit -c regression.yaml {_FIT}"
    taken = f"{regression} --model.encoder_weights mae"
    resume = "fit -c mae.yaml --trainer.default_root_dir mae --ckpt_path last"
    test = "test -c regression.yaml --trainer.default_root_dir regression"
    predict = "predict -c regression.yaml --trainer.default_root_dir regression"
    weights = ("encoder_weights", "mae")
    return [
        Kind("fit-config", "run", "mae.yaml", YAML, (FIT,), weight=8, names=True),
        Kind("fit-config-downstream", "run", "regression.yaml", YAML, (regression,), weight=6, names=True),
        Kind("encoder.yaml", "run", "mae/encoder.yaml", YAML, (taken,), weight=8, words=weights, names=True),
        Kind("encoder.safetensors", "run", "mae/encoder.safetensors", SAFETENSORS, (taken,), weight=8, words=weights),
        Kind("last.ckpt", "run", "mae/last.ckpt", TORCH, (resume,), weight=8, words=("ckpt_path",)),
        Kind("best.ckpt", "run", "regression/best.ckpt", TORCH, (test, predict), weight=8, words=("ckpt_path",)),
        Kind(
            "run-config",
            "run",
            "mae/config.yaml",
            YAML,
            ("inspect mae --no-figures", f"fit -c mae/config.yaml {_FIT}"),
            weight=6,
            names=True,
        ),
        Kind(
            "metrics.json",
            "run",
            "regression/metrics.json",
            JSON,
            (test, "inspect regression --no-figures"),
            weight=4,
            names=True,
        ),
        Kind(
            "experiment",
            "plan",
            "trial.yaml",
            YAML,
            ("experiment trial.yaml --out out --workers 1",),
            weight=6,
            names=True,
        ),
        Kind(
            "stage.json",
            "experiment",
            "out/stages/mae/stage.json",
            JSON,
            ("experiment other.yaml --out out --workers 1",),
            weight=1,
        ),
        Kind(
            "experiment.json",
            "experiment",
            "out/stage.json",
            JSON,
            ("experiment trial.yaml --out out --workers 1",),
            weight=3,
        ),
    ]


def _result_kinds() -> list[Kind]:
    evaluate = "evaluate --predictions {} " + QUICK
    compare = "compare {} {} --resamples 20 --out out"
    return [
        Kind(
            "predictions.csv",
            "predictions",
            "p.csv",
            (*TEXT, *BYTES),
            (evaluate.format("p.csv"),),
            weight=8,
            names=True,
        ),
        Kind("predictions.parquet", "predictions", "p.parquet", PARQUET, (evaluate.format("p.parquet"),), weight=12),
        Kind(
            "predictions.npz",
            "predictions",
            "one/predictions/a.npz",
            (within.npz_array, within.npz_array, *within.ZIP),
            (compare.format("one", "two"),),
            weight=10,
            words=("one",),
        ),
        Kind(
            "compared.csv",
            "predictions",
            "three/predictions.csv",
            (*TEXT, *BYTES),
            (compare.format("three", "four"),),
            weight=4,
            words=("three",),
        ),
        Kind(
            "results.json",
            "predictions",
            "five/results.json",
            JSON,
            (compare.format("five", "one"),),
            weight=10,
            words=("five",),
            names=True,
        ),
        Kind(
            "results-experiment",
            "predictions",
            "six/results.json",
            JSON,
            (compare.format("six", "six/../one"),),
            weight=8,
            words=("six",),
            names=True,
        ),
        Kind(
            "signal.pth", "weights", "signal.pth", TORCH, ("import-weights signal.pth --out out --heads 2",), weight=12
        ),
        Kind("image.pth", "weights", "image.pth", TORCH, ("import-weights image.pth --out out --size 32",), weight=8),
    ]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (*_ecg_kinds(), *_cmr_kinds(), *_table_kinds(), *_prepared_kinds(), *_config_kinds(), *_result_kinds())
}


def share(count: int, kinds: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Give ``count`` mutants to the kinds by their weights, at least one each, and return (kind, number) of all."""
    chosen = [KINDS[name] for name in kinds or KINDS]
    total = sum(kind.weight for kind in chosen)
    bounds = np.cumsum([0, *(kind.weight for kind in chosen)]) * count / total
    numbers = np.maximum(1, np.diff(np.rint(bounds).astype(int)))
    return [(kind.name, number) for kind, most in zip(chosen, numbers, strict=True) for number in range(most)]
