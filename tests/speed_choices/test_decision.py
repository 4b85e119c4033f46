"""From given times the fastest choice follows: never slower than another by more than the margin, exacter within it."""

from __future__ import annotations

import itertools

import pytest

from ecgcmr.encoders.kernels import Kernels
from ecgcmr.speed_choices.candidates import candidates
from ecgcmr.speed_choices.decision import MARGIN, TimedPart, choose_type, fastest, outcome

# Times of a block on two processors; the first multiplies bfloat16 at half the speed of float32, though it lists it.
SLOW_BFLOAT16 = {
    "float32 linear": 1.0,
    "float32 convolution": 1.01,
    "bfloat16 linear": 1.8,
    "bfloat16 convolution": 1.7,
    "bfloat16 attention float32": 1.75,
    "bfloat16 attention bfloat16": 2.5,
}
FAST_BFLOAT16 = {
    "float32 linear": 1.2,
    "float32 convolution": 1.0,
    "bfloat16 linear": 0.5,
    "bfloat16 convolution": 0.51,
    "bfloat16 attention float32": 0.6,
    "bfloat16 attention bfloat16": 0.7,
}
IMAGES = {
    "float32 channels last": 3.0,
    "float32 channels first": 4.0,
    "bfloat16 channels last": 6.0,
    "bfloat16 channels first": 5.0,
}
KINDS = ("float32", "bfloat16")


def blocks(seconds: dict[str, float], count: float = 1.0) -> TimedPart:
    return TimedPart("block", "tokens", count, seconds)


def chosen(*parts: TimedPart) -> tuple[str, Kernels]:
    outcomes = {kind: outcome(parts, kind) for kind in KINDS}
    kind = choose_type(outcomes)
    return kind, outcomes[kind].kernels


def test_every_way_has_a_time_here() -> None:
    assert {name for kind in KINDS for name in candidates("tokens", kind)} == set(SLOW_BFLOAT16) == set(FAST_BFLOAT16)
    assert {name for kind in KINDS for name in candidates("images", kind)} == set(IMAGES)
    assert [*candidates("other", "float32")] == ["float32"]


def test_slow_bfloat16_products_leave_a_run_in_float32_whatever_the_processor_lists() -> None:
    assert chosen(blocks(SLOW_BFLOAT16)) == ("float32", Kernels(convolution=False))


def test_fast_bfloat16_products_are_taken_with_attention_written_out() -> None:
    assert chosen(blocks(FAST_BFLOAT16)) == ("bfloat16", Kernels(False, "written"))


def test_convolutions_are_taken_where_they_are_faster() -> None:
    assert outcome([blocks(FAST_BFLOAT16)], "float32").kernels.convolution
    assert not outcome([blocks(SLOW_BFLOAT16)], "float32").kernels.convolution


def test_the_whole_run_decides_the_precision_not_one_of_its_networks() -> None:
    images = TimedPart("images", "images", 1.0, IMAGES)
    assert chosen(blocks(FAST_BFLOAT16), images)[0] == "float32"
    assert chosen(blocks(FAST_BFLOAT16, count=12.0), images)[0] == "bfloat16"
    assert not chosen(blocks(FAST_BFLOAT16, count=12.0), images)[1].channels_last
    other = TimedPart("convolutions", "other", 1.0, {"float32": 2.0, "bfloat16": 1.0})
    assert chosen(other)[0] == "bfloat16"


def test_estimates_are_the_sums_of_the_parts() -> None:
    parts = [blocks(FAST_BFLOAT16, 3.0), TimedPart("images", "images", 2.0, IMAGES)]
    assert outcome(parts, "float32").seconds == pytest.approx(3.0 * 1.0 + 2.0 * 3.0)
    assert outcome(parts, "bfloat16").seconds == pytest.approx(3.0 * 0.5 + 2.0 * 5.0)


def test_a_tie_goes_to_the_plainer_and_no_choice_is_slower_by_more_than_the_margin() -> None:
    assert fastest({"plain": 1.0, "other": 1.0 - MARGIN / 2}) == "plain"
    assert fastest({"plain": 1.0, "other": 1.0 - 2 * MARGIN}) == "other"
    for times in itertools.product([0.9, 0.97, 0.99, 1.0], repeat=3):
        by_name = dict(zip("abc", times, strict=True))
        assert by_name[fastest(by_name)] * (1.0 - MARGIN) <= min(times)
