"""Colours, markers and line styles of methods, distinct with any number of methods of any name.

Colours start from those of Okabe & Ito (Color Universal Design, 2008), distinct under the common colour-vision
deficiencies; where methods are more than those, each has a marker of its own, and line styles tell protocols apart.
"""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.colors import to_hex, to_rgb

from ecgcmr.evaluation.methods import Method

_KNOWN = {
    "random": ("#777777", "s"),
    "scratch": ("#E69F00", "^"),
    "mae": ("#56B4E9", "D"),
    "alignment": ("#E39AC4", "v"),
    "mae+alignment": ("#0072B2", "o"),
    "mean": ("#BBBBBB", "8"),
    "age+sex": ("#C9BC1F", "P"),
    "age+sex+size": ("#7F7400", "x"),
    "features": ("#009E73", "X"),
    "features-boosting": ("#00543D", "H"),
    "cnn": ("#8C510A", "h"),
    "simclr": ("#D55E00", "<"),
    "byol": ("#7B3294", ">"),
    "barlow_twins": ("#8FCB5A", "p"),
    "clocs": ("#C51B7D", "d"),
    "oracle": ("#000000", "*"),
}
POINTS = "#0072B2"
"""Colour of single points, one a subject."""

_COLOURS = ("#D55E00", "#009E73", "#E69F00", "#56B4E9", "#E39AC4", "#0072B2", "#777777", "#7B3294", "#8FCB5A")
_MARKERS = ("h", "<", ">", "p", "d", "H", "8", "s", "D", "v", "X")  # no multiple of the colours: 99 different looks
LineStyle = str | tuple[int, tuple[int, ...]]
_LINES: dict[str | None, LineStyle] = {
    "linear_probe": "-",
    "layer_probe": "-",
    "attention_probe": "-.",
    "finetune": "--",
    "taught_probe": (0, (6, 1)),
    "taught": (0, (6, 1, 1, 1)),
    None: ":",
}
_FILLED: dict[str | None, float] = {"finetune": 0.0, "taught": 0.25, "taught_probe": 0.55}
"""How much of its colour a marker's inside has, by protocol; all of it where none is named."""


class Styles:
    """The look of each method of one figure."""

    def __init__(self, methods: Iterable[Method]) -> None:
        """Give methods without a style of their own one after the other, by name; looks of the others stay theirs."""
        names = {method for method, _ in methods}
        self._looks = {method: look for method, look in _KNOWN.items() if method in names}
        taken = set(self._looks.values())
        count = len(_COLOURS) * len(_MARKERS)
        looks = [(_COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]) for place in range(count)]
        free = [look for look in looks if look not in taken]
        for place, method in enumerate(sorted(names - set(_KNOWN))):
            self._looks[method] = free[place % len(free)]

    def of(self, method: Method) -> tuple[str, str, LineStyle]:
        """Return colour, marker and line style; fine-tuned runs are dashed, those without a protocol dotted."""
        colour, marker = self._looks[method[0]]
        return colour, marker, _LINES.get(method[1], ":")

    def fill(self, method: Method) -> str:
        """Return the colour of a marker's inside: white if fine-tuned, a tint of the method's own if taught."""
        share = _FILLED.get(method[1], 1.0)
        return to_hex([1.0 - share * (1.0 - part) for part in to_rgb(self.of(method)[0])])
