"""Rendered ECGs: form, timing, lead relations, and the marks of each disease."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from true_beats import r_peak_times, sample_rhythms

from ecgcmr.leads import LEADS
from ecgcmr.synthesis.dipole import heartbeats, segment_directions
from ecgcmr.synthesis.ecg import SAMPLES, SAMPLING_RATE, beat_template, render_ecgs
from ecgcmr.synthesis.leads import (
    DOWER,
    TWELVE_FROM_EIGHT,
    TWELVE_FROM_ELECTRODES,
    lead_field,
    rotation_matrices,
)
from ecgcmr.synthesis.links import LINKS, electrical_parameters, standardised_drivers
from ecgcmr.synthesis.rhythm import sample_rhythm
from ecgcmr.synthesis.state import CardiacState, sample_states

GRID = np.arange(-400, 660) / 1000
QRS = (GRID > -0.06) & (GRID < 0.10)
T_WAVE = (GRID > 0.15) & (GRID < 0.50)


@pytest.fixture(scope="module")
def state() -> CardiacState:
    return sample_states(3000, 13)


@pytest.fixture(scope="module")
def healthy(state: CardiacState) -> CardiacState:
    d = state.disease
    ill = (d.hypertensive > 0.2) | (d.dilated > 0) | (d.rv_overload > 0) | (d.septal > 0) | (d.scar_extent > 0)
    ill |= d.atrial_fibrillation | d.left_bundle_block | d.right_bundle_block
    return state.take(np.flatnonzero(~ill)[:400])


def beats_of(state: CardiacState) -> np.ndarray:
    """Noise-free beats (N, 12, len(GRID)), mV."""
    beats = heartbeats(state)
    return TWELVE_FROM_EIGHT @ beats.field @ beat_template(beats, GRID)


def lead(beats: np.ndarray, name: str, span: np.ndarray) -> np.ndarray:
    return beats[:, LEADS.index(name)][:, span]


def test_shape_unit_and_lead_relations(state: CardiacState) -> None:
    ecg = render_ecgs(state, [4, 9], np.random.default_rng(0))
    assert ecg.shape == (2, 12, SAMPLES)
    assert ecg.dtype == np.float32
    one, two, three, right, left, foot = ecg[0, :6]
    for value, expected in (
        (three, two - one),
        (right, -(one + two) / 2),
        (left, (one - three) / 2),
        (foot, (two + three) / 2),
    ):
        np.testing.assert_allclose(value, expected, atol=0.05)
    assert 300 < np.abs(ecg).max() < 15_000  # microvolts


def test_lead_matrices_are_einthovens_and_wilsons() -> None:
    potentials = np.random.default_rng(0).standard_normal(9)
    leads = TWELVE_FROM_ELECTRODES @ potentials
    right, left, foot = potentials[:3]
    assert leads[0] == pytest.approx(left - right)
    assert leads[6] == pytest.approx(potentials[3] - potentials[:3].mean())
    np.testing.assert_allclose(TWELVE_FROM_EIGHT @ leads[[0, 1, *range(6, 12)]], leads)
    n = 3
    plain = lead_field(np.ones(n), np.zeros((n, 3)), np.zeros((n, 6, 2)), np.ones((n, 6)))
    np.testing.assert_allclose(plain, np.repeat(DOWER[None], n, 0), atol=1e-12)


def test_rotations_turn_the_way_they_say() -> None:
    turned = rotation_matrices(np.array([[0.0, 0.0, 30.0], [0.0, 30.0, 0.0]])) @ np.array([1.0, 0.0, 0.0])
    assert turned[0, 1] == pytest.approx(0.5)  # to the feet: rightward axis
    assert turned[1, 2] == pytest.approx(0.5)  # to the back: late transition


def test_rendering_depends_on_row_and_seed_only(state: CardiacState) -> None:
    stream = np.random.default_rng(7)
    together = render_ecgs(state, np.arange(70), stream)
    alone = render_ecgs(state, [66, 3], stream)
    np.testing.assert_array_equal(alone, together[[66, 3]])
    np.testing.assert_array_equal(render_ecgs(state, [3], np.random.default_rng(7))[0], together[3])
    assert np.abs(render_ecgs(state, [3], np.random.default_rng(8))[0] - together[3]).max() > 10


def test_healthy_beats_look_like_a_textbook(healthy: CardiacState) -> None:
    beats = beats_of(healthy)
    median = {name: np.median(lead(beats, name, QRS).max(1)) for name in LEADS}
    depth = {name: np.median(lead(beats, name, QRS).min(1)) for name in LEADS}
    assert 0.8 < median["V5"] < 1.9
    assert median["V1"] < 0.6 < -depth["V1"]
    assert median["V1"] < median["V2"] < median["V3"]  # R progression
    assert -depth["V2"] > -depth["V4"] > -depth["V6"]
    assert depth["aVR"] < -0.4
    for name in ("I", "II", "V3", "V4", "V5", "V6"):
        assert np.median(lead(beats, name, T_WAVE).mean(1)) > 0
    assert np.median(lead(beats, "aVR", T_WAVE).mean(1)) < 0
    p_wave = lead(beats, "II", (GRID > -0.25) & (GRID < -0.06)).max(1)
    assert 0.05 < np.median(p_wave) < 0.25


def test_peaks_are_where_they_are_said_to_be(healthy: CardiacState) -> None:
    stream = np.random.default_rng(3)
    rows = np.arange(30)
    clean = render_ecgs(healthy, rows, stream, noise=0)
    for ecg, times in zip(clean, r_peak_times(healthy, rows, stream), strict=True):
        for time in times[(times > 0.1) & (times < 9.9)]:
            around = slice(round((time - 0.06) * SAMPLING_RATE), round((time + 0.06) * SAMPLING_RATE))
            size = np.abs(np.diff(ecg[[0, 1, 6, 7, 10]], axis=1)).sum(0)
            assert size[around].max() > 0.6 * size.max()


def test_rate_and_irregularity_of_rhythms(state: CardiacState) -> None:
    rows = np.flatnonzero(state.disease.atrial_fibrillation)[:25]
    sinus = np.flatnonzero(~state.disease.atrial_fibrillation)[:25]
    variation = {}
    for name, chosen in (("fibrillation", rows), ("sinus", sinus)):
        times = [rhythm.r_times for rhythm in sample_rhythms(state, chosen, np.random.default_rng(1))]
        variation[name] = np.array([np.diff(t).std() / np.diff(t).mean() for t in times])
        rate = np.array([60 / np.diff(t).mean() for t in times])
        assert np.abs(rate / state.body.heart_rate[chosen] - 1).mean() < 0.1
    assert np.median(variation["fibrillation"]) > 0.15 > 0.08 > np.median(variation["sinus"])


@pytest.mark.parametrize("rate", [42.0, 70.0, 125.0])
@pytest.mark.parametrize("fibrillation", [False, True])
def test_beats_cover_the_recording(rate: float, fibrillation: bool) -> None:
    starts = []
    for seed in range(40):
        rhythm = sample_rhythm(rate, fibrillation, 0.05, 10.0, np.random.default_rng(seed))
        assert rhythm.r_times[0] < 0
        assert rhythm.r_times[-1] > 10 - 0.3 or 10.6 - rhythm.r_times[-1] < 2.2 * 60 / rate
        assert (np.diff(rhythm.r_times) >= 0.3 - 1e-9).all()
        inside = rhythm.r_times[rhythm.r_times >= 0][0]
        starts.append(inside * rate / 60)
    assert np.std(starts) > 0.15  # the first beat may come anywhere in the cycle


def test_fibrillation_has_no_p_wave_but_fibrillatory_waves(state: CardiacState) -> None:
    rows = np.flatnonzero(state.disease.atrial_fibrillation)[:20]
    assert np.all(heartbeats(state.take(rows)).amplitude[:, 24:] == 0)
    stream = np.random.default_rng(2)
    clean = render_ecgs(state, rows, stream, noise=0)
    # Between T and the next QRS there is activity at 4 to 9 Hz, which sinus rhythm lacks.
    sinus = render_ecgs(state, np.flatnonzero(~state.disease.atrial_fibrillation)[:20], stream, noise=0)

    def quiet_part(ecgs: np.ndarray) -> float:
        return float(np.median(np.quantile(np.abs(ecgs[:, 6] - np.median(ecgs[:, 6], 1, keepdims=True)), 0.3, axis=1)))

    assert quiet_part(clean) > 5 * quiet_part(sinus)


def changed(state: CardiacState, part: str, **values: np.ndarray) -> CardiacState:
    return dataclasses.replace(state, **{part: dataclasses.replace(getattr(state, part), **values)})


def test_mass_raises_voltage_and_turns_t(healthy: CardiacState) -> None:
    plain = beats_of(healthy)
    heavy = beats_of(changed(healthy, "chambers", lv_mass=1.6 * healthy.chambers.lv_mass))
    gain = lead(heavy, "V5", QRS).max(1) / lead(plain, "V5", QRS).max(1)
    assert np.median(gain) > 1.2
    assert lead(heavy, "V6", T_WAVE).mean() < lead(plain, "V6", T_WAVE).mean() - 0.02


def test_large_weak_ventricle_widens_qrs(healthy: CardiacState) -> None:
    weak = changed(healthy, "chambers", lv_edv=1.5 * healthy.chambers.lv_edv, lv_esv=2.4 * healthy.chambers.lv_esv)

    def duration(state: CardiacState) -> np.ndarray:
        speed = np.abs(np.gradient(beats_of(state), axis=2)).sum(1)
        active = (speed > 0.12 * speed[:, QRS].max(1, keepdims=True)) & QRS
        return active.sum(1)

    assert np.median(duration(weak)) > 1.06 * np.median(duration(healthy))
    assert (
        np.abs(lead(beats_of(weak), "V5", T_WAVE)).max(1).mean()
        < np.abs(lead(beats_of(healthy), "V5", T_WAVE)).max(1).mean()
    )


def test_anterior_scar_takes_r_from_the_leads_that_face_it(healthy: CardiacState) -> None:
    scar = np.zeros((len(healthy), 16))
    scar[:, [0, 1, 6, 7, 12, 13]] = 0.9
    anterior = changed(healthy, "disease", scar=scar)
    plain, infarcted = beats_of(healthy), beats_of(anterior)
    loss = {
        name: 1 - np.median(np.maximum(lead(infarcted, name, QRS), 0).max(1)) / np.median(lead(plain, name, QRS).max(1))
        for name in ("V2", "V3", "III", "aVF")
    }
    assert loss["V2"] > 0.4
    assert loss["V3"] > 0.4
    assert max(loss["III"], loss["aVF"]) < 0.3
    assert (segment_directions()[[6, 7], 2] < 0).all()  # anterior walls face the front


def test_right_ventricular_load_turns_the_axis_right(healthy: CardiacState) -> None:
    loaded = changed(
        healthy, "chambers", rv_edv=1.6 * healthy.chambers.rv_edv, rv_esv=2.1 * healthy.chambers.rv_esv,
        rv_pressure=healthy.chambers.rv_pressure + 30,
    )  # fmt: skip
    plain, ill = beats_of(healthy), beats_of(loaded)

    def axis(beats: np.ndarray) -> float:
        net = {name: lead(beats, name, QRS).sum(1) for name in ("I", "aVF")}
        return float(np.median(np.degrees(np.arctan2(net["aVF"], net["I"]))))

    assert axis(ill) > axis(plain) + 15
    ratio = [np.median(lead(b, "V1", QRS).max(1) / -lead(b, "V1", QRS).min(1)) for b in (plain, ill)]
    assert ratio[1] > 1.2 * ratio[0]


def test_bundle_blocks_widen_the_complex(healthy: CardiacState) -> None:
    always = np.ones(len(healthy), dtype=bool)
    late = (GRID > 0.05) & (GRID < 0.09)
    terminal = (GRID > 0.03) & (GRID < 0.10)
    plain = beats_of(healthy)
    left = beats_of(changed(healthy, "disease", left_bundle_block=always))
    right = beats_of(changed(healthy, "disease", right_bundle_block=always))
    assert np.median(lead(left, "V6", late).mean(1)) > np.median(lead(plain, "V6", late).mean(1)) + 0.05
    assert np.median(lead(left, "V1", QRS).min(1)) < -0.6
    assert np.median(lead(right, "V1", terminal).max(1)) > np.median(lead(plain, "V1", terminal).max(1)) + 0.1


def test_every_link_names_known_drivers_and_moves_its_parameter(state: CardiacState) -> None:
    drivers, values = standardised_drivers(state), electrical_parameters(state)
    assert len({link.name for link in LINKS}) == len(LINKS) == len(values)
    for name, driver in drivers.items():
        if name != "diabetes":
            assert abs(driver.mean()) < 0.35, name
            assert 0.7 < driver.std() < 1.4, name
    for link in LINKS:
        value = np.log(values[link.name]) if link.factor else values[link.name]
        total = sum(coefficient * drivers[name] for name, coefficient in link.drivers.items())
        assert np.corrcoef(value, total)[0, 1] > 0.15, link.name
        # No parameter is given away: its own variation stays a good part of it.
        explained = np.corrcoef(value, total)[0, 1] ** 2
        assert explained < 0.85, link.name


def test_noise_is_there_and_stays_moderate(state: CardiacState) -> None:
    stream = np.random.default_rng(5)
    rows = np.arange(40)
    noise = render_ecgs(state, rows, stream) - render_ecgs(state, rows, stream, noise=0)
    fast = np.diff(noise, axis=2).std(2)
    assert 2 < np.median(fast) < 40
    assert 20 < np.median(noise.std(2)) < 250
    spectrum = np.abs(np.fft.rfft(noise, axis=2)).mean((0, 1))
    frequency = np.fft.rfftfreq(SAMPLES, 1 / SAMPLING_RATE)
    mains = spectrum[np.abs(frequency - 50) < 0.15].max()
    assert mains > 3 * np.median(spectrum[(frequency > 45) & (frequency < 55)])


class FixedSeed(np.random.bit_generator.ISeedSequence):
    def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
        return np.arange(1, n_words + 1).astype(dtype)


def test_a_generator_without_a_seed_sequence_is_refused(state: CardiacState) -> None:
    with pytest.raises(ValueError, match="default_rng"):
        render_ecgs(state, [0], np.random.Generator(np.random.PCG64(FixedSeed())))
