"""Every command that writes: what it is given, and how to tell whether what it left is whole, old, new or a mixture."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Content = dict[str, str]
"""Path within the results -> what is to be equal: a checksum, or the numbers without those of time."""

_TIMED = ("tensorboard",)
RATES = {"bench.json"}
"""Files of timings: the same command gives the same keys, not the same numbers."""


@dataclass(frozen=True)
class Drilled:
    """One command.

    Attributes:
        name: How the table calls it.
        seed: Folder of the good files (``drill_material``) that is copied to where the command runs.
        words: The command, run within the copy; ``disk/out`` is where it writes.
        check: Given ``disk/out`` after a fault: what is wrong with what lies there, or nothing.
        before: Commands that make the old state in ``disk/out``, run once, undisturbed.
        again: Words tried in turn to go on after a fault; the first that ends with 0 counts.
        points: Places in its course at which a signal comes, for each signal.
        one_writer: Whether a second writer must be refused while the first is at work.
        files: What of ``disk/out`` is compared with the undisturbed result; everything if empty.
        anew: Whether it is run in an interpreter of its own, imports and worker processes included.
    """

    name: str
    seed: str
    words: str
    check: Callable[[Path], str]
    before: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    points: int = 3
    one_writer: bool = False
    files: tuple[str, ...] = ()
    anew: bool = False

    def repeats(self) -> tuple[str, ...]:
        """What is tried after a fault."""
        return self.again or (self.words,)


def content(out: Path, files: tuple[str, ...] = ()) -> Content:
    """What is to be equal between an undisturbed run and one that went on after a fault."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        wanted = not files or any(path.match(pattern) for pattern in files)
        if path.is_file() and wanted and not any(part in _TIMED for part in path.parts) and path.suffix != ".lock":
            found[name] = ",".join(json.loads(path.read_text())) if path.name in RATES else _checksum(path)
    return found


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def leftovers(out: Path) -> list[str]:
    """Temporary files that somebody left."""
    return sorted(
        p.relative_to(out).as_posix() for p in out.rglob("*") if p.name.endswith((".tmp", ".part", ".unfinished"))
    )


def readable(out: Path) -> str:
    """What of all files there cannot be read as what its name says, whoever wrote it."""
    for path in sorted(out.rglob("*")):
        reader = _READERS.get(path.suffix)
        if path.is_file() and reader is not None and ".tmp" not in path.name:
            try:
                reader(path)
            except Exception as error:  # whatever the reader of a cut file raises
                return f"{path.relative_to(out)}: {type(error).__name__}"
    return ""


def _png(path: Path) -> None:
    if b"IEND" not in path.read_bytes()[-16:]:
        raise ValueError("cut")


def _checkpoint(path: Path) -> None:
    import torch

    torch.load(path, map_location="cpu", weights_only=True)


def _safetensors(path: Path) -> None:
    from safetensors.numpy import load

    load(path.read_bytes())


def _npz(path: Path) -> None:
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        _ = [file[name] for name in file.files]


def _parquet(path: Path) -> None:
    from pyarrow import parquet

    parquet.read_table(io.BytesIO(path.read_bytes()))


def _yaml(path: Path) -> None:
    import yaml

    if yaml.safe_load(path.read_text()) is None:
        raise ValueError("empty")


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".yaml": _yaml,
    ".png": _png,
    ".ckpt": _checkpoint,
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".parquet": _parquet,
}


def cohort(out: Path) -> str:
    """A cohort is whole, or not there, or its fault is seen by ``verify``."""
    problem = readable(out)
    if problem or not (out / "index.json").is_file():
        return problem
    code, text = quiet("verify", out)
    seen = code == 2 and "prepare" in text
    return "" if code == 0 or seen else f"verify: {text[:200]}"


def run_folder(out: Path) -> str:
    """Checkpoints load, and an encoder that lies there can be taken."""
    problem = readable(out)
    if not problem and (out / "encoder.yaml").is_file():
        from ecgcmr.encoders import load_encoder
        from ecgcmr.errors import UserError

        try:
            load_encoder(out)
        except UserError as error:
            return str(error) if "checksum" not in str(error) else ""
    return problem


def quiet(*words: object) -> tuple[int, str]:
    """Exit code and output of a command, run in this process."""
    from ecgcmr.cli import main

    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = main([str(word) for word in words])
    return code, " ".join(out.getvalue().split())


_PREPARE = "prepare --out disk/out --key-file key --workers 1 --size 16 --shard-size 3 --ecg ecg --cmr cmr"
_FIT = "fit -c mae.yaml --trainer.default_root_dir disk/out"
_OLD_FIT = "fit -c regression.yaml --trainer.default_root_dir disk/out"
_OF_RUN = "-c regression.yaml --trainer.default_root_dir disk/out"
_FITTED = ("encoder.safetensors", "metrics.json")

DRILLED: tuple[Drilled, ...] = (
    Drilled(
        "synthesize (shards)",
        "empty",
        "synthesize --subjects 8 --seed 5 --out disk/out --shard-size 3 --size 16 --workers 1",
        cohort,
        one_writer=True,
    ),
    Drilled(
        "synthesize (raw)",
        "empty",
        "synthesize --subjects 3 --seed 5 --out disk/out --format raw --slices 3 --frames 4 --workers 1",
        readable,
        one_writer=True,
    ),
    Drilled("prepare", "prepare", f"{_PREPARE} --table table.csv", cohort, points=4, one_writer=True),
    Drilled(
        "prepare (2 workers)",
        "prepare",
        f"{_PREPARE.replace('workers 1', 'workers 2')} --table table.csv",
        cohort,
        points=3,
        one_writer=True,
        anew=True,
    ),
    Drilled(
        "prepare (other labels)",
        "prepare",
        f"{_PREPARE} --table other.csv",
        cohort,
        before=(f"{_PREPARE} --table table.csv",),
        points=4,
        one_writer=True,
    ),
    Drilled(
        "prepare --withdrawn",
        "prepare",
        "prepare --out disk/out --key-file key --withdrawn withdrawn.csv",
        cohort,
        before=(f"{_PREPARE} --table table.csv",),
        one_writer=True,
    ),
    Drilled(
        "fit",
        "fit",
        _FIT,
        run_folder,
        again=(f"{_FIT} --ckpt_path last", _FIT, f"{_FIT} --overwrite"),
        points=5,
        one_writer=True,
        files=_FITTED,
    ),
    Drilled(
        "fit (over an older run)",
        "fit",
        f"{_FIT} --overwrite",
        run_folder,
        before=(_OLD_FIT,),
        again=(f"{_FIT} --ckpt_path last", f"{_FIT} --overwrite"),
        points=4,
        one_writer=True,
        files=_FITTED,
    ),
    Drilled("test", "fit", f"test {_OF_RUN}", run_folder, before=(_OLD_FIT,), files=("metrics.json",)),
    Drilled(
        "predict",
        "fit",
        f"predict {_OF_RUN}",
        run_folder,
        before=(_OLD_FIT, f"predict {_OF_RUN} --data.predict_split val"),
        files=("predictions.npz",),
    ),
    Drilled(
        "experiment",
        "experiment",
        "experiment trial.yaml --out disk/out --workers 1",
        readable,
        points=3,
        one_writer=True,
        files=("results.json", "encoder.safetensors", "stage.json"),
    ),
    Drilled(
        "evaluate",
        "predictions",
        "evaluate --predictions p.parquet --out disk/out --resamples 40 --overwrite",
        readable,
        before=("evaluate --predictions p.parquet --out disk/out --resamples 20 --no-figures",),
    ),
    Drilled(
        "compare",
        "predictions",
        "compare one two --out disk/out --resamples 2000 --overwrite",
        readable,
        before=("compare one two --out disk/out --resamples 20",),
    ),
    Drilled("import-weights", "weights", "import-weights image.pth --out disk/out --size 32", run_folder),
    Drilled("inspect", "fit", "inspect prepared --out disk/out", readable),
    Drilled("bench", "empty", "bench --only cleaning --out disk/out", readable, points=1),
)
