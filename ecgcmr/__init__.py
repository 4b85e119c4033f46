"""ecgcmr: what a cardiac MRI shows, read from a ten-second 12-lead ECG.

``load`` gives a trained model; the classes named here are those that a user's own are made of. They are imported when
they are asked for, so that ``import ecgcmr`` takes no time; their types are in ``__init__.pyi``.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Downstream": "ecgcmr.stages.downstream",
    "ECGInput": "ecgcmr.encoders.protocol",
    "ECGRecord": "ecgcmr.formats.record",
    "Encoder": "ecgcmr.encoders.protocol",
    "Model": "ecgcmr.inference.model",
    "StageModule": "ecgcmr.stages.stage_module",
    "UserError": "ecgcmr.errors",
    "load": "ecgcmr.inference.load",
}
"""Name -> module that it is in."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
