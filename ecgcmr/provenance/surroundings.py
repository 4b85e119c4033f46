"""What a run ran in: versions of packages, state of the code, hardware. Neither host nor user is named."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

import ecgcmr
from ecgcmr.provenance.git_state import folder_state, git_state
from ecgcmr.speed_choices.memory import machine

PACKAGES = (
    "torch", "lightning", "jsonargparse", "torchmetrics", "monai", "neurokit2", "h5py", "omegaconf", "tensorboard",
    "safetensors", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "numba", "joblib", "threadpoolctl", "nibabel",
    "pydicom", "matplotlib", "pillow", "rich", "pyyaml", "hdf5plugin", "distributed", "optuna", "packaging", "triton",
    "timm",
)  # fmt: skip
"""Packages whose versions are kept, where they are installed."""


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and those that it computes with."""
    found = {"python": platform.python_version(), "ecgcmr": ecgcmr.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code() -> dict[str, Any]:
    """Return the state of git repositories: ``package``, that of this package, and ``project``, the working folder's.

    An entry is None where there is none; the project is left out where it is the package's.
    """
    package, project = git_state(Path(ecgcmr.__file__)), folder_state(Path.cwd())
    return {"package": package} if project == package else {"package": package, "project": project}


def hardware() -> dict[str, Any]:
    """Return what the results of a run may depend on: system, processor, threads, accelerators."""
    known = machine()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": known["processor"],
        "instructions": f"{known['capability']} {known['instructions']}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "accelerators": _accelerators(),
    }


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError):
        return None


def _accelerators() -> list[str]:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return [f"{name}, CUDA {torch.version.cuda}" for name in names]
    return ["Apple MPS"] if torch.backends.mps.is_available() else []
