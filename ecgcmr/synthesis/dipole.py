"""One heartbeat as a moving dipole: a sum of Gaussians in time, each with a direction in the chest.

The form is that of McSharry et al. (IEEE Trans Biomed Eng 2003) in the three-dimensional version of Sameni et al.
(EURASIP J Adv Signal Process 2007). What is ours: the QRS Gaussians are the 16 AHA segments and three parts of the RV,
in the order in which they are activated (Durrer et al., Circulation 1970), so that a scar, a thick septum or a block
shows where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecgcmr.synthesis.leads import lead_field, rotation_matrices
from ecgcmr.synthesis.links import electrical_parameters
from ecgcmr.synthesis.state import CardiacState

LV_ACTIVATION_MS = np.array([36, 16, 20, 44, 54, 46, 20, 6, 8, 30, 36, 32, 20, 14, 25, 27], dtype=np.float64)
"""Time of activation of the AHA segments after the start of the QRS complex, ms."""
RV_ACTIVATION_MS = np.array([22.0, 34.0, 52.0])
"""The same for the RV's apical and anterior wall, its lateral wall, and its base with the outflow tract."""
QRS_CENTRE_MS = 32.0
"""This moment after the start of the QRS complex is time 0 of a beat (near the R peak of V5)."""

LV_AMPLITUDE = np.repeat((0.50, 0.62, 0.62), (6, 6, 4))
"""Dipole of one LV segment of usual mass, mV."""
RV_AMPLITUDE = np.array([0.14, 0.17, 0.24])
RV_DIRECTION = np.array([[0.05, 0.45, -0.89], [-0.85, 0.25, -0.45], [-0.60, -0.60, 0.30]])

SEPTAL_SEGMENTS = (1, 2, 7, 8, 13)
SEPTAL_SHARE = 0.14
"""The RV side of the septum cancels most of what its LV side gives."""
APICAL_SEGMENTS = (12, 13, 14, 15)
LATE_SEGMENTS = (0, 3, 4, 5)

ACTIVATION_SPREAD_MS = 3.0
"""SD between subjects of the time at which a segment is reached, beyond what anatomy explains (assumption)."""
STRENGTH_SPREAD = 0.20
"""SD between subjects of the log strength of a segment's dipole, beyond what anatomy explains (assumption)."""
T_SPREAD = 0.035
"""SD between subjects of each component of the two halves of the T wave, mV (assumption)."""

LONG_AXIS = np.array([0.68, 0.68, -0.40]) / np.linalg.norm([0.68, 0.68, -0.40])
T_VECTOR = np.array([0.36, 0.24, -0.07])
"""Ventricular gradient, as the T wave it would give, mV."""
USUAL_AREA = np.array([0.22, 0.04, 0.14])
"""Area of a usual QRS complex over that of a T wave of unit height, mV."""
RIGHT_ATRIUM = np.array([0.030, 0.085, -0.050])
LEFT_ATRIUM = np.array([0.065, 0.060, 0.045])
FIBRILLATION_VECTOR = np.array([-0.30, 0.50, -0.80])
CHEST_PROXIMITY = np.array([-0.5, -0.2, 0.3, 0.8, 1.2, 1.2])
"""How V1-V6 gain when the LV grows towards the left chest wall, in units of the link ``proximity``."""
WAVES = 26
"""Gaussians of a beat: 16 LV segments, 3 of the RV, notch, ST, 2 T, 2 P, and terminal right-sided force."""


@dataclass(frozen=True)
class Beats:
    """The noise-free beat of N subjects.

    Attributes:
        amplitude: (N, W, 3) dipole of each Gaussian along x, y, z, mV.
        centre: (N, W) its time relative to the beat's time 0, s.
        rise: (N, W) standard deviation before the centre, s.
        fall: (N, W) standard deviation after the centre, s.
        field: (N, 8, 3) lead vectors I, II, V1-V6.
        parameters: Electrical parameters of ``links``, each (N,).
    """

    amplitude: np.ndarray
    centre: np.ndarray
    rise: np.ndarray
    fall: np.ndarray
    field: np.ndarray
    parameters: dict[str, np.ndarray]


def segment_directions() -> np.ndarray:
    """Return (16, 3) unit vectors from the cavity's axis through the AHA segments to the outside."""
    septum = np.array([-0.72, 0.10, -0.69])
    septum -= LONG_AXIS * (septum @ LONG_AXIS)
    septum /= np.linalg.norm(septum)
    inferior = np.cross(LONG_AXIS, septum)
    inferior *= np.sign(inferior[1])
    # Angles count from the middle of the septum towards the inferior wall.
    ring = np.deg2rad([-90, -30, 30, 90, 150, 210])
    apex = np.deg2rad([-90, 0, 90, 180])
    angles = np.concatenate([ring, ring, apex])
    radial = np.cos(angles)[:, None] * septum + np.sin(angles)[:, None] * inferior
    tilt = np.deg2rad(np.repeat((-8.0, 6.0, 32.0), (6, 6, 4)))[:, None]
    return np.cos(tilt) * radial + np.sin(tilt) * LONG_AXIS


def heartbeats(state: CardiacState) -> Beats:
    """Return the noise-free beat of every subject of the state."""
    p = electrical_parameters(state)
    n = len(state)
    amplitude = np.zeros((n, WAVES, 3))
    centre = np.zeros((n, WAVES))
    rise = np.full((n, WAVES), 0.01)
    fall = np.full((n, WAVES), 0.01)
    _ventricular_activation(state, p, amplitude, centre, rise, fall)
    turn = rotation_matrices(np.stack([np.zeros(n), p["horizontal_turn"], p["frontal_turn"]], 1))
    amplitude[:, :21] = amplitude[:, :21] @ turn.transpose(0, 2, 1)
    _repolarisation(state, p, amplitude, centre, rise, fall)
    _atrial_activation(state, p, amplitude, centre, rise, fall)
    recording = state.recording
    chest = np.exp(p["proximity"][:, None] * CHEST_PROXIMITY)
    lead_vectors = lead_field(recording.habitus_gain, recording.heart_rotation, recording.electrode_shift, chest)
    return Beats(amplitude, centre, rise, fall, lead_vectors, p)


def _ventricular_activation(
    state: CardiacState,
    p: dict[str, np.ndarray],
    amplitude: np.ndarray,
    centre: np.ndarray,
    rise: np.ndarray,
    fall: np.ndarray,
) -> None:
    """Waves 0-20: LV segments, RV parts, a notch of slow tissue and the terminal force of a right bundle block."""
    left_block, right_block = state.disease.left_bundle_block, state.disease.right_bundle_block
    early, strong = ACTIVATION_SPREAD_MS * state.recording.purkinje[:, 0], STRENGTH_SPREAD * state.recording.purkinje[:, 1]
    strong = np.exp(strong)
    thickness = state.wall_thickness
    relative = (thickness / thickness.mean(1, keepdims=True)) ** 0.8
    size = LV_AMPLITUDE * relative * (1 - 0.92 * state.scar) * p["lv_voltage"][:, None] * strong[:, :16]
    size[:, APICAL_SEGMENTS] *= p["apex"][:, None]
    size[:, LATE_SEGMENTS] *= p["basal"][:, None]
    sign = np.ones_like(size)
    septum = list(SEPTAL_SEGMENTS)
    # In left bundle branch block the septum is activated from right to left.
    share = np.where(left_block, -0.55, SEPTAL_SHARE * p["septal"])
    sign[:, septum] = share[:, None]
    amplitude[:, :16] = (size * sign)[:, :, None] * segment_directions()

    time = LV_ACTIVATION_MS * p["path"][:, None] + early[:, :16]
    time = np.where(left_block[:, None], 14 + 1.75 * time, time)
    width = 8.2 * p["path"] ** 0.5 * p["transmural"] * np.where(left_block, 1.55, 1.0)
    centre[:, :16] = time
    rise[:, :16] = fall[:, :16] = width[:, None] / 1e3

    late = p["rv_delay"] + np.where(right_block, 34.0, 0.0)
    direction = RV_DIRECTION / np.linalg.norm(RV_DIRECTION, axis=1, keepdims=True)
    rv_size = RV_AMPLITUDE * (p["rv_voltage"] * np.where(right_block, 1.15, 1.0))[:, None] * strong[:, 16:]
    amplitude[:, 16:19] = rv_size[:, :, None] * direction
    delayed = np.clip(RV_ACTIVATION_MS + early[:, 16:] + late[:, None] * np.array([0.5, 0.9, 1.1]), 4.0, None)
    centre[:, 16:19] = np.where(left_block[:, None], 0.6 * delayed, delayed)
    slow = np.where(right_block, 1.5, 1.0) * (8.0 + 0.05 * late)
    rise[:, 16:19] = fall[:, 16:19] = np.clip(slow, 6, 16)[:, None] / 1e3

    amplitude[:, 19] = p["notch"][:, None] * np.array([0.5, -0.2, 0.84])
    centre[:, 19] = 66 * p["path"]
    rise[:, 19] = fall[:, 19] = 0.007
    amplitude[:, 20] = np.where(right_block, 0.30, 0.03)[:, None] * np.array([-0.8, 0.0, -0.6])
    centre[:, 20] = 62 + late
    rise[:, 20] = fall[:, 20] = np.where(right_block, 0.015, 0.009)
    centre[:, :21] = (centre[:, :21] - QRS_CENTRE_MS) / 1e3


def _repolarisation(
    state: CardiacState,
    p: dict[str, np.ndarray],
    amplitude: np.ndarray,
    centre: np.ndarray,
    rise: np.ndarray,
    fall: np.ndarray,
) -> None:
    """Waves 21-23: ST segment and two halves of the T wave.

    The T wave is the ventricular gradient less the area of the QRS complex (Wilson's relation): hypertrophy and blocks
    turn it away from the QRS vector. A scar turns ST towards itself and T away from itself.
    """
    n = len(state)
    area = np.einsum("nwd,nw->nd", amplitude[:, :21], np.sqrt(np.pi / 2) * (rise[:, :21] + fall[:, :21]))
    facing = np.einsum("ns,sd->nd", state.scar, segment_directions())
    turn = rotation_matrices(np.stack([np.zeros(n), p["t_horizontal"], p["t_frontal"]], 1))
    gradient = (turn @ T_VECTOR) * p["t_gain"][:, None]
    # A T wave of unit height has an area of about 0.125 s.
    t_wave = gradient - p["t_secondary"][:, None] * (area / 0.125 - USUAL_AREA) - 0.11 * facing
    along = area / np.linalg.norm(area, axis=1, keepdims=True)
    amplitude[:, 21] = p["st_level"][:, None] * along + 0.03 * facing - 0.05 * p["t_secondary"][:, None] * along * 0.5
    rr = 60 / state.heart_rate
    qt = p["qtc"] / 1e3 * np.cbrt(rr)
    start = -QRS_CENTRE_MS / 1e3
    peak = start + qt - 0.092 * p["t_width"]
    centre[:, 21] = start + 0.48 * qt
    rise[:, 21] = 0.028
    fall[:, 21] = 0.070
    own = T_SPREAD * state.recording.repolarisation
    amplitude[:, 22] = 0.35 * t_wave + own[:, 0]
    amplitude[:, 23] = 0.75 * t_wave + own[:, 1]
    centre[:, 22] = peak - 0.055 * p["t_width"]
    centre[:, 23] = peak
    rise[:, 22] = fall[:, 22] = 0.040 * p["t_width"]
    fall[:, 23] = 0.036 * p["t_width"]
    rise[:, 23] = fall[:, 23] * p["t_skew"]


def _atrial_activation(
    state: CardiacState,
    p: dict[str, np.ndarray],
    amplitude: np.ndarray,
    centre: np.ndarray,
    rise: np.ndarray,
    fall: np.ndarray,
) -> None:
    """Waves 24-25: right, then left atrium; absent in atrial fibrillation."""
    n = len(state)
    turn = rotation_matrices(np.stack([np.zeros(n), np.zeros(n), p["p_turn"]], 1))
    sinus = ~state.atrial_fibrillation
    amplitude[:, 24] = (turn @ RIGHT_ATRIUM) * (p["p_right"] * sinus)[:, None]
    amplitude[:, 25] = (turn @ LEFT_ATRIUM) * (p["p_left"] * sinus)[:, None]
    onset = -(QRS_CENTRE_MS + np.clip(p["pr"], 105, 290)) / 1e3
    centre[:, 24] = onset + 0.040 * p["p_duration"]
    centre[:, 25] = onset + 0.074 * p["p_duration"] ** 1.5
    rise[:, 24:] = fall[:, 24:] = (0.017 * p["p_duration"])[:, None]
