"""How the recordings were prepared that the published weights were trained on, as far as it is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecgcmr.shards.layout import LEADS


def published_preparation(kind: str, init_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe of published weights, in the form of ``ecgcmr.shards.recipe``.

    ECGs: the published cleaning with its numbers (Turgut et al., arXiv 2308.05764). Images: end-systole, mid-beat and
    end-diastole of a short-axis cine. What is not published (place and size of the crop) is left out, and a stage says
    that it cannot be checked.

    Args:
        kind: ``signal`` or ``image``.
        init_args: Of the encoder.
    """
    from ecgcmr.preparation.cleaning import Cleaning  # heavy: filters

    if kind != "signal":
        frames = {3: ["ES", "mid", "ED"]}.get(int(init_args["frames"]))
        return {"content": "three", "view": "sax", **({} if frames is None else {"frames": frames})}
    cleaning = Cleaning.from_name("published")
    leads = {"leads": list(LEADS)} if init_args["leads"] == len(LEADS) else {}
    return {
        "cleaning": cleaning.to_dict(),
        "unit": cleaning.unit,
        "sampling_rate": float(init_args["sampling_rate"]),
        **leads,
    }
