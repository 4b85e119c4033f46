"""An ECG on paper with a map as colour: where it lies, where it is not known, and that a phone's reader can read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from phone_words import inside, smallest_letters
from PIL import Image

from ecgcmr.interpretation.figures.ecg_map import ECGMap, draw_ecg_map, save_ecg_map

RATE, BAND = 100.0, 4.2  # points of the coloured line


def ecg_map(seconds: float = 10.0, **changes: object) -> ECGMap:
    """Ten seconds in which a beat begins each second and the map is 1 at its steps of V2; the end has no map."""
    samples = np.arange(1000)
    signal = np.tile((samples % 100 < 50).astype(float), (12, 1))
    values = np.zeros((12, round(seconds * RATE)))
    values[7] = samples[: values.shape[1]] % 50 == 0
    waves = 100 * np.arange(10)[:, None] + np.array([5, 8, 12, 20, 30, 40, 60, 80])
    given = {"signal": signal, "values": values, "sampling_rate": RATE, "unit": "mV", "title": "A map", "waves": waves,
             "label": "contribution to LV mass, g per 10 ms", "remarks": ("first", "second")}  # fmt: skip
    return ECGMap(**{**given, **changes})  # type: ignore[arg-type]


def bands(figure: Figure) -> list[LineCollection]:
    """The coloured lines, one each stretch, from top to bottom and left to right."""
    return [one for one in figure.axes[0].collections
            if isinstance(one, LineCollection) and one.get_linewidths()[0] == pytest.approx(BAND)]  # fmt: skip


@pytest.mark.parametrize(("narrow", "stretches", "place"), [(False, 13, 6), (True, 14, 3)])
def test_the_colour_lies_on_the_lead_and_the_instant_of_its_value(narrow: bool, stretches: int, place: int) -> None:
    found = bands(draw_ecg_map(ecg_map(), narrow=narrow))
    assert len(found) == stretches
    strong = [(band.get_colors()[:, 0] - band.get_colors()[:, 2] > 0.2).sum() for band in found]
    assert [number for number, count in enumerate(strong) if count] == [place]  # V2
    assert strong[place] == 5  # of its 2.5 s


def test_a_map_of_both_signs_has_two_colours() -> None:
    values = ecg_map().values - 2 * (np.arange(1000) % 50 == 25)
    colours = bands(draw_ecg_map(ecg_map(values=values, signed=True)))[6].get_colors()
    red, blue = colours[:, 0] - colours[:, 2] > 0.2, colours[:, 2] - colours[:, 0] > 0.2
    assert red.any()
    assert blue.any()
    assert not (red & blue).any()


def test_where_the_map_ends_early_every_lead_shows_its_beginning() -> None:
    def coloured(seconds: float, *, narrow: bool) -> tuple[list[int], str]:
        figure = draw_ecg_map(ecg_map(seconds), narrow=narrow)
        return [int((band.get_colors()[:, 3] > 0).sum()) for band in bands(figure)], "".join(
            text.get_text() for text in figure.axes[0].texts
        )

    counts, words = coloured(4.5, narrow=False)
    assert counts == [249] * 12 + [450]  # and 4.5 s of the rhythm strip
    assert "every lead: its first 2.5 s" in words
    counts, words = coloured(4.5, narrow=True)
    assert counts == [249, 200] * 6 + [450, 0]
    assert "every lead" not in words
    counts, words = coloured(2.0, narrow=True)
    assert counts == [200] * 12 + [200, 0]
    assert "every lead: its first 2.5 s" in words


@pytest.mark.parametrize("unit", ["mV", "z-score"])
@pytest.mark.parametrize("narrow", [False, True])
def test_all_words_are_on_the_sheet_and_a_phone_shows_them(narrow: bool, unit: str) -> None:
    title = "What LV myocardial mass indexed to body surface area was read from, of one recording of a test subject"
    figure = draw_ecg_map(ecg_map(unit=unit, title=title, label=f"contribution to {title}, g per 10 ms"), narrow=narrow)
    assert all(inside(figure, text) for axes in figure.axes for text in axes.texts)
    figure = draw_ecg_map(ecg_map(unit=unit), narrow=narrow)
    assert smallest_letters(figure) > (8.5 if narrow else 6.5)
    text = [text.get_text() for text in figure.axes[0].texts]
    assert {"A map", "P wave", "QRS", "T wave"} <= set(text)
    assert any(line.startswith("25 mm/s") for line in text)
    assert figure.axes[1].get_xlabel() == "contribution to LV mass, g per 10 ms"


def test_two_sheets_are_written_to_one_scale(tmp_path: Path) -> None:
    paths = save_ecg_map(ecg_map(), tmp_path / "map.png")
    assert [path.name for path in paths] == ["map.png", "map_narrow.png"]
    sizes = []
    for path in paths:
        with Image.open(path) as image:
            assert image.info["dpi"] == pytest.approx((203.2, 203.2), abs=0.1)
            sizes.append(image.size)
    assert sizes == [(2376, 1680), (1200, 2096)]
