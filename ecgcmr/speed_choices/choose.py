"""Chooses the precision of a run and the ways its networks compute, by measuring its parts once on this machine."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from ecgcmr.encoders.kernels import Kernels
from ecgcmr.errors import UserError
from ecgcmr.speed_choices.candidates import BFLOAT16, FLOAT32, Candidate, candidates
from ecgcmr.speed_choices.decision import Outcome, TimedPart, choose_type, outcome
from ecgcmr.speed_choices.memory import path_for, recall, remember
from ecgcmr.speed_choices.parts import Part, parts_of
from ecgcmr.speed_choices.products import SIGNATURE, bfloat16_is_hopeless, product_works
from ecgcmr.speed_choices.race import Race, Work, robust_race

SWITCH = "ECGCMR_MACHINE_CHOICES"
MODES = ("kept", "anew", "ordinary")
COMPUTES_AS = "ECGCMR_COMPUTES_AS"
"""Set for a command that is to compute as another run did: how that was, and the process that says so."""
LOW_PRECISION, FULL_PRECISION = "bf16-mixed", "32-true"
_PRECISIONS = {FLOAT32: FULL_PRECISION, BFLOAT16: LOW_PRECISION}
_TYPES = {"32-true": FLOAT32, "32": FLOAT32, "bf16-mixed": BFLOAT16, "bf16-true": BFLOAT16, "bf16": BFLOAT16}
_PATIENCE_S = 30.0  # of a rank that waits for what the first one measures


@dataclasses.dataclass(frozen=True)
class Choices:
    """How a run computes.

    Attributes:
        precision: Lightning's name.
        kernels: Ways of its networks.
        line: What was chosen and why, for people.
    """

    precision: str
    kernels: Kernels
    line: str


@dataclasses.dataclass(frozen=True)
class Timings:
    """Times of a stage's parts.

    Attributes:
        parts: The times.
        note: How they came about.
    """

    parts: list[TimedPart]
    note: str


def mode_asked_for() -> str:
    """Return what ``ECGCMR_MACHINE_CHOICES`` says: ``kept`` (times are remembered), ``anew`` or ``ordinary``.

    Raises:
        UserError: It says something else.
    """
    mode = os.environ.get(SWITCH) or MODES[0]
    if mode not in MODES:
        raise UserError(f"{SWITCH} is {mode!r}; choose one of {', '.join(MODES)}")
    return mode


def choose_on_cpu(stage: nn.Module, precision: str | None, training: bool, first_rank: bool = True) -> Choices:
    """Return the fastest precision and ways for a stage's networks on this machine's CPU.

    Args:
        stage: Holds the networks.
        precision: Lightning's name where it is given; then the ways alone are chosen.
        training: Whether it is fitted.
        first_rank: Other ranks wait a while for the times that the first one writes.

    Raises:
        UserError: ``ECGCMR_MACHINE_CHOICES`` is not understood.
    """
    mode = mode_asked_for()
    given = None if precision is None else _TYPES.get(str(precision))
    if mode == "ordinary" or (precision is not None and given is None):
        line = f"Computing by PyTorch's ordinary ways, precision {precision or FULL_PRECISION}; nothing was measured"
        return Choices(precision or FULL_PRECISION, Kernels(), line)
    parts = parts_of(stage, training)
    kinds = [FLOAT32, BFLOAT16] if given is None else [given]
    slow = ""
    if parts and given is None:
        products, _ = _times(SIGNATURE, kinds, product_works, mode, first_rank)
        if bfloat16_is_hopeless(products.seconds):
            ratio = products.seconds[BFLOAT16] / products.seconds[FLOAT32]
            kinds, slow = [FLOAT32], f"; a bfloat16 product takes {ratio:.3g} times as long as a float32 one"
    timings = time_parts(parts, kinds, mode, first_rank)
    if not timings.parts:
        return Choices(precision or FULL_PRECISION, Kernels(), "No network of this stage can be timed: float32")
    outcomes = {kind: outcome(timings.parts, kind) for kind in kinds}
    chosen = given or choose_type(outcomes)
    line = describe(outcomes, chosen, given is not None, timings.note) + slow
    return Choices(precision or _PRECISIONS[chosen], outcomes[chosen].kernels, line)


def time_parts(parts: Sequence[Part], kinds: Sequence[str], mode: str = "kept", first_rank: bool = True) -> Timings:
    """Return the times of parts in some types, from the cache folder or measured now.

    Args:
        parts: Of a stage.
        kinds: ``float32``, ``bfloat16`` or both.
        mode: ``kept`` or ``anew``.
        first_rank: See `choose_on_cpu`.
    """
    timed, notes = [], set()
    for part in parts:
        ways = {name: way for kind in kinds for name, way in candidates(part.kind, kind).items()}

        def works(part: Part = part, ways: Mapping[str, Candidate] = ways) -> dict[str, Work]:
            return {name: part.work(*way) for name, way in ways.items()}

        kept, note = _times(part.signature, kinds, works, mode, first_rank, set(ways))
        timed.append(TimedPart(part.name, part.kind, part.count, kept.seconds))
        notes |= {note} if kept.steady else {f"{note}, on one core, as the machine is busy"}
    return Timings(timed, "; ".join(sorted(notes)))


def _times(
    signature: str,
    kinds: Sequence[str],
    works: Callable[[], Mapping[str, Work]],
    mode: str,
    first_rank: bool,
    names: set[str] | None = None,
) -> tuple[Race, str]:
    """Return times by name (those of the types if not given), kept or measured now, and how they came about."""
    wanted = names or set(kinds)
    path = path_for(f"{signature}-{'-'.join(kinds)}")
    # A race of both types holds the times of each.
    paths = [path_for(f"{signature}-{FLOAT32}-{BFLOAT16}"), path]
    deadline = time.monotonic() + (0.0 if first_rank else _PATIENCE_S)
    kept = None if mode == "anew" and first_rank else _wait(paths, wanted, deadline)
    if kept is not None:
        return kept, "remembered from an earlier run"
    measured = robust_race(works())
    try:
        return remember(path, measured, replace=mode == "anew"), "measured now"
    except OSError as error:
        reason = f"({type(error).__name__}: the cache folder cannot be written)"
        return measured, f"measured now and not remembered {reason}"


def describe(outcomes: Mapping[str, Outcome], chosen: str, given: bool, note: str) -> str:
    """Return one line: what was chosen, and what each way takes for a recording."""
    times = ", ".join(f"{kind} {_milliseconds(found.seconds)}" for kind, found in outcomes.items())
    words = [f"precision {_PRECISIONS[chosen] if not given else chosen + ' as given'} ({times})"]
    for what, way, by_way in outcomes[chosen].compared:
        words.append(f"{what} {way} ({', '.join(f'{name} {_milliseconds(took)}' for name, took in by_way.items())})")
    return f"Fastest on this machine, time of a recording: {'; '.join(words)}; {note}"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _wait(paths: Sequence[Path], ways: set[str], deadline: float) -> Race | None:
    """Return what is kept in the first of some files that can be used, at the latest at a deadline."""
    while True:
        for path in paths:
            if (kept := recall(path, ways)) is not None:
                return kept
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.2)
