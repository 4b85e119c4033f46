"""What the stages of this project share: their data, and the flow of an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import lightning
import torch
from torch import Tensor

from ecgcmr.objectives.gather import equal_rows
from ecgcmr.stages.contract_checks import check_pair
from ecgcmr.stages.finite_outputs import finite_rows
from ecgcmr.stages.protocol import DealsEqually, StageData, stage_data


class StageModule(lightning.LightningModule):
    """A stage whose splits are judged as a whole, at the end of their epoch.

    Subclasses meet ``ecgcmr.stages.protocol.Stage`` and give ``_evaluate`` and ``_finish``.

    Attributes:
        accept_other_preparation: Whether exported weights may be of recordings of another preparation.
        loads_checkpoint: Whether a checkpoint will bring all weights; the trainer itself knows after ``setup``.
    """

    task: str
    monitor: str
    mode: str
    exports: Mapping[str, str]
    takes_lead_mask = True
    takes_windows = False
    accept_other_preparation = False
    loads_checkpoint = False

    @property
    def data(self) -> StageData:
        """The DataModule of the trainer."""
        return stage_data(self.trainer)

    def setup(self, stage: str) -> None:
        """Check that the data give what this stage takes."""
        check_pair(self, self.data)

    def over_ranks(self) -> contextlib.AbstractContextManager[None]:
        """Return what a loss of a training batch is computed within.

        Where the DataModule deals equally many rows to every rank, gathering them waits for nothing.
        """
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return contextlib.nullcontext()
        data = self.data
        return equal_rows(data.rows_per_rank) if isinstance(data, DealsEqually) else contextlib.nullcontext()

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        """Keep what is judged of one batch of ``val`` or ``test``."""
        raise TypeError(f"{type(self).__name__} does not define _evaluate")

    def _finish(self, split: str) -> None:
        """Judge a whole split, and log."""
        raise TypeError(f"{type(self).__name__} does not define _finish")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Keep one batch; everything is judged over the whole split at the epoch's end."""
        self._evaluate(batch, "val")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """As in validation."""
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Judge the split, and log."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._finish("test")


def predicted(batch: Mapping[str, Tensor], prediction: Tensor, *outputs: Tensor) -> dict[str, Tensor]:
    """Return what ``predict_step`` gives of a batch.

    Args:
        batch: With ``row`` and ``valid``.
        prediction: (B, ...).
        outputs: (B, ...) what must be finite, where that is not the prediction itself.
    """
    finite = finite_rows(*(outputs or (prediction,)))
    return {"row": batch["row"], "valid": batch["valid"], "prediction": prediction, "finite": finite}
