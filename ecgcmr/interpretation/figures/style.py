"""One look of all figures of the interpretation: colours that colour-blind readers tell apart, and sizes of type.

The two colour maps share their upper half: pale grey is nothing, orange and crimson are much. Their lightness falls
evenly towards the ends, so that they read in grey too. Over images they are laid with an opacity that grows with the
value, so that nothing hides nothing.
"""

from __future__ import annotations

from matplotlib.colors import LinearSegmentedColormap

NOTHING = "#CFCFD4"
SEQUENTIAL = LinearSegmentedColormap.from_list("ecgcmr_sequential", [NOTHING, "#F0A35A", "#D9482B", "#9E0B2E"])
"""For what is 0 or more: positive similarity, attention, counts."""
DIVERGING = LinearSegmentedColormap.from_list(
    "ecgcmr_diverging", ["#123F7A", "#2F77B8", "#86B6DC", NOTHING, "#F0A35A", "#D9482B", "#9E0B2E"]
)
"""For what has a sign, with limits even about 0: attributions, differences, correlations."""

REGION_COLOURS = {
    "outside": "#6E6E6E",
    "LV cavity": "#56B4E9",
    "myocardium": "#E69F00",
    "RV cavity": "#CC79A7",
}
"""Regions of the image, by the names of the masks' values."""
WAVE_COLOURS = {
    "P": "#0072B2",
    "PR": "#7FA8C9",
    "QRS": "#000000",
    "ST": "#8A8A8A",
    "T": "#009E73",
    "TP": "#BFBFBF",
}
"""Parts of a beat in their order; P, QRS and T as on the paper of `ecgcmr.inspection.ecg_paper`."""
TRAINED, CONTROL = "#0072B2", "#8A8A8A"
"""What was trained, and what it is compared with."""
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#000000")
"""For unnamed groups (Okabe and Ito)."""

INK, NOTE, GRID = "#111111", "#444444", "#E3E3E6"
TITLE_POINTS, TEXT_POINTS, NOTE_POINTS = 11.5, 9.5, 8.0
PAGE_MM = 140.0
"""Width of a figure of several panels; at the width of a phone (390 pixels) its text is still legible."""
