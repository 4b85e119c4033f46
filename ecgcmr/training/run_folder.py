"""The run folder: what a stage leaves behind, and the only thing the next stage sees of it.

``config.yaml`` (all settings), ``last.ckpt`` and ``best.ckpt``, ``encoder.safetensors`` + ``encoder.yaml`` (and the
same in ``cmr_encoder/`` and ``measurement_encoder/`` after an alignment), ``metrics.json``, predictions
(``prediction_files``), ``tensorboard/``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback

from ecgcmr.encoders.low_rank import merge_low_rank
from ecgcmr.encoders.weights import export_encoder
from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.option_checks import check_least
from ecgcmr.stages.protocol import stage_data
from ecgcmr.training.checkpoint_record import STAGE_KEY
from ecgcmr.training.early_stopping import check_logged
from ecgcmr.training.fully_sharded import plain_module
from ecgcmr.training.metrics_file import earlier_metrics
from ecgcmr.training.run_claim import CONFIG
from ecgcmr.training.run_record import RESUME_OPTION, RunRecord
from ecgcmr.training.stop_when_terminated import may_save
from ecgcmr.training.whole_checkpoints import BEST, LAST


class RunConfig(SaveConfigCallback):
    """Writes all settings of a fit to ``config.yaml`` in the run folder."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Write nothing yet: the start may still fail, and the folder may hold another run's settings."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file; evaluation, which trains nothing, leaves the settings of the fit alone."""
        if trainer.is_global_zero:
            self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Write the file."""
        config = self.config.clone()
        config.pop("resume_with_changes", None)  # consent to one resumption, and no setting of other commands
        config["ckpt_path"] = None  # of this call; the file would else judge the checkpoint that a fit went on from
        text = self.parser.dump(config, skip_unset=False)
        write_atomically(Path(trainer.default_root_dir) / CONFIG, text.encode())


def checkpoints(folder: Path, monitor: str, mode: str) -> list[ModelCheckpoint]:
    """Return the callbacks that keep ``best.ckpt`` (by the monitored value) and ``last.ckpt`` (for resuming)."""
    shared: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    best = ModelCheckpoint(filename="best", monitor=monitor, mode=mode, save_top_k=1, **shared)
    last = ModelCheckpoint(filename="last", save_top_k=1, monitor=None, every_n_epochs=1, **shared)
    return [best, last]


class StepCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` within an epoch too, for machines that may be taken away; ``--ckpt_path last`` goes on.

    The resumed run takes the next batch and draws what the uninterrupted run would have drawn. Nothing is written in
    the middle of an accumulated step, whose gradients no checkpoint holds, nor where a validation follows, which
    belongs to the batch; an epoch's own checkpoint comes after its last batch.

    Args:
        every_n_train_steps: Optimiser steps between checkpoints.
    """

    def __init__(self, every_n_train_steps: int = 100) -> None:
        check_least(1, every_n_train_steps=every_n_train_steps)
        self.every_n_train_steps = every_n_train_steps

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write the file if it is time to; all ranks take part."""
        due = trainer.global_step % self.every_n_train_steps == 0 and not trainer.fast_dev_run
        if due and may_save(trainer):
            trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)


class EncoderExport(Callback):
    """Exports the encoders of the best epoch when a fit ends.

    Args:
        model_config: The stage's config: ``class_path`` and ``init_args``, the encoders' among them.
        record: Knows what the run is for.
        exports: The stage's: folder -> attribute.

    Attributes:
        problem: Once the fit has ended, why there is nothing to hand on; empty where there is.

    Raises:
        UserError: The config does not say how an encoder is built again.
    """

    def __init__(self, model_config: Mapping[str, Any], record: RunRecord, exports: Mapping[str, str]) -> None:
        for attribute in exports.values():
            built = model_config.get("init_args", {}).get(attribute)
            if not isinstance(built, Mapping) or "class_path" not in built:
                raise UserError(
                    f"exports of {model_config['class_path']}: model.{attribute} gives no class_path, from which the "
                    "next stage would build this encoder again"
                )
        self.model_config = model_config
        self.record = record
        self.problem = ""

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Record which stage the checkpoint is of, so that another is not resumed from it."""
        checkpoint[STAGE_KEY] = self.model_config["class_path"]

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a stage that monitors what it does not log: it would have no best epoch."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            check_logged(trainer, pl_module.monitor)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Write ``encoder.safetensors`` and ``encoder.yaml``, or keep why there are none."""
        folder = Path(trainer.default_root_dir)
        best = folder / BEST
        if trainer.interrupted or not trainer.is_global_zero:
            return
        if not best.is_file():
            self.problem = (
                f"{folder}: the run ended at step {trainer.global_step} before any validation, so that no epoch is the "
                f"best: there is no {BEST} and no encoder; to go on add --ckpt_path last {RESUME_OPTION} and a larger "
                "trainer.max_steps"
            )
            return
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        for name, attribute in pl_module.exports.items():
            encoder = plain_module(trainer, pl_module, attribute)
            merge_low_rank(encoder)  # a fit that was resumed after its last epoch has trained nothing to merge after
            prefix = f"{attribute}."
            encoder.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
            config = self.model_config["init_args"][attribute]
            export_encoder(
                encoder,
                folder if name == "encoder" else folder / name,
                class_path=config["class_path"],
                init_args=dict(config.get("init_args", {})),
                fingerprint=stage_data(trainer).index.layout.fingerprint,
                parent=self._parent(attribute),
                **self.record.card_entries(encoder),
            )

    def _parent(self, attribute: str) -> str | None:
        # The run's name alone: a whole path may say more about a machine and its users than should travel.
        folder = self.model_config["init_args"].get(f"{attribute}_weights")
        return Path(folder).name if folder else None


class MetricsFile(Callback):
    """Writes the last value of every logged metric to ``metrics.json``, one section per command."""

    def _write(self, trainer: Any, section: str) -> None:
        # Nothing is logged by a fit that is resumed after its last epoch: what it logged then stands.
        if not trainer.is_global_zero or trainer.fast_dev_run or not trainer.callback_metrics:
            return
        path = Path(trainer.default_root_dir) / "metrics.json"
        known = earlier_metrics(path)
        values = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        known[section] = {name: value if math.isfinite(value) else None for name, value in values.items()}
        if section == "fit":
            known[section]["epochs"] = trainer.current_epoch
        write_atomically(path, (json.dumps(known, indent=2) + "\n").encode())

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the section ``fit``."""
        self._write(trainer, "fit")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the section ``validate``, unless this is the validation inside a fit."""
        if trainer.state.fn == "validate":
            self._write(trainer, "validate")

    def on_test_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the section ``test``."""
        self._write(trainer, "test")
