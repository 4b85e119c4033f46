"""From the recipe of recordings, as `encoder.yaml` and cohorts have it, to the entry `preparation` of `model.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.inference.model_entries import Preparation
from ecgcmr.inference.typed_entries import typed_entries

_LEFT = "leave_out_leads"


def preparation_entry(
    recipe: Mapping[str, Any] | None, where: str, cohort: Mapping[str, Any] | None = None, leave_out: Sequence[str] = ()
) -> Preparation:
    """Return the entry.

    Args:
        recipe: Of an encoder's card; None where the card says nothing.
        where: Start of messages.
        cohort: Recipe of the cohort that it was trained on, which completes one of an earlier version; None without it.
        leave_out: Marks with which leads were left out.

    Raises:
        UserError: Something is not known, without which no recording could be prepared again.
    """
    names = [field.name for field in fields(Preparation) if field.name != _LEFT]
    known = {**(cohort or {}), **(recipe or {})}
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(
            f"{where}: does not say how its recordings were prepared ({', '.join(missing)}): it is of an earlier "
            "version or was imported; add --root with the prepared cohort"
        )
    return typed_entries(Preparation, {name: known[name] for name in names} | {_LEFT: list(leave_out)}, where)
