"""What is in a prepared cohort or shard, as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console

from ecgcmr.inspection.label_text import print_labels
from ecgcmr.inspection.prepared import Content, Prepared, PreparedRow, stored_bytes
from ecgcmr.inspection.summary import distribution, has_flag, summarise_leads
from ecgcmr.inspection.text import number, percent, print_heading, print_table, size
from ecgcmr.shards.index import MODALITIES
from ecgcmr.shards.layout import LEAD_FLAGS, SCHEMA, SCHEMA_VERSION, SPLITS, Label

_RECORDS = ("ecg", "cmr", "cmr_mask")


def print_prepared(console: Console, prepared: Prepared, content: Content, *, every_label: bool) -> None:
    """Print all that is known of the rows together.

    Args:
        console: Where to.
        prepared: The rows, at least one.
        content: What is stored of them.
        every_label: Whether labels of large groups (wall segments) are listed one by one too.
    """
    _print_layout(console, prepared)
    _print_counts(console, prepared)
    if prepared.selections:
        rows = [(name, f"{count:,}", about) for name, (about, count) in prepared.selections.items()]
        print_table(console, "selections", ("name", "rows", "about"), rows, left=3)
    if prepared.layout.labels:
        print_labels(console, prepared.layout.labels, content.labels, every_label)
    if prepared.has["ecg"].any():
        _print_leads(console, prepared, content)
        _print_beats(console, prepared, content)
    _print_storage(console, prepared)
    print_heading(console, "recipe")
    console.print(yaml.safe_dump(prepared.layout.preparation, sort_keys=False).rstrip(), soft_wrap=True)


def print_row(console: Console, row: PreparedRow, labels: Sequence[Label]) -> None:
    """Print the known labels of one row."""
    known = [
        (label.name, number(float(value)), label.unit, label.title)
        for label, value in zip(labels, row.labels, strict=True)
        if not np.isnan(value)
    ]
    if known:
        print_table(console, f"{describe_row(row)}: labels", ("label", "value", "unit", "title"), known, left=4)


def describe_row(row: PreparedRow) -> str:
    """Name a row by its number, the beginning of its hash and its split."""
    return f"row {row.position} (subject {row.subject}, {row.split})"


def _print_layout(console: Console, prepared: Prepared) -> None:
    layout = prepared.layout
    what = "cohort" if prepared.is_cohort else "shard"
    console.print(f"{what} {prepared.name}", style="bold")
    console.print(f"{SCHEMA} {SCHEMA_VERSION}, {len(prepared.files)} shards, fingerprint {layout.fingerprint[:12]}")
    if layout.ecg is not None:
        ecg = layout.ecg
        extras = [f"up to {ecg.max_beats} beats"] if ecg.max_beats else []
        extras += ["lead quality"] if ecg.quality else []
        beside = f"; with {' and '.join(extras)}" if extras else ""
        console.print(
            f"ECG: {len(ecg.leads)} leads, {ecg.samples} samples at {ecg.sampling_rate:g} Hz, {ecg.unit}, {ecg.dtype}"
            f"{beside}"
        )
    if layout.cmr is not None:
        cmr = layout.cmr
        names = ", ".join(cmr.frames) if len(cmr.frames) <= 6 else f"{cmr.frames[0]} ... {cmr.frames[-1]}"
        deep = f" of {cmr.slices} slices" if cmr.slices > 1 else ""
        console.print(
            f"CMR: {len(cmr.frames)} frames ({names}){deep}, {cmr.height} x {cmr.width} pixels of "
            f"{cmr.spacing_mm:.3g} mm, {cmr.dtype}{'; with masks' if cmr.mask else ''}"
        )
    console.print(f"labels: {len(layout.labels)}")


def _print_counts(console: Console, prepared: Prepared) -> None:
    ecg, cmr = (prepared.has[name] for name in MODALITIES)

    def cells(name: str, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
        subjects = len(np.unique(prepared.subject[chosen]))
        counts = (chosen.sum(), subjects, (chosen & ecg).sum(), (chosen & cmr).sum(), (chosen & ecg & cmr).sum())
        return name, *(f"{count:,}" for count in counts)

    rows = [cells(split, prepared.split == split) for split in SPLITS if (prepared.split == split).any()]
    if len(rows) > 1:
        rows.append(cells("all", np.ones(len(prepared), dtype=bool)))
    print_table(console, "rows", ("split", "rows", "subjects", "with ECG", "with CMR", "with both"), rows)
    if prepared.has["cmr_mask"].any():
        segmented = int(prepared.has["cmr_mask"].sum())
        console.print(
            f"rows whose frames, or some of them, are segmented: {segmented:,} of {int(cmr.sum()):,} with CMR"
        )
    if prepared.left_out:
        console.print(f"rows left out, of withdrawn subjects or duplicates: {prepared.left_out:,}")


def _print_leads(console: Console, prepared: Prepared, content: Content) -> None:
    if content.lead_flags is None or content.lead_quality is None or prepared.layout.ecg is None:
        return
    has = prepared.has["ecg"]
    summary = summarise_leads(content.lead_flags[has], content.lead_quality[has])
    rows = [
        (lead, *(percent(rate) for rate in rates), *(number(value) for value in index))
        for lead, rates, index in zip(prepared.layout.ecg.leads, summary.rates, summary.index, strict=True)
    ]
    columns = ("lead", *LEAD_FLAGS, "index: q1", "median", "q3")
    print_table(console, "lead quality", columns, rows)
    console.print(f"recordings without a missing, flat, clipped or noisy lead: {percent(summary.clean)}")


def _print_beats(console: Console, prepared: Prepared, content: Content) -> None:
    if content.beats is None:
        return
    beats = content.beats[prepared.has["ecg"]]
    of = distribution(np.where(beats > 0, beats, np.nan))
    print_heading(console, "beats")
    console.print(f"recordings with beats: {of.known:,} of {of.rows:,} ({percent(1 - of.missing_rate)})")
    if of.known:
        console.print(f"beats per recording: median {number(of.median)}, {number(of.minimum)} to {number(of.maximum)}")


def _print_storage(console: Console, prepared: Prepared) -> None:
    total, by_dataset = stored_bytes(prepared)
    rows = [(name, size(by_dataset[name])) for name in _RECORDS if name in by_dataset]
    rows.append(("labels and annotations", size(sum(v for name, v in by_dataset.items() if name not in _RECORDS))))
    rows.append(("HDF5 itself", size(total - sum(by_dataset.values()))))
    rows.append(("all", size(total)))
    print_table(console, "storage", ("what", "size"), rows)
    console.print(f"{size(total / prepared.stored)} a row, {prepared.stored:,} rows stored")


def lead_remark(row: PreparedRow, leads: Sequence[str]) -> str:
    """Say which leads are flagged, such as ``V3 noisy; V5 clipped``; empty if none is."""
    if row.lead_flags is None:
        return ""
    remarks = []
    for name in LEAD_FLAGS:
        flagged = [lead for lead, bit in zip(leads, has_flag(row.lead_flags, name), strict=True) if bit]
        if flagged:
            remarks.append(f"{', '.join(flagged)} {name}")
    return "; ".join(remarks)
