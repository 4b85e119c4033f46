"""`ecgcmr.load`: a model folder, or one on the Hugging Face hub, as a `Model`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.inference.hub import SCHEME, fetched
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_folder import DESCRIPTION_FILE, ModelFolder, read_model_folder
from ecgcmr.shards.recipe import RECIPE_VERSION


def load(source: str | Path, trust: Collection[str] = ()) -> Model:
    """Load a model that ``ecgcmr export`` wrote.

    Args:
        source: Its folder, or ``hf://OWNER/NAME[@REVISION]``.
        trust: Classes, modules or packages whose code may be imported where the model's encoder is none of this
            package's, such as ``["package.module.Class"]``. A model folder is data: without that nothing is imported.

    Returns:
        The model, in evaluation mode on the CPU.

    Raises:
        UserError: In one line: the folder is not whole, not sound, of another version, or its class is not trusted.
    """
    return Model.of(read_source(source), (trust,) if isinstance(trust, str) else trust)


def read_source(source: str | Path) -> ModelFolder:
    """Read a model folder, fetched first where it lies on the hub; no class is imported.

    Raises:
        UserError: As of ``load``.
    """
    if str(source).startswith(SCHEME):
        folder, within = fetched(str(source))
        found = read_model_folder(folder, within)
    else:
        found = read_model_folder(source)
    made = found.description.preparation.version
    if made != RECIPE_VERSION:
        raise UserError(
            f"{found.folder / DESCRIPTION_FILE}: its recordings were prepared by version {made} of the preparation, "
            f"this code has {RECIPE_VERSION}; use ecgcmr {found.description.code_version}, or train it anew"
        )
    return found
