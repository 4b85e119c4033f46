"""Making a trainer for the processes that were started and the machine that there is; its checkpoints are whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.training import fully_sharded  # noqa: F401 - its strategy has a name from then on
from ecgcmr.training.host_memory import keep_freed_memory
from ecgcmr.training.launch import check_launch, missing_variables_named, runs_on_cpu
from ecgcmr.training.run_session import RunSession
from ecgcmr.training.whole_checkpoints import WholeCheckpoints


def make_trainer(
    settings: dict[str, Any], make: Callable[[dict[str, Any]], Trainer], session: RunSession, *, fits: bool
) -> Trainer:
    """Make a trainer.

    Args:
        settings: Of the trainer.
        make: Makes one of settings.
        session: The call that it belongs to.
        fits: Whether it will train.

    Raises:
        UserError: Its processes are not those that a launcher started.
    """
    unsynced = bool(settings.get("sync_batchnorm")) and runs_on_cpu(settings.get("accelerator"))
    ready = settings | {"plugins": with_whole_checkpoints(settings.get("plugins"))}
    if unsynced:  # torch's runs on CUDA alone
        ready["sync_batchnorm"] = False
    with missing_variables_named():
        made = make(ready)
    check_launch(made.num_devices, made.num_nodes, os.environ)
    if unsynced and made.world_size > 1:
        rank_zero_info(
            "note: trainer.sync_batchnorm is off, for it needs CUDA: batch norm sees each process's rows alone"
        )
    # The session's handler, which Lightning calls after its, decides. Lightning would send each other what its handler
    # saw before every batch, and wait for it.
    made._signal_connector._sigterm_notifier_fn = ignore_signal  # type: ignore[method-assign, assignment]
    made._signal_connector._slurm_sigusr_handler_fn = partial(_ask, session)  # type: ignore[method-assign]
    made.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
    if type(made.strategy) is DDPStrategy:  # gradients lie where they are exchanged: no copy of them, no memory for it
        made.strategy._ddp_kwargs.setdefault("gradient_as_bucket_view", True)
    if fits and isinstance(made.accelerator, CPUAccelerator):
        keep_freed_memory()
    return made


def ignore_signal(signum: int, frame: Any) -> None:
    """Take the place of Lightning's SIGTERM handler, which broadcasts in the midst of whatever is being exchanged."""


def _ask(session: RunSession, signum: int, frame: Any) -> None:
    """Take the place of Lightning's SIGUSR1 handler, which saves a checkpoint in the midst of whatever is computed."""
    session.queue_again = True


def with_whole_checkpoints(plugins: Any) -> list[Any]:
    """Add to a trainer's plugins the one that writes checkpoints, unless the config names another."""
    named = plugins if isinstance(plugins, list) else [plugins] if plugins is not None else []
    return named if any(isinstance(plugin, CheckpointIO) for plugin in named) else [*named, WholeCheckpoints()]
