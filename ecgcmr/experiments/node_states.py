"""How far each part of an experiment is: finished, begun, running or to be run, and how long the rest will take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from ecgcmr.encoders.weights import CARD_FILE, read_encoder_card
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.run_graph import COHORT, TABLE, GraphNode, run_graph
from ecgcmr.experiments.stage_runs import StageRun, is_complete, marker_state
from ecgcmr.experiments.times import Times
from ecgcmr.experiments.trainings import DownstreamRun, Trainings
from ecgcmr.locks import is_locked
from ecgcmr.text import duration, printable

FINISHED, RUNNING, BEGUN, STALE, WAITING = "finished", "running", "begun", "to run again", "to run"
UNKNOWN = "not known"
"""States: ``begun`` goes on from its last checkpoint; ``to run again`` is of other settings, cohort or parents."""


@dataclass(frozen=True)
class NodeState:
    """A node of the graph and how far it is.

    Attributes:
        node: What it is and needs.
        state: One of the constants above.
        seconds: That it took last time, or its like did; None if nothing like it has run in this folder.
    """

    node: GraphNode
    state: str
    seconds: float | None

    @property
    def open(self) -> bool:
        """Whether it is still to be done."""
        return self.state != FINISHED


def states_without_cohort(nodes: Sequence[GraphNode], times: Times) -> list[NodeState]:
    """Return the states of an experiment whose cohort is still to be made."""
    return [NodeState(node, WAITING, times.expected(node.name)) for node in nodes]


def states_by_notes(plan: Plan, out: Path) -> list[NodeState]:
    """Return the states that the folder itself notes, where its cohort cannot be read to compare them with it."""
    times, states = Times.load(out), dict[str, str]()
    whole = bool(marker_state(out).get("finished"))
    for node in run_graph(plan):
        folder = out / "stages" / node.name
        if whole or node.name == COHORT:
            states[node.name] = FINISHED
        elif node.name == TABLE:
            states[node.name] = WAITING
        elif node.name in plan.stages or folder.is_dir():
            states[node.name] = _noted(folder)
        else:  # the name of its folder follows from the number of subjects
            states[node.name] = UNKNOWN
    return [NodeState(node, states[node.name], times.expected(node.name)) for node in run_graph(plan)]


def _noted(folder: Path) -> str:
    if is_locked(folder):
        return RUNNING
    marker = marker_state(folder)
    return FINISHED if marker.get("finished") else BEGUN if marker else WAITING


def node_states(
    trainings: Trainings,
    problems: Sequence[Problem],
    counts: Mapping[str, Mapping[int | str, int]],
    finished: bool,
) -> list[NodeState]:
    """Return how far each node is; nothing is written.

    Args:
        trainings: What is trained.
        problems: The tasks.
        counts: Task -> entry of ``labels`` -> number of labelled training recordings.
        finished: Whether the whole experiment is.
    """
    times = Times.load(trainings.out)
    runs = {run.name: run for problem in problems for run in trainings.downstream(problem, counts[problem.name])}
    states: dict[str, str] = {}
    nodes = run_graph(trainings.plan, counts)
    for node in nodes:
        if node.name == COHORT:
            states[node.name] = FINISHED
        elif node.name == TABLE:
            states[node.name] = FINISHED if finished else WAITING
        elif any(states[need] != FINISHED for need in node.needs):
            states[node.name] = WAITING
        else:
            states[node.name] = _state(_parts(trainings, node, runs))
    return [NodeState(node, states[node.name], times.expected(node.name)) for node in nodes]


def trusted_by_cards(out: Path) -> tuple[str, ...]:
    """Return the encoder classes of finished stages, which looking at their states names and does not import."""
    cards = sorted((out / "stages").glob(f"*/{CARD_FILE}"))
    return tuple(dict.fromkeys(read_encoder_card(path.parent).class_path for path in cards))


def _parts(
    trainings: Trainings, node: GraphNode, runs: Mapping[str, DownstreamRun]
) -> Iterator[tuple[StageRun, tuple[str, ...]] | None]:
    """Give the runs of a node with the splits they predict; None for one that cannot be described yet."""
    if node.name not in runs:
        yield trainings.stage(node.name), ()
    elif not (trainings.folder(_made_of(trainings, runs[node.name].method)) / CARD_FILE).is_file():
        yield None
    else:
        for piece in trainings.pieces(runs[node.name]):
            if piece.run is not None:
                yield piece.run, piece.predict


def _made_of(trainings: Trainings, method: str) -> str:
    """Return the encoder that a method starts from, or is shaped like."""
    plan = trainings.plan
    return method if method in (*plan.stages, *plan.encoders) else "random"


def _state(parts: Iterator[tuple[StageRun, tuple[str, ...]] | None]) -> str:
    """Return the state of runs that make up one node."""
    found = {WAITING if part is None else _state_of_run(*part) for part in parts}
    for state in (RUNNING, BEGUN, STALE):
        if state in found:
            return state
    return BEGUN if found == {FINISHED, WAITING} else next(iter(found), FINISHED)


def _state_of_run(run: StageRun, predict: tuple[str, ...]) -> str:
    if is_locked(run.folder):
        return RUNNING
    if is_complete(run, predict):
        return FINISHED
    marker = marker_state(run.folder)
    if not marker:
        return WAITING
    return BEGUN if marker.get("fingerprint") == run.fingerprint else STALE


def states_table(states: Sequence[NodeState]) -> Table:
    """Return the states as a table, with the time that each part took or is expected to take."""
    table = Table(box=None, pad_edge=False)
    for name in ("part", "needs", "state", "time"):
        table.add_column(name, justify="right" if name == "time" else "left")
    for state in states:
        needs = "everything above" if state.node.name == TABLE else ", ".join(map(printable, state.node.needs))
        shown = "" if state.seconds is None else duration(state.seconds)
        table.add_row(printable(state.node.name), needs, state.state, shown)
    return table


def remaining(states: Sequence[NodeState], jobs: int) -> str:
    """Say in a line how much is left, and for how long by the times of the last runs."""
    left = [state for state in states if state.open]
    if not left:
        return "all finished"
    known = [state for state in left if state.seconds is not None]
    line = f"{len(left)} of {len(states)} parts left"
    if not known:
        return f"{line}; nothing like them has run in this folder, so their time is not known"
    seconds = expected_seconds(states, jobs)
    rest = len(left) - len([state for state in known if state.node.name != TABLE]) - 1
    return f"{line}, about {duration(seconds)}{f', without {rest} that nobody has timed' if rest > 0 else ''}"


def expected_seconds(states: Sequence[NodeState], jobs: int) -> float:
    """Return how long what is left takes on so many workers, each part begun as soon as it can be."""
    ends: dict[str, float] = {state.node.name: 0.0 for state in states if not state.open}
    free = [0.0] * max(1, min(jobs, len(states)))
    for state in (state for state in states if state.open):
        ready = max((ends.get(need, 0.0) for need in state.node.needs), default=0.0)
        worker = min(range(len(free)), key=free.__getitem__)
        ends[state.node.name] = free[worker] = max(ready, free[worker]) + (state.seconds or 0.0)
    return max(ends.values(), default=0.0)


def states_json(states: Sequence[NodeState]) -> str:
    """Return the states as JSON."""
    entries = [
        {"part": s.node.name, "needs": list(s.node.needs), "state": s.state, "seconds": s.seconds} for s in states
    ]
    return json.dumps(entries, indent=1)
