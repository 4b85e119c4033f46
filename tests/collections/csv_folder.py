"""A laboratory's folder: a CSV file a recording and a table of its own labels, as docs/your_data.md shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecgcmr.shards.layout import LEADS
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

_EF = 3  # place of the ejection fraction among the phenotypes


def write_laboratory(root: Path, people: int, *, seed: int = 5) -> Path:
    """Write ``ecg/NNN.csv`` in microvolts and ``table.csv``; one person in eight has two recordings.

    Args:
        root: Where, a new folder.
        people: How many.
        seed: Of the hearts.
    """
    state = sample_states(people, seed)
    ecgs = np.rint(render_ecgs(state, np.arange(people), np.random.default_rng(seed))).astype(np.int64)
    lines = ["subject,file,EF [%],arrhythmia,rhythm,age,sex"]
    (root / "ecg").mkdir(parents=True)
    for person in range(people):
        for number in range(1 + (person % 8 == 0)):
            name = f"{person:03d}{'ab'[number] if person % 8 == 0 else ''}.csv"
            signal = np.roll(ecgs[person], 700 * number, axis=1).T
            np.savetxt(root / "ecg" / name, signal, fmt="%d", delimiter=",", header=",".join(LEADS), comments="")
            ef = "" if person % 9 == 4 else f"{state.phenotypes[person, _EF]:.1f}"
            rhythm = ("sinus", "paced", "other")[person % 3]
            body = f"{state.body.age[person]:.0f},{('female', 'male')[int(state.body.sex[person])]}"
            lines.append(f"P{person},{name},{ef},{('no', 'yes')[person % 4 == 0]},{rhythm},{body}")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    return root
