"""A raw ECG: its leads, rate and quality, its beats and intervals, and the recording on paper before any cleaning."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.formats.device_measurements import device_measurements
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.ecg_formats import FORMATS
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.ecg_reader import NamedReader
from ecgcmr.formats.record import ECGRecord
from ecgcmr.formats.signal_declaration import load_declaration
from ecgcmr.inspection.ecg_paper import draw_ecg_paper
from ecgcmr.inspection.paper_layout import SECONDS
from ecgcmr.inspection.paper_tracing import PaperECG
from ecgcmr.inspection.png import PAPER_DPI, save_png
from ecgcmr.inspection.summary import flag_names
from ecgcmr.inspection.text import number, percent, print_heading, print_table
from ecgcmr.preparation.beats import MEASUREMENTS, BeatMarks, mark_beats, measure_beats
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.clipping import clipped_of
from ecgcmr.preparation.ecg import StandardECG, StandardOptions, standard_windows
from ecgcmr.preparation.lead_quality import LeadQuality, assess_leads
from ecgcmr.preparation.t_end import DEFAULT_T_END
from ecgcmr.shards.layout import LEADS

RATE = 500.0
"""Hz at which beats are sought and the sheet is drawn, that of prepared recordings."""


def inspect_ecg(
    console: Console, path: Path, folder: Path | None, declare: Path | None, reader: NamedReader | None = None
) -> list[Path]:
    """Print what an ECG file holds and draw it.

    Args:
        console: Where to print.
        path: The file.
        folder: Where to write ``ecg.png``; None to draw nothing.
        declare: YAML file that tells leads, unit and rate.
        reader: A reader of the user's own.

    Returns:
        The figures written.

    Raises:
        UserError: The file cannot be read.
    """
    record = read_ecg(path, None if declare is None else load_declaration(declare), reader)
    found = FORMATS.get(identify_ecg(path, declared=declare is not None, reader=reader).kind or "")
    kind = record.format if found else f"read by {record.format}"
    seconds = record.signal.shape[1] / record.sampling_rate
    console.print(f"ECG, {kind}", style="bold")
    console.print(
        f"{len(record.leads)} leads, {record.signal.shape[1]:,} samples at {record.sampling_rate:g} Hz: {seconds:.4g} s"
    )
    _print_fitness(console, record)
    standard = _twelve_leads(record)
    if standard is None:
        _print_leads(console, record, None, None)
        _print_notes(console, record)
        return []
    marks = mark_beats(standard.signal, RATE)
    quality = assess_leads(standard.signal, RATE, marks.r_peaks, standard.derived)
    _print_leads(console, record, standard, quality)
    _print_measurements(console, marks, quality, device_measurements(path) if found else {})
    _print_clipping(console, standard)
    _print_notes(console, record)
    if folder is None:
        return []
    figure = draw_ecg_paper(_paper(record, kind, standard, marks))
    return [save_png(figure, folder / "ecg.png", PAPER_DPI)]


def _print_fitness(console: Console, record: ECGRecord) -> None:
    """Say what ``prepare`` would do with the recording."""
    try:
        first = standard_windows(record, StandardOptions())[0]
        console.print("prepare takes this recording as it is")
        for note in first.notes:
            console.print(f"note: {note}", soft_wrap=True)
    except UserError as error:
        console.print(f"prepare skips this recording, unless an option allows it: {error}")


def _twelve_leads(record: ECGRecord) -> StandardECG | None:
    """Bring the first ten seconds, or what there is of them, to the standard leads; None if nothing can be drawn.

    Unlike ``prepare`` this takes recordings that lack leads or are short.
    """
    absent = tuple(lead for lead in LEADS if lead not in record.leads)
    nothing = np.full((len(absent), record.signal.shape[1]), np.nan)
    whole = replace(record, signal=np.concatenate([record.signal, nothing]), leads=(*record.leads, *absent))
    samples = min(math.floor(record.signal.shape[1] / record.sampling_rate * RATE), round(SECONDS * RATE))
    try:
        return standard_windows(whole, StandardOptions(max(samples, 1), RATE, short="pad"))[0]
    except UserError:
        return None  # _print_fitness has said why


def _print_leads(
    console: Console, record: ECGRecord, standard: StandardECG | None, quality: LeadQuality | None
) -> None:
    """Print extent and quality of every lead, those computed from others included."""
    rows = []
    derived = () if standard is None else standard.derived
    for lead in dict.fromkeys([*record.leads, *derived]):
        values = _of(standard, lead) if lead in derived else record.signal[record.leads.index(lead)]
        known = values[np.isfinite(values)]
        extent = (known.min(), known.max()) if known.size else (math.nan, math.nan)
        place = LEADS.index(lead) if lead in LEADS else None
        rows.append(
            (
                lead,
                "" if quality is None or place is None else flag_names(int(quality.flags[place])),
                *(number(float(value)) for value in extent),
                percent(1 - known.size / values.size),
                "-" if quality is None or place is None else number(float(quality.index[place])),
            )
        )
    print_table(console, "leads", ("lead", "flags", "least mV", "most mV", "missing", "quality index"), rows, left=2)


def _of(standard: StandardECG | None, lead: str) -> NDArray[np.float64]:
    if standard is None:
        raise ValueError(f"lead {lead} is neither recorded nor derived")
    return standard.signal[LEADS.index(lead)]


def _print_measurements(console: Console, marks: BeatMarks, quality: LeadQuality, device: dict[str, float]) -> None:
    """Print what is measured here, and beside it what the device measured where the file says so."""
    measured = measure_beats(marks, RATE, quality.index)
    title = f"{len(marks.r_peaks)} beats"
    if not device:
        rows = [(label.title, number(measured[label.name]), label.unit) for label in MEASUREMENTS]
        print_table(console, title, ("measurement", "value", "unit"), rows, left=3)
    else:
        compared = []
        for label in MEASUREMENTS:
            ours, theirs = measured[label.name], device.get(label.name, math.nan)
            difference = f"{ours - theirs:+.0f}" if math.isfinite(ours - theirs) else "-"
            compared.append((label.title, number(ours), number(theirs), difference, label.unit))
        print_table(console, title, ("measurement", "here", "device", "difference", "unit"), compared)
        if "qtc_interval" in device:
            console.print("the device corrects QT by a formula of its own, most by Bazett's; here it is Fridericia's")
    console.print(f"T ends by the definition '{DEFAULT_T_END}' (docs/data.md)")


def _print_clipping(console: Console, standard: StandardECG) -> None:
    """Say what the published cleaning would take off this recording."""
    clipped = clipped_of(standard.signal, Cleaning.from_name("published"), RATE)
    if clipped is None:
        return
    clip = f"the published cleaning clips at {clipped.deviations:g} standard deviations, here {clipped.limit:.2f} mV"
    if not clipped.leads:
        console.print(f"{clip}: no sample of this recording")
        return
    console.print(
        f"{clip}: samples of {len(clipped.leads)} of {len(LEADS)} leads ({', '.join(clipped.leads)}), "
        f"{100 * clipped.share:.2f} % of all",
        soft_wrap=True,
    )


def _print_notes(console: Console, record: ECGRecord) -> None:
    if record.notes:
        print_heading(console, "notes")
        for note in record.notes:
            console.print(note, soft_wrap=True)


def _paper(record: ECGRecord, kind: str, standard: StandardECG, marks: BeatMarks) -> PaperECG:
    seconds = record.signal.shape[1] / record.sampling_rate
    remarks = [f"{seconds:.4g} s at {record.sampling_rate:g} Hz, not filtered"]
    if seconds > SECONDS:
        remarks[0] += f", first {SECONDS:g} s drawn"
    rate = measure_beats(marks, RATE)["heart_rate"]
    if math.isfinite(rate):
        remarks.append(f"{len(marks.r_peaks)} beats, {rate:.0f} /min")
    if record.notes:
        more = f" (and {len(record.notes) - 1} more)" if len(record.notes) > 1 else ""
        remarks.append(f"{record.notes[0]}{more}")
    return PaperECG(
        signal=standard.signal,
        sampling_rate=RATE,
        unit="mV",
        title=f"ECG, {kind}",
        remarks=remarks,
        derived=standard.derived,
        r_peaks=marks.r_peaks,
        waves=marks.waves,
    )
