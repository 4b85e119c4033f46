"""Which of the twelve stored leads an encoder takes."""

from __future__ import annotations

from ecgcmr.encoders import ECGInput
from ecgcmr.errors import UserError
from ecgcmr.leads import LEADS


def lead_places(taken: ECGInput) -> list[int]:
    """Return the places of an encoder's leads among the twelve.

    Raises:
        UserError: They are not known.
    """
    known = taken.lead_rows or tuple(range(len(LEADS)))
    if len(known) != taken.leads:
        raise UserError(
            f"the encoder takes {taken.leads} leads and does not say which: export the run as a model folder"
        )
    return list(known)
