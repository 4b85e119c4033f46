"""Where the leads of an ECG lie on a sheet of standard paper, and to which scale: 25 mm/s, 10 mm/mV.

On A4 three rows of four leads stand over a rhythm strip (`WHOLE_SHEET`). A sheet as narrow as a phone's screen
(`NARROW_SHEET`) has the same stretches of time to the same scale, six rows of two leads over a strip in two lines.
Layouts and scale are those of the AHA/ACCF/HRS recommendations (Kligfield et al., Circulation 115:1306, 2007).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.inspection.png import new_figure
from ecgcmr.leads import LEADS

SHEET_MM = (297.0, 210.0)
NARROW_MM = 150.0
"""Width of a narrow sheet; on 390 pixels, a phone, 10 points are letters of 9 pixels."""
MM_PER_SECOND = 25.0
MM_PER_MILLIVOLT = 10.0
SECONDS = 10.0
COLUMN_SECONDS = 2.5

_RHYTHM_LEAD = LEADS.index("II")
_RELATIVE_GAINS = (20.0, 10.0, 5.0, 2.5, 2.0, 1.0, 0.5, 0.2, 0.1)  # mm per standard deviation
_TALLEST_MM = 25.0
_ROWS_TALL = 1.4  # distance of two rows over the tallest wave of a z-scored recording


@dataclass(frozen=True)
class Stretch:
    """A stretch of one lead in its place.

    Attributes:
        lead: Its position among the standard leads.
        start: Second of the recording that it begins at.
        seconds: How long it is.
        left: Where it begins on the sheet, in mm.
        centre: Height of its line, in mm.
    """

    lead: int
    start: float
    seconds: float
    left: float
    centre: float


@dataclass(frozen=True)
class PaperPlace:
    """Where the paper lies on its sheet, in mm from the lower left corner.

    Attributes:
        left: Left edge.
        bottom: Lower edge.
        width: A multiple of 5.
        height: A multiple of 5.
        rows: How far the lines of the rows lie below the upper edge: 12 leads in their columns, then the rhythm strip.
        names: How far the leads' names stand above their row's line.
        marks: How far the extents of waves stand below the rhythm strip's line.
        columns: Of leads, each 2.5 s long; they divide 12.
        lead_in: Room for the calibration pulse.
        pulse_words: Whether what a pulse stands for is written below it; else the scale says it alone.
        letters: Size of the leads' names in points; other words on the paper are as much larger or smaller.
    """

    left: float = 8.5
    bottom: float = 23.0
    width: float = 280.0
    height: float = 160.0
    rows: tuple[float, ...] = (30.0, 65.0, 100.0, 135.0)
    names: float = 13.0
    marks: float = 16.0
    columns: int = 4
    lead_in: float = 20.0
    pulse_words: bool = True
    letters: float = 10.0

    @property
    def right(self) -> float:
        """Right edge."""
        return self.left + self.width

    @property
    def top(self) -> float:
        """Upper edge."""
        return self.bottom + self.height

    @property
    def trace(self) -> float:
        """Where the traces begin, after the calibration pulse."""
        return self.left + self.lead_in

    @property
    def centres(self) -> tuple[float, ...]:
        """The lines of the rows from top to bottom."""
        return tuple(self.top - below for below in self.rows)

    @property
    def leads_each(self) -> int:
        """Leads of a column."""
        return len(LEADS) // self.columns

    def points(self, usual: float) -> float:
        """Return the size of words that have so many points where the leads' names have 10."""
        return usual * self.letters / 10.0

    def stretches(self) -> Iterator[Stretch]:
        """Return all stretches, row by row; columns follow each other in time."""
        for row, centre in enumerate(self.centres[: self.leads_each]):
            for column in range(self.columns):
                start = column * COLUMN_SECONDS
                left = self.trace + start * MM_PER_SECOND
                yield Stretch(column * self.leads_each + row, start, COLUMN_SECONDS, left, centre)
        yield from self.strips()

    def strips(self) -> Iterator[Stretch]:
        """Return the lines of the rhythm strip."""
        seconds = self.columns * COLUMN_SECONDS
        for line, centre in enumerate(self.centres[self.leads_each :]):
            yield Stretch(_RHYTHM_LEAD, line * seconds, seconds, self.trace, centre)


WHOLE_SHEET = PaperPlace()
NARROW_SHEET = PaperPlace(
    left=2.5, bottom=30.0, width=145.0, height=205.0, rows=tuple(17.0 + 25.0 * row for row in range(8)), names=8.0,
    marks=9.0, columns=2, lead_in=15.0, pulse_words=False, letters=12.0,
)  # fmt: skip


def new_sheet(width: float = SHEET_MM[0], height: float = SHEET_MM[1]) -> tuple[Figure, Axes]:
    """Return an empty sheet, A4 landscape by default, and axes over all of it in which 1 is a millimetre."""
    figure = new_figure(width, height, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    axes.set(xticks=(), yticks=())  # unseen, and yet they would take a tenth of the time
    return figure, axes


def gain_mm(signal: NDArray[np.floating], unit: str, place: PaperPlace = WHOLE_SHEET) -> float:
    """Return millimetres per unit: 10 for mV; for a z-score the largest usual step with which the recording fits.

    Raises:
        ValueError: If the unit is neither ``mV`` nor ``z-score``.
    """
    if unit == "mV":
        return MM_PER_MILLIVOLT
    if unit != "z-score":
        raise ValueError(f"unit {unit!r} is neither mV nor z-score")
    finite = signal[np.isfinite(signal)]
    if finite.size == 0:
        return _RELATIVE_GAINS[0]
    # Extreme percentiles, not extremes: one artefact should not flatten the whole sheet.
    low, high = np.percentile(finite, (0.1, 99.9))
    reach = max(float(high), -float(low), 1e-9)
    tallest = min(_TALLEST_MM, (place.rows[1] - place.rows[0]) / _ROWS_TALL)
    return next((gain for gain in _RELATIVE_GAINS if reach * gain <= tallest), _RELATIVE_GAINS[-1])


def short_scale(unit: str, gain: float) -> str:
    """Return the scale in few words."""
    return f"{MM_PER_SECOND:g} mm/s   " + (
        f"{MM_PER_MILLIVOLT:g} mm/mV" if unit == "mV" else f"{gain:g} mm per SD, not millivolts"
    )


def scale_text(unit: str, gain: float) -> str:
    """Return the statement of the scale that stands on a sheet."""
    if unit == "mV":
        return short_scale(unit, gain)
    return (
        f"{MM_PER_SECOND:g} mm/s   relative amplitude: {gain:g} mm per standard deviation, not millivolts "
        "(lead groups I-III, aVR-aVF, V1-V6 may be scaled separately)"
    )
