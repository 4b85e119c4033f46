"""The figures of a prepared cohort or shard: one row's ECG and frames, all rows' labels and lead quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecgcmr.inspection.cohort_figures import draw_labels, draw_quality
from ecgcmr.inspection.ecg_paper import draw_ecg_paper
from ecgcmr.inspection.frames_figure import draw_frames
from ecgcmr.inspection.paper_layout import SECONDS
from ecgcmr.inspection.paper_tracing import PaperECG
from ecgcmr.inspection.png import PAPER_DPI, save_png
from ecgcmr.inspection.prepared import Content, Prepared, PreparedRow
from ecgcmr.inspection.prepared_text import describe_row, lead_remark
from ecgcmr.inspection.summary import has_flag, summarise_leads
from ecgcmr.shards.layout import LEADS, ECGLayout


def write_figures(
    folder: Path, prepared: Prepared, content: Content, row: PreparedRow, *, every_label: bool
) -> list[Path]:
    """Draw what there is to draw.

    Args:
        folder: Where to write.
        prepared: The rows.
        content: What is stored of them.
        row: The row whose records are drawn.
        every_label: Whether labels of large groups are drawn too.

    Returns:
        The files written.
    """
    layout, written = prepared.layout, []
    if row.ecg is not None and layout.ecg is not None:
        figure = draw_ecg_paper(_paper(row, layout.ecg))
        written.append(save_png(figure, folder / "ecg.png", PAPER_DPI))
    if row.cmr is not None and layout.cmr is not None:
        cmr = layout.cmr
        title = describe_row(row)
        figure = draw_frames(row.cmr, cmr.frames, cmr.spacing_mm, masks=row.cmr_mask, slices=cmr.slices, title=title)
        written.append(save_png(figure, folder / "frames.png"))
    labels = draw_labels(layout.labels, content.labels, every_label=every_label, title=_title(prepared, "labels"))
    if labels is not None:
        written.append(save_png(labels, folder / "labels.png"))
    has = prepared.has["ecg"]
    if content.lead_flags is not None and content.lead_quality is not None and layout.ecg is not None and has.any():
        flags, quality = content.lead_flags[has], content.lead_quality[has]
        beats = None if content.beats is None else content.beats[has]
        title = _title(prepared, "quality of the ECGs")
        figure = draw_quality(summarise_leads(flags, quality), layout.ecg.leads, quality, beats, title)
        written.append(save_png(figure, folder / "quality.png"))
    return written


def _title(prepared: Prepared, what: str) -> str:
    splits = sorted(set(prepared.split.tolist()))
    of = f" of split {splits[0]}" if len(splits) == 1 else ""
    return f"{prepared.name}: {what}, {len(prepared):,} rows{of}"


def _paper(row: PreparedRow, layout: ECGLayout) -> PaperECG:
    """Put a stored record on the sheet; missing leads, stored as zeros, are left out."""
    if row.ecg is None:
        raise ValueError("the row has no ECG")
    signal = np.full((len(LEADS), row.ecg.shape[1]), np.nan, dtype=np.float32)
    missing = np.zeros(len(layout.leads), dtype=bool)
    derived: Sequence[str] = ()
    if row.lead_flags is not None:
        missing = has_flag(row.lead_flags, "missing")
        derived = [lead for lead, bit in zip(layout.leads, has_flag(row.lead_flags, "derived"), strict=True) if bit]
    for lead, values, absent in zip(layout.leads, row.ecg, missing, strict=True):
        if lead in LEADS and not absent:
            signal[LEADS.index(lead)] = values
    return PaperECG(
        signal=signal,
        sampling_rate=layout.sampling_rate,
        unit=layout.unit,
        title=describe_row(row),
        remarks=_remarks(row, layout),
        derived=derived,
        r_peaks=row.r_peaks,
        waves=row.waves,
    )


def _remarks(row: PreparedRow, layout: ECGLayout) -> list[str]:
    seconds = layout.samples / layout.sampling_rate
    shown = f", first {SECONDS:g} s drawn" if seconds > SECONDS else ""
    remarks = [f"{seconds:g} s at {layout.sampling_rate:g} Hz, as prepared{shown}"]
    if row.r_peaks is not None:
        rate = heart_rate(row.r_peaks, layout.sampling_rate)
        remarks.append(f"{len(row.r_peaks)} beats" + (f", {rate:.0f} /min" if rate else ""))
    flags = lead_remark(row, layout.leads)
    return [*remarks, flags] if flags else remarks


def heart_rate(r_peaks: np.ndarray, sampling_rate: float) -> float:
    """Return beats per minute from the median interval between R peaks; 0 with fewer than two."""
    return 60.0 * sampling_rate / float(np.median(np.diff(r_peaks))) if len(r_peaks) > 1 else 0.0
