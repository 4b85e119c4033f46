"""Keeps ``run.json`` of a fit: what it was called with, what it ran in, how far it came and what that took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from ecgcmr.encoders.weights import WEIGHTS_FILE
from ecgcmr.files import sha256_of
from ecgcmr.provenance.command_words import harmless_command
from ecgcmr.provenance.differences import other_settings
from ecgcmr.provenance.run_note import FAILED, FINISHED, INTERRUPTED, NAME, RUNNING, RunNote, note_evaluation, now
from ecgcmr.provenance.surroundings import code, hardware, versions
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.shards.layout import SPLITS
from ecgcmr.speed_choices.choose import Choices
from ecgcmr.stages.protocol import stage_data
from ecgcmr.training.operations import OperationCount, can_be_counted
from ecgcmr.training.run_session import RunSession

INTERVAL_S = 10.0
"""Between two times that the note is written within an epoch: what a run that is killed may not have noted."""


class Provenance(Callback):
    """Writes the note when training starts, at checkpoints, every few seconds and when it ends; rank zero alone does.

    Args:
        session: The call.
        words: Of its command line, after ``ecgcmr``.
        config: All settings, as ``config.yaml`` holds them.
        choices: How the run computes.
    """

    def __init__(self, session: RunSession, words: Sequence[str], config: Mapping[str, Any], choices: Choices) -> None:
        self.session = session
        self.words = list(words)
        self.config = config
        self.choices = choices
        self._note: RunNote | None = None
        self._first_step = 0
        self._samples = 0
        self._per_sample: float | None = None
        self._count: OperationCount | None = None
        self._written = (0.0, -1)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the note, or a further call in it."""
        if trainer.is_global_zero:
            self._begin(trainer, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Count the operations of the run's first batch."""
        if self._note is not None and self._per_sample is None and not self._samples and can_be_counted(pl_module):
            self._count = OperationCount()
            self._count.__enter__()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a batch, and write the note if it is time to."""
        if self._note is None:
            return
        rows = len(batch["row"])
        if self._count is not None:
            self._per_sample = self._counted() / rows
        self._samples += rows * trainer.world_size
        if time.monotonic() - self._written[0] >= INTERVAL_S:
            self._write(trainer)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Write what a checkpoint stands for."""
        if self._note is not None and self._written[1] != trainer.global_step:
            self._write(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Write how the call ended."""
        if self._count is not None:
            self._counted()
        if self._note is not None:
            self._write(trainer, FAILED if isinstance(exception, Exception) else INTERRUPTED)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Write that the run has finished, where it has: weights are chosen and encoders exported by now."""
        if not self.session.finished or not trainer.is_global_zero:
            return
        if self._note is None:
            # Nothing was left to train: of a run that was cut off just before its end.
            if RunNote(Path(trainer.default_root_dir), "fit", self.words).is_finished():
                return
            self._begin(trainer, pl_module)
        self._write(trainer, FINISHED)
        self._note = None

    def _begin(self, trainer: Any, stage: Any) -> None:
        note = RunNote(Path(trainer.default_root_dir), "fit", self.words)
        self._first_step = trainer.global_step
        note.begin(self._about(trainer, stage), surroundings_of(trainer), self._first_step)
        self._per_sample = note.per_sample
        self._note, self._written = note, (time.monotonic(), -1)

    def _write(self, trainer: Any, state: str = RUNNING) -> None:
        if self._note is None:
            return
        self._note.count(trainer.global_step - self._first_step, self._samples, self._per_sample)
        config = Path(trainer.default_root_dir) / "config.yaml"
        digest = sha256_of(config) if config.is_file() else None
        self._note.note({"step": trainer.global_step, "epoch": trainer.current_epoch, "config_sha256": digest})
        self._note.write(state)
        self._written = (time.monotonic(), trainer.global_step)

    def _counted(self) -> int:
        count, self._count = self._count, None
        if count is None:
            return 0
        count.__exit__(None, None, None)
        return count.total

    def _about(self, trainer: Any, stage: Any) -> dict[str, Any]:
        index, model = stage_data(trainer).index, self.config.get("model") or {}
        return {
            "stage": model.get("class_path"),
            "task": stage.task,
            "monitor": stage.monitor,
            "mode": stage.mode,
            "seeds": dict(seeds_of(self.config)),
            "cohort": {
                "fingerprint": cohort_fingerprint(index),
                "layout": index.layout.fingerprint,
                "rows": {split: len(index.positions(split, need=())) for split in SPLITS},
            },
            "inputs": weights_given(model.get("init_args") or {}) | table_given(self.config.get("data") or {}),
            "computes": computes_of(trainer, stage, self.config, self.choices),
        }


class EvaluationNote(Callback):
    """Adds to the note of a run in what it was validated, tested or predicted from; rank zero alone does.

    Args:
        words: Of the command line, after ``ecgcmr``.
        config: All settings of this command.
        choices: How it computes, which may be otherwise than the fit did.
    """

    def __init__(self, words: Sequence[str], config: Mapping[str, Any], choices: Choices) -> None:
        self.words = list(words)
        self.config = config
        self.choices = choices
        self._began = time.monotonic()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Write it, once all is done."""
        folder = Path(trainer.default_root_dir)
        if not trainer.is_global_zero or not (folder / NAME).exists():
            return
        checkpoint = Path(str(trainer.ckpt_path)).resolve()
        entry = {
            "command": harmless_command(self.words),
            "ended": now(),
            "seconds": round(time.monotonic() - self._began, 3),
            "checkpoint": checkpoint.name if checkpoint.parent == folder.resolve() else None,
            "cohort": cohort_fingerprint(stage_data(trainer).index),
            "changes": other_settings(folder, self.config),
            "computes": computes_of(trainer, pl_module, self.config, self.choices),
            **surroundings_of(trainer),
        }
        note_evaluation(folder, self.words[0], entry)


def computes_of(trainer: Any, stage: Any, config: Mapping[str, Any], choices: Choices) -> dict[str, Any]:
    """Return how a call computes; arguments as of the callbacks above."""
    return {
        "precision": str(choices.precision),
        "kernels": vars(choices.kernels),
        "device": trainer.strategy.root_device.type,
        "deterministic": bool((config.get("trainer") or {}).get("deterministic")),
        "compiled": not can_be_counted(stage),
    }


def surroundings_of(trainer: Any) -> dict[str, Any]:
    """Return what a call runs in."""
    accumulated = int(trainer.accumulate_grad_batches)
    return {
        "versions": versions(),
        "code": code(),
        "hardware": hardware(),
        "ranks": trainer.world_size,
        "nodes": trainer.num_nodes,
        "global_batch": stage_data(trainer).global_batch * accumulated,
    }


def seeds_of(config: Any, place: str = "") -> Iterator[tuple[str, int]]:
    """Yield (dotted name, seed) of every entry of a config that is called a seed and is a whole number."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            where = f"{place}.{name}" if place else str(name)
            is_seed = name in ("seed", "seed_everything") or str(name).endswith("_seed")
            if is_seed and isinstance(value, int) and not isinstance(value, bool):
                yield where.replace(".init_args.", "."), value
            else:
                yield from seeds_of(value, where)


def table_given(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of a teacher's table that a data module is given, by its setting; nothing without one."""
    path = (data.get("init_args") or {}).get("pseudo_labels")
    return {"data.pseudo_labels": sha256_of(Path(path))} if path is not None and Path(path).is_file() else {}


def weights_given(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return, of each folder of weights that a stage starts from, the SHA-256 of the weights.

    Args:
        arguments: Of the stage.
    """
    given = {name: value for name, value in arguments.items() if name.endswith("_weights") and isinstance(value, str)}
    files = {f"model.{name}": Path(value) / WEIGHTS_FILE for name, value in given.items()}
    return {name: sha256_of(file) for name, file in files.items() if file.is_file()}
