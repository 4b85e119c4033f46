"""The jobs of an experiment: parts that wait for the same and are given the same are one array."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ecgcmr.config_pieces import read_config
from ecgcmr.experiments.cluster_file import Cluster, Resources
from ecgcmr.experiments.fine_tuning import trained_as
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.run_graph import trained_methods
from ecgcmr.yaml_file import mapping_at

_UNSAFE = re.compile(r"[^\w.+-]", re.ASCII)
_LARGEST_ARRAY = 1000  # SLURM's MaxArraySize is 1001 unless a cluster says otherwise


class Part(Protocol):
    """A part of an experiment, as ``ecgcmr.experiments.run_graph`` lists them."""

    @property
    def name(self) -> str:
        """As ``ecgcmr experiment --only`` takes it; the whole experiment's tables are ``table``."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the parts that must be finished."""


@dataclass(frozen=True)
class Ranks:
    """What a training asks for.

    Attributes:
        nodes: How many.
        devices: On each.
    """

    nodes: int = 1
    devices: int = 1


@dataclass(frozen=True)
class Job:
    """One job, or an array of several.

    Attributes:
        name: Of its file.
        parts: Names of its parts, in the order of the array.
        needs: Names of the parts that must be finished.
        ranks: Of each part.
        given: What each part is given.
    """

    name: str
    parts: tuple[str, ...]
    needs: tuple[str, ...]
    ranks: Ranks
    given: Resources


def jobs_of(parts: Iterable[Part], asks: Callable[[str, int], Ranks], cluster: Cluster) -> list[Job]:
    """Return the jobs of an experiment in an order in which they can be submitted.

    Args:
        parts: Of the experiment.
        asks: What a part, by its name, asks for, given the devices where its configs leave their number open.
        cluster: Where they run.
    """
    groups: dict[Any, list[str]] = {}
    found: dict[Any, tuple[tuple[str, ...], Ranks, Resources]] = {}
    for part in parts:
        given = cluster.resources(part.name)
        ranks = asks(part.name, given.devices)
        key = (frozenset(part.needs), ranks, repr(given))
        found.setdefault(key, (tuple(part.needs), ranks, given))
        groups.setdefault(key, []).append(part.name)
    jobs: list[Job] = []
    for key, names in groups.items():
        for start in range(0, len(names), _LARGEST_ARRAY):
            chosen = tuple(names[start : start + _LARGEST_ARRAY])
            name = _UNSAFE.sub("", chosen[0]) + (f"-and-{len(chosen) - 1}-more" if len(chosen) > 1 else "")
            jobs.append(Job(name, chosen, *found[key]))
    return [replace(job, name=f"{number:02d}-{job.name}") for number, job in enumerate(_in_order(jobs), start=1)]


def ranks_of(plan: Plan, part: str, devices: int) -> Ranks:
    """Return what a part asks for: a stage and a downstream run what their configs say, all others one process.

    Args:
        plan: The experiment.
        part: Its name.
        devices: Taken where a config leaves their number open.
    """
    config, settings = _settings(plan, part)
    if config is None:
        return Ranks()
    trainer = mapping_at(read_config(plan.file(config)), "trainer")
    asked = settings.get("trainer.devices", trainer.get("devices", "auto"))
    nodes = int(settings.get("trainer.num_nodes", trainer.get("num_nodes", 1)))
    if asked in (None, "auto", -1, "-1"):
        return Ranks(nodes, devices)
    return Ranks(nodes, len(asked) if isinstance(asked, list) else int(asked))


def most_ranks(plan: Plan, parts: Iterable[Part], devices: int) -> Ranks:
    """Return what the largest part of an experiment asks for, that is run as one job."""
    asked = [ranks_of(plan, part.name, devices) for part in parts]
    return max(asked, key=lambda ranks: ranks.nodes * ranks.devices, default=Ranks())


def _settings(plan: Plan, part: str) -> tuple[str | None, dict[str, Any]]:
    """Return the config of a part and what the plan sets over it; no config of what trains nothing."""
    if part in plan.stages:
        return plan.stages[part].config, plan.stages[part].set
    evaluation = plan.evaluation
    runs = [
        (f"{name}-{trained_as(method, protocol)}-", name, method)
        for name, task in evaluation.tasks.items()
        for method, protocol in trained_methods(evaluation, task)
    ]
    matching = [run for run in runs if part.startswith(run[0])]
    if not matching:
        return None, {}
    _, task, method = max(matching, key=lambda run: len(run[0]))
    network = evaluation.supervised.get(method)
    return evaluation.tasks[task].finetune, {**evaluation.tasks[task].set, **(network.set if network else {})}


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Sort jobs so that each comes behind those that it needs; an array may have parts from anywhere in the list."""
    left, done, ordered = list(jobs), set[str](), list[Job]()
    while left:
        ready = [job for job in left if done.issuperset(job.needs)]
        if not ready:
            raise ValueError(f"parts that need each other: {', '.join(job.name for job in left)}")
        for job in ready:
            done.update(job.parts)
            left.remove(job)
        ordered += ready
    return ordered


def log_folder(folder: Path) -> Path:
    """Return where the jobs of a folder of scripts write what they print."""
    return folder / "logs"
