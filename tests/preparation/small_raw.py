"""A few raw recordings, and ``prepare`` called on them as the command line does it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raw_file_writers import cardiosoft_xml, sample_counts

from ecgcmr.preparation import command

IDS = [str(1000000 + i) for i in range(4)]


def write_ecgs(folder: Path, names: Sequence[str]) -> Path:
    """Write a recording under each name, all different."""
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cardiosoft_xml(sample_counts(i)))
    return folder


def prepare(*words: object, quick: bool = True) -> int:
    """Run the command in this process; without beats unless asked for, which is faster."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    extra = ["--workers", "1", "--no-beats"] if quick else ["--workers", "1"]
    return command.run(parser.parse_args([*map(str, words), *extra]))


def report_in(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text(encoding="utf-8"))
