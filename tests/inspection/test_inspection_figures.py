from __future__ import annotations

import numpy as np
import pytest
from inspected_cohort import LABELS
from PIL import Image

from ecgcmr.inspection.cohort_figures import draw_labels, draw_quality
from ecgcmr.inspection.frames_figure import draw_frames, draw_slices
from ecgcmr.inspection.png import save_png
from ecgcmr.inspection.summary import summarise_leads


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


def test_frames_are_drawn_as_stored_each_under_its_name():
    frames = np.arange(3 * 20 * 30, dtype=np.uint32).reshape(3, 20, 30).astype(np.uint8)
    figure = draw_frames(frames, ("ES", "mid", "ED"), 2.0, title="row 3")
    assert [axes.get_title("left") for axes in panels(figure)] == ["ES", "mid", "ED"]
    for axes, frame in zip(panels(figure), frames, strict=True):
        assert np.array_equal(axes.images[0].get_array(), frame)
        assert axes.images[0].get_clim() == (0, 255)
        assert axes.yaxis_inverted()  # the first row is on top
    assert any("30 x 20 pixels of 2 mm" in text.get_text() for text in figure.texts)


def test_the_bar_is_twenty_millimetres():
    figure = draw_frames(np.zeros((1, 50, 50), dtype=np.uint8), ("ED",), 2.5)
    x = panels(figure)[0].lines[0].get_xdata()
    assert x[1] - x[0] == pytest.approx(20 / 2.5)


@pytest.mark.parametrize(("count", "slices", "columns"), [(2, 1, 2), (3, 1, 3), (16, 8, 8), (50, 1, 10), (10, 1, 5)])
def test_panels_stand_in_rows(count, slices, columns):
    figure = draw_frames(np.zeros((count, 8, 8), dtype=np.uint8), [str(i) for i in range(count)], 5.0, slices=slices)
    places = [axes.get_position() for axes in panels(figure)]
    assert len(places) == count
    assert len({round(place.x0, 6) for place in places}) == columns
    assert all(place.x0 >= 0 and place.x1 <= 1 and place.y0 >= 0 and place.y1 <= 1 for place in places)


def test_names_must_match_the_frames():
    with pytest.raises(ValueError, match="2 names for 3 frames"):
        draw_frames(np.zeros((3, 8, 8), dtype=np.uint8), ("ES", "ED"), 1.0)


def test_slices_show_y_downwards_and_outline_what_is_segmented():
    volume = np.arange(6 * 4 * 3, dtype=np.float32).reshape(6, 4, 3)  # X, Y, Z
    segmentation = np.zeros((6, 4, 3), dtype=np.uint8)
    segmentation[2:4, 1:3, 1] = 1
    figure = draw_slices(volume, (1.5, 2.0), segmentation=segmentation)
    shown = panels(figure)
    assert [axes.get_title("left") for axes in shown] == ["slice 0", "slice 1 (middle)", "slice 2"]
    assert np.array_equal(shown[0].images[0].get_array(), volume[:, :, 0].T)
    assert [len(axes.collections) for axes in shown] == [0, 1, 0]
    width, height = (
        figure.get_size_inches() * [shown[0].get_position().width, shown[0].get_position().height]
    ).tolist()
    assert height / width == pytest.approx(4 * 2.0 / (6 * 1.5))  # true proportions
    assert any(text.get_text() == "LV cavity" for text in figure.texts)


def test_a_uniform_volume_can_be_drawn(tmp_path):
    path = save_png(draw_slices(np.zeros((8, 8, 2)), (1.0, 1.0)), tmp_path / "slices.png")
    with Image.open(path) as image:
        assert image.size[0] > 100


def values():
    rows = np.full((40, len(LABELS)), np.nan, dtype=np.float32)
    rows[:, 0] = np.linspace(80, 220, 40)
    rows[:10, 0] = np.nan
    rows[:, 2:14] = 8
    rows[:, 15] = np.arange(40) < 10
    return rows


def test_labels_that_are_known_are_drawn_and_segments_only_if_asked_for():
    figure = draw_labels(LABELS, values(), title="labels")
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["lv_edv (mL)", ""]  # a histogram and the bars
    bars = figure.axes[-1].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([25.0])
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "median 167.9, n 30, missing 25.0 %" in texts
    assert any("10 of 40 (25.0 %)" in text for text in texts)
    every = draw_labels(LABELS, values(), every_label=True)
    assert sum(axes.get_title("left").startswith("wt_aha_") for axes in every.axes) == 12


def test_nothing_is_drawn_of_nothing():
    assert draw_labels(LABELS, np.full((5, len(LABELS)), np.nan, dtype=np.float32)) is None
    assert draw_labels((), np.empty((5, 0), dtype=np.float32)) is None


@pytest.mark.slow
def test_quality_shows_rates_index_and_beats():
    flags = np.zeros((8, 12), dtype=np.uint8)
    flags[:4, 2] = 1  # missing
    quality = np.tile(np.linspace(0.1, 0.9, 12, dtype=np.float32), (8, 1))
    quality[:, 11] = np.nan
    leads = [str(i) for i in range(12)]
    figure = draw_quality(summarise_leads(flags, quality), leads, quality, np.array([9, 10, 10, 0, 12, 9, 9, 9]), "q")
    table, index, beats = figure.axes
    cells = np.array([text.get_text() for text in table.texts]).reshape(12, 5)
    assert cells[2].tolist() == ["50", "0", "0", "0", "0"]
    assert [text.get_text() for text in index.texts] == ["unknown "]
    assert sum(bar.get_height() for bar in beats.patches) == 8
    assert len(draw_quality(summarise_leads(flags, quality), leads, quality, None, "q").axes) == 2


def test_masks_are_outlined_where_there_are_any():
    frames = np.zeros((2, 20, 30), dtype=np.uint8)
    masks = np.full((2, 20, 30), 255, dtype=np.uint8)  # the second frame is not segmented
    masks[0] = 0
    masks[0, 5:15, 5:15] = 2
    masks[0, 8:12, 8:12] = 1
    figure = draw_frames(frames, ("ES", "mid"), 2.0, masks=masks)
    outlines = [len(axes.collections) for axes in panels(figure)]
    assert outlines == [2, 0]
    assert {"LV myocardium", "LV cavity", "RV cavity"} <= {text.get_text() for text in figure.texts}
    plain = draw_frames(frames, ("ES", "mid"), 2.0)
    assert not {"LV cavity"} & {text.get_text() for text in plain.texts}
