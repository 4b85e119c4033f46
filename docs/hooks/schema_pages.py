"""The pages of what lies on the disk: a cohort, read back from one that is written here; a run folder; predictions.

Tables of a page written by hand are taken from there, so that they stand in one place.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
from field_tables import field_table

from ecgcmr.encoders.weights import EncoderCard
from ecgcmr.evaluation.prediction_table import COLUMNS, KEY, REQUIRED
from ecgcmr.evaluation.rows import DifferenceRow, ScoreRow
from ecgcmr.shards import CMRLayout, ECGLayout, Label, Layout, ShardRows, write_index, write_shard
from ecgcmr.shards.shard import Beats, LeadQuality

FOLDER = "reference"
_ROWS, _FRAMES, _HEIGHT, _WIDTH, _LABELS = 7, ("ES", "mid", "ED"), 10, 11, 2
_BEATS = 64
_SIZES = {_ROWS: "n", 12: "12", 5000: "T", _BEATS: "B", 8: "8", 3: "F", _HEIGHT: "H", _WIDTH: "W", _LABELS: "L"}
_COHORT = """\
# Schema of a cohort

Read back from a small cohort that was written when this page was built; [Shards](../shards.md) says what the parts
mean, and what a reader may rely on. n rows, T samples of a lead, B beats at most, F frames of H x W pixels, L labels.
"""
_RUN = """\
# Schema of a run

What `ecgcmr fit` leaves in its folder and what the next stage, `experiment`, `export` and `report` read.
"""
_LAYOUT = (Layout, ECGLayout, CMRLayout, Label)


def schema_pages(docs: Path) -> dict[str, str]:
    """Return the pages by their place below ``docs``.

    Args:
        docs: The folder of pages written by hand.
    """
    return {f"{FOLDER}/cohort_schema.md": _cohort_page(), f"{FOLDER}/run_schema.md": _run_page(docs)}


def _cohort_page() -> str:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        layout = _layout()
        shard = root / "shards" / "shard-00000.h5"
        write_index(root, layout, [write_shard(shard, layout, _some_rows())])
        with h5py.File(shard, "r") as file:
            sets, attributes = _datasets(file), _attributes(file)
        index = json.loads((root / "index.json").read_text())
    parts = [_COHORT, "## A shard", sets, "## Attributes of a shard", attributes]
    parts += ["## index.json", _keys(index), "## The layout"]
    for kind in _LAYOUT:
        parts += [f"### {kind.__name__}", field_table(kind)]
    return "\n\n".join(parts) + "\n"


def _layout() -> Layout:
    labels = (
        Label("lv_edv", "phenotype", "mL", "LV", "LV end-diastolic volume"),
        Label("af_ever", "disease", "", "disease", "Atrial fibrillation, ever"),
    )
    cmr = CMRLayout(frames=_FRAMES, height=_HEIGHT, width=_WIDTH, spacing_mm=1.67, mask=True)
    return Layout(
        ecg=ECGLayout(max_beats=_BEATS, quality=True),
        cmr=cmr,
        labels=labels,
        preparation={"note": "of this page alone"},
    )


def _some_rows() -> ShardRows:
    frames = (_ROWS, len(_FRAMES), _HEIGHT, _WIDTH)
    return ShardRows(
        subject=[f"{row:032x}" for row in range(_ROWS)],
        split=["train"] * 4 + ["val"] * 2 + ["test"],
        ecg=np.zeros((_ROWS, 12, 5000), np.float32),
        has_ecg=np.ones(_ROWS, bool),
        cmr=np.zeros(frames, np.uint8),
        has_cmr=np.ones(_ROWS, bool),
        labels=np.zeros((_ROWS, _LABELS), np.float32),
        cmr_mask=np.zeros(frames, np.uint8),
        beats=Beats(np.full((_ROWS, _BEATS), -1), np.full((_ROWS, _BEATS, 8), -1)),
        quality=LeadQuality(np.zeros((_ROWS, 12), np.uint8), np.zeros((_ROWS, 12), np.float32)),
    )


def _datasets(file: h5py.File) -> str:
    rows = []
    for name in sorted(file):
        found = file[name]
        chunk = _shape(found.chunks, rows=False) if found.chunks else "contiguous"
        rows.append(f"| `{name}` | {_shape(found.shape)} | `{found.dtype}` | {chunk} | {found.compression or ''} |")
    return "\n".join(["| dataset | shape | type | chunk | filter |", "|---|---|---|---|---|", *rows])


def _shape(sizes: tuple[int, ...], rows: bool = True) -> str:
    names = [_SIZES.get(size, str(size)) for size in sizes]
    return f"({', '.join(names if rows else ['1', *names[1:]])}{',' if len(names) == 1 else ''})"


def _attributes(file: h5py.File) -> str:
    rows = [f"| `{name}` | {_shown(value)} |" for name, value in file.attrs.items()]
    return "\n".join(["| attribute | value here |", "|---|---|", *rows])


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        text = ", ".join(item.decode() if isinstance(item, bytes) else str(item) for item in value.tolist())
    else:
        text = value.decode() if isinstance(value, bytes) else str(value)
    return f"`{text[:80]}{' ...' if len(text) > 80 else ''}`"


def _keys(index: dict[str, Any]) -> str:
    rows = []
    for name, value in index.items():
        inner = value[0] if isinstance(value, list) and value else value
        within = ", ".join(f"`{key}`" for key in inner) if isinstance(inner, dict) else ""
        rows.append(f"| `{name}` | {type(value).__name__} | {within} |")
    return "\n".join(["| key | type | holds |", "|---|---|---|", *rows])


def _run_page(docs: Path) -> str:
    text = (docs / "architecture.md").read_text(encoding="utf-8")
    found = re.search(r"\*\*Run folder\.\*\*.*?\n\n((?:\|.*\n)+)", text)
    if found is None:
        raise ValueError("docs/architecture.md: no table follows **Run folder.**")
    table = re.sub(r"\]\((?!http)", "](../", found[1])
    columns = [
        f"| `{name}` | {'yes' if name in REQUIRED else ''} | {'yes' if name in KEY else ''} |" for name in COLUMNS
    ]
    parts = [_RUN, "## Files", table, "## encoder.yaml", field_table(EncoderCard)]
    parts += ["## A row of results.json", field_table(ScoreRow)]
    parts += ["## A row of differences.json", field_table(DifferenceRow)]
    parts += ["## Columns of a table of predictions", "What they mean says [evaluation](../evaluation.md)."]
    parts += ["\n".join(["| column | must be there | tells rows apart |", "|---|---|---|", *columns])]
    return "\n\n".join(parts) + "\n"
