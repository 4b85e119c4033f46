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

ACTIVATION_SPREAD_MS = 3.5
"""SD between subjects of the time at which a segment is reached, beyond what anatomy explains (assumption)."""
STRENGTH_SPREAD = 0.26
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
"""Gaussians of a beat: 16 LV segments, 3 parts of the RV, notch, terminal right-sided force, ST, 2 of T, 2 of P."""
VENTRICULAR_WAVES = 21
"""The first ones make up the QRS complex."""


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
    recording = state.recording
    chest = np.exp(p["proximity"][:, None] * CHEST_PROXIMITY)
    waves = Beats(
        amplitude=np.zeros((n, WAVES, 3)),
        centre=np.zeros((n, WAVES)),
        rise=np.full((n, WAVES), 0.01),
        fall=np.full((n, WAVES), 0.01),
        field=lead_field(recording.habitus_gain, recording.heart_rotation, recording.electrode_shift, chest),
        parameters=p,
    )
    _left_ventricle(state, p, waves)
    _right_ventricle(state, p, waves)
    waves.centre[:, :VENTRICULAR_WAVES] = (waves.centre[:, :VENTRICULAR_WAVES] - QRS_CENTRE_MS) / 1e3
    turn = rotation_matrices(np.stack([np.zeros(n), p["horizontal_turn"], p["frontal_turn"]], 1))
    waves.amplitude[:, :VENTRICULAR_WAVES] = waves.amplitude[:, :VENTRICULAR_WAVES] @ turn.transpose(0, 2, 1)
    _repolarisation(state, p, waves)
    _atrial_activation(state, p, waves)
    return waves


def _left_ventricle(state: CardiacState, p: dict[str, np.ndarray], waves: Beats) -> None:
    """Waves 0-15, the AHA segments, and 19, a notch of slowly conducting tissue; times in ms after the start of QRS."""
    block = state.disease.left_bundle_block
    thickness = state.anatomy.wall_thickness
    relative = (thickness / thickness.mean(1, keepdims=True)) ** 0.8
    own = np.exp(STRENGTH_SPREAD * state.recording.purkinje[:, 1, :16])
    size = LV_AMPLITUDE * relative * own * (1 - 0.92 * state.disease.scar) * p["lv_voltage"][:, None]
    size[:, APICAL_SEGMENTS] *= p["apex"][:, None]
    size[:, LATE_SEGMENTS] *= p["basal"][:, None]
    # In left bundle branch block the septum is activated from right to left.
    size[:, SEPTAL_SEGMENTS] *= np.where(block, -0.55, SEPTAL_SHARE * p["septal"])[:, None]
    waves.amplitude[:, :16] = size[:, :, None] * segment_directions()

    time = LV_ACTIVATION_MS * p["path"][:, None] + ACTIVATION_SPREAD_MS * state.recording.purkinje[:, 0, :16]
    waves.centre[:, :16] = np.where(block[:, None], 14 + 1.75 * time, time)
    width = 8.2 * p["path"] ** 0.5 * p["transmural"] * np.where(block, 1.55, 1.0)
    waves.rise[:, :16] = waves.fall[:, :16] = width[:, None] / 1e3

    waves.amplitude[:, 19] = p["notch"][:, None] * np.array([0.5, -0.2, 0.84])
    waves.centre[:, 19] = 66 * p["path"]
    waves.rise[:, 19] = waves.fall[:, 19] = 0.007


def _right_ventricle(state: CardiacState, p: dict[str, np.ndarray], waves: Beats) -> None:
    """Waves 16-18, the RV's walls, and 20, the terminal force of a right bundle block; ms after the start of QRS."""
    left_block, right_block = state.disease.left_bundle_block, state.disease.right_bundle_block
    direction = RV_DIRECTION / np.linalg.norm(RV_DIRECTION, axis=1, keepdims=True)
    own = np.exp(STRENGTH_SPREAD * state.recording.purkinje[:, 1, 16:])
    size = RV_AMPLITUDE * own * (p["rv_voltage"] * np.where(right_block, 1.15, 1.0))[:, None]
    waves.amplitude[:, 16:19] = size[:, :, None] * direction

    late = p["rv_delay"] + np.where(right_block, 34.0, 0.0)
    time = RV_ACTIVATION_MS + ACTIVATION_SPREAD_MS * state.recording.purkinje[:, 0, 16:]
    time = np.clip(time + late[:, None] * np.array([0.5, 0.9, 1.1]), 4.0, None)
    waves.centre[:, 16:19] = np.where(left_block[:, None], 0.6 * time, time)
    width = np.clip(np.where(right_block, 1.5, 1.0) * (8.0 + 0.05 * late), 6, 16)
    waves.rise[:, 16:19] = waves.fall[:, 16:19] = width[:, None] / 1e3

    waves.amplitude[:, 20] = np.where(right_block, 0.30, 0.03)[:, None] * np.array([-0.8, 0.0, -0.6])
    waves.centre[:, 20] = 62 + late
    waves.rise[:, 20] = waves.fall[:, 20] = np.where(right_block, 0.015, 0.009)


def _repolarisation(state: CardiacState, p: dict[str, np.ndarray], waves: Beats) -> None:
    """Waves 21-23: ST segment and two halves of the T wave.

    The T wave is the ventricular gradient less the area of the QRS complex (Wilson's relation): hypertrophy and blocks
    turn it away from the QRS vector. A scar turns ST towards itself and T away from itself.
    """
    n = len(state)
    area = np.einsum(
        "nwd,nw->nd",
        waves.amplitude[:, :VENTRICULAR_WAVES],
        np.sqrt(np.pi / 2) * (waves.rise[:, :VENTRICULAR_WAVES] + waves.fall[:, :VENTRICULAR_WAVES]),
    )
    facing = np.einsum("ns,sd->nd", state.disease.scar, segment_directions())
    turn = rotation_matrices(np.stack([np.zeros(n), p["t_horizontal"], p["t_frontal"]], 1))
    gradient = (turn @ T_VECTOR) * p["t_gain"][:, None]
    # A T wave of unit height has an area of about 0.125 s.
    t_wave = gradient - p["t_secondary"][:, None] * (area / 0.125 - USUAL_AREA) - 0.11 * facing
    along = area / np.linalg.norm(area, axis=1, keepdims=True)
    # The ST segment leans against the QRS complex where the T wave does (strain).
    waves.amplitude[:, 21] = (p["st_level"] - 0.025 * p["t_secondary"])[:, None] * along + 0.03 * facing
    rr = 60 / state.body.heart_rate
    qt = p["qtc"] / 1e3 * np.cbrt(rr)
    start = -QRS_CENTRE_MS / 1e3
    peak = start + qt - 0.092 * p["t_width"]
    waves.centre[:, 21] = start + 0.48 * qt
    waves.rise[:, 21] = 0.028
    waves.fall[:, 21] = 0.070
    own = T_SPREAD * state.recording.repolarisation
    waves.amplitude[:, 22] = 0.35 * t_wave + own[:, 0]
    waves.amplitude[:, 23] = 0.75 * t_wave + own[:, 1]
    waves.centre[:, 22] = peak - 0.055 * p["t_width"]
    waves.centre[:, 23] = peak
    waves.rise[:, 22] = waves.fall[:, 22] = 0.040 * p["t_width"]
    waves.fall[:, 23] = 0.036 * p["t_width"]
    waves.rise[:, 23] = waves.fall[:, 23] * p["t_skew"]


def _atrial_activation(state: CardiacState, p: dict[str, np.ndarray], waves: Beats) -> None:
    """Waves 24-25: right, then left atrium; absent in atrial fibrillation."""
    n = len(state)
    turn = rotation_matrices(np.stack([np.zeros(n), np.zeros(n), p["p_turn"]], 1))
    sinus = ~state.disease.atrial_fibrillation
    waves.amplitude[:, 24] = (turn @ RIGHT_ATRIUM) * (p["p_right"] * sinus)[:, None]
    waves.amplitude[:, 25] = (turn @ LEFT_ATRIUM) * (p["p_left"] * sinus)[:, None]
    onset = -(QRS_CENTRE_MS + p["pr"]) / 1e3
    waves.centre[:, 24] = onset + 0.040 * p["p_duration"]
    waves.centre[:, 25] = onset + 0.074 * p["p_duration"] ** 1.5
    waves.rise[:, 24:] = waves.fall[:, 24:] = (0.017 * p["p_duration"])[:, None]
