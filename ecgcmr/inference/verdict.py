"""What is wrong with one recording, said before any model sees it.

Refused is what must not become a confident number: no heartbeats, too little recorded, leads that are not what their
names say, a time scale or an amplitude that no human heart has. Everything else is a warning, and the model's distance
to its training data (``distance``) has the last word. Rules that a cohort's preparation has already are used as they
are: length, derivable leads and units (``preparation.ecg``), flags and quality of the leads, beats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ECGRecord
from ecgcmr.inference.examined import Examined
from ecgcmr.inference.lead_checks import (
    LAW_REFUSED,
    LAW_WARNED,
    clipped_leads,
    equal_leads,
    law_deviation,
    lost_leads,
    remarks_by_lead,
)
from ecgcmr.inference.polarity import chest_order, silent_limb_lead, swapped_electrodes
from ecgcmr.inference.rhythm_checks import has_pacing_spikes, no_heart, unusual_size, wrong_size, wrong_speed
from ecgcmr.preparation.ecg import LEAST_SHARE, StandardECG, StandardOptions, standard_windows

_RECORDED = 0.75  # of the samples, where short recordings are refused
_FEWEST_SAMPLES = 0.5  # s; what is shorter is not looked at


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a recording.

    Attributes:
        leads: Lead -> what is wrong with it: ``missing``, ``derived``, ``flat``, ``clipped``, ``noisy``. Empty if the
            recording could not be brought to the standard leads.
        warnings: Doubts that do not keep a model from its answer.
        refused: Why no model may answer; None if it may.
        measured: Heart rate, intervals and signal quality by the names and in the units of
            ``preparation.beats.MEASUREMENTS``; NaN unknown, empty without beats.
    """

    leads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    refused: str | None = None
    measured: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts for JSON; a measurement that is unknown is None."""
        measured = {name: float(value) if np.isfinite(value) else None for name, value in self.measured.items()}
        leads = {name: list(remarks) for name, remarks in self.leads.items()}
        return {"leads": leads, "warnings": list(self.warnings), "refused": self.refused, "measured": measured}


def judge_record(record: ECGRecord, options: StandardOptions | None = None) -> Verdict:
    """Judge a recording as read.

    Args:
        record: In mV, leads in any order, at any rate.
        options: Length, rate and choice of the window as the model's preparation has them; 10 s at 500 Hz if None. Of
            several windows the first is judged.

    Returns:
        The verdict; what the preparation refuses is refused with its reason.
    """
    options = options or StandardOptions()
    try:
        window = standard_windows(record, options)[0]
    except UserError as error:
        return Verdict(refused=str(error))
    return judge_window(window, LEAST_SHARE if options.short == "pad" else _RECORDED)


def judge_window(window: StandardECG, least_recorded: float = _RECORDED) -> Verdict:
    """Judge a window in the standard leads, before cleaning.

    Args:
        window: As ``standard_windows`` returns it.
        least_recorded: Share of its samples that must have been recorded, 0 to 1.

    Returns:
        The verdict; the first reason that applies is the one given.
    """
    view = Examined.of(window)
    if view.recorded < least_recorded or view.signal.shape[1] < _FEWEST_SAMPLES * view.sampling_rate:
        return Verdict(refused=f"only {100 * view.recorded:.0f} % of the recording hold samples")
    leads = remarks_by_lead(view)
    refused = _refusal(view)
    return Verdict(leads, _warnings(view, window), refused, view.measured)


def _refusal(view: Examined) -> str | None:
    """Return the first reason that applies, from what holds no ECG to what needs its waves."""
    for check in _CHECKS:
        reason = check(view)
        if reason is not None:
            return reason
    return None


def _broken_law(view: Examined) -> str | None:
    deviation = law_deviation(view)
    if deviation <= LAW_REFUSED:
        return None
    return f"limb leads do not fit each other (I + III is not II, by {100 * deviation:.0f} %): leads are misnamed"


_CHECKS: tuple[Callable[[Examined], str | None], ...] = (
    lost_leads,
    wrong_size,
    clipped_leads,
    silent_limb_lead,
    equal_leads,
    _broken_law,
    no_heart,
    wrong_speed,
    swapped_electrodes,
)


def _warnings(view: Examined, window: StandardECG) -> tuple[str, ...]:
    found = list(window.notes)
    for flag, text in (("missing", "missing"), ("flat", "flat"), ("clipped", "cut off at a limit"), ("noisy", "noisy")):
        names = [name for name, remarks in remarks_by_lead(view).items() if flag in remarks]
        if names:
            found.append(f"{'lead' if len(names) == 1 else 'leads'} {', '.join(names)}: {text}")
    if view.recorded < 1.0:
        found.append(f"{100 * (1.0 - view.recorded):.2g} % of the samples are missing")
    size, order = unusual_size(view), chest_order(view)
    found += [text for text in (size, order) if text is not None]
    deviation = law_deviation(view)
    if LAW_WARNED < deviation <= LAW_REFUSED:
        found.append(f"limb leads do not quite fit each other (I + III is not II, by {100 * deviation:.0f} %)")
    if has_pacing_spikes(view):
        found.append("pacing spikes: intervals may be those of the pacemaker")
    return tuple(found)
