"""``--find``: the batch size that fits into memory, and by Lightning's Tuner the learning rate, before a fit.

Both try copies of stage and data with a trainer of their own, so that the fit itself begins as if nothing had been
tried; what is found takes the place of the setting, in ``config.yaml`` too.
"""

from __future__ import annotations

import copy
import functools
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.tuner import Tuner
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from lightning.pytorch.utilities.seed import isolate_rng

from ecgcmr.errors import UserError
from ecgcmr.stages.optimisation import OptimiserSettings
from ecgcmr.training.launch import started_by_slurm, starts_ranks

BATCH_SIZE, LEARNING_RATE = "batch_size", "learning_rate"

_LOWEST, _HIGHEST = 1e-7, 1.0
_STEPS = 100
_SMOOTHED = 9  # batches that a loss is averaged over
_STEPS_OF_A_SIZE = 3
_TRAINER = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm")


class Finder:
    """Tries a stage on its data.

    Args:
        stage: As it will be fitted; not changed.
        data: Its DataModule; not changed.
        trainer: Settings of the fit's trainer.
    """

    def __init__(self, stage: LightningModule, data: LightningDataModule, trainer: dict[str, Any]) -> None:
        self.stage = stage
        self.data = data
        self._rows = 0
        self.trainer = {name: trainer[name] for name in _TRAINER if trainer.get(name) is not None}

    def batch_size(self) -> int:
        """Return the largest doubling of the configured batch size whose steps and validation fit into memory.

        Not above the training rows. Lightning's own search takes the number of batches for that of recordings.

        Raises:
            UserError: There is no device with a memory of its own, or the configured size does not fit.
        """
        fits, size = 0, int(cast(Any, self.data).batch_size)
        while self._fits(size):
            fits, size = size, 2 * size
            if size > self._rows:
                break
        if not fits:
            raise UserError(
                f"--find {BATCH_SIZE}: not even data.batch_size {size} fits into memory; begin with a smaller one"
            )
        return fits

    def _fits(self, size: int) -> bool:
        """Return whether a few steps and batches of validation of a size fit."""
        with self._tried(_STEPS_OF_A_SIZE) as (stage, data, trainer):
            if not has_own_memory(trainer.strategy.root_device):
                raise UserError(
                    f"--find {BATCH_SIZE}: looks for what fits into the memory of a GPU, and there is none; on a CPU "
                    "set data.batch_size"
                )
            data.batch_size = size
            try:
                trainer.fit(stage, datamodule=data)
            except RuntimeError as error:
                if not is_oom_error(error):
                    raise
                return False
            finally:
                self._rows = int(data.train_size)
                garbage_collection_cuda()
        return True

    def learning_rate(self) -> float:
        """Return a rate to begin with, from steps whose rate rises from 1e-7 to 1; see ``suggested``.

        Raises:
            UserError: The stage has no settings of an optimiser, or the loss falls nowhere.
        """
        optimiser_of(self.stage)
        with self._tried(_STEPS) as (stage, data, trainer):
            losses = _keep_losses(stage)
            _keep_scales(stage)
            # The threshold compares with a mean that is too small at first, and would end most searches at once.
            found = Tuner(trainer).lr_find(
                stage,
                datamodule=data,
                min_lr=_LOWEST,
                max_lr=_HIGHEST,
                num_training=_STEPS,
                early_stop_threshold=None,
                update_attr=False,
            )
            rates = np.array([] if found is None else found.results["lr"])
            batches = torch.stack(losses).double().cpu().numpy() if losses else np.empty(0)
        every = trainer.accumulate_grad_batches
        steps = min(len(rates), len(batches) // every)
        rate = suggested(rates[:steps], batches[: steps * every].reshape(steps, every).mean(axis=1))
        if rate is None:
            raise UserError(
                f"--find {LEARNING_RATE}: at no rate did the loss fall further in {_STEPS} steps than it differs from "
                "batch to batch; take a larger data.batch_size, or set model.optimiser.lr"
            )
        return rate

    @contextmanager
    def _tried(self, steps: int) -> Iterator[tuple[Any, Any, Trainer]]:
        """Give copies and a trainer, all of which are gone afterwards, as are draws of random numbers."""
        said = logging.getLogger("lightning.pytorch")
        level = said.level
        with isolate_rng(), tempfile.TemporaryDirectory() as folder:
            said.setLevel(logging.WARNING)
            try:
                trainer = Trainer(
                    **self.trainer,
                    devices=1,
                    max_epochs=-1,
                    max_steps=steps,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    num_sanity_val_steps=0,
                    limit_val_batches=_STEPS_OF_A_SIZE,
                    use_distributed_sampler=False,
                    default_root_dir=folder,
                )
                yield copy.deepcopy(self.stage), copy.deepcopy(self.data), trainer
            finally:
                said.setLevel(level)


def check_find(settings: Any, searched: bool, environment: Mapping[str, str]) -> None:
    """Check that there is something to find, and nothing else that says the same.

    Args:
        settings: Of the fit.
        searched: Whether a search has chosen its settings.
        environment: Of the process.

    Raises:
        UserError: The fit goes on from a checkpoint, has a search, or runs on several devices.
    """
    if settings.get("ckpt_path"):
        raise UserError("--find looks for settings of a fit that begins; leave it out to go on from a checkpoint")
    if searched:
        raise UserError("--find and search both say what a setting is: take one of them out (null)")
    processes = int(environment.get("WORLD_SIZE", "1"))
    if processes > 1 or started_by_slurm(environment) or starts_ranks(settings.trainer, environment):
        raise UserError(
            "--find tries one device: find first with --trainer.devices 1 --trainer.max_steps 1, and give the fit on "
            "several what was found"
        )


def has_own_memory(device: torch.device) -> bool:
    """Return whether a device says in time when its memory is full; a CPU's is the machine's."""
    return device.type != "cpu"


def optimiser_of(stage: Any) -> OptimiserSettings:
    """Return how a stage is optimised.

    Raises:
        UserError: It does not say.
    """
    settings = vars(stage).get("settings")
    if not isinstance(settings, OptimiserSettings):
        raise UserError(f"--find {LEARNING_RATE}: {type(stage).__name__} has no settings of an optimiser; set its rate")
    return settings


def with_rate(settings: OptimiserSettings, rate: float) -> OptimiserSettings:
    """Return settings of a given peak rate, however large the global batch is."""
    return replace(settings, lr=rate, base_lr=None)


def suggested(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """Return the rate half way down from the loss at the smallest rates, where nothing is learned, to the least one.

    (Lightning takes the steepest place over the rate itself, where noise at the smallest rates is all that is seen.)

    Args:
        rates: (steps,) rising.
        losses: (steps,) of one batch each; what follows the first that is not finite is left out.

    Returns:
        The rate with two digits, for it is no more exact; None where the loss falls no
            further than from batch to batch.
    """
    broken = np.flatnonzero(~np.isfinite(losses))
    end = int(broken[0]) if len(broken) else len(losses)
    if end < 3 * _SMOOTHED:
        return None
    smooth = np.convolve(losses[:end], np.full(_SMOOTHED, 1 / _SMOOTHED), mode="valid")
    least = int(smooth.argmin())
    small = max(1, len(smooth) // 4)
    level = float(np.median(smooth[:small]))
    noise = float(np.median(np.abs(np.diff(losses[:end])))) / _SMOOTHED**0.5
    if least < small or level - smooth[least] <= max(3 * noise, 1e-6 * abs(level)):
        return None
    half = np.flatnonzero(smooth[: least + 1] >= (level + smooth[least]) / 2)
    return float(f"{rates[int(half[-1]) + _SMOOTHED // 2]:.2g}")


def _keep_losses(stage: Any) -> list[torch.Tensor]:
    """Return a list that the loss of every training batch is added to."""
    step, losses = stage.training_step, []

    @functools.wraps(step)
    def kept(*given: Any) -> Any:
        made = step(*given)
        losses.append((made if isinstance(made, torch.Tensor) else made["loss"]).detach())
        return made

    stage.training_step = kept
    return losses


def _keep_scales(stage: Any) -> None:
    """Let the layers keep their shares of a rate; Lightning's search gives one to all of them."""
    made = stage.configure_optimizers

    def configure() -> Any:
        given = made()
        optimiser: torch.optim.Optimizer = given["optimizer"]

        def scale(*_: Any) -> None:
            for group in optimiser.param_groups:
                group["tried_lr"], group["lr"] = group["lr"], group["lr"] * group.get("lr_scale", 1.0)

        def unscale(*_: Any) -> None:
            for group in optimiser.param_groups:
                group["lr"] = group.pop("tried_lr")

        optimiser.register_step_pre_hook(scale)
        optimiser.register_step_post_hook(unscale)
        return given

    stage.configure_optimizers = configure
