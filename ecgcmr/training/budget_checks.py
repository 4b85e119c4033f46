"""What may not stand beside a budget: whatever else says how long a fit is, or what its learning rate is."""

from __future__ import annotations

from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.training.budget_plan import Budget

_NOT_BESIDE: dict[str, tuple[Any, ...]] = {
    "max_steps": (None, -1),
    "max_epochs": (None,),
    "min_steps": (None,),
    "min_epochs": (None,),
    "check_val_every_n_epoch": (None, 1),
    "val_check_interval": (None, 1.0),
}
"""Settings of the trainer -> values that ask for nothing."""
_OPTIMISER: dict[str, Any] = {"warmup_epochs": 0, "min_lr": 0, "schedule": "cosine"}


def check_budget(settings: Any) -> None:
    """Check that nothing else says how long a fit under a budget is, or what its learning rate is.

    Args:
        settings: Of a fit: ``budget``, ``trainer``, ``model``.

    Raises:
        UserError: Something does.
    """
    if settings.get("budget") is None:
        return
    Budget(**settings["budget"].as_dict())
    trainer, optimiser = settings["trainer"], (settings["model"].get("init_args") or {}).get("optimiser") or {}
    for name, nothing in _NOT_BESIDE.items():
        if trainer.get(name) not in nothing:
            instead = f", give budget.most {trainer[name]}" if name == "max_steps" else ""
            raise UserError(
                f"trainer.{name} {trainer[name]} is given beside budget, which says how long a fit is and when it "
                f"validates: take it out (null){instead}, or set budget: null"
            )
    callbacks = trainer.get("callbacks") or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        name = str(callback.get("class_path") if hasattr(callback, "get") else callback).rpartition(".")[2]
        if name.endswith("EarlyStopping"):
            raise UserError(
                f"trainer.callbacks: {name} is given beside budget, which ends a fit: take it out, or set budget: null"
            )
    for name, default in _OPTIMISER.items():
        if optimiser.get(name, default) != default:
            raise UserError(
                f"model.optimiser.{name} {optimiser[name]} is given beside budget, which says what the learning rate "
                f"is at each step: set it to {default}, or set budget: null"
            )
