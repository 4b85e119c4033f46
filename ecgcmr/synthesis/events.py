"""What happened to the synthetic cohort: first diagnoses of coronary disease, atrial fibrillation and diabetes, deaths.

Each disease is either present before imaging or may begin during follow-up with a hazard; both depend on the cardiac
state. Codes and dates come out as UK Biobank lists them (fields 41270 and 41280: each ICD-10 code once, with the date
of its first record), among codes of unrelated diseases. Levels are set for a population cohort enriched for disease;
effect sizes are assumptions. Follow-up ends with death, with loss (emigration, say) or on the day of censoring, and
nothing is recorded after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from ecgcmr.preparation.diagnoses import DAYS_PER_YEAR
from ecgcmr.synthesis.state import CardiacState

DISEASES = ("cad", "af", "dm")
FIRST_IMAGING, LAST_IMAGING = date(2014, 5, 1), date(2020, 3, 10)
CENSORING = date(2023, 10, 31)
"""End of follow-up: later diagnoses are not known."""

CODES: dict[str, dict[str, float]] = {
    "cad": {"I251": 0.34, "I209": 0.20, "I259": 0.10, "I252": 0.08, "I258": 0.05, "I248": 0.03, "I200": 0.08,
            "I208": 0.07, "I249": 0.02, "I250": 0.03},
    "infarct": {"I219": 0.34, "I214": 0.26, "I211": 0.16, "I210": 0.14, "I252": 0.10},
    "af": {"I489": 0.50, "I48": 0.22, "I480": 0.16, "I481": 0.05, "I482": 0.04, "I483": 0.02, "I484": 0.01},
    "dm": {"E119": 0.72, "E109": 0.07, "E149": 0.05, "E113": 0.06, "E112": 0.04, "E118": 0.03, "E139": 0.03},
}  # fmt: skip
"""Codes of a first diagnosis with their shares."""

UNRELATED: dict[str, float] = {
    "I10": 0.24, "E780": 0.13, "K573": 0.09, "H269": 0.08, "M199": 0.07, "J459": 0.07, "K219": 0.08, "R074": 0.06,
    "N390": 0.04, "C443": 0.04, "Z961": 0.03, "I839": 0.04, "K409": 0.04, "M549": 0.05, "N40": 0.05, "I350": 0.012,
    "I447": 0.01, "I269": 0.012, "I260": 0.003, "E039": 0.03,
}  # fmt: skip
"""Codes of no labelled disease with the share of subjects who have them."""

DEATH_RATE, DOUBLING_YEARS = 0.004, 8.0
"""Yearly hazard of death at 65 years of somebody without disease, and the years of age that double it."""
LOSS_RATE = 0.0015
"""Yearly hazard of being lost to follow-up."""

_EVENT_STREAM, _END_STREAM = 101, 102


@dataclass(frozen=True)
class Events:
    """Diagnoses of N subjects.

    Attributes:
        imaging_date: Day of imaging of each subject.
        censoring_date: End of follow-up, the same for all.
        diagnoses: Per subject (ICD-10 code without dot, day of its first record), sorted by code; a code occurs once.
        first_day: (N, 3) day of the first record of CAD, AF and DM relative to imaging; inf if there is none by the
            end of follow-up.
        death: Day of death of each subject who died before the day of censoring, else None.
        lost: Day on which each subject was lost to follow-up, None for most.
    """

    imaging_date: list[date]
    censoring_date: date
    diagnoses: list[list[tuple[str, date]]]
    first_day: np.ndarray
    death: list[date | None]
    lost: list[date | None]

    def follow_up(self) -> np.ndarray:
        """Return (N,) days from imaging to death, loss or censoring, whichever is first."""
        ends = [
            min(day for day in (died, lost, self.censoring_date) if day is not None)
            for died, lost in zip(self.death, self.lost, strict=True)
        ]
        return np.array([(end - imaging).days for end, imaging in zip(ends, self.imaging_date, strict=True)])

    def labels(self) -> dict[str, np.ndarray]:
        """Return ``{disease}_prevalent``, ``_incident``, ``_ever`` of 0 and 1 and ``_years``, each (N,).

        Prevalent means first recorded up to the day of imaging, incident later; prevalent subjects are not at risk and
        have NaN as incident. Years run from imaging to the first record or to the end of follow-up; NaN if prevalent.
        """
        labels = {}
        follow_up = self.follow_up()
        for column, disease in enumerate(DISEASES):
            day = self.first_day[:, column]
            prevalent = day <= 0
            labels[f"{disease}_prevalent"] = prevalent.astype(np.float64)
            labels[f"{disease}_incident"] = np.where(prevalent, np.nan, np.isfinite(day).astype(np.float64))
            labels[f"{disease}_ever"] = np.isfinite(day).astype(np.float64)
            labels[f"{disease}_years"] = np.where(prevalent, np.nan, np.minimum(day, follow_up) / DAYS_PER_YEAR)
        return labels


def sample_events(state: CardiacState, seed: int) -> Events:
    """Draw imaging dates, diagnoses and dates for every subject.

    Args:
        state: The cohort.
        seed: Seed of the cohort; the stream differs from those of the state.

    Returns:
        The diagnoses; the same state and seed give the same.
    """
    generator = np.random.default_rng([seed, _EVENT_STREAM])
    n = len(state)
    span = (LAST_IMAGING - FIRST_IMAGING).days
    imaging = [FIRST_IMAGING + timedelta(days=int(k)) for k in generator.integers(0, span + 1, n)]
    follow_up = np.array([(CENSORING - day).days for day in imaging])
    first_day = sample_onsets(state, follow_up, generator)
    diagnoses = []
    for k in range(n):
        found = _unrelated(state, k, int(follow_up[k]), generator)
        for column, disease in enumerate(DISEASES):
            day = first_day[k, column]
            if np.isfinite(day):
                infarct = disease == "cad" and state.disease.scar_extent[k] > 0
                found |= _codes("infarct" if infarct else disease, disease, int(day), int(follow_up[k]), generator)
        diagnoses.append([(code, imaging[k] + timedelta(days=day)) for code, day in sorted(found.items())])
    death, lost = _sample_ends(state, first_day, follow_up, np.random.default_rng([seed, _END_STREAM]))
    return _until_the_end(
        Events(
            imaging,
            CENSORING,
            diagnoses,
            first_day,
            death=[_day(start, day) for start, day in zip(imaging, death, strict=True)],
            lost=[_day(start, day) for start, day in zip(imaging, lost, strict=True)],
        )
    )


def _sample_ends(
    state: CardiacState, first_day: np.ndarray, follow_up: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return days (N,) of death and of loss relative to imaging, inf where neither came before censoring.

    Death becomes likelier with age and with every disease (by half); nobody is lost who has died.
    """
    diseases = np.isfinite(first_day).sum(axis=1)
    rate = DEATH_RATE * 2.0 ** ((state.body.age - 65) / DOUBLING_YEARS) * 1.5**diseases
    death = np.ceil(DAYS_PER_YEAR * generator.exponential(1.0, len(state)) / rate)
    lost = np.ceil(DAYS_PER_YEAR * generator.exponential(1.0, len(state)) / LOSS_RATE)
    lost[lost >= np.minimum(follow_up, death)] = np.inf
    death[death >= follow_up] = np.inf
    return death, lost


def _day(imaging: date, day: float) -> date | None:
    return imaging + timedelta(days=int(day)) if np.isfinite(day) else None


def _until_the_end(events: Events) -> Events:
    """Leave out what would have been recorded after a subject's follow-up."""
    follow_up = events.follow_up()
    diagnoses = [
        [(code, day) for code, day in pairs if (day - imaging).days <= last]
        for pairs, imaging, last in zip(events.diagnoses, events.imaging_date, follow_up, strict=True)
    ]
    first_day = np.where(events.first_day > follow_up[:, None], np.inf, events.first_day)
    return replace(events, diagnoses=diagnoses, first_day=first_day)


def sample_onsets(state: CardiacState, follow_up: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return (N, 3) days of first record of CAD, AF and DM relative to imaging, inf where there is none.

    Args:
        state: The cohort.
        follow_up: (N,) days from imaging to the end of follow-up.
        generator: Source of randomness.
    """
    n = len(state)
    prevalence, yearly = disease_risks(state)
    present = generator.random((n, 3)) < prevalence
    before = -np.ceil(np.minimum(365.25 * generator.exponential(6.0, (n, 3)), 365.25 * 18))
    after = np.ceil(365.25 * generator.exponential(1.0, (n, 3)) / yearly)
    after[after > np.asarray(follow_up)[:, None]] = np.inf
    return np.where(present, before, after)


def disease_risks(state: CardiacState) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability (N, 3) of CAD, AF and DM before imaging and the yearly hazard (N, 3) after it."""
    body, disease = state.body, state.disease
    older = (state.body.age - 64.5) / 7.7
    pressure = (body.systolic_pressure - 138) / 18
    fat = (body.bmi - 26.8) / 4.2
    atrium = np.log(state.chambers.la_max / 73) / 0.28
    weak = (57.5 - state.chambers.lv_ef) / 7.5

    coronary = 0.45 * older + 0.55 * state.body.sex + 0.25 * pressure + 0.6 * disease.diabetes + 0.25 * weak
    infarct = disease.scar_extent > 0
    cad = np.where(infarct, 0.93, 1 / (1 + np.exp(4.05 - coronary)))
    cad_hazard = 0.0065 * np.exp(coronary - 0.3)

    fibrillation = 0.55 * older + 0.25 * state.body.sex + 0.7 * atrium + 0.2 * weak + 0.15 * pressure
    af = np.where(disease.atrial_fibrillation, 0.94, np.where(disease.af_history, 0.85, 0.004))
    af_hazard = 0.0060 * np.exp(fibrillation - 0.25)

    sweet = 0.25 * older + 0.7 * fat + 0.25 * state.body.sex
    dm = np.where(disease.diabetes > 0, 0.90, 0.004)
    dm_hazard = 0.0040 * np.exp(sweet)
    prevalence = np.stack([cad, af, dm], 1)
    return prevalence, np.minimum(np.stack([cad_hazard, af_hazard, dm_hazard], 1), 0.25)


def _codes(first: str, disease: str, day: int, follow_up: int, generator: np.random.Generator) -> dict[str, int]:
    """Return code -> day: the first record and up to two further codes of the same disease after it."""
    found: dict[str, int] = {}
    for repeat in range(1 + int(generator.integers(0, 3))):
        shares = CODES[first if repeat == 0 else disease]
        code = list(shares)[generator.choice(len(shares), p=list(shares.values()))]
        later = day if repeat == 0 else day + int(generator.exponential(500.0))
        if later <= follow_up:
            found.setdefault(code, later)
    return found


def _unrelated(state: CardiacState, row: int, follow_up: int, generator: np.random.Generator) -> dict[str, int]:
    """Return code -> day of diagnoses that carry no label; hypertension is commoner where pressure is high."""
    shares = dict(UNRELATED)
    shares["I10"] = 1 / (1 + np.exp(-(float(state.body.systolic_pressure[row]) - 158) / 12))
    shares["N40"] *= 2 * float(state.body.sex[row])  # the prostate
    draws = generator.random(len(shares))
    return {
        code: int(generator.integers(-16 * 365, follow_up + 1))
        for (code, share), draw in zip(shares.items(), draws, strict=True)
        if draw < share
    }
