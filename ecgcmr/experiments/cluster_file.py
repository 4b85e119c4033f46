"""``cluster.yaml``: what a cluster gives to each part of an experiment, and what its jobs need first."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.experiments.plan_reading import typed
from ecgcmr.option_checks import check_least
from ecgcmr.text import printable
from ecgcmr.yaml_file import read_yaml

_TIME = re.compile(r"(\d+-\d{1,2}(:\d{1,2}){0,2}|\d+:\d{1,2}(:\d{1,2})?)")
_WORD = re.compile(r"[^\s'\"\\;&|<>$`]+")


@dataclass(frozen=True)
class Resources:
    """What one job is given.

    Attributes:
        partition: Of the cluster; None: its default.
        account: That is charged.
        time: Longest time of a job, such as ``"24:00:00"`` or ``"2-00:00:00"``, quoted.
        devices: Devices a node of a training whose config leaves their number open (``trainer.devices: auto``).
        gpus: GPUs of a device: 1, or 0 for training on CPUs.
        gpu_type: Kind of GPU, such as ``a100``.
        cpus: Cores of a device.
        memory: Of a node, such as ``64G``.
        signal: Seconds before the end at which a job saves and is queued again; less than its time.
        options: Further options of sbatch, such as ``--qos=long``.
    """

    partition: str | None = None
    account: str | None = None
    time: str = "24:00:00"
    devices: int = 1
    gpus: int = 1
    gpu_type: str | None = None
    cpus: int = 8
    memory: str | None = None
    signal: int = 300
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cluster(Resources):
    """A cluster.

    Attributes:
        setup: Lines of shell that run first in each job, such as ``module load cuda``.
        launcher: What starts the ranks of a training on several devices.
        running: Parts of one array that may run at the same time; None: all.
        parts: Pattern of names of parts, such as ``cohort`` or ``phenotypes-*`` -> entries of ``Resources`` for them.
    """

    setup: list[str] = field(default_factory=list)
    launcher: str = "srun"
    running: int | None = None
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def resources(self, part: str) -> Resources:
        """Return what a part is given: the cluster's entries, over them those of every pattern that it matches."""
        found = Resources(**{each.name: getattr(self, each.name) for each in fields(Resources)})
        for pattern, entries in self.parts.items():
            if fnmatchcase(part, pattern):
                found = replace(found, **entries)
        return found


def read_cluster(path: Path, parts: Collection[str]) -> Cluster:
    """Read and check a cluster file.

    Args:
        path: The file.
        parts: Names of the parts that will be run.

    Raises:
        UserError: It is missing, no YAML, says something that is not understood, or a pattern meets no part.
    """
    where = path.name
    cluster = typed(Cluster, read_yaml(path, what="cluster file", root=dict), where)
    parts_given = dict[str, dict[str, Any]]()
    for pattern, entries in cluster.parts.items():
        here = f"{where}: parts.{printable(pattern, 60)}"
        if not any(fnmatchcase(part, pattern) for part in parts):
            raise UserError(f"{here}: the experiment has no such part; it has {', '.join(list(parts)[:6])}, ...")
        given = typed(Resources, entries, here)
        _check(given, here)
        parts_given[pattern] = {name: getattr(given, name) for name in entries}
    _check(cluster, where)
    if cluster.running is not None:
        check_least(1, **{f"{where}: running": cluster.running})
    cluster = replace(cluster, parts=parts_given)
    for part in parts:
        _check_signal(cluster.resources(part), f"{where}: part {printable(part, 60)}")
    return cluster


def _check_signal(given: Resources, where: str) -> None:
    """Refuse a job that would save and be queued again from its start on, without end."""
    if given.signal >= seconds_of(given.time):
        raise UserError(
            f"{where}: signal, {given.signal} s before the end of a job, is not below its time, {given.time}; lower "
            "signal, or give a longer time"
        )


def _check(given: Resources, where: str) -> None:
    if not _TIME.fullmatch(given.time):
        raise UserError(f'{where}: time is {printable(given.time, 40)}; write it in quotes, such as "24:00:00"')
    check_least(1, **{f"{where}: {name}": getattr(given, name) for name in ("devices", "cpus", "signal")})
    if given.gpus not in (0, 1):
        raise UserError(
            f"{where}: gpus is {given.gpus}; a device is one GPU, or 0 for CPUs: how many are trained on is devices"
        )
    _check_words(given.options, f"{where}: options", "--")
    named = [word for word in (given.partition, given.account, given.gpu_type, given.memory) if word is not None]
    _check_words(named, where)


def seconds_of(time: str) -> int:
    """Return the seconds of ``minutes:seconds``, ``hours:minutes:seconds`` or ``days-hours[:minutes[:seconds]]``."""
    days, dash, rest = time.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    if dash:
        numbers = [*numbers, 0, 0][:3]
    elif len(numbers) == 2:
        numbers = [0, *numbers]
    hours, minutes, seconds = numbers
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _check_words(words: Sequence[str], where: str, start: str = "") -> None:
    for word in words:
        if not _WORD.fullmatch(word) or not word.startswith(start):
            raise UserError(f"{where}: {printable(word, 60)} is no word for sbatch, such as {start or 'gpu'}")
