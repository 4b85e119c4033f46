"""A stage, its data, their batches and predictions, checked against their contracts as early as each can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import lightning
from lightning.pytorch.utilities.model_helpers import is_overridden

from ecgcmr.contracts import lacking
from ecgcmr.encoders import require_encoder
from ecgcmr.encoders.protocol import check_encoder_class
from ecgcmr.errors import UserError
from ecgcmr.stages.protocol import DemandingStage, Stage, StageData, TrainsOnWindows, require_data, require_members

MODES = ("min", "max")
PREDICTED = ("row", "valid", "prediction", "finite")
_STEPS = {
    "fit": ("training_step", "validation_step", "configure_optimizers"),
    "validate": ("validation_step",),
    "test": ("test_step",),
    "predict": ("predict_step",),
}


def check_run(stage: lightning.LightningModule, data: lightning.LightningDataModule, command: str) -> None:
    """Check a stage and its data before a command reads or trains anything.

    Args:
        stage: As the config built it.
        data: Likewise.
        command: ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        UserError: One does not meet its contract, or the data would give what the stage does not take.
    """
    require_members(stage, Stage, "a stage")
    require_data(data)
    checked, name = cast(Stage, stage), type(stage).__name__
    if checked.mode not in MODES:
        raise UserError(f"{name}: mode is {checked.mode!r}; it must be {' or '.join(MODES)}")
    parts = dict(stage.named_children())
    for attribute in checked.exports.values():
        if attribute not in parts:
            raise UserError(f"{name}: exports names {attribute}, which is no module of the stage")
        require_encoder(parts[attribute])
    for step in _STEPS[command]:
        if not is_overridden(step, stage):
            raise UserError(f"{name} has no {step}, which {command} calls")
    check_pair(checked, cast(StageData, data))


def exported_attribute(stage: type) -> str:
    """Return the attribute of a stage's class that is exported as its encoder.

    Raises:
        UserError: The class is no stage, or exports none under this name.
    """
    require_members(stage, Stage, "a stage")
    exports = cast(Stage, stage).exports
    if "encoder" not in exports:
        raise UserError(f"{stage.__name__}: exports no encoder, which the next stage would start from")
    return exports["encoder"]


def check_encoder_classes(stage: type, classes: Mapping[str, object]) -> None:
    """Check, before an encoder is built, that those of a config have the methods that a stage asks of them.

    Args:
        stage: Its class.
        classes: Argument -> class of the encoder that the config gives there; what is no class is left out.

    Raises:
        UserError: One has not, and is named by its argument.
    """
    if lacking(stage, DemandingStage):
        return
    for argument, contract in cast(DemandingStage, stage).encoder_contracts.items():
        candidate = classes.get(argument)
        if isinstance(candidate, type):
            try:
                check_encoder_class(candidate, contract)
            except UserError as error:
                raise UserError(f"model.{argument}: {error}") from error


def check_pair(stage: Stage, data: StageData) -> None:
    """Check that a stage takes what the data are asked to give.

    Raises:
        UserError: It would overlook a lead mask, or takes one window of each recording.
    """
    name = type(stage).__name__
    if data.leave_out_leads and not stage.takes_lead_mask:
        raise UserError(f"leave_out_leads: {name} does not leave leads out; remove the option")
    windows = {"evaluation_windows": data.evaluation_windows}
    if isinstance(data, TrainsOnWindows):
        windows["train_windows"] = data.train_windows
    for option, number in windows.items():
        if number > 1 and not stage.takes_windows:
            raise UserError(f"{option} {number}: {name} takes one window of each recording; remove the option")


def check_batch(batch: Any, data: StageData, *, evaluated: bool) -> None:
    """Check the first batch of a loader.

    Raises:
        UserError: It lacks an entry that every batch has.
    """
    wanted = ["row", *(["valid"] if evaluated else []), *data.input_spec, *(["labels"] if data.label_names else [])]
    _require_entries(batch, wanted, f"the batches of {type(data).__name__} lack", "data_modules.batch.Batch")


def check_prediction(outputs: Any, stage: object) -> None:
    """Check what a stage's ``predict_step`` returned.

    Raises:
        UserError: It lacks what the file of predictions takes.
    """
    given = f"predict_step of {type(stage).__name__} returns a {type(outputs).__name__} without"
    _require_entries(outputs, PREDICTED, given, "ecgcmr.stages.protocol.Stage")


def _require_entries(mapping: Any, wanted: Sequence[str], lacks: str, where: str) -> None:
    missing = [name for name in wanted if not isinstance(mapping, Mapping) or name not in mapping]
    if missing:
        raise UserError(f"{lacks} {', '.join(missing)}; see {where}")
