"""From times of parts to one choice for a run. Pure arithmetic; nothing is measured here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from ecgcmr.encoders.kernels import AttentionWay, Kernels
from ecgcmr.speed_choices.candidates import BFLOAT16, FLOAT32, attention_name, linear_name, order_name

MARGIN = 0.02  # what is plainer or exacter is left only for something faster by this share


@dataclasses.dataclass(frozen=True)
class TimedPart:
    """A part and what it took.

    Attributes:
        name: For people.
        kind: ``tokens``, ``images`` or ``other``.
        count: Times that it runs for a recording.
        seconds: Way -> seconds.
    """

    name: str
    kind: str
    count: float
    seconds: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The fastest ways with products of one type.

    Attributes:
        kernels: The ways.
        seconds: Estimate for a recording.
        compared: What was chosen and what each way takes for a recording, such as ``("linear layers", "linear",
            {"linear": 0.02, "convolution": 0.03})``.
    """

    kernels: Kernels
    seconds: float
    compared: list[tuple[str, str, dict[str, float]]]


def fastest(times: Mapping[str, float]) -> str:
    """Return the first of several ways unless another is faster by more than the margin; then the fastest."""
    first = next(iter(times))
    best = min(times, key=lambda name: times[name])
    return best if times[best] < (1.0 - MARGIN) * times[first] else first


def outcome(parts: Sequence[TimedPart], kind: str) -> Outcome:
    """Return the fastest ways for parts with products of a type, all of whose ways were timed."""
    blocks = [part for part in parts if part.kind == "tokens"]
    images = [part for part in parts if part.kind == "images"]
    compared: list[tuple[str, str, dict[str, float]]] = []
    convolution, attention, channels_last = False, Kernels().attention, True
    seconds = sum(part.count * part.seconds[kind] for part in parts if part.kind == "other")
    if blocks:
        linear = {name: _total(blocks, linear_name(kind, name == "convolution")) for name in ("linear", "convolution")}
        chosen = fastest(linear)
        compared.append(("linear layers", chosen, linear))
        convolution, took = chosen == "convolution", linear[chosen]
        if kind == BFLOAT16:
            by_way = {str(way): _total(blocks, attention_name(way)) for way in _ATTENTION}
            attention = next(way for way in _ATTENTION if way == fastest(by_way))
            compared.append(("attention", attention, by_way))
            took *= by_way[attention] / by_way["written"]
        seconds += took
    if images:
        orders = {name: _total(images, order_name(kind, name == "channels last")) for name in _ORDERS}
        chosen = fastest(orders)
        compared.append(("images", chosen, orders))
        channels_last = chosen == "channels last"
        seconds += orders[chosen]
    return Outcome(Kernels(convolution, attention, channels_last), seconds, compared)


def choose_type(outcomes: Mapping[str, Outcome]) -> str:
    """Return the type whose estimate is the least; float32 keeps its digits unless bfloat16 saves the margin."""
    ordered = {kind: outcomes[kind].seconds for kind in (FLOAT32, BFLOAT16) if kind in outcomes}
    return fastest(ordered)


_ATTENTION: tuple[AttentionWay, ...] = ("float32", "written", "bfloat16")  # the exactest first
_ORDERS = ("channels last", "channels first")


def _total(parts: Iterable[TimedPart], way: str) -> float:
    return sum(part.count * part.seconds[way] for part in parts)
