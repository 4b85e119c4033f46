"""What ``predict`` writes: predictions as arrays, ``predictions.npz``, and with the truth as a table for ``evaluate``.

A run without targets, such as a pre-training, predicts features: arrays alone.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import write_prediction_table
from ecgcmr.files import write_atomically
from ecgcmr.option_checks import folder_to_write
from ecgcmr.stages.contract_checks import check_prediction
from ecgcmr.stages.downstream import Downstream
from ecgcmr.stages.finite_message import outputs_not_finite
from ecgcmr.stages.protocol import StageData, stage_data
from ecgcmr.training.prediction_tables import FILE, RunPredictions, task_of_run
from ecgcmr.training.run_record import RunRecord
from ecgcmr.training.run_settings import LABELLED

ARRAYS = "predictions.npz"
TABLES = (".parquet", ".csv")


class PredictionFile(BasePredictionWriter):
    """Writes what was predicted of every recording, over all ranks: ``predictions.npz`` and ``predictions.parquet``.

    Args:
        record: Knows what the columns are.
        out: A folder for both, or a table (``.parquet`` or ``.csv``) alone; None is the run folder.

    Raises:
        UserError: ``out`` has the ending of another kind of file.
    """

    def __init__(self, record: RunRecord, out: Path | None = None) -> None:
        super().__init__(write_interval="epoch")
        if out is not None and out.suffix not in TABLES:
            folder_to_write(str(out), f", or a table: {' or '.join(TABLES)}")
        self.record = record
        self.out = out

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a table of features before anything is computed.

        Raises:
            UserError: A table was asked for and there are no targets.
        """
        if self.out is not None and self.out.suffix in TABLES and task_of_run(self.record.known()) is None:
            raise UserError(
                f"--out {self.out}: {type(pl_module).__name__} predicts no target that a table could compare with a "
                f"truth; name a folder, for {ARRAYS}"
            )

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Check that there is something to write."""
        if batch_idx == 0:
            check_prediction(outputs, pl_module)

    def write_on_epoch_end(self, trainer: Any, pl_module: Any, predictions: Any, batch_indices: Any) -> None:
        """Join the ranks' predictions and write them in index order.

        Raises:
            UserError: The network gave some that are not finite; on every rank.
        """
        row, values, finite = _over_ranks(trainer, predictions)
        data = stage_data(trainer)
        broken = row[~finite].tolist()
        if broken:
            raise UserError(outputs_not_finite(trainer, data.predict_split, "prediction", broken, len(broken)))
        if not trainer.is_global_zero:
            return
        order = torch.argsort(row)
        rows, given = row[order].numpy(), values[order].numpy()
        splits = np.asarray(data.index.splits(rows), dtype=str)
        out = self.out or Path(trainer.default_root_dir)
        written = [] if out.suffix in TABLES else [self._write_arrays(out / ARRAYS, data, rows, given, splits)]
        if task_of_run(self.record.known()) is not None:
            path = out if out.suffix in TABLES else out / FILE
            written.append(self._write_table(path, trainer, pl_module, rows, given, splits))
        of = "all splits" if len(set(splits)) > 1 else f"the {splits[0]} split"
        rank_zero_info(f"{len(rows)} rows of {of} predicted, in {' and '.join(map(str, written))}")
        if written[-1].suffix in TABLES:
            rank_zero_info(f"next: ecgcmr evaluate --predictions {written[-1]}")

    def _write_arrays(self, path: Path, data: StageData, rows: np.ndarray, given: np.ndarray, splits: Any) -> Path:
        arrays = {
            "row": rows,
            "subject": np.asarray(data.index.subjects(rows), dtype="S32"),
            "prediction": given,
            "split": np.asarray(splits if len(set(splits)) > 1 else splits[0], dtype="S5"),
            **self.record.prediction_arrays(),
        }
        image = io.BytesIO()
        np.savez(image, **arrays)  # type: ignore[arg-type]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, image.getvalue())
        return path

    def _write_table(
        self, path: Path, trainer: Any, stage: Any, rows: np.ndarray, given: np.ndarray, splits: np.ndarray
    ) -> Path:
        checkpoint = self.record.checkpoint
        settings = {} if checkpoint is None else checkpoint.settings or {}
        seed = settings.get("seed_everything", self.record.config.get("seed_everything"))
        predicted = RunPredictions(
            self.record.known(),
            rows,
            splits,
            given,
            Path(trainer.default_root_dir).resolve().name,
            stage.protocol if isinstance(stage, Downstream) else None,
            settings.get(LABELLED, settings.get("training rows")),
            int(seed or 0),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_prediction_table(path, predicted.frame(stage_data(trainer).index))


def _over_ranks(trainer: Any, predictions: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows, predictions and whether they are finite, of all ranks, without what fills up a last batch."""
    valid = [batch["valid"].cpu() for batch in predictions]
    rows = [batch["row"].cpu()[keep] for batch, keep in zip(predictions, valid, strict=True)]
    values = [batch["prediction"].float().cpu()[keep] for batch, keep in zip(predictions, valid, strict=True)]
    finite = [batch["finite"].cpu()[keep] for batch, keep in zip(predictions, valid, strict=True)]
    part = (torch.cat(rows), torch.cat(values), torch.cat(finite))
    parts = [part]
    if trainer.world_size > 1:
        parts = [part] * trainer.world_size
        torch.distributed.all_gather_object(parts, part)
    first, second, third = (torch.cat([p[k] for p in parts]) for k in range(3))
    return first, second, third
