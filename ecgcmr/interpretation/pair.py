"""The two encoders of an alignment and the heads that bring their features into one space.

Local features are projected by the head that was trained on the pooled feature, as in the published maps: the encoders'
contract says that both went through the same final norm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders import LocalFeatureEncoder, LocalStackEncoder, View, load_encoder, require_encoder
from ecgcmr.encoders.finite_weights import require_finite_weights
from ecgcmr.encoders.weights import CARD_FILE
from ecgcmr.errors import UserError
from ecgcmr.interpretation.randomised import untrained
from ecgcmr.objectives.projection import projection_head
from ecgcmr.torch_file import load_torch_file

CMR_FOLDER, CHECKPOINT = "cmr_encoder", "best.ckpt"


@dataclass(frozen=True)
class AlignedPair:
    """What an alignment leaves. All outputs are unit vectors, so that products of them are cosines.

    Attributes:
        ecg_encoder: Meets the encoder contract.
        cmr_encoder: Likewise.
        ecg_projection: From the ECG's features (B, D) to the common space (B, E).
        cmr_projection: From the image's.
    """

    ecg_encoder: Any
    cmr_encoder: Any
    ecg_projection: nn.Module
    cmr_projection: nn.Module

    def ecg_embedding(self, ecg: Tensor) -> Tensor:
        """Return embeddings (B, E) of ECGs (B, leads, T)."""
        return F.normalize(self.ecg_projection(View(ecg).features(self.ecg_encoder)), dim=1)

    def cmr_embedding(self, cmr: Tensor) -> Tensor:
        """Return embeddings (B, E) of images (B, F, H, W)."""
        return F.normalize(self.cmr_projection(View(cmr).features(self.cmr_encoder)), dim=1)

    def ecg_places(self, ecg: Tensor) -> Tensor:
        """Return embeddings (B, h, w, E) of the places of ECGs, rows of leads and columns of time.

        Raises:
            UserError: The encoder has no local features.
        """
        places = View(ecg).local_features(require_encoder(self.ecg_encoder, LocalFeatureEncoder))
        return _projected(self.ecg_projection, places)

    def cmr_places(self, cmr: Tensor) -> Tensor:
        """Return embeddings (B, S, h, w, E) of the places of images.

        S is 1 for an encoder that mixes the images of a subject from its first layer on; else they follow each other in
        the order of the images, as many as the encoder tells apart.

        Raises:
            UserError: The encoder has no local features.
        """
        if isinstance(self.cmr_encoder, LocalStackEncoder):
            places = self.cmr_encoder.local_stack(cmr)
        else:
            places = View(cmr).local_features(require_encoder(self.cmr_encoder, LocalFeatureEncoder)).unsqueeze(1)
        return _projected(self.cmr_projection, places)


def _projected(projection: nn.Module, places: Tensor) -> Tensor:
    """(B, ..., D, h, w) -> unit vectors (B, ..., h, w, E)."""
    last = places.movedim(-3, -1)
    return F.normalize(projection(last.reshape(-1, last.shape[-1])), dim=1).unflatten(0, last.shape[:-1])


def load_pair(run_folder: str | Path, trust: Collection[str] = ()) -> AlignedPair:
    """Load the pair that a finished alignment left, in evaluation mode.

    Args:
        run_folder: Holds both encoders and ``best.ckpt``, whose projections are taken.
        trust: Modules or classes beside this package's that an encoder may be of.

    Raises:
        UserError: The folder is no alignment's, or a file is missing, damaged or does not fit.
    """
    folder = Path(run_folder)
    if not (folder / CMR_FOLDER / CARD_FILE).is_file():
        raise UserError(f"{folder}: holds no {CMR_FOLDER}/{CARD_FILE}; give the run folder of a finished alignment")
    ecg_encoder, cmr_encoder = load_encoder(folder, trust), load_encoder(folder / CMR_FOLDER, trust)
    path = folder / CHECKPOINT
    if not path.is_file():
        raise UserError(f"{path}: no such file; the projections of an alignment lie in it: train it again")
    loaded = load_torch_file(path, kind="checkpoint")
    state = loaded.get("state_dict") if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: holds no state_dict; give the run folder of a finished alignment")
    for name, encoder in (("ecg", ecg_encoder), ("cmr", cmr_encoder)):
        _require_weights_of(state, f"{name}_encoder.", encoder, path)
    heads = [
        _head(state, f"{name}_projection.", encoder, path)
        for name, encoder in (("ecg", ecg_encoder), ("cmr", cmr_encoder))
    ]
    pair = AlignedPair(ecg_encoder, cmr_encoder, *heads)
    for network in networks(pair):
        network.eval().requires_grad_(False)
    return pair


def _require_weights_of(state: Mapping[str, Any], prefix: str, encoder: Any, path: Path) -> None:
    """Raise UserError where a checkpoint was saved beside other encoders: its projections would fit these by chance."""
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    exported = encoder.state_dict()
    same = weights.keys() == exported.keys() and all(
        isinstance(value, Tensor) and value.shape == exported[name].shape and bool((value == exported[name]).all())
        for name, value in weights.items()
    )
    if not same:
        raise UserError(
            f"{path}: {prefix}* differs from the encoder that was exported beside it; the file is of another run, or "
            "its fit goes on: give the run folder of a finished alignment"
        )


def _head(state: Mapping[str, Any], prefix: str, encoder: Any, path: Path) -> nn.Module:
    """Build the projection whose weights stand in a checkpoint, and load them."""
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    linear = [value for value in weights.values() if isinstance(value, Tensor) and value.ndim == 2]
    if not linear or linear[0].shape[1] != encoder.feature_dim:
        raise UserError(f"{path}: has no {prefix}* for features of width {encoder.feature_dim}; train it again")
    norm = any(name.endswith("running_mean") for name in weights)
    head = projection_head(encoder.feature_dim, linear[0].shape[0], linear[-1].shape[0], len(linear), norm)
    try:
        head.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: {prefix}* is not a projection head of this package; train it again") from error
    require_finite_weights(head.state_dict(), path)
    return head


def networks(pair: AlignedPair) -> list[nn.Module]:
    """Return the four networks of a pair."""
    return [pair.ecg_encoder, pair.cmr_encoder, pair.ecg_projection, pair.cmr_projection]


def random_pair(pair: AlignedPair, generator: np.random.Generator) -> AlignedPair:
    """Return a pair of the same make that was never trained: the control of what architecture alone gives."""
    return AlignedPair(*(untrained(network, generator) for network in networks(pair)))
