"""Files that the program wrote and reads again, and configs: all of which somebody may have changed."""

from __future__ import annotations

from byte_mutators import BYTES
from fuzz_kind import BOMBS, FIT, HOSTILE, JSON, PARQUET, SAFETENSORS, SHORT_FIT, TORCH, YAML, Kind
from hdf5_mutators import hdf5_entry
from parquet_mutators import many_rows
from text_mutators import TEXT

FIELDS = ("fit.model", "fit.data")
"""What is said to be missing where little is left of a config."""
QUICK = "--resamples 20 --no-figures --out out"


def prepared_kinds() -> list[Kind]:
    raw = "--ecg ecg --cmr cmr --table table.csv --size 16 --shard-size 10 --workers 1 --key-file key --out prepared"
    look = (
        "verify prepared",
        "inspect prepared --no-figures",
        f"fit -c mae.yaml {SHORT_FIT}",
        "verify prepared --quick",
    )
    shard = ("shard-00000.h5", "--data.root", "prepared")
    index = Kind("index.json", "run", "prepared/index.json", JSON, look, weight=16, words=("prepared",), names=True)
    shards = Kind(
        "shard",
        "run",
        "prepared/shards/shard-00000.h5",
        (hdf5_entry, hdf5_entry, *BYTES),
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
    old_shard = Kind("shard-again", "cohort", "prepared/shards/shard-00001.h5", (hdf5_entry, *BYTES), again, weight=3)
    return [index, shards, membership, record, report, old_index, old_shard]


def config_kinds() -> list[Kind]:
    regression = f"fit -c regression.yaml {SHORT_FIT}"
    taken = f"{regression} --model.encoder_weights mae"
    resume = "fit -c mae.yaml --trainer.default_root_dir mae --ckpt_path last"
    test = "test -c regression.yaml --trainer.default_root_dir regression"
    predict = "predict -c regression.yaml --trainer.default_root_dir regression"
    weights = ("encoder_weights", "mae")
    return [
        Kind("fit-config", "run", "mae.yaml", YAML, (FIT,), BOMBS, weight=8, words=FIELDS, names=True),
        Kind(
            "fit-config-downstream", "run", "regression.yaml", YAML, (regression,), weight=6, words=FIELDS, names=True
        ),
        Kind("encoder.yaml", "run", "mae/encoder.yaml", YAML, (taken,), BOMBS, weight=8, words=weights, names=True),
        Kind("encoder.safetensors", "run", "mae/encoder.safetensors", SAFETENSORS, (taken,), weight=8, words=weights),
        Kind("last.ckpt", "run", "mae/last.ckpt", TORCH, (resume,), HOSTILE, weight=8, words=("ckpt_path",)),
        Kind(
            "best.ckpt", "run", "regression/best.ckpt", TORCH, (test, predict), HOSTILE, weight=8, words=("ckpt_path",)
        ),
        Kind(
            "run-config",
            "run",
            "mae/config.yaml",
            YAML,
            ("inspect mae --no-figures", f"fit -c mae/config.yaml {SHORT_FIT}"),
            weight=6,
            words=FIELDS,
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
            BOMBS,
            weight=6,
            names=True,
        ),
        Kind(
            "stage.json",
            "experiment",
            "out/stages/mae/stage.json",
            JSON,
            ("experiment other.yaml --out out --workers 1 --overwrite",),
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


def result_kinds() -> list[Kind]:
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
        Kind(
            "predictions.parquet",
            "predictions",
            "p.parquet",
            PARQUET,
            (evaluate.format("p.parquet"),),
            (many_rows,),
            weight=12,
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
            (compare.format("five", "four"),),
            weight=10,
            words=("five",),
            names=True,
        ),
        Kind(
            "results-experiment",
            "predictions",
            "six/results.json",
            JSON,
            (compare.format("six", "six/../four"),),
            weight=8,
            words=("six",),
            names=True,
        ),
        Kind(
            "signal.pth",
            "weights",
            "signal.pth",
            TORCH,
            ("import-weights signal.pth --out out --heads 2",),
            HOSTILE,
            weight=12,
        ),
        Kind(
            "image.pth",
            "weights",
            "image.pth",
            TORCH,
            ("import-weights image.pth --out out --size 32",),
            HOSTILE,
            weight=8,
        ),
    ]
