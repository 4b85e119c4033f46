"""Keeps in every checkpoint what its run is for and with which settings, and compares it with what is asked for now.

Before a head is built or a weight is loaded: targets of another name, order, unit or kind are refused, recordings of
another preparation unless that is accepted, and a resumed fit with other settings unless that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from ecgcmr.encoders.readout import encoder_modality
from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically
from ecgcmr.stages.optimisation import OptimiserSettings
from ecgcmr.stages.preparation_check import OPTION, judge, warn
from ecgcmr.stages.protocol import stage_data
from ecgcmr.stages.run_contract import RunContract, contract_between
from ecgcmr.training.checkpoint_record import RECORD_KEY, CheckpointRecord
from ecgcmr.training.run_settings import (
    SHOWN_OF_DATA,
    flat_settings,
    setting_differences,
    settings_of_data,
    settings_that_count,
    weights_differences,
)
from ecgcmr.training.same_network import check_network_of_checkpoint, check_network_of_weights

CHANGES_FILE = "resumed.json"
RESUME_OPTION = "--resume-with-changes"
_MOST_SHOWN = 12


@runtime_checkable
class HasOptimiser(Protocol):
    """A stage that says how it is optimised, by ``OptimiserSettings``; what others keep under this name is theirs."""

    settings: Any


class RunRecord(Callback):
    """Writes the record of a run into its checkpoints, and compares a checkpoint that is loaded with its record.

    Args:
        config: Of this run, as ``config.yaml`` holds it.
        checkpoint: What the checkpoint says that is resumed or judged; None if there is none.
        resume_with_changes: Go on with other settings than the checkpoint's.
        accept_other_preparation: Go on with recordings of another preparation.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        checkpoint: CheckpointRecord | None = None,
        *,
        resume_with_changes: bool = False,
        accept_other_preparation: bool = False,
    ) -> None:
        self.config = config
        self.settings: dict[str, Any] = {}
        self.checkpoint = checkpoint
        self.resume_with_changes = resume_with_changes
        self.accept_other_preparation = accept_other_preparation
        self.contract: RunContract | None = None
        self.changes: list[dict[str, Any]] = [] if checkpoint is None else list(checkpoint.changes)
        self._patience: list[tuple[EarlyStopping, int]] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Compare, before the stage makes its head.

        Raises:
            UserError: The checkpoint was trained for something else than the config asks for.
        """
        data = stage_data(trainer)
        self.contract = contract_between(pl_module, data)
        pl_module.accept_other_preparation = self.accept_other_preparation
        pl_module.loads_checkpoint = self.checkpoint is not None
        given = pl_module.settings if isinstance(pl_module, HasOptimiser) else None
        optimiser = given if isinstance(given, OptimiserSettings) else None
        settings = settings_that_count(self.config, optimiser)
        if stage == "fit":
            settings |= settings_of_data(data)
            self.settings = json.loads(json.dumps(settings))  # as a checkpoint gives them back
        if self.checkpoint is None:
            if stage == "fit":
                check_network_of_weights(self.config["model"])
            return
        self._check_contract(self.checkpoint, self.contract)
        if stage != "fit" and self.checkpoint.settings is not None:
            check_network_of_checkpoint(self.checkpoint.settings, settings, self.checkpoint.path)
        if stage == "fit":
            self._check_settings(self.checkpoint)
            stopping = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]
            self._patience = [(callback, callback.patience) for callback in stopping]
        pl_module.register_load_state_dict_pre_hook(self._check_weights)

    def _check_contract(self, checkpoint: CheckpointRecord, contract: RunContract) -> None:
        path = checkpoint.path
        if checkpoint.contract is None:
            columns = ", ".join(str(column) for column in contract.targets)
            taken = f"; its outputs are taken for {columns}, in this order" if columns else ""
            warn(
                f"ckpt_path: {path} does not say what it was trained for (written by an earlier version): that "
                f"targets, leads and preparation are those of the config cannot be checked{taken}"
            )
            return
        differences = checkpoint.contract.differences(contract)
        if differences:
            raise UserError(f"ckpt_path: {path} was trained for {'; and for '.join(differences)}")
        judge(
            checkpoint.contract.compare_preparation(contract),
            f"ckpt_path: {path} was trained on recordings of another preparation",
            f"ckpt_path: {path} and this cohort",
            f"prepare the cohort alike, or add {OPTION}",
            accept=self.accept_other_preparation,
        )

    def _check_settings(self, checkpoint: CheckpointRecord) -> None:
        path = checkpoint.path
        if checkpoint.settings is None:
            warn(
                f"ckpt_path: {path} does not keep its settings (written by an earlier version): that those of the "
                "config are the same cannot be checked; the config's apply"
            )
            return
        differences = setting_differences(checkpoint.settings, self.settings)
        if not differences:
            return
        shown = ", ".join(differences[:_MOST_SHOWN])
        if len(differences) > _MOST_SHOWN:
            shown += f" and {len(differences) - _MOST_SHOWN} more"
        impossible = weights_differences(differences)
        if impossible:
            raise UserError(
                f"ckpt_path: {path} was trained with {', '.join(impossible)}, but a resumed run takes its weights from "
                "the checkpoint; name the folder that it had, or begin anew without ckpt_path"
            )
        if not self.resume_with_changes:
            raise UserError(
                f"ckpt_path: {path} was trained with other settings ({shown}); give those that it had, or add "
                f"{RESUME_OPTION} to go on with the new ones"
            )
        warn(f"resumed at step {checkpoint.step} with changes: {shown}")
        self.changes.append({"step": checkpoint.step, "epoch": checkpoint.epoch, "changes": differences})

    def _check_weights(self, module: torch.nn.Module, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
        """Refuse weights of other names or shapes in one line, before torch lists them in many.

        Raises:
            UserError: They do not fit the stage that the config describes.
        """
        wanted = {f"{prefix}{name}": _shape(value) for name, value in module.state_dict().items()}
        given = {name: _shape(value) for name, value in state_dict.items() if name.startswith(prefix)}
        odd = [f"{name} is not in the checkpoint" for name in wanted if name not in given]
        odd += [f"{name} is not in the model" for name in given if name not in wanted]
        odd += [
            f"{name} is {given[name]} in the checkpoint, {shape} in the model"
            for name, shape in wanted.items()
            if name in given and given[name] != shape
        ]
        if odd and self.checkpoint is not None:
            more = f"; and {len(odd) - 3} more" if len(odd) > 3 else ""
            raise UserError(
                f"ckpt_path: {self.checkpoint.path} does not fit the model of the config: {'; '.join(odd[:3])}{more}; "
                "give the config that it was trained with (config.yaml in its run folder)"
            )

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Give early stopping the patience of the config back."""
        for callback, patience in self._patience:
            callback.patience = patience

    @property
    def is_changed(self) -> bool:
        """Whether this run goes on with other settings than its checkpoint's."""
        return self.checkpoint is not None and len(self.changes) > len(self.checkpoint.changes)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Write down the changes on the way, once there is something to train with them."""
        if self.changes and trainer.is_global_zero and not trainer.fast_dev_run:
            with replace_atomically(Path(trainer.default_root_dir) / CHANGES_FILE) as temporary:
                temporary.write_text(json.dumps(self.changes, indent=2) + "\n")

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the record."""
        content = {"contract": self.known().to_dict(), "settings": self.settings, "changes": self.changes}
        checkpoint[RECORD_KEY] = json.loads(json.dumps(content))  # plain values alone

    def card_entries(self, encoder: Any) -> dict[str, Any]:
        """Return what ``encoder.yaml`` says of the training of one of the run's encoders."""
        contract = self.known()
        modality = encoder_modality(encoder)
        training = {name: value for name, value in contract.to_dict().items() if name != "preparation"}
        return {"preparation": contract.recipe(modality) or None, "training": training}

    def prediction_arrays(self) -> dict[str, np.ndarray]:
        """Return what ``predictions.npz`` says of its columns: names, kinds and units, and all that they are for.

        Without targets a prediction is a feature: there are no names.
        """
        contract = self.known()
        columns = {
            "label": [column.name for column in contract.targets],
            "kind": [column.kind for column in contract.targets],
            "unit": [column.unit for column in contract.targets],
        }
        arrays = {name: np.asarray([word.encode() for word in words], dtype="S64") for name, words in columns.items()}
        return {**arrays, "contract": np.frombuffer(json.dumps(contract.to_dict()).encode(), dtype=np.uint8)}

    def shown_settings(self) -> dict[str, Any]:
        """Return all settings for a logger's table, by their names on the command line; see ``flat_settings``."""
        return flat_settings(self.config) | {SHOWN_OF_DATA[name]: self.settings[name] for name in SHOWN_OF_DATA}

    def known(self) -> RunContract:
        """Return what the run is for; known from ``setup`` on."""
        if self.contract is None:
            raise RuntimeError("what the run is for is known from setup() on")
        return self.contract


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor, None for what a module keeps beside tensors."""
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None
