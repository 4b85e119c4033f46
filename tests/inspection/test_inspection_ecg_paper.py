from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from inspected_cohort import FIRST_PEAK, PEAK_EVERY, RATE, beats_signal
from PIL import Image

from ecgcmr.inspection.ecg_paper import draw_ecg_paper
from ecgcmr.inspection.paper_layout import (
    MM_PER_MILLIVOLT,
    MM_PER_SECOND,
    gain_mm,
    scale_text,
)
from ecgcmr.inspection.paper_tracing import PaperECG
from ecgcmr.inspection.png import PAPER_DPI, save_png
from ecgcmr.shards.layout import LEADS

DOTS = 10  # a millimetre


def traces(figure):
    """Lines with more points than any drawn ornament, in order of drawing: (x, y) in mm."""
    return [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) > 100]


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.fixture
def mv():
    return PaperECG(beats_signal(), RATE, "mV", title="a recording")


def test_a_millivolt_is_ten_millimetres_and_a_second_twenty_five(mv):
    first, *_, strip = traces(draw_ecg_paper(mv))
    assert np.ptp(first[:, 1]) == pytest.approx(1.0 * MM_PER_MILLIVOLT, abs=1e-4)  # lead I has R waves of 1 mV
    assert np.ptp(strip[:, 1]) == pytest.approx(1.1 * MM_PER_MILLIVOLT, abs=1e-3)  # lead II
    peaks = np.flatnonzero(np.diff(np.sign(np.diff(strip[:, 1]))) < 0) + 1
    assert np.diff(strip[peaks, 0]) == pytest.approx(PEAK_EVERY / RATE * MM_PER_SECOND)
    assert np.ptp(strip[:, 0]) == pytest.approx(4999 / RATE * MM_PER_SECOND)


def test_columns_follow_each_other_in_time_and_leads_stand_in_the_usual_order(mv):
    signal = np.zeros((12, 5000))
    signal += np.arange(1, 13)[:, None] * (np.arange(5000) % 2) / 10  # each lead is known by its amplitude
    *segments, strip = traces(draw_ecg_paper(PaperECG(signal, RATE, "mV")))
    assert len(segments) == 12
    leads = [round(np.ptp(segment[:, 1])) - 1 for segment in segments]
    assert leads == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    for place, segment in enumerate(segments):
        start = strip[0, 0] + (place % 4) * 2.5 * MM_PER_SECOND
        assert segment[0, 0] == pytest.approx(start)
        assert len(segment) == 1250
    assert [word for word in words(draw_ecg_paper(mv)) if word in LEADS].count("II") == 2


@pytest.mark.slow
def test_the_sheet_prints_to_scale(mv, tmp_path):
    path = save_png(draw_ecg_paper(mv), tmp_path / "ecg.png", PAPER_DPI)
    with Image.open(path) as image:
        assert image.size == (297 * DOTS, 210 * DOTS)
        assert image.info["dpi"] == pytest.approx((254, 254), abs=0.01)
        assert "Software" not in image.info
    pixels = matplotlib.image.imread(path)[..., :3]
    # The calibration pulse: its upper side is 100 dots above its feet, and 50 dots wide.
    dark = (pixels < 0.3).all(axis=2)
    left, top = 85, (210 - 23 - 160) * DOTS
    pulse = dark[top + 150 : top + 306, left + 40 : left + 190]
    rows = np.flatnonzero(pulse.sum(axis=1) > 40)
    assert np.ptp(rows) == pytest.approx(100, abs=4)
    columns = np.flatnonzero(pulse.sum(axis=0) > 80)
    assert np.ptp(columns) == pytest.approx(50, abs=4)


def test_squares_of_one_and_five_millimetres(mv):
    fine, coarse = (collection.get_segments() for collection in draw_ecg_paper(mv).axes[0].collections[:2])
    for segments, step in ((fine, 1.0), (coarse, 5.0)):
        upright = np.unique([segment[0][0] for segment in segments if segment[0][0] == segment[1][0]])
        assert np.diff(upright) == pytest.approx(step)


def test_a_lead_that_was_not_recorded_is_told_so(mv):
    signal = beats_signal()
    signal[[1, 7]] = np.nan
    figure = draw_ecg_paper(PaperECG(signal, RATE, "mV"))
    assert words(figure).count("not recorded") == 3  # II in its place and in the strip, V2
    assert len(traces(figure)) == 10


def test_a_short_recording_ends_where_it_ends():
    figure = draw_ecg_paper(PaperECG(beats_signal(2000), RATE, "mV"))  # 4 s
    assert words(figure).count("recording ended") == 6
    assert max(trace[:, 0].max() for trace in traces(figure)) <= 28.5 + 4 * MM_PER_SECOND


def test_only_ten_seconds_of_a_long_recording_are_drawn():
    figure = draw_ecg_paper(PaperECG(np.tile(beats_signal(), (1, 2)), RATE, "mV"))
    assert max(trace[:, 0].max() for trace in traces(figure)) <= 28.5 + 10 * MM_PER_SECOND


def test_gaps_are_left_out_and_an_offset_does_not_move_the_trace(mv):
    signal = beats_signal().astype(np.float64)
    signal[0, 400:500] = np.nan
    signal += 3.0
    first = traces(draw_ecg_paper(PaperECG(signal, RATE, "mV")))[0]
    assert np.isnan(first[400:500, 1]).all()
    clean = traces(draw_ecg_paper(mv))[0]
    kept = np.isfinite(first[:, 1])
    assert first[kept, 1] == pytest.approx(clean[kept, 1], abs=1e-3)


def test_a_z_score_says_that_its_scale_is_relative():
    figure = draw_ecg_paper(PaperECG(8 * beats_signal(), RATE, "z-score"))
    text = " ".join(words(figure))
    assert "not millivolts" in text
    assert "mm/mV" not in text
    assert "1 mV" not in text


@pytest.mark.parametrize(("peak", "gain"), [(1.0, 20.0), (5.0, 5.0), (9.0, 2.5), (1000.0, 0.1)])
def test_the_gain_of_a_z_score_is_the_largest_step_that_fits(peak, gain):
    signal = np.zeros((12, 5000))
    signal[:, ::50] = peak
    assert gain_mm(signal, "z-score") == gain


def test_one_artefact_does_not_flatten_the_sheet():
    signal = np.zeros((12, 5000))
    signal[:, ::50] = 5.0
    signal[3, 17] = 400.0
    assert gain_mm(signal, "z-score") == 5.0


def test_beats_are_marked_where_they_are(mv):
    peaks = FIRST_PEAK + PEAK_EVERY * np.arange(10)
    waves = peaks[:, None] + np.array([-90, -70, -50, -20, 20, 70, 110, 150])
    waves[0, :3] = -1  # no P wave was found at the first beat
    figure = draw_ecg_paper(PaperECG(mv.signal, RATE, "mV", r_peaks=peaks, waves=waves))
    marks = next(line for line in figure.axes[0].lines if line.get_marker() == "v" and len(line.get_xdata()) > 1)
    assert marks.get_xdata() == pytest.approx(28.5 + peaks / RATE * MM_PER_SECOND)
    p, qrs, t = (collection.get_segments() for collection in figure.axes[0].collections[2:])
    assert (len(p), len(qrs), len(t)) == (9, 10, 10)
    assert qrs[0][:, 0] == pytest.approx(28.5 + np.array([230, 270]) / RATE * MM_PER_SECOND)
    assert {"R peak", "P wave", "QRS", "T wave"} <= set(words(figure))
    assert "R peak" not in words(draw_ecg_paper(mv))


def test_wrong_shapes_and_units_are_refused():
    with pytest.raises(ValueError, match=r"\(12, samples\)"):
        draw_ecg_paper(PaperECG(np.zeros((5000, 12)), RATE, "mV"))
    with pytest.raises(ValueError, match="neither mV nor z-score"):
        draw_ecg_paper(PaperECG(np.zeros((12, 5000)), RATE, "uV"))


def test_the_scale_stands_on_the_sheet():
    assert scale_text("mV", 10.0) == "25 mm/s   10 mm/mV"
    assert "2.5 mm per standard deviation" in scale_text("z-score", 2.5)
