"""Writes the tables of published_encoders.md from the registry. Run by ``python docs/published_tables.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import torch

from ecgcmr.encoders.published import Published, PublishedImages, published_encoders, published_image_encoders
from ecgcmr.encoders.published.adapter import PublishedInput
from ecgcmr.encoders.published.published_ecg import build_network
from ecgcmr.encoders.published.registry import PublishedNetwork
from ecgcmr.leads import LEADS

Entry = TypeVar("Entry", bound=PublishedNetwork)
PAGE = Path(__file__).resolve().with_name("published_encoders.md")


def tables() -> dict[str, str]:
    """Return the tables by the names of their places in the page."""
    entries, images = list(published_encoders().values()), list(published_image_encoders().values())
    return {
        "inputs": _table(
            ("`--as`", "encoder", "leads", "Hz", "seconds", "`data.samples` at 500 Hz", "feature", "parameters"),
            [_input_row(entry) for entry in entries],
        ),
        "steps": _table(
            ("`--as`", "from the twelve leads in mV, in order"),
            [(f"`{entry.name}`", "; ".join(map(str, entry.takes.steps))) for entry in _one_a_class(entries)],
        ),
        "sources": _table(
            ("encoder", "paper", "code", "weights", "files"),
            [(entry.title, entry.paper, entry.code, entry.weights, _files(entry)) for entry in [*entries, *images]],
        ),
        "stages": _table(
            ("bare class", "masked pre-training"),
            [
                (f"`{entry.class_path.rpartition('.')[2]}`", "yes" if entry.masked is None else f"no: {entry.masked}")
                for entry in _one_a_class(entries)
            ],
        ),
        "unverified": "\n".join(
            f"- {entry.title}: {sentence}"
            for entry in _one_a_class([*entries, *images])
            for sentence in entry.unverified
        ),
        "images": _table(
            ("`--as`", "encoder", "what it is given", "options of `ecgcmr prepare`", "feature", "parameters"),
            [_image_row(entry) for entry in images],
        ),
    }


def filled(text: str) -> str:
    """Return a page with its tables put in."""
    for name, table in tables().items():
        pattern = re.compile(rf"(<!-- made from the registry: {name} -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, table=table: match[1] + table + match[2], text)
        if found != 1:
            raise SystemExit(f"{PAGE.name}: {found} places for the table {name}")
    return text


def _input_row(entry: Published) -> tuple[str, ...]:
    takes = entry.input_as("published", entry.init_args)
    seconds = f"{takes.seconds:g}, others too" if takes.any_length else f"{takes.seconds:g}"
    return (
        f"`{entry.name}`",
        entry.title,
        _leads(takes),
        f"{takes.sampling_rate:g}",
        seconds,
        f"{round(takes.seconds * 500):,}",
        entry.feature,
        _parameters(entry),
    )


def _image_row(entry: PublishedImages) -> tuple[str, ...]:
    return f"`{entry.name}`", entry.title, entry.sees, f"`{entry.prepare}`", entry.feature, _parameters(entry)


def _parameters(entry: PublishedNetwork) -> str:
    with torch.device("meta"):
        network = build_network(entry, entry.init_args)
    return f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.1f} M"


def _leads(takes: PublishedInput) -> str:
    if takes.leads == LEADS:
        return "12"
    return ("12, aVF before aVL" if len(takes.leads) == 12 else ", ".join(takes.leads)).replace(
        "V1, V2, V3, V4, V5, V6", "V1 to V6"
    )


def _files(entry: PublishedNetwork) -> str:
    return ", ".join(f"`{name}`" for name in entry.files) or "none known"


def _one_a_class(entries: list[Entry]) -> list[Entry]:
    """Return the first entry of each class."""
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.class_path, entry)
    return list(first.values())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
