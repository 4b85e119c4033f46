"""The style of pages: its colours stand out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "ecgcmr"
REPORT, SERVED = (PACKAGE / place / "page.css" for place in ("pages", "inference/serve/page"))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("style", "texts", "marks"),
    [(REPORT, (), ("first", "second", "third", "fourth")), (SERVED, ("alarm",), ("mark",))],
    ids=["report", "served"],
)
def test_text_and_marks_stand_out_from_what_is_behind_them(
    style: Path, texts: tuple[str, ...], marks: tuple[str, ...], theme: int
) -> None:
    found = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style.read_text())
    colours = {name: pair[theme] for name, *pair in found}
    assert len(colours) == (10 if style == REPORT else 9)
    for behind in ("page", "raised"):
        for text in ("ink", "soft", "link", *texts):
            assert _contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    for mark in marks:
        assert _contrast(colours[mark], colours["page"]) >= 3.0, mark
    if "band" in colours:
        assert _contrast(colours["mark"], colours["band"]) >= 3.0


def _contrast(one: str, other: str) -> float:
    """Return the ratio of luminances as WCAG 2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
