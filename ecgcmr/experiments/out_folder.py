"""The folder of an experiment: one that is new, or holds the same experiment, or is given up by ``--overwrite``."""

from __future__ import annotations

import json
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.json_file import recall_json

RECORD = "experiment.yaml"
"""The experiment as it was run, an experiment file itself."""
_NAME_FILE = "experiment.json"
_RESULTS = ("results.json", "results.md", "results.tex", "differences.json", "predictions.parquet")
_FOREIGN = ("config.yaml", "last.ckpt", "best.ckpt", "encoder.yaml", "index.json", "cohort.json")


def claim_folder(out: Path, file: Path, *, overwrite: bool) -> None:
    """Check what lies in the folder of an experiment, and note whose it is.

    A changed file of the same name goes on in its folder: what has changed is run again, the rest is kept.

    Args:
        out: The folder.
        file: The experiment file.
        overwrite: Results of another experiment may be replaced.

    Raises:
        UserError: The folder is a run or a cohort, or holds results of another experiment.
    """
    other = [name for name in _FOREIGN if (out / name).exists()]
    if other:
        raise UserError(f"--out {out}: holds {other[0]}, so it is no experiment's folder; choose another one")
    name = _name(out)
    if name is not None and file.resolve() == (out / RECORD).resolve():
        return  # what was run here, run again by its record
    found = [entry for entry in _RESULTS if (out / entry).exists()]
    # Folders of before this file was written bear the name of their experiment's stages alone.
    if found and name != file.name and not ((out / "stage.json").is_file() and name is None) and not overwrite:
        whose = f"of {name}" if name else "of another origin"
        raise UserError(f"--out {out}: holds {found[0]} {whose}; choose another folder or add --overwrite")
    if name != file.name:
        write_atomically(out / _NAME_FILE, (json.dumps({"file": file.name}, indent=1) + "\n").encode())


def _name(out: Path) -> str | None:
    """Return the name of the file whose results lie in a folder, None if none is known."""
    try:
        return str(recall_json(out / _NAME_FILE)["file"])
    except (KeyError, TypeError):
        return None
