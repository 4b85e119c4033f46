"""ECG features of other runs for the same recordings, to compare representations with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgcmr.encoders import load_encoder
from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext, in_evaluation
from ecgcmr.interpretation.embeddings import ecg_features


def other_features(context: AnalysisContext, run_folders: Sequence[Path]) -> dict[str, NDArray[np.float32]]:
    """Return the features (n, D) of other runs' ECG encoders of the chosen rows, by the name of their folder.

    Args:
        context: The cohort.
        run_folders: Each holds ``encoder.safetensors`` and ``encoder.yaml``.

    Raises:
        UserError: Two folders have one name, a folder holds no ECG encoder, or it takes other leads or another sampling
            rate than the model that is explained.
    """
    found: dict[str, NDArray[np.float32]] = {}
    wanted = context.ecg_input
    for folder in run_folders:
        if folder.name in found:
            raise UserError(f"{folder}: another run of this name is compared already; rename one of the folders")
        encoder = in_evaluation(load_encoder(folder, context.trusted), context.device)
        spec = encoder.input_spec
        if type(spec) is not type(wanted) or (spec.leads, spec.sampling_rate) != (wanted.leads, wanted.sampling_rate):
            takes = f"{wanted.leads} leads at {wanted.sampling_rate:g} Hz"
            raise UserError(f"{folder}: its encoder does not take {takes}; compare runs of the same recordings")
        found[folder.name] = ecg_features(replace(context, ecg_encoder=encoder, pair=None))
    return found
