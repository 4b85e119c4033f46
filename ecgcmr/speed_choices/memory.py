"""Remembers the times of parts in the user's cache folder, for this machine and these versions.

The first process that has measured a part writes its file and all others read it, so that the ranks of a run agree. A
file that cannot be read is measured anew; where nothing can be written, each run measures again and says so.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from ecgcmr.files import replace_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.speed_choices.race import Race

VERSION = 1  # of what is measured and how
BUSY_SECONDS = 600  # how long times of a busy machine are good
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/ecgcmr`` or ``~/.cache/ecgcmr``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ecgcmr"


def machine() -> dict[str, str]:
    """Return what a time depends on: processor, instructions, cores, threads and versions."""
    model, flags = _processor(Path("/proc/cpuinfo"))
    limits = {name: os.environ[name] for name in _LIMITS if name in os.environ}
    return {
        "processor": model,
        "instructions": hashlib.sha256(flags.encode()).hexdigest()[:16],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "limits": json.dumps(limits, sort_keys=True),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "version": str(VERSION),
    }


def machine_key(described: dict[str, str]) -> str:
    """Return 16 hex digits for what `machine` returned."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def path_for(signature: str) -> Path:
    """Return where the times of a part lie on this machine."""
    return cache_folder() / "speed" / machine_key(machine()) / f"{signature}.json"


def recall(path: Path, ways: set[str]) -> Race | None:
    """Return what is kept, or None where there is nothing that can be used for these ways."""
    try:
        content = recall_json(path, most=100_000)
        seconds = {str(name): float(value) for name, value in content["seconds"].items()}
        steady, measured = bool(content["steady"]), float(content["measured"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    if not ways <= set(seconds) or not all(math.isfinite(value) and value > 0 for value in seconds.values()):
        return None
    if not steady and not 0 <= time.time() - measured < BUSY_SECONDS:
        return None
    return Race(seconds, steady)


def remember(path: Path, kept: Race, replace: bool) -> Race:
    """Write times, unless another process wrote good ones first; return those that now count.

    Args:
        path: Of the file.
        kept: What was measured.
        replace: Write in any case.

    Raises:
        OSError: Nothing can be written there.
    """
    content: dict[str, Any] = {
        "seconds": kept.seconds,
        "steady": kept.steady,
        "measured": time.time(),
        "machine": machine(),
    }
    with replace_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        if not replace and not _name_is_free(temporary, path) and recall(path, set(kept.seconds)) is not None:
            temporary.write_bytes(path.read_bytes())  # of two processes that measured at once, the first one counts
    return recall(path, set(kept.seconds)) or kept


def _name_is_free(temporary: Path, path: Path) -> bool:
    """Take a name if nobody has it; of several processes that try at once one succeeds."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        return not path.exists()  # a file system without links
    return True


@functools.cache
def _processor(cpuinfo: Path) -> tuple[str, str]:
    """Name and instructions of the first processor, as far as the system tells them."""
    name, flags = platform.processor() or platform.machine(), ""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return name, flags
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = value.strip()
            break
    return name, flags
