"""From the heart's dipole to twelve leads: the lead field, misplaced electrodes, and what electrodes share as noise.

Axes are those of Frank's orthogonal leads: x to the left, y to the feet, z to the back.
"""

from __future__ import annotations

import numpy as np

DOWER = np.array(
    [
        [0.632, -0.235, 0.059],  # I
        [0.235, 1.066, -0.132],  # II
        [-0.515, 0.157, -0.917],  # V1
        [0.044, 0.164, -1.387],  # V2
        [0.882, 0.098, -1.277],  # V3
        [1.213, 0.127, -0.601],  # V4
        [1.125, 0.127, -0.086],  # V5
        [0.831, 0.076, 0.230],  # V6
    ]
)
"""(8, 3) lead vectors of the independent leads (Dower, Machado and Osborne, Clin Cardiol 1980, from Frank's torso)."""

INVERSE_DOWER = np.linalg.pinv(DOWER)
"""(3, 8) least-squares way back from the independent leads to the dipole."""

TWELVE_FROM_EIGHT = np.zeros((12, 8))
"""(12, 8) Einthoven's and Goldberger's relations: all leads from I, II and V1-V6."""
TWELVE_FROM_EIGHT[0, 0] = TWELVE_FROM_EIGHT[1, 1] = 1.0
TWELVE_FROM_EIGHT[2, :2] = (-1.0, 1.0)
TWELVE_FROM_EIGHT[3, :2] = (-0.5, -0.5)
TWELVE_FROM_EIGHT[4, :2] = (1.0, -0.5)
TWELVE_FROM_EIGHT[5, :2] = (-0.5, 1.0)
TWELVE_FROM_EIGHT[6:, 2:] = np.eye(6)

_UPWARD_PULL = 0.28
"""Share of its length by which a precordial lead vector turns to the head per intercostal space (assumption)."""


def _leads_from_electrodes() -> np.ndarray:
    """(12, 9) leads from the potentials of RA, LA, LL, V1-V6; chest leads refer to Wilson's central terminal."""
    right, left, foot = np.eye(9)[:3]
    chest = np.eye(9)[3:] - (right + left + foot) / 3
    limb = np.stack([left - right, foot - right, foot - left])
    augmented = np.stack([right - (left + foot) / 2, left - (right + foot) / 2, foot - (right + left) / 2])
    return np.concatenate([limb, augmented, chest])


TWELVE_FROM_ELECTRODES = _leads_from_electrodes()
"""(12, 9) so that noise picked up by an electrode reaches every lead it takes part in."""


def rotation_matrices(angles: np.ndarray) -> np.ndarray:
    """Return (N, 3, 3) rotations: about x by ``angles[:, 0]``, then about y, then about z, all in degrees.

    A positive turn about z moves the axis to the right side (from left towards the feet); a positive turn about y moves
    a leftward vector to the back, as in clockwise rotation of the heart with a late transition zone.
    """
    a = np.deg2rad(np.asarray(angles, dtype=np.float64))
    c, s = np.cos(a), np.sin(a)
    turns = np.zeros((3, len(a), 3, 3))
    for axis, (i, j) in enumerate(((1, 2), (0, 2), (0, 1))):
        turns[axis, :, axis, axis] = 1
        turns[axis, :, i, i] = turns[axis, :, j, j] = c[:, axis]
        turns[axis, :, i, j] = -s[:, axis]
        turns[axis, :, j, i] = s[:, axis]
    return turns[2] @ turns[1] @ turns[0]


def lead_field(
    gain: np.ndarray, rotation: np.ndarray, electrode_shift: np.ndarray, chest_gain: np.ndarray
) -> np.ndarray:
    """Return (N, 8, 3): the lead vectors I, II, V1-V6 as this subject's chest and electrodes have them.

    Args:
        gain: (N,) factor between heart and skin.
        rotation: (N, 3) turn of the heart in the chest, degrees, see ``rotation_matrices``.
        electrode_shift: (N, 6, 2) misplacement of V1-V6 along the row (electrode distances) and upwards (intercostal
            spaces).
        chest_gain: (N, 6) factor of V1-V6 for the distance between ventricle and electrode.
    """
    field = np.repeat(DOWER[None], len(gain), 0)
    chest = DOWER[2:]
    along = np.gradient(chest, axis=0)
    up = np.zeros((6, 3))
    up[:, 1] = -_UPWARD_PULL * np.linalg.norm(chest, axis=1)
    field[:, 2:] += electrode_shift[:, :, :1] * along + electrode_shift[:, :, 1:] * up
    field[:, 2:] *= chest_gain[:, :, None]
    return (field @ rotation_matrices(rotation)) * gain[:, None, None]
