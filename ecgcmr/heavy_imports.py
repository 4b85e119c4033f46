"""Importing what is large, such as torch and Lightning, without the collector of garbage looking through it."""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType


def import_heavy(name: str) -> ModuleType:
    """Import a module that brings hundreds of thousands of objects with it, all of which will be needed.

    By default Python looks through them again and again while they come, and once more at the end of the process: of
    the processor time of a training command that has nothing to train, this was a third. Nothing that is there after
    the first import is looked through any more, which also spares forked processes copies of it.

    Args:
        name: Of the module.

    Returns:
        The module.
    """
    if name in sys.modules:
        return sys.modules[name]
    enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
