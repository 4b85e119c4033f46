"""What a resumed fit takes from its checkpoint: moments and steps, and no settings.

torch loads learning rate, weight decay and schedule with an optimiser's state, over those that the config asks for.
Here the config's stay, so that a changed number is applied from the step on at which the run goes on, and an unchanged
one gives what it gave before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ecgcmr.errors import UserError


class StepSchedule(torch.optim.lr_scheduler.LambdaLR):
    """A schedule by step that goes on at the checkpoint's step with the rates of its config.

    Args:
        optimizer: Its groups have the peak rates.
        factor: Step -> factor on the peak rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float]) -> None:
        super().__init__(optimizer, factor)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the step, and set the rates that this schedule has there."""
        peaks = list(self.base_lrs)
        super().load_state_dict(state_dict)
        self.base_lrs = peaks
        rates = [peak * factor(self.last_epoch) for peak, factor in zip(peaks, self.lr_lambdas, strict=True)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates


def keep_settings(optimiser: torch.optim.Optimizer) -> None:
    """Let an optimiser keep the settings of its groups, such as decay and betas, when a state is loaded into it.

    Args:
        optimiser: Its groups have a ``name`` each. A state of other groups is refused when it is loaded.
    """
    kept = [{name: value for name, value in group.items() if name != "params"} for group in optimiser.param_groups]
    shape = _shape(optimiser.param_groups)

    def check(_: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        stored = _shape(state["param_groups"])
        if stored != shape:
            raise UserError(
                "ckpt_path: the checkpoint's optimiser has other groups of parameters "
                f"({_words(stored)}) than the config's ({_words(shape)}): give the protocol, trained and layer_decay "
                "that it had, or begin anew from its encoder (model.encoder_weights)"
            )

    def restore(loaded: torch.optim.Optimizer) -> None:
        for group, settings in zip(loaded.param_groups, kept, strict=True):
            group.update(settings)

    optimiser.register_load_state_dict_pre_hook(check)
    optimiser.register_load_state_dict_post_hook(restore)


def _shape(groups: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(str(group.get("name", "")), len(group["params"])) for group in groups]


def _words(groups: list[tuple[str, int]]) -> str:
    names = [f"{name} {count}" for name, count in groups]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
