"""The outputs of a model as attributions take them: of a model folder, or of the run folder of a downstream stage."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.inference.export_run import export_run
from ecgcmr.inference.load import read_source
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_folder import DESCRIPTION_FILE, ModelFolder
from ecgcmr.interpretation.recording_features import RecordingFeatures
from ecgcmr.interpretation.target_readout import DownstreamReadout
from ecgcmr.leads import LEADS

_UNITS = {"yes/no": "log odds", "event": "log risk"}


def readout_of(model: Model) -> DownstreamReadout:
    """Return the outputs of a model.

    Raises:
        UserError: It has no targets.
    """
    description, targets = model.description, model.description.targets
    if not targets:
        raise UserError(f"the model {description.name} has no targets to explain: it gives embeddings alone")
    prepared = description.preparation
    leads = tuple(LEADS.index(name) for name in prepared.leads)
    leave_out = tuple(prepared.leave_out_leads)
    return DownstreamReadout(
        features=RecordingFeatures(model.encoder, model.readout, description.windows, leave_out, leads),
        weight=model.get_buffer("weight")[:, : model.feature_dim].float(),
        bias=model.get_buffer("bias").float(),
        names=tuple(target.name for target in targets),
        titles=tuple(target.title for target in targets),
        units=tuple(_UNITS.get(target.kind, target.unit) for target in targets),
    )


def load_readout(folder: Path, trust: Collection[str] = ()) -> DownstreamReadout:
    """Load the outputs of a model folder, or of the run folder of a downstream stage, on the CPU.

    Args:
        folder: The folder.
        trust: Classes, modules or packages beside this package's that its encoder may be of.

    Raises:
        UserError: It is neither, is not whole, or has no targets.
    """
    if (folder / DESCRIPTION_FILE).is_file():
        return readout_of(Model.of(read_source(folder), trust))
    exported = export_run(folder, trust)
    return readout_of(Model.of(ModelFolder(folder, exported.description, exported.tensors), trust))
