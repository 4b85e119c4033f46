"""Whether weights meet recordings that were prepared like those they were trained on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ecgcmr.encoders.protocol import MODALITIES
from ecgcmr.encoders.weights import CARD_FILE, EncoderCard
from ecgcmr.errors import UserError
from ecgcmr.shards.layout import Layout
from ecgcmr.shards.recipe import Comparison, Recipe, cleaning_steps, compare_recipes

OPTION = "--accept_other_preparation true"
_FILL = "fill"  # puts a number where nothing was recorded


@rank_zero_only
def warn(text: str) -> None:
    """Write one line to standard error, also where an experiment keeps Lightning's notes quiet."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def check_encoder_preparation(
    card: EncoderCard, folder: Path, recipe: Recipe, layout: Layout, argument: str, *, accept: bool = False
) -> None:
    """Compare the recordings that an encoder was trained on with those it is to see.

    Args:
        card: Of the encoder.
        folder: Where it lies.
        recipe: Of the recordings it is to see (``ecgcmr.shards.recipe``).
        layout: Of their cohort.
        argument: Name of the config entry, for the message.
        accept: Go on where they differ, with a warning.

    Raises:
        UserError: They differ; the message says in what.
    """
    name = f"{argument}: {folder / CARD_FILE}"
    check_as_measured(card.input_spec, layout, argument, accept=accept)
    if card.preparation is None:
        if card.fingerprint != layout.fingerprint:
            warn(
                f"{name} does not say how the recordings it was trained on were prepared (written by an earlier "
                "version): that this cohort's are prepared alike cannot be checked"
            )
        return
    modality = MODALITIES.get(str(card.input_spec.get("kind")), "ecg")
    compared = compare_recipes(card.preparation, recipe, modality)
    judge(
        compared,
        f"{name} was trained on recordings of another preparation",
        f"{name} and this cohort",
        f"prepare the cohort alike, take other weights, or add {OPTION}",
        accept=accept,
    )


def check_as_measured(specification: Mapping[str, Any], layout: Layout, argument: str, *, accept: bool = False) -> None:
    """Refuse recordings that were cleaned or scaled, where the encoder itself does that with what was measured.

    Args:
        specification: Of the encoder's input, by name.
        layout: Of the cohort.
        argument: Name of the config entry, for the message.
        accept: Go on all the same, with a warning.

    Raises:
        UserError: The cohort's ECGs are of another unit, or were cleaned; the message has the command that mends it.
    """
    unit, ecg = specification.get("unit"), layout.ecg
    if unit is None or ecg is None:
        return
    made = layout.preparation.get("ecg")
    cleaning = made.get("cleaning") if isinstance(made, Mapping) else None
    steps = cleaning_steps(cleaning)
    odd = [] if ecg.unit == unit else [f"are in {ecg.unit}"]
    odd += [f"were cleaned ({', '.join(steps)})"] if set(steps) - {_FILL} else []
    if not odd:
        return
    text = f"{argument} takes ECGs in {unit} as they were measured and prepares them itself, this cohort's "
    text += " and ".join(odd)
    if not accept:
        raise UserError(f"{text}; prepare it with 'ecgcmr prepare ... --cleaning none', or add {OPTION}")
    warn(f"{text}; accepted by {OPTION}")


def judge(compared: Comparison, refusal: str, both: str, remedy: str, *, accept: bool) -> None:
    """Refuse or accept what differs, and say what cannot be compared.

    Args:
        compared: Of two recipes.
        refusal: Start of the message where they differ.
        both: Names the two, where something is not known of one.
        remedy: What to do where they differ.
        accept: Go on where they differ, with a warning.

    Raises:
        UserError: They differ and that is not accepted.
    """
    if compared.differences:
        text = f"{refusal}: {'; '.join(compared.differences)}"
        if not accept:
            raise UserError(f"{text}; {remedy}")
        warn(f"{text}; accepted by {OPTION}")
    if compared.unknown:
        warn(f"{both}: one of the two does not say its {', '.join(compared.unknown)}; this cannot be checked")
