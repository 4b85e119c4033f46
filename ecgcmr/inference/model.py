"""A trained model as a Python object: prepared recordings in; embeddings, and predictions in the targets' units, out.

How a recording is prepared stands in ``description.preparation``; this is where prepared arrays are looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ecgcmr.encoders.card_checks import check_trusted
from ecgcmr.encoders.own_class import check_own_class
from ecgcmr.encoders.readout import AttentionReadout, CovariateInputs, read_out
from ecgcmr.encoders.view import View
from ecgcmr.encoders.weights import build_encoder
from ecgcmr.errors import UserError
from ecgcmr.inference.answers import LEVEL, Answers
from ecgcmr.inference.folder_tensors import (
    COVARIATE_DEVIATION,
    COVARIATE_MEAN,
    ENCODER,
    HEAD_BIAS,
    HEAD_WEIGHT,
    READOUT,
    Tensors,
)
from ecgcmr.inference.model_entries import ModelDescription
from ecgcmr.inference.model_folder import DESCRIPTION_FILE, ModelFolder
from ecgcmr.inference.person import NOBODY, Person
from ecgcmr.inference.recording import Preparer, Source, prepared_inputs
from ecgcmr.inference.results import ECGEmbedding, ECGPrediction, Results
from ecgcmr.leads import LEADS
from ecgcmr.windows import cut_windows

BATCH = 64
"""Recordings that are looked at together."""


class Model(torch.nn.Module):
    """Encoder, readout and heads of a model folder, in evaluation mode.

    Attributes:
        description: What `model.yaml` says.
        tensors: Arrays of intervals, calibration and distance, by their names in `model.safetensors`.
        encoder: Meets the encoder contract.
        readout: Pools its tokens; None: the encoder's own feature.
    """

    def __init__(self, description: ModelDescription, encoder: torch.nn.Module, tensors: Tensors) -> None:
        """Put the parts together.

        Args:
            description: Of the model.
            encoder: With its weights.
            tensors: All of the model's; those of the encoder are not looked at.

        Raises:
            UserError: Readout or head do not fit the encoder.
        """
        super().__init__()
        self.description = description
        self.encoder: Any = encoder
        self.readout: AttentionReadout | None = None
        self.covariates: CovariateInputs | None = None
        self.tensors = {name: array for name, array in tensors.items() if not name.startswith((ENCODER, READOUT))}
        if description.readout is not None:
            self.readout = AttentionReadout(self.feature_dim, description.readout.heads)
            weights = {name: array for name, array in tensors.items() if name.startswith(READOUT)}
            try:
                self.readout.load_state_dict(
                    {name.removeprefix(READOUT): torch.tensor(array) for name, array in weights.items()}
                )
            except RuntimeError as error:
                raise UserError(
                    f"{DESCRIPTION_FILE}: the tensors of readout do not fit the encoder's tokens"
                ) from error
        if description.covariates:
            mean, deviation = (torch.tensor(tensors[name]) for name in (COVARIATE_MEAN, COVARIATE_DEVIATION))
            self.covariates = CovariateInputs(mean, deviation)
        if description.targets:
            wanted = self.feature_dim + 2 * len(description.covariates)
            if tensors[HEAD_WEIGHT].shape[1] != wanted:
                found = tensors[HEAD_WEIGHT].shape[1]
                raise UserError(
                    f"{DESCRIPTION_FILE}: the head takes {found} numbers, encoder and covariates give {wanted}"
                )
            self.register_buffer("weight", torch.tensor(tensors[HEAD_WEIGHT]), persistent=False)
            self.register_buffer("bias", torch.tensor(tensors[HEAD_BIAS]), persistent=False)
        self._rows = [LEADS.index(name) for name in description.preparation.leads]
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def of(cls, folder: ModelFolder, trust: Collection[str] = ()) -> Model:
        """Build the model of a folder that has been read.

        Args:
            folder: The folder.
            trust: Classes, modules or packages beside this package's encoders that may be imported.

        Raises:
            UserError: The class is not trusted (nothing was imported), cannot be built, or weights do not fit.
        """
        entry, path = folder.description.encoder, folder.folder / DESCRIPTION_FILE
        check_trusted(entry.class_path, trust, path, 'trust=["{class_path}"], --trust {class_path}')
        weights = {name: torch.tensor(array) for name, array in folder.part(ENCODER).items()}
        encoder = build_encoder(entry.class_path, entry.init_args, entry.input_spec, weights, path, trust)
        check_own_class(encoder, str(path))
        return cls(folder.description, encoder, folder.tensors)

    @property
    def feature_dim(self) -> int:
        """D, the width of an embedding."""
        return int(self.encoder.feature_dim)

    def forward(self, x: torch.Tensor, covariates: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return embeddings (B, D) and predictions (B, K) as ``predict_features`` gives them.

        Args:
            x: (B, leads, T), or windows (B, W, leads, T), as the encoder takes them.
            covariates: (B, C) in their units, NaN = missing.
        """
        features = read_out(self.encoder, self.readout, View(x)).float()
        return features, self._predicted(features, covariates)

    @cached_property
    def preparer(self) -> Preparer:
        """What prepares recordings by the model's recipe."""
        return Preparer(self.description.preparation)

    def embed(
        self,
        x: Source | Sequence[Source],
        *,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | None = None,
    ) -> ECGEmbedding | Results[ECGEmbedding]:
        """Return the embedding of a recording, or of each of several, prepared by the model's recipe.

        Args:
            x: A path to a file of any supported format, an ``ECGRecord``, an array (leads, T) with NaN where nothing
                was recorded, or a list of these (an array of three axes is one).
            sampling_rate: Hz, of arrays and of files that do not state it.
            leads: Names of their leads, in their order; arrays of twelve rows are taken to be in the standard order.
            unit: Their unit: V, mV, uV or nV, after a factor if need be.

        Returns:
            One result; of a list one for each, in its order. A recording that cannot be read or prepared has no
            embedding, and ``refused`` says why. Where the recipe takes all windows of a long recording, one for each.

        Raises:
            UserError: A single file cannot be read, or options are missing.
        """
        prepared, is_list = prepared_inputs(self.preparer, x, sampling_rate=sampling_rate, leads=leads, unit=unit)
        found = [one for windows in Answers(self).embed(prepared) for one in windows]
        return Results(found) if is_list or len(found) > 1 else found[0]

    def predict(
        self,
        x: Source | Sequence[Source],
        *,
        sampling_rate: float | None = None,
        leads: Sequence[str] | None = None,
        unit: str | None = None,
        person: Person | Sequence[Person] | None = None,
        level: float = LEVEL,
    ) -> ECGPrediction | Results[ECGPrediction]:
        """Return what the model predicts of a recording, or of each of several.

        Args:
            x: As of ``embed``.
            sampling_rate: As of ``embed``.
            leads: As of ``embed``.
            unit: As of ``embed``.
            person: Sex, age and covariates, where known; one for each of a list, or one for all.
            level: Of the prediction intervals.

        Returns:
            One prediction; of a list one for each, in its order. ``refused`` says why there is none. Of a recording of
            several windows the first one counts.

        Raises:
            UserError: A single file cannot be read, options are missing, or the model has no targets.
        """
        prepared, is_list = prepared_inputs(self.preparer, x, sampling_rate=sampling_rate, leads=leads, unit=unit)
        persons = [person or NOBODY] * len(prepared) if person is None or isinstance(person, Person) else list(person)
        if len(persons) != len(prepared):
            raise UserError(f"person: {len(persons)} for {len(prepared)} recordings; give one for each, or one for all")
        found = Answers(self, level).predict(prepared, persons)
        return Results(found) if is_list else found[0]

    @torch.inference_mode()
    def embed_signals(
        self, signals: ArrayLike | torch.Tensor, lead_mask: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Return the embedding of each prepared recording, the mean over its windows.

        Args:
            signals: (n, 12, T), prepared by ``description.preparation``; T is its ``samples``.
            lead_mask: (n, 12) bool, False = left out, for models that leave leads out; None = all are seen.

        Returns:
            (n, D) float32.

        Raises:
            ValueError: The shape is another, or a value is not finite.
        """
        x = torch.as_tensor(np.asarray(signals), dtype=torch.float32)
        wanted = (len(LEADS), self.description.preparation.samples)
        if x.ndim != 3 or tuple(x.shape[1:]) != wanted:
            raise ValueError(f"prepared recordings are (n, {wanted[0]}, {wanted[1]}), got {tuple(x.shape)}")
        if not bool(torch.isfinite(x).all()):
            raise ValueError("prepared recordings hold NaN or infinity")
        mask = None if lead_mask is None else torch.as_tensor(np.asarray(lead_mask, dtype=bool))[:, self._rows]
        parts = [np.empty((0, self.feature_dim), np.float32)]
        for start in range(0, len(x), BATCH):
            rows = slice(start, start + BATCH)
            view = View(self.windows_of(x[rows]), None if mask is None else mask[rows])
            parts.append(read_out(self.encoder, self.readout, view).float().cpu().numpy())
        return np.concatenate(parts)

    def windows_of(self, signals: torch.Tensor) -> torch.Tensor:
        """Return what the encoder sees of prepared recordings: (n, 12, T) -> (n, leads, samples) or (n, W, ...)."""
        description = self.description
        seen = signals[:, self._rows]
        windows = cut_windows(seen, int(description.encoder.input_spec["samples"]), description.windows)
        return windows if description.windows > 1 else windows[:, 0]

    @torch.inference_mode()
    def predict_features(self, features: ArrayLike, covariates: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return predictions before calibration: numbers in their units, probabilities of yes, log risks of events.

        Args:
            features: (n, D) embeddings.
            covariates: (n, C) of a model that takes some, in their units, NaN = missing.

        Returns:
            (n, K) float64.

        Raises:
            UserError: The model has no targets, or covariates are asked for and not given, or the other way round.
        """
        x = torch.as_tensor(np.asarray(features))
        names = self.description.covariates
        if (covariates is None) != (not names):
            given = f"takes {', '.join(names)} beside the ECG: give them" if names else "takes no covariates"
            raise UserError(f"the model {self.description.name} {given}")
        if not self.description.targets:
            raise UserError(f"the model {self.description.name} has no targets: it gives embeddings alone")
        more = None if covariates is None else torch.as_tensor(np.asarray(covariates), dtype=torch.float32)
        return self._predicted(x, more).double().cpu().numpy()

    def _predicted(self, features: torch.Tensor, covariates: torch.Tensor | None) -> torch.Tensor:
        """(n, D) -> (n, K), in the type of the head; (n, 0) without targets."""
        if not self.description.targets:
            return features[:, :0]
        if self.covariates is not None and covariates is not None:
            features = torch.cat([features, self.covariates(covariates)], dim=1)
        weight: torch.Tensor = self.get_buffer("weight")
        values = torch.nn.functional.linear(features.to(weight.dtype), weight, self.get_buffer("bias"))
        binary = torch.tensor([target.kind == "yes/no" for target in self.description.targets])
        return torch.where(binary, values.sigmoid(), values)
