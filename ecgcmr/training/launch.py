"""Whether the processes that were started are those that the trainer counts on.

``torchrun`` and SLURM start processes and say so in the environment. Where the trainer counts fewer, each process would
train a copy of its own, into the same run folder; where it counts more, it would wait for the others forever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ecgcmr.errors import UserError

_SLURM_NUMBERS = (
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_NNODES",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
)
_INTERACTIVE = ("bash", "interactive")
_ALONE = "or set SLURM_JOB_NAME=interactive to run one process alone"


def check_environment(environment: Mapping[str, str]) -> None:
    """Check what a launcher left in the environment, before the trainer reads it.

    Raises:
        UserError: A number is none, or SLURM's tasks are not given by node.
    """
    for name in ("WORLD_SIZE", *(_SLURM_NUMBERS if started_by_slurm(environment) else ())):
        if name in environment:
            whole_number(environment, name)
    if not started_by_slurm(environment):
        return
    tasks = whole_number(environment, "SLURM_NTASKS")
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in environment:
        raise UserError(
            f"SLURM_NTASKS is {tasks}, without tasks by node: give the job --ntasks-per-node (and --nodes), the "
            f"trainer as many trainer.devices (and trainer.num_nodes), and start with srun; {_ALONE}"
        )


def check_launch(devices: int, nodes: int, environment: Mapping[str, str]) -> None:
    """Compare the trainer's processes with those that were started.

    Args:
        devices: Devices a node that the trainer uses.
        nodes: Nodes that it uses.
        environment: Of the process.

    Raises:
        UserError: They differ.
    """
    wanted = devices * nodes
    asked = f"trainer.devices {devices} x trainer.num_nodes {nodes}"
    started = whole_number(environment, "WORLD_SIZE") if "WORLD_SIZE" in environment else 1
    by_torchrun = "TORCHELASTIC_RUN_ID" in environment
    if started != wanted and (started > 1 or by_torchrun):
        launcher = "torchrun" if by_torchrun else "the launcher"
        raise UserError(
            f"{launcher} started {started} processes (WORLD_SIZE), {asked} asks for {wanted}: set trainer.devices to "
            f"the processes of a node and trainer.num_nodes to the nodes, or start without {launcher}"
        )
    if by_torchrun or not started_by_slurm(environment):
        return
    tasks = whole_number(environment, "SLURM_NTASKS")
    per_node = whole_number(environment, "SLURM_NTASKS_PER_NODE") if "SLURM_NTASKS_PER_NODE" in environment else devices
    there = whole_number(environment, "SLURM_NNODES") if "SLURM_NNODES" in environment else nodes
    if tasks != wanted or per_node != devices or there != nodes:
        raise UserError(
            f"SLURM has {tasks} tasks ({per_node} a node on {there} nodes), {asked} asks for {wanted}: make them agree "
            f"(--ntasks-per-node with trainer.devices, --nodes with trainer.num_nodes) and start with srun; {_ALONE}"
        )


@contextlib.contextmanager
def missing_variables_named() -> Iterator[None]:
    """Name a variable that a launcher should have set, where Lightning looks for it in vain.

    Raises:
        UserError: One is missing.
    """
    try:
        yield
    except KeyError as error:
        raise UserError(
            f"the environment lacks {error.args[0]}, which a launcher of several processes sets: start with srun or "
            f"torchrun; {_ALONE}"
        ) from error


def started_by_slurm(environment: Mapping[str, str]) -> bool:
    """Return whether SLURM counts the processes; an interactive job, as Lightning sees it, is one alone."""
    return (
        "SLURM_NTASKS" in environment
        and environment.get("SLURM_JOB_NAME") not in _INTERACTIVE
        and "TORCHELASTIC_RUN_ID" not in environment
    )


def is_first_process(environment: Mapping[str, str]) -> bool:
    """Return whether this process is rank zero, by what its launcher says, before a trainer knows."""
    if "RANK" in environment:
        return whole_number(environment, "RANK") == 0
    if started_by_slurm(environment):
        return "SLURM_PROCID" not in environment or whole_number(environment, "SLURM_PROCID") == 0
    return all(whole_number(environment, name) == 0 for name in ("LOCAL_RANK", "NODE_RANK") if name in environment)


def starts_ranks(trainer: Any, environment: Mapping[str, str]) -> bool:
    """Return whether a trainer of these settings starts processes from this one, as no launcher has done so."""
    if {"WORLD_SIZE", "LOCAL_RANK"} & set(environment) or started_by_slurm(environment):
        return False
    devices = trainer.get("devices")
    if devices in (None, "auto", -1, "-1"):
        return not runs_on_cpu(trainer.get("accelerator")) and torch.cuda.device_count() > 1
    if isinstance(devices, str):
        devices = int(devices) if devices.isdigit() else devices.split(",")
    return (len(devices) if isinstance(devices, list) else int(devices)) > 1


def runs_on_cpu(accelerator: Any) -> bool:
    """Return whether a trainer's setting comes to the CPU on this machine."""
    if accelerator in (None, "auto"):
        return not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return accelerator == "cpu"


def whole_number(environment: Mapping[str, str], name: str) -> int:
    """Return a number that a launcher set in the environment.

    Raises:
        UserError: It is none.
    """
    try:
        return int(environment[name])
    except ValueError:
        raise UserError(
            f"{name} in the environment is {environment[name][:40]!r}, no whole number: unset it, or start the job anew"
        ) from None
