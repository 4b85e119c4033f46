"""Whether a contrast has anything to contrast: checked before the first batch, from the rows and the batch size."""

from __future__ import annotations

from ecgcmr.errors import UserError
from ecgcmr.objectives.rows import LEAST_ROWS
from ecgcmr.stages.stage_module import StageModule

_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


def check_contrast_size(stage: StageModule, command: str, *, evaluation: bool = True) -> None:
    """Refuse a command in which a global batch, of training or of the loss over a split, is one recording.

    An incomplete last batch is left out, in training and in evaluation, so that no other batch is smaller.

    Args:
        stage: Attached to its trainer.
        command: What Lightning's ``setup`` is given: fit, validate, test or predict.
        evaluation: Whether the splits that are evaluated are contrasted too.

    Raises:
        UserError: A global batch would be one recording; the message says whether rows or ``data.batch_size`` are
            to blame.
    """
    data = stage.data
    for split in _SPLITS.get(command, ()):
        if split != "train" and not evaluation:
            continue
        rows = data.train_size if split == "train" else len(data.rows(split))
        if rows < LEAST_ROWS:
            raise UserError(
                f"{type(stage).__name__}: the {split} split has one recording, which has nothing to be contrasted "
                f"with; take a cohort, or a selection, with at least {LEAST_ROWS}"
            )
        if data.global_batch < LEAST_ROWS:
            raise UserError(
                f"{type(stage).__name__}: data.batch_size {data.batch_size} on {stage.trainer.world_size} device is a "
                "global batch of one recording, which has nothing to be contrasted with; set data.batch_size to at "
                f"least {LEAST_ROWS}"
            )
