"""Colours, markers and line styles of methods, told apart with any number of methods of any name.

Colours are those of Okabe & Ito (Color Universal Design, 2008), told apart by the common colour-vision deficiencies;
markers and line styles repeat the distinction.
"""

from __future__ import annotations

from collections.abc import Iterable

from ecgcmr.evaluation.tables import Method

_KNOWN = {
    "random": ("#999999", "s"),
    "scratch": ("#E69F00", "^"),
    "mae": ("#56B4E9", "D"),
    "alignment": ("#CC79A7", "v"),
    "mae+alignment": ("#0072B2", "o"),
    "mean": ("#CCCCCC", "_"),
    "age+sex": ("#B8A800", "P"),
    "age+sex+size": ("#7F7400", "P"),
    "features": ("#009E73", "X"),
    "features-boosting": ("#00543D", "X"),
    "cnn": ("#8C510A", "h"),
    "simclr": ("#D55E00", "<"),
    "byol": ("#7B3294", ">"),
    "barlow_twins": ("#A6611A", "p"),
    "clocs": ("#C51B7D", "d"),
    "oracle": ("#000000", "*"),
}
POINTS = "#0072B2"
"""Colour of single points, one a subject."""

_COLOURS = ("#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#0072B2", "#999999")
_MARKERS = ("h", "<", ">", "p", "d", "H", "8")
_LINES = {"linear_probe": "-", "finetune": "--", None: ":"}


class Styles:
    """The look of each method of one figure."""

    def __init__(self, methods: Iterable[Method]) -> None:
        """Give methods without a style of their own one after the other, by name."""
        self._looks = dict(_KNOWN)
        others = sorted({method for method, _ in methods} - set(_KNOWN))
        for place, method in enumerate(others):
            turn = place // len(_COLOURS)
            self._looks[method] = (_COLOURS[place % len(_COLOURS)], _MARKERS[(place + turn) % len(_MARKERS)])

    def of(self, method: Method) -> tuple[str, str, str]:
        """Return colour, marker and line style; fine-tuned runs are dashed, those without a protocol dotted."""
        colour, marker = self._looks[method[0]]
        return colour, marker, _LINES.get(method[1], ":")

    def fill(self, method: Method) -> str:
        """Return the colour of a marker's inside; fine-tuned runs have hollow markers."""
        return "white" if method[1] == "finetune" else self.of(method)[0]
