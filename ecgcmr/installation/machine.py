"""What the machine offers: processor, memory, accelerators, and the backends that torch was built with."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

import torch

from ecgcmr.speed_choices.memory import machine

_NVIDIA = Path("/proc/driver/nvidia/version")
_GB = 1e9


def describe(folder: Path) -> dict[str, Any]:
    """Return system, processor, memory (GB) and room on the disk of ``folder``; None for what is not known."""
    known = machine()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": known["processor"],
        "instructions": known["capability"],
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory("SC_PHYS_PAGES"),
        "memory_free_gb": _memory_available(),
        "shared_memory_gb": _free(Path("/dev/shm")),
        "disk_free_gb": _free(folder),
        "open_files": _open_files(),
    }


def devices() -> list[dict[str, Any]]:
    """Return the accelerators: name as torch knows it, model, memory (GB), compute capability, bfloat16."""
    found: list[dict[str, Any]] = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            found.append(
                {
                    "device": f"cuda:{number}",
                    "name": card.name,
                    "memory_gb": round(card.total_memory / _GB, 1),
                    "capability": f"{card.major}.{card.minor}",
                    "bfloat16": torch.cuda.is_bf16_supported(),
                }
            )
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": "Apple GPU"})
    return found


def backends() -> dict[str, Any]:
    """Return what torch computes, compiles and communicates with."""
    distributed = torch.distributed
    with_ranks = distributed.is_available()
    return {
        "onednn": torch.backends.mkldnn.is_available(),
        "openmp": torch.backends.openmp.is_available(),
        "cuda": torch.version.cuda,
        "rocm": torch.version.hip,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "gloo": with_ranks and distributed.is_gloo_available(),
        "nccl": with_ranks and distributed.is_nccl_available(),
        "mpi": with_ranks and distributed.is_mpi_available(),
        "compiler": compiler(),
    }


def compiler() -> str | None:
    """Return the C++ compiler that torch.compile would call on a CPU, None where there is none."""
    named = os.environ.get("CXX", "").split()
    return next((name for name in [*named[:1], "g++", "clang++"] if shutil.which(name)), None)


def warnings_about(described: dict[str, Any], accelerators: list[dict[str, Any]]) -> list[str]:
    """Return what runs, but not as the user may expect, in one line each.

    Args:
        described: By ``describe``.
        accelerators: By ``devices``.
    """
    found = []
    if _NVIDIA.exists() and not any(device["device"].startswith("cuda") for device in accelerators):
        found.append(f"an NVIDIA driver is here, but torch {torch.__version__} finds no GPU; is it a build for CPUs?")
    if compiler() is None and not accelerators:
        found.append("no C++ compiler: --compile true cannot be used")
    shared = described["shared_memory_gb"]
    if shared is not None and shared < 1.0:
        found.append(f"/dev/shm has {shared} GB free: loading with workers may fail, give the container more")
    if described["disk_free_gb"] is not None and described["disk_free_gb"] < 5.0:
        found.append(f"the disk of this folder has {described['disk_free_gb']} GB free")
    if described["open_files"] is not None and described["open_files"] < 1024:
        found.append(f"a process may open {described['open_files']} files; raise it with ulimit -n")
    return found


def usable_cores() -> int:
    """Return the cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory(name: str) -> float | None:
    try:
        return round(os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") / _GB, 1)
    except (ValueError, OSError):
        return None


def _memory_available() -> float | None:
    """Return what Linux could give to a program now, without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(round(int(line.split()[1]) * 1024 / _GB, 1) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _free(folder: Path) -> float | None:
    try:
        return round(shutil.disk_usage(folder).free / _GB, 1)
    except OSError:
        return None


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # not on every system
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
