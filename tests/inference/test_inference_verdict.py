"""Every kind of bad recording is answered rightly, refused or warned of; good ones are let through."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bad_recordings import KINDS, REFUSED, RIGHT, UNSEEN, WARNED, BadKind, good_record

from ecgcmr.formats.record import ECGRecord
from ecgcmr.inference.examined import Examined
from ecgcmr.inference.lead_checks import law_deviation
from ecgcmr.inference.polarity import lead_polarity
from ecgcmr.inference.verdict import judge_record
from ecgcmr.leads import LEADS
from ecgcmr.preparation.ecg import StandardECG, StandardOptions, standardise_record
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states


@pytest.fixture(scope="module")
def good():
    """Six recordings (6, 12, 5000) mV in sinus rhythm with the recorder's usual noise."""
    states = sample_states(60, 8)
    rows = np.flatnonzero(~states.disease.atrial_fibrillation)[:6]
    return render_ecgs(states, rows, np.random.default_rng(8)).astype(np.float64) / 1000


def test_good_recordings_are_let_through(good):
    for signal in good:
        verdict = judge_record(good_record(signal))
        assert verdict.refused is None
        assert set(verdict.leads) == set(LEADS)
        assert 40 < verdict.measured["heart_rate"] < 130


def test_there_are_twenty_kinds_at_least():
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 20


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_bad_input_is_right_or_refused(kind: BadKind, good):
    for number in (0, 3):
        record = kind.make(good[number], np.random.default_rng(number))
        verdict = judge_record(record)
        if kind.expected == REFUSED:
            assert verdict.refused is not None
            assert kind.words in verdict.refused
            assert "\n" not in verdict.refused
        elif kind.expected == WARNED:
            assert verdict.refused is None
            assert any(kind.words in text for text in verdict.warnings)
        elif kind.expected == RIGHT:
            assert verdict.refused is None
            np.testing.assert_allclose(standardise_record(record), good[number], atol=1e-6)
        else:
            assert kind.expected == UNSEEN
            assert verdict.refused is None


def test_a_verdict_is_plain_json(good):
    content = judge_record(good_record(good[0])).to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert set(content) == {"leads", "warnings", "refused", "measured"}


def test_short_recordings_pass_where_the_model_takes_them(good):
    short = ECGRecord(good[0][:, :4000], LEADS, 500.0)
    assert "lasts 8.00 s" in judge_record(short).refused
    assert judge_record(short, StandardOptions(short="pad")).refused is None


def test_another_rate_gives_the_same_verdict(good):
    slow = ECGRecord(good[0][:, ::2], LEADS, 250.0)
    verdict = judge_record(slow)
    assert verdict.refused is None
    assert verdict.measured["heart_rate"] == pytest.approx(
        judge_record(good_record(good[0])).measured["heart_rate"], abs=0.5
    )


def test_pacing_spikes_are_reported_and_not_refused(good):
    spiked = good[1].copy()
    for start in range(200, 5000, 450):
        spiked[6:, start : start + 2] += 2.0
    verdict = judge_record(good_record(spiked))
    assert any("pacing spikes" in text for text in verdict.warnings)
    assert not any("pacing spikes" in text for text in judge_record(good_record(good[1])).warnings)


def test_derived_leads_are_named_and_do_not_test_the_law(good):
    eight = ECGRecord(good[2][[0, 1, *range(6, 12)]], (LEADS[0], LEADS[1], *LEADS[6:]), 500.0)
    verdict = judge_record(eight)
    assert [name for name, flags in verdict.leads.items() if "derived" in flags] == ["III", "aVR", "aVL", "aVF"]


def test_einthovens_law_by_hand(good):
    def deviation(signal):
        return law_deviation(Examined.of(StandardECG(signal)))

    lawful = good[0]
    assert deviation(lawful) < 1e-5
    off = lawful.copy()
    off[1] *= 1.1
    assert 0.03 < deviation(off) < 0.2
    gap = lawful.copy()
    gap[1, 2000:2500] = np.nan
    assert deviation(gap) < 0.03


def test_polarity_turns_with_the_signal_and_not_with_its_size(good):
    polarity = lead_polarity(Examined.of(StandardECG(good[4])))
    turned = lead_polarity(Examined.of(StandardECG(-2.0 * good[4])))
    assert polarity[0] > 0
    np.testing.assert_allclose(turned, -polarity, atol=0.05)


def test_a_quiet_stretch_in_all_leads_is_not_an_electrode_off(good):
    few = good[5].copy()
    few[:, :300] = np.nan
    verdict = judge_record(good_record(few))
    assert verdict.refused is None
    assert any("of the samples are missing" in text for text in verdict.warnings)
