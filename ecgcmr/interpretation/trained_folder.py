"""What is to be explained: a model folder or the run folder of a stage, opened by what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.encoders.weights import CARD_FILE, EncoderCard
from ecgcmr.errors import UserError
from ecgcmr.inference.export_run import DOWNSTREAM
from ecgcmr.inference.load import read_source
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_folder import DESCRIPTION_FILE
from ecgcmr.interpretation.explained_targets import load_readout, readout_of
from ecgcmr.interpretation.pair import CMR_FOLDER, AlignedPair, load_pair
from ecgcmr.interpretation.target_readout import DownstreamReadout
from ecgcmr.shards import Layout
from ecgcmr.shards.recipe import Recipe, compare_recipes, recipe_of


@dataclass(frozen=True)
class TrainedFolder:
    """A trained model.

    Attributes:
        folder: Where it lies.
        weights: Checksums of its networks, which say which model it is.
        encoder: Of ECGs, in evaluation mode on the CPU.
        recipes: ``ecg`` or ``cmr`` -> preparation of the recordings it was trained on; without an entry where that is
            not known.
        pair: Of an alignment.
        readout: Of a downstream model.
        windows: Windows of a recording that it was validated with.
        left_out: Flags of the leads that training left out of its recordings.
    """

    folder: Path
    weights: tuple[str, ...]
    encoder: Any
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    pair: AlignedPair | None = None
    readout: DownstreamReadout | None = None
    windows: int = 1
    left_out: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Modalities of each recording that it looks at."""
        return ("ecg",) if self.pair is None else ("ecg", "cmr")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Analyses that it can be given."""
        if self.pair is not None:
            return "localisation", "attribution", "retrieval", "embedding"
        return ("embedding",) if self.readout is None else ("attribution", "embedding")

    def check_cohort(self, layout: Layout, root: Path) -> None:
        """Compare a cohort's preparation with that of the recordings the model was trained on.

        Raises:
            UserError: They differ, or the cohort lacks what the model takes.
        """
        for modality in self.needs:
            if (layout.ecg if modality == "ecg" else layout.cmr) is None:
                raise UserError(f"{root}: holds no {'ECGs' if modality == 'ecg' else 'images'}, which the model takes")
            trained = self.recipes.get(modality)
            if trained is None:
                continue
            found = compare_recipes(trained, recipe_of(layout, modality), modality).differences
            if found:
                raise UserError(
                    f"{root}: was prepared otherwise than the model's recordings ({'; '.join(found)}); prepare it by "
                    "the model's recipe"
                )


def open_trained(folder: Path, trust: Collection[str] = ()) -> TrainedFolder:
    """Open a model folder, or the run folder of a finished stage.

    Args:
        folder: The folder.
        trust: Classes, modules or packages beside this package's that an encoder may be of.

    Raises:
        UserError: It is neither, is not whole, or trains on images alone.
    """
    if (folder / DESCRIPTION_FILE).is_file():
        source = read_source(folder)
        return _of_model(folder, Model.of(source, trust))
    if not (folder / CARD_FILE).is_file():
        raise UserError(
            f"{folder}: holds neither {DESCRIPTION_FILE} nor {CARD_FILE}; give a model folder or the run folder of a "
            "finished stage, such as RUN/stages/mae+alignment of an experiment"
        )
    card = read_encoder_card(folder)
    if card.input_spec.get("kind") != "ECGInput":
        raise UserError(f"{folder / CARD_FILE}: is an encoder of images; what is explained here reads ECGs")
    if (folder / CMR_FOLDER / CARD_FILE).is_file():
        images = read_encoder_card(folder / CMR_FOLDER)
        pair = load_pair(folder, trust)
        recipes = _recipes(ecg=card, cmr=images)
        return TrainedFolder(
            folder,
            (card.sha256, images.sha256, _checksum(pair.ecg_projection), _checksum(pair.cmr_projection)),
            pair.ecg_encoder,
            recipes,
            pair,
            windows=_windows(card),
            left_out=_left_out(card),
        )
    if (card.training or {}).get("task") in DOWNSTREAM:
        readout = load_readout(folder, trust)
        return TrainedFolder(
            folder,
            (card.sha256, _checksum(readout.features.readout, weight=readout.weight, bias=readout.bias)),
            readout.features.encoder,
            _recipes(ecg=card),
            readout=readout,
            windows=_windows(card),
            left_out=_left_out(card),
        )
    encoder = load_encoder(folder, trust).eval().requires_grad_(False)
    return TrainedFolder(
        folder, (card.sha256,), encoder, _recipes(ecg=card), windows=_windows(card), left_out=_left_out(card)
    )


def _of_model(folder: Path, model: Model) -> TrainedFolder:
    description = model.description
    return TrainedFolder(
        folder,
        (description.sha256,),
        model.encoder,
        {"ecg": asdict(description.preparation)},
        readout=readout_of(model) if description.targets else None,
        windows=description.windows,
        left_out=tuple(description.preparation.leave_out_leads),
    )


def _recipes(**cards: EncoderCard) -> dict[str, Recipe]:
    return {modality: dict(card.preparation) for modality, card in cards.items() if card.preparation is not None}


def _checksum(network: nn.Module | None, **tensors: Tensor) -> str:
    """Return a checksum of what stands on an encoder, which other heads on the same encoder do not have."""
    weights = {**({} if network is None else network.state_dict()), **tensors}
    content = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in weights.items()})
    return hashlib.sha256(content).hexdigest()


def _windows(card: EncoderCard) -> int:
    return int((card.training or {}).get("evaluation_windows", 1))


def _left_out(card: EncoderCard) -> tuple[str, ...]:
    return tuple((card.training or {}).get("leave_out_leads", ()))
