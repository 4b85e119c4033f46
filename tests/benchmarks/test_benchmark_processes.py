"""Each side of a comparison runs in a process of its own, and memory that a training keeps is not faulted in again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from ecgcmr.benchmarks.processes import OwnProcess


def written_works(folder: Path) -> dict[str, Callable[[], object]]:
    return {
        "who": lambda: (folder / "who").write_text(f"{os.getpid()} {torch.get_num_threads()}"),
        "fail": lambda: (folder / "missing" / "file").write_text(""),
    }


@pytest.mark.long
def test_works_of_another_process_run_there_and_tell_when_they_fail(tmp_path: Path) -> None:
    with OwnProcess(written_works, tmp_path) as other:
        other.work("who")()
        process, threads = map(int, (tmp_path / "who").read_text().split())
        assert process != os.getpid()
        assert threads == torch.get_num_threads()
        with pytest.raises(RuntimeError, match="ended before its work was done"):
            other.work("fail")()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


FAULTS = """
import ctypes, resource, runpy, sys
keep = runpy.run_path(sys.argv[1])["keep_freed_memory"]
if sys.argv[2] == "keep":
    assert keep()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(48 << 20)
    ctypes.memset(block, 1, 48 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_kept_memory_is_not_faulted_in_again() -> None:
    spec = find_spec("ecgcmr.training")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    setting = Path(spec.submodule_search_locations[0]) / "host_memory.py"  # alone: the package would import Lightning

    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, str(setting), how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 100 < faults("usual")
