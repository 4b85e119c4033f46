"""The pages of results, from what ``docs/collect_results.py`` kept of finished experiments: no number is typed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from markdown_text import plain, prose

from ecgcmr.evaluation.methods import method_title

FOLDER = "results"
_METRICS = {"r2": "R2", "auroc": "AUROC", "c_index": "C index"}
_OVERVIEW = """\
# Results

Each page is made of a file that `python docs/collect_results.py FOLDER` keeps of a finished experiment, or says where
else its numbers come from. `ecgcmr experiment` with the same file makes them again.

| experiment | cohort | version |
|---|---|---|
"""
_SYNTHETIC = """\
!!! warning "A synthetic cohort"

    These numbers show that the pipeline works and how the method behaves. They say [nothing about
    patients](../synthesis.md).
"""
_COLOURS = ("#00796b", "#c2185b", "#3949ab", "#ef6c00", "#6d4c41", "#0288d1", "#7cb342", "#8e24aa")
_STYLES = ("-", "--", ":", "-.")


def result_pages(results: Path) -> dict[str, str | bytes]:
    """Return the pages and their figures by their places below ``docs``.

    Args:
        results: Folder of the JSON files that were kept.
    """
    pages: dict[str, str | bytes] = {}
    rows = []
    for path in sorted(results.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        figure = f"{FOLDER}/{path.stem}.svg"
        pages[f"{FOLDER}/{path.stem}.md"] = _page(kept, path.stem)
        pages[figure] = _figure(kept["tables"][0])
        rows.append(f"| [{plain(kept['title'])}]({path.stem}.md) | {kept['cohort']} | {kept['code_version']} |")
    return {f"{FOLDER}/index.md": _OVERVIEW + "\n".join(rows) + "\n", **pages}


def _page(kept: dict[str, Any], name: str) -> str:
    parts = [f"# {plain(kept['title'])}", f"Cohort: {kept['cohort']}. Version {kept['code_version']}."]
    parts += [prose(kept["about"])] if kept.get("about") else []
    if kept["synthetic"]:
        parts.append(_SYNTHETIC.strip())
    parts.append(f"![Score by number of labelled subjects]({name}.svg)")
    for table in kept["tables"]:
        parts += [f"## {_title(table)}", _scores(table), *_differences(table)]
    return "\n\n".join(parts) + "\n"


def _title(table: dict[str, Any]) -> str:
    targets = table["targets"] if table["targets"].endswith("mean") else f"{table['targets']}, mean"
    return f"{_METRICS[table['metric']]}: {table['task']}, {targets}"


def _scores(table: dict[str, Any]) -> str:
    columns = sorted({row["labels"] for row in table["scores"] if row["labels"] is not None})
    methods = dict.fromkeys((row["method"], row["protocol"]) for row in table["scores"])
    lines = [f"{table['test_subjects']} test subjects; value and 95 % interval, by labelled training recordings.", ""]
    lines.append(f"| method | {' | '.join(f'{count:,}' for count in columns)} |")
    lines.append(f"|---|{'---:|' * len(columns)}")
    for method, protocol in methods:
        of_method = [row for row in table["scores"] if (row["method"], row["protocol"]) == (method, protocol)]
        at = {row["labels"]: _interval(row) for row in of_method}
        cells = [at.get(count, at.get(None, "")) for count in columns]
        lines.append(f"| {_name(method, protocol)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _differences(table: dict[str, Any]) -> list[str]:
    rows = [
        f"| {_name(row['method'], row['protocol'])} | {_name(row['reference'], row['reference_protocol'])} "
        f"| {row['labels']:,} | {_interval(row)} | {'' if row['p_holm'] is None else format(row['p_holm'], '.3f')} |"
        for row in table["differences"]
        if row["labels"] is not None and row["value"] is not None
    ]
    if not rows:
        return []
    head = ["| | against | labels | difference (paired) | p, Holm |", "|---|---|---:|---:|---:|"]
    return ['??? note "Paired differences"\n\n' + "\n".join(f"    {line}" for line in [*head, *rows])]


def _interval(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return ""
    return f"{row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})"


def _name(method: str, protocol: str | None) -> str:
    return plain(method_title((method, protocol)))


def _figure(table: dict[str, Any]) -> bytes:
    """Draw scores, by number of labels where there are several, as SVG that a light and a dark page can show."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": "ecgcmr", "font.size": 11, "text.color": "#787878", "axes.labelcolor": "#787878",
                "axes.edgecolor": "#9e9e9e", "xtick.color": "#787878", "ytick.color": "#787878"}  # fmt: skip
    with rc_context(settings):
        figure = Figure(figsize=(7.5, 5.2), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        if len({row["labels"] for row in table["scores"] if row["labels"]}) > 1:
            _draw_curves(axes, table)
        else:
            _draw_intervals(axes, table)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _draw_intervals(axes: Any, table: dict[str, Any]) -> None:
    """Draw a score with its interval for each method, the best one on top."""
    rows = sorted((row for row in table["scores"] if row["value"] is not None), key=lambda row: row["value"])
    for place, row in enumerate(rows):
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=_COLOURS[0], linewidth=2)
        axes.plot([row["value"]], [place], "o", color=_COLOURS[1], markersize=5)
    names = [method_title((row["method"], row["protocol"])) for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=10)
    axes.set_xlabel(_METRICS[table["metric"]])


def _draw_curves(axes: Any, table: dict[str, Any]) -> None:
    """Draw a curve over numbers of labels for each method, the highest one first in the legend."""
    curves: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in table["scores"]:
        if row["labels"] and row["value"] is not None:
            curves.setdefault((row["method"], row["protocol"]), []).append(row)
    highest = sorted(curves, key=lambda name: -max(row["value"] for row in curves[name]))
    for place, (method, protocol) in enumerate(highest):
        rows = sorted(curves[method, protocol], key=_labels)
        style = _STYLES[place // len(_COLOURS) % len(_STYLES)]
        axes.plot([row["labels"] for row in rows], [row["value"] for row in rows], style, marker="o", markersize=4,
                  color=_COLOURS[place % len(_COLOURS)], label=method_title((method, protocol)))  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("labelled training recordings")
    axes.set_ylabel(_METRICS[table["metric"]])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, handlelength=3)


def _labels(row: dict[str, Any]) -> int:
    return int(row["labels"])
