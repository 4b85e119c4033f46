"""A model folder's model as the ``Predictor`` of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.memory_file import memory_file
from ecgcmr.formats.record import ECGRecord
from ecgcmr.inference.answers import Answers
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_entries import ModelDescription
from ecgcmr.inference.person import Person
from ecgcmr.inference.recording import PreparedRecording, record_of
from ecgcmr.inference.results import ECGEmbedding
from ecgcmr.inference.serve.predictor import Upload, Wanted
from ecgcmr.inference.serve.tracing import Tracer
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.preparation.ecg import StandardOptions, standard_windows

_USE = "research use only, not a medical device"
_MOST_WINDOWS = 60
"""Of a recording, where a recipe takes all of them: ten minutes."""


@dataclass(frozen=True)
class Reading:
    """A recording that waits for the network.

    Attributes:
        recording: As prepared.
        wanted: What is asked of it.
        tracing: Its picture, where wanted.
    """

    recording: PreparedRecording
    wanted: Wanted
    tracing: str | None


class ModelPredictor:
    """Reads files in memory by a model's recipe and answers for them.

    Attributes:
        card: See ``Predictor``.
    """

    def __init__(self, model: Model, level: float) -> None:
        """Take a model.

        Args:
            model: The model.
            level: Of prediction intervals, between 0 and 1.

        Raises:
            UserError: The level is not between 0 and 1.
        """
        self._answers = Answers(model, level)
        self._preparer = model.preparer
        self._tracer = Tracer()
        self._about = {
            name: getattr(model.description, name) for name in ("name", "code_version", "sha256")
        }  # fmt: skip
        self.card: Mapping[str, Any] = _card(model.description, model.feature_dim, level)
        self._warm_up(model)

    def read(self, files: Sequence[Upload], wanted: Wanted) -> Reading:
        """Read and prepare a recording; see ``Predictor``."""
        name = files[0].name
        record = record_of(memory_file(name, {file.name: file.content for file in files}))
        recording = self._preparer.prepare(record, name)
        if len(recording.windows) > _MOST_WINDOWS:
            raise UserError(f"{name}: has {len(recording.windows)} windows; a request takes {_MOST_WINDOWS}")
        return Reading(recording, wanted, self._picture(record, recording) if wanted.tracing else None)

    def _picture(self, record: ECGRecord, recording: PreparedRecording) -> str | None:
        """Draw what was recorded; also of a recording that is refused, if it has the leads."""
        if recording.windows:
            return self._tracer.draw(recording.windows[0].window)
        recipe = self._preparer.preparation
        try:
            window = standard_windows(record, StandardOptions(recipe.samples, recipe.sampling_rate, "pad", "first"))[0]
        except UserError:
            return None
        return self._tracer.draw(window)

    def answer(self, readings: Sequence[Reading]) -> list[list[dict[str, Any]]]:
        """Answer for recordings; see ``Predictor``."""
        answers: dict[int, list[dict[str, Any]]] = {}
        asked: dict[str, list[int]] = {"embed": [], "predict": []}
        for place, one in enumerate(readings):
            asked[one.wanted.kind].append(place)
        if asked["embed"]:
            found = self._answers.embed([readings[place].recording for place in asked["embed"]])
            answers |= {place: [self._embedding(one) for one in each]
                        for place, each in zip(asked["embed"], found, strict=True)}  # fmt: skip
        if asked["predict"]:
            persons = [_person(readings[place].wanted) for place in asked["predict"]]
            predicted = self._answers.predict([readings[place].recording for place in asked["predict"]], persons)
            for place, found_one in zip(asked["predict"], predicted, strict=True):
                more = {"tracing": readings[place].tracing} if readings[place].wanted.tracing else {}
                answers[place] = [{**found_one.to_dict(), **more}]
        return [answers[place] for place in range(len(readings))]

    def _embedding(self, one: ECGEmbedding) -> dict[str, Any]:
        row = one.to_row()
        vector = None if one.embedding is None else one.embedding.tolist()
        return {**row, "embedding": vector, "quality": one.quality if np.isfinite(one.quality) else None,
                "model": self._about}  # fmt: skip

    def _warm_up(self, model: Model) -> None:
        """Compile and load what the first recording would wait for."""
        recipe = model.description.preparation
        time = np.arange(recipe.samples) / recipe.sampling_rate
        wave = np.tile(np.sin(2 * np.pi * time), (12, 1))
        prepared = self._preparer.prepare(record_of(wave, sampling_rate=recipe.sampling_rate, unit="mV"))
        if prepared.windows:
            self._tracer.draw(prepared.windows[0].window)
        self._answers.embed([prepared])


def _person(wanted: Wanted) -> Person:
    numbers = dict(wanted.covariates)
    return Person(wanted.sex, numbers.pop("age", None), numbers)


def _card(description: ModelDescription, dim: int, level: float) -> dict[str, Any]:
    """Return what strangers may know of a model: all of `model.yaml` but how its encoder is built."""
    whole = asdict(description)
    kept = {name: value for name, value in whole.items() if name not in ("encoder", "readout", "onnx")}
    measured = {label.name: {"title": label.title, "unit": label.unit} for label in MEASUREMENTS}
    return {**kept, "embedding": dim, "level": level, "measurements": measured, "use": _USE}
