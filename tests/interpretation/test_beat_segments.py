from __future__ import annotations

import numpy as np

from ecgcmr.interpretation.beat_segments import ALL_PARTS, segments_of_median_beat, segments_of_recording
from ecgcmr.preparation.median_waves import MedianWaves

BEAT = [2, 3, 4, 6, 8, 10, 11, 13]


def _names(segments: np.ndarray) -> list[str]:
    return [ALL_PARTS[place] for place in segments]


def test_parts_of_a_beat_follow_each_other():
    waves = np.array([BEAT, np.array(BEAT) + 14])
    expected = ["unmarked"] * 2 + ["P"] * 2 + ["PR"] * 2 + ["QRS"] * 2 + ["ST"] * 2 + ["T"] * 3 + ["TP"] * 3
    expected += ["P"] * 2 + ["PR"] * 2 + ["QRS"] * 2 + ["ST"] * 2 + ["T"] * 3 + ["unmarked"] * 2
    assert _names(segments_of_recording(waves, 29)) == expected


def test_without_a_wave_nothing_is_made_up():
    waves = np.array([BEAT, np.array(BEAT) + 14])
    waves[1, :3] = -1
    names = _names(segments_of_recording(waves, 29))
    assert names[13:20] == ["TP"] * 7  # from T to QRS
    waves[0, 5:] = -1
    assert _names(segments_of_recording(waves, 29))[8:20] == ["unmarked"] * 12


def test_the_median_beat_is_framed_by_tp():
    segments = segments_of_median_beat(MedianWaves((6, 8), (2, 3, 4), (10, 11, 13)), 15)
    assert _names(segments)[:3] == ["TP", "TP", "P"]
    assert _names(segments)[12:] == ["T", "TP", "TP"]
    assert set(_names(segments_of_median_beat(None, 4))) == {"unmarked"}
