"""Draw the figure of the home page, docs/pictures/home_{light,dark}.svg, from two synthetic hearts.

An ECG and a short-axis frame of the same subject, and what is predicted from the ECG alone. Run again with
``python docs/draw_home.py`` when the cohort's model changes.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ecgcmr.cli import main as ecgcmr
from ecgcmr.shards import ShardIndex, read_cmr, read_ecgs

PICTURES = Path(__file__).resolve().parent / "pictures"
INKS = {"light": ("#37474f", "#00796b"), "dark": ("#cfd8dc", "#4db6ac")}
_ROSE = "#d81b60"
_LEADS = {"I": 0, "II": 1, "V2": 7, "V5": 10}
_SAMPLES = 1600
_STEPS = (
    ("1 pre-training", "masked ECGs,\nno labels needed"),
    ("2 alignment", "ECG and MRI of\nthe same people"),
    ("3 prediction", "from the ECG\nalone"),
)
_COLUMNS = (0.02, 0.43, 0.73)

_READ = ("LV, RV volumes", "mass, EF", "atria, aorta", "walls, strain", "AF, CAD, DM")


def main() -> int:
    """Write both pictures; returns 0."""
    ecg, frame = _heart()
    PICTURES.mkdir(exist_ok=True)
    for scheme, (ink, line) in INKS.items():
        (PICTURES / f"home_{scheme}.svg").write_bytes(_drawn(ecg, frame, ink, line))
    return 0


def _heart() -> tuple[np.ndarray, np.ndarray]:
    """Return an ECG (12, samples) and an end-diastolic frame (H, W) of one subject."""
    with TemporaryDirectory() as folder:
        root = f"{folder}/cohort"
        if ecgcmr(["synthesize", "--subjects", "6", "--seed", "11", "--out", root, "--format", "shards"]) != 0:
            raise RuntimeError("the cohort of the figure could not be made")
        index = ShardIndex.load(root)
        rows = index.rows("train", need=("ecg", "cmr"))[:1]
        return read_ecgs(index, rows, start=0, length=_SAMPLES)[0], read_cmr(index, rows)[0, -1]


def _drawn(ecg: np.ndarray, frame: np.ndarray, ink: str, line: str) -> bytes:
    with rc_context({"svg.hashsalt": "ecgcmr", "svg.fonttype": "none", "font.size": 13, "text.color": ink}):
        figure = Figure(figsize=(8, 3.7))
        _draw_ecg(figure, ecg, line)
        _draw_frame(figure, frame)
        for place, title in zip(_COLUMNS, ("12-lead ECG", "cardiac MRI", "phenotypes"), strict=True):
            figure.text(place, 0.93, title, weight="bold")
        for start, end in (((0.36, 0.62), (0.41, 0.62)), ((0.41, 0.62), (0.36, 0.62)), ((0.66, 0.62), (0.71, 0.62))):
            _arrow(figure, start, end, ink)
        for place, text in enumerate(_READ):
            figure.text(_COLUMNS[2], 0.80 - 0.105 * place, text)
        for place, (title, text) in zip(_COLUMNS, _STEPS, strict=True):
            figure.text(place, 0.18, title, weight="bold", color=_ROSE)
            figure.text(place, 0.14, text, va="top", linespacing=1.4)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _draw_ecg(figure: Figure, ecg: np.ndarray, line: str) -> None:
    axes = figure.add_axes((0.02, 0.28, 0.33, 0.62))
    for place, (name, lead) in enumerate(_LEADS.items()):
        trace = ecg[lead].astype(float)
        axes.plot(np.clip(trace / (trace.max() - trace.min()), -1, 1) - 1.05 * place, color=line, linewidth=1.3)
        axes.text(-60, -1.05 * place, name, fontsize=11, ha="right")
    axes.set_axis_off()


def _draw_frame(figure: Figure, frame: np.ndarray) -> None:
    axes = figure.add_axes((0.42, 0.28, 0.23, 0.62))
    axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


def _arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float], ink: str) -> None:
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.set_axis_off()
    axes.annotate(
        "", xy=end, xytext=start, xycoords="axes fraction", arrowprops={"arrowstyle": "-|>", "color": ink, "lw": 2}
    )


if __name__ == "__main__":
    sys.exit(main())
