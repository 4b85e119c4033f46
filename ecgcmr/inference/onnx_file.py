"""`model.onnx`: the network for machines without torch, compared with torch before it is kept.

Input ``windows``: (B, leads, samples), or (B, W, leads, samples) where the model averages W windows, prepared and cut
as ``Model.windows_of`` does; with covariates also ``covariates`` (B, C), NaN = missing. Outputs: ``embedding``
(B, D) and ``prediction`` (B, K), as ``Model.predict_features`` gives it. B is free.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically, sha256_of
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_entries import OnnxEntry
from ecgcmr.inference.model_folder import ONNX_FILE, ModelFolder, check_onnx_file, read_model_folder, write_description
from ecgcmr.text import printable

OPSET = 18
MOST_DIFFERENCE = 1e-4
"""Between ONNX and torch, relative to the larger of 1 and the value."""
BATCHES = (1, 3)
"""Numbers of recordings that are compared; one of them is not the number that was traced."""
_SEED = 0


def add_onnx(folder: ModelFolder, trust: Collection[str] = ()) -> ModelFolder:
    """Write `model.onnx` into a model folder and note it in `model.yaml`.

    Args:
        folder: A folder that has been written.
        trust: As of ``load``.

    Raises:
        UserError: The packages are not installed, the encoder cannot be exported, or the results differ from torch's.
    """
    model = Model.of(folder, trust)
    path = folder.folder / ONNX_FILE
    with replace_atomically(path) as temporary:
        export_onnx(model, temporary)
        difference = largest_difference(model, temporary)
    entry = OnnxEntry(sha256_of(path), OPSET, difference)
    write_description(folder.folder, replace(folder.description, onnx=entry))
    return read_model_folder(folder.folder)


def export_onnx(model: Model, path: Path) -> None:
    """Write the network of a model; errors as of ``add_onnx``."""
    for name in ("onnx", "onnxscript"):
        _package(name)
    kind = type(model.encoder).__name__
    inputs = example(model, 2)
    names = ["windows", "covariates"][: len(inputs)]
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with _exportable(), torch.no_grad():
            program = torch.onnx.export(
                model,
                inputs,
                input_names=names,
                output_names=["embedding", "prediction"],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                verbose=False,
            )
            if program is None:
                raise RuntimeError("nothing was exported")
            program.save(str(path), external_data=False)
    except Exception as error:  # torch's exporter raises of many kinds
        reason = printable(" ".join(str(error).split()), 200)
        raise UserError(
            f"--onnx: {kind} cannot be exported to ONNX ({type(error).__name__}: {reason}); leave --onnx out"
        ) from error


def largest_difference(model: Model, path: Path) -> float:
    """Return the largest difference of ONNX and torch over some batches of noise.

    Raises:
        UserError: It is above 1e-4, or the runtime cannot run the file.
    """
    session, worst = session_of(path), 0.0
    for count in BATCHES:
        inputs = example(model, count)
        with torch.inference_mode():
            expected = [value.double().numpy() for value in model(*inputs)]
        try:
            found = run_session(session, *(value.numpy() for value in inputs))
        except Exception as error:  # the runtime's own, of several kinds
            reason = printable(" ".join(str(error).split()), 200)
            raise UserError(
                f"--onnx: {type(model.encoder).__name__} does not run in ONNX for {count} recordings ({reason}); leave "
                "--onnx out"
            ) from error
        for one, other in zip(found, expected, strict=True):
            if other.size:
                worst = max(worst, float((np.abs(one - other) / np.maximum(1.0, np.abs(other))).max()))
    if not worst <= MOST_DIFFERENCE:
        raise UserError(
            f"--onnx: {type(model.encoder).__name__} computes otherwise in ONNX than in torch, by {worst:.1e} (at most "
            f"{MOST_DIFFERENCE:.0e}); leave --onnx out"
        )
    return worst


def open_onnx(folder: ModelFolder) -> Any:
    """Return an onnxruntime session of a model folder's `model.onnx`, its checksum compared.

    Raises:
        UserError: There is none, it is damaged, or onnxruntime is not installed.
    """
    return session_of(check_onnx_file(folder.folder, folder.description))


def session_of(path: Path) -> Any:
    """Return an onnxruntime session on the CPU; errors as of ``open_onnx``."""
    runtime = _package("onnxruntime")
    try:
        return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own, of several kinds
        raise UserError(f"{path.name}: cannot be run ({printable(' '.join(str(error).split()), 200)})") from error


def run_session(session: Any, *inputs: NDArray) -> tuple[NDArray, NDArray]:
    """Return embedding and prediction of the inputs that the graph has, float32."""
    names = [item.name for item in session.get_inputs()]
    given = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in zip(names, inputs, strict=True)}
    embedding, *prediction = session.run(None, given)
    return embedding, prediction[0] if prediction else np.empty((len(embedding), 0))


def example(model: Model, count: int) -> tuple[torch.Tensor, ...]:
    """Return inputs of so many recordings: noise, and covariates of which some are missing."""
    description = model.description
    generator = torch.Generator().manual_seed(_SEED)
    samples = int(description.encoder.input_spec["samples"])
    windows = (description.windows,) if description.windows > 1 else ()
    shape = (count, *windows, len(description.preparation.leads), samples)
    x = torch.randn(shape, generator=generator)
    if model.covariates is None:
        return (x,)
    values = model.covariates.mean + model.covariates.deviation * torch.randn(
        (count, len(description.covariates)), generator=generator
    )
    values[0, 0] = torch.nan
    return x, values


@contextmanager
def _exportable() -> Iterator[None]:
    """Keep attention written out in ordinary operators, and the exporter's remarks on its workings from the user."""
    logger, fast = logging.getLogger("torch.onnx"), torch.backends.mha.get_fastpath_enabled()
    level = logger.level
    logger.setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logger.setLevel(level)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"--onnx: {name} is not installed; add it with: pip install 'ecgcmr[onnx]'") from error
