"""Diagnoses: prevalence, codes, dates, labels, and their dependence on the state."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from ecgcmr.synthesis.events import CENSORING, CODES, DISEASES, FIRST_IMAGING, LAST_IMAGING, Events, sample_events
from ecgcmr.synthesis.state import CardiacState, sample_states

PREFIXES = {"cad": ("I20", "I21", "I22", "I24", "I25"), "af": ("I48",), "dm": ("E10", "E11", "E12", "E13", "E14")}


@pytest.fixture(scope="module")
def state() -> CardiacState:
    return sample_states(4000, 9)


@pytest.fixture(scope="module")
def events(state: CardiacState) -> Events:
    return sample_events(state, 9)


def test_same_seed_same_diagnoses(state: CardiacState, events: Events) -> None:
    again, other = sample_events(state, 9), sample_events(state, 10)
    assert again.diagnoses == events.diagnoses
    assert again.imaging_date == events.imaging_date
    assert other.diagnoses != events.diagnoses


def test_shares_of_codes_add_up() -> None:
    for codes in CODES.values():
        assert sum(codes.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("label", "low", "high"),
    [
        ("cad_prevalent", 0.07, 0.14),
        ("af_prevalent", 0.04, 0.09),
        ("dm_prevalent", 0.05, 0.10),
        ("cad_incident", 0.02, 0.09),
        ("af_incident", 0.02, 0.09),
        ("dm_incident", 0.015, 0.07),
    ],
)
def test_prevalence_is_that_of_an_enriched_population(events: Events, label: str, low: float, high: float) -> None:
    assert low < np.nanmean(events.labels()[label]) < high


def test_labels_follow_from_codes_and_dates(events: Events) -> None:
    labels = events.labels()
    for column, disease in enumerate(DISEASES):
        for k, pairs in enumerate(events.diagnoses):
            days = [day for code, day in pairs if code.startswith(PREFIXES[disease])]
            assert labels[f"{disease}_ever"][k] == bool(days)
            if days:
                assert min(days) == events.imaging_date[k] + timedelta(days=int(events.first_day[k, column]))
                assert labels[f"{disease}_prevalent"][k] == (min(days) <= events.imaging_date[k])
            incident = labels[f"{disease}_incident"][k]
            assert np.isnan(incident) == (labels[f"{disease}_prevalent"][k] == 1)


def test_codes_are_unique_sorted_and_inside_follow_up(events: Events) -> None:
    for day, pairs in zip(events.imaging_date, events.diagnoses, strict=True):
        assert FIRST_IMAGING <= day <= LAST_IMAGING
        codes = [code for code, _ in pairs]
        assert codes == sorted(set(codes))
        assert all(when <= CENSORING for _, when in pairs)
    unrelated = sum(not code.startswith(sum(PREFIXES.values(), ())) for pairs in events.diagnoses for code, _ in pairs)
    assert unrelated > len(events.diagnoses) / 2


def test_the_heart_drives_its_diseases(state: CardiacState, events: Events) -> None:
    labels = events.labels()
    infarcted = state.disease.scar_extent > 0
    assert labels["cad_prevalent"][infarcted].mean() > 0.85
    assert labels["cad_prevalent"][~infarcted].mean() < 0.06
    at_risk = ~state.disease.af_history
    incident = labels["af_incident"][at_risk]
    atrium = state.chambers.la_max[at_risk]
    large = atrium > np.median(atrium)
    assert np.nanmean(incident[large]) > 1.5 * np.nanmean(incident[~large])


def test_nothing_is_recorded_after_death_or_loss(state: CardiacState, events: Events) -> None:
    died = [day is not None for day in events.death]
    assert 0.01 < np.mean(died) < 0.08
    assert 0.003 < np.mean([day is not None for day in events.lost]) < 0.03
    for death, lost, imaging, pairs in zip(
        events.death, events.lost, events.imaging_date, events.diagnoses, strict=True
    ):
        ends = [day for day in (death, lost) if day is not None]
        assert all(imaging < day < CENSORING for day in ends)
        assert all(day <= min([*ends, CENSORING]) for _, day in pairs)
    assert not any(death and lost and lost >= death for death, lost in zip(events.death, events.lost, strict=True))
    assert state.body.age[died].mean() > state.body.age.mean() + 2


def test_years_run_to_the_event_or_the_end(events: Events) -> None:
    labels, follow_up = events.labels(), events.follow_up() / 365.25
    for disease in DISEASES:
        years, incident = labels[f"{disease}_years"], labels[f"{disease}_incident"]
        np.testing.assert_array_equal(np.isnan(years), np.isnan(incident))
        np.testing.assert_array_equal(years[incident == 0], follow_up[incident == 0])
        assert (years[incident == 1] <= follow_up[incident == 1]).all()
        assert (years[incident == 1] > 0).all()
