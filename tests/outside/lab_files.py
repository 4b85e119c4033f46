"""The raw files that ``heart_lab`` and ``beat_reader`` read, and predictions for ``near_enough``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from raw_file_writers import sample_counts

HOSPITALS = ("north",) * 16 + ("south",) * 6 + ("west",) * 6


def write_beat(path: Path, seed: int) -> None:
    counts = sample_counts(seed).astype("<i2")
    path.write_bytes(b"BEAT" + np.array([500, len(counts)], "<u2").tobytes() + counts.T.tobytes())


def write_lab(folder: Path, hospitals: Sequence[str] = HOSPITALS) -> Path:
    """Write a recording of each patient, a second one of the first, one cut off, one absent and one of bad quality."""
    (folder / "2024").mkdir(parents=True)
    lines = []
    for number, hospital in enumerate(hospitals):
        name = f"2024/visit {number}.beat"
        write_beat(folder / name, number)
        lines.append([name, f"P{number}", hospital, 9, 40 + number % 45, "YES" if number % 2 else "no"])
    for name, patient, quality in (
        ("again.beat", "P0", 9),
        ("cut.beat", "P1", 9),
        ("away.beat", "P2", 9),
        ("x", "P3", 1),
    ):
        lines.append([name, patient, "north", quality, 400 if name == "again.beat" else 60, ""])
    write_beat(folder / "again.beat", 99)
    (folder / "cut.beat").write_bytes((folder / "again.beat").read_bytes()[:1002])
    with (folder / "visits.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "patient", "hospital", "quality", "ef", "smoker", "rhythm", "stroke", "days", "age"])
        for number, line in enumerate(lines):
            rhythm = ("sinus", "af", "")[number % 3]
            table.writerow([*line, rhythm, int(number % 4 == 1), 100 + 30 * number, 50 + number % 20])
    return folder


def write_predictions(path: Path) -> pd.DataFrame:
    """Two targets of 40 subjects, of whom each has two recordings, by two methods."""
    generator = np.random.default_rng(0)
    frames = []
    truth = {name: generator.normal(60.0, 12.0, 80) for name in ("ejection", "gone")}
    truth["ejection"][:6] = truth["gone"][:] = np.nan
    for method, noise in (("near", 6.0), ("far", 25.0)):
        for name, values in truth.items():
            predicted = np.nan_to_num(values, nan=50.0) + noise * generator.normal(size=80)
            subject = [f"{k // 2:032x}" for k in range(80)]
            about = {"method": method, "split": "test", "seed": 0, "kind": "regression", "recording": np.arange(80) % 2}
            frames.append(pd.DataFrame({"subject": subject, "target": name, "truth": values, **about}))
            frames[-1]["prediction"] = predicted
    table = pd.concat(frames, ignore_index=True)
    table.to_csv(path, index=False)
    return table
