"""The moving heart of the phantom as contours: where endocardium, epicardium and right ventricle lie, slice by slice.

The left-ventricular cavity is a bullet (a cylinder on half an ellipsoid; volume 5/6 x area x length, Teichholz 1976),
and so is its outer surface; the volume between them is the wall and does not change over the cycle (an incompressible
wall). The right ventricle is a crescent outside the septum. Every contour is a radius over the angle about the axis of
the left ventricle, scaled so that its area times the slice spacing sums to the volume that the cardiac state asks for.

Angles are counter-clockwise in a picture whose anterior wall is on top and whose septum is on the left:
0 = lateral wall, pi/2 = anterior wall, pi = septum. Lengths are in mm, heights count from the apex of the cavity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.synthesis.heart import MYOCARDIAL_DENSITY
from ecgcmr.synthesis.state import CardiacState

Array = NDArray[np.float32]

ANGLES = 72
"""Angular nodes of a contour, 5 degrees apart."""

_BULLET = 5.0 / 6.0
_RV_APEX = 0.10  # the right ventricle begins this far up the left ventricle, as a fraction of its length
_RV_TAPER = 0.7
_RV_PROFILE = (1.0 - _RV_APEX) / (1.0 + _RV_TAPER)
_SMALLEST_RADIUS = 0.5
_NODES = np.arange(ANGLES, dtype=np.float64) * (2 * np.pi / ANGLES)

# Centres of the AHA segments (Cerqueira et al., Circulation 2002): anterior, anteroseptal, inferoseptal, inferior,
# inferolateral, anterolateral; at the apex anterior, septal, inferior, lateral.
_RING_CENTRES = (np.deg2rad([90, 150, 210, 270, 330, 30]), np.deg2rad([90, 180, 270, 0]))


def _ring_weights(centres: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return (segments, ANGLES) smooth periodic weights that sum to 1 at each angle."""
    distance = np.angle(np.exp(1j * (_NODES[None] - centres[:, None])))
    weights = np.exp(-0.5 * (distance / width) ** 2)
    return weights / weights.sum(axis=0)


def _segment_weights() -> NDArray[np.float64]:
    weights = np.zeros((3, 16, ANGLES))
    weights[0, 0:6] = weights[1, 6:12] = _ring_weights(_RING_CENTRES[0], 0.36)
    weights[2, 12:16] = _ring_weights(_RING_CENTRES[1], 0.55)
    return weights


_SEGMENTS = _segment_weights()  # basal, mid and apical ring
_RING_HEIGHTS = np.array([1 / 6, 1 / 2, 5 / 6])


def segments_to_angles(values: NDArray[Any], height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread the 16 AHA segments over angle at given heights.

    Args:
        values: (16,) one number per segment.
        height: (F,) height as a fraction of the cavity length, 0 = apex, 1 = base.

    Returns:
        (F, ANGLES) values, blended smoothly between neighbouring segments and rings.
    """
    rings = np.einsum("s,rsa->ra", np.asarray(values, dtype=np.float64), _SEGMENTS)[::-1]  # apical, mid, basal
    position = np.clip(np.interp(height, _RING_HEIGHTS, np.arange(3.0)), 0, 2)
    lower = np.minimum(position.astype(np.int64), 1)
    fraction = (position - lower)[:, None]
    return rings[lower] * (1 - fraction) + rings[lower + 1] * fraction


@dataclass(frozen=True)
class Heart:
    """One subject's heart: the volumes it must have and the shape that is its own.

    Attributes:
        lv: LV cavity volume at end-diastole and end-systole, mL.
        rv: RV cavity volume at end-diastole and end-systole, mL.
        wall_volume: Volume of the LV wall, mL.
        length: Length of the LV cavity at end-diastole, mm.
        shortening: Fraction by which the length shortens (from longitudinal strain).
        thickness: (16,) end-diastolic wall thickness of the AHA segments, mm; only its pattern matters.
        circumferential: (16,) end-systolic circumferential strain as a fraction, negative in health.
        radial: (16,) end-systolic radial strain as a fraction, positive in health.
        flattening: How far an overloaded right ventricle flattens the septum, 0 to 0.3.
        ellipticity: Amplitude and angle (rad) of the oval deviation from a circle.
        rotation: In-plane rotation of the heart, rad.
        crescent: Half opening angle (rad) and skew (rad) of the right ventricle.
        papillary: Angles (rad) of the two papillary muscles.
        papillary_radius: Their radii, mm.
    """

    lv: tuple[float, float]
    rv: tuple[float, float]
    wall_volume: float
    length: float
    shortening: float
    thickness: NDArray[np.float64]
    circumferential: NDArray[np.float64]
    radial: NDArray[np.float64]
    flattening: float
    ellipticity: tuple[float, float]
    rotation: float
    crescent: tuple[float, float]
    papillary: tuple[float, float]
    papillary_radius: tuple[float, float]

    @classmethod
    def of(cls, state: CardiacState, row: int, generator: np.random.Generator) -> Heart:
        """Build the heart of one row of a cohort; what the state does not fix is drawn from ``generator``.

        Args:
            state: Cardiac state with per-subject arrays (see ``ecgcmr.synthesis.state``).
            row: Row of the subject.
            generator: Source of the shape that no phenotype determines.
        """
        edv, esv = float(state.chambers.lv_edv[row]), float(state.chambers.lv_esv[row])
        rv_edv, rv_esv = float(state.chambers.rv_edv[row]), float(state.chambers.rv_esv[row])
        draw = generator.standard_normal(9)
        # Slender or round: the length follows volume^0.30, so that a dilated heart is also a rounder one (assumption).
        length = 90.0 * (edv / 150.0) ** 0.30 * np.exp(0.035 * draw[0])
        # Pressure pushes the septum over in systole, volume in diastole; one number serves for both (assumption).
        load = 0.010 * (float(state.chambers.rv_pressure[row]) - 36.0) + 0.35 * (rv_edv / edv - 1.35)
        flattening = float(np.clip(load, 0.0, 0.30))
        return cls(
            lv=(edv, esv),
            rv=(rv_edv, rv_esv),
            wall_volume=float(state.chambers.lv_mass[row]) / MYOCARDIAL_DENSITY,
            length=float(length),
            shortening=float(np.clip(-np.mean(state.anatomy.longitudinal_strain[row]) / 100, 0.0, 0.35)),
            thickness=np.asarray(state.anatomy.wall_thickness[row], dtype=np.float64),
            circumferential=np.asarray(state.anatomy.circumferential_strain[row], dtype=np.float64) / 100,
            radial=np.asarray(state.anatomy.radial_strain[row], dtype=np.float64) / 100,
            flattening=flattening,
            ellipticity=(float(0.03 * abs(draw[1])), float(draw[2])),
            rotation=float(np.deg2rad(12.0) * draw[3]),
            crescent=(float(np.deg2rad(77 + 3 * draw[4] + 35 * flattening)), float(np.deg2rad(10 + 6 * draw[5]))),
            papillary=(float(np.deg2rad(40) + 0.15 * draw[6]), float(np.deg2rad(-65) + 0.15 * draw[7])),
            papillary_radius=(
                float(np.clip(4.2 + 0.6 * draw[8], 2.5, 6.0)),
                float(np.clip(4.6 - 0.6 * draw[8], 2.5, 6.0)),
            ),
        )


@dataclass(frozen=True)
class Contours:
    """Radii (F, ANGLES) in mm about the LV axis, from the inside out; a contour that a slice lacks is negative.

    Attributes:
        endo: Inner surface of the LV wall.
        epi: Outer surface of the LV wall.
        rv: Cavity of the right ventricle, outside ``epi``; where there is none it lies within the LV wall.
        outer: Outer surface of the heart including the RV free wall.
        ventricular: (F,) whether the slice meets the ventricles rather than the atria above the valves.
    """

    endo: Array
    epi: Array
    rv: Array
    outer: Array
    ventricular: NDArray[np.bool_]


def _bullet(height: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(height < 0, 0.0, 1.0 - np.clip(1.0 - 2.0 * height, 0.0, 1.0) ** 2)


def _outline(
    heart: Heart, area: NDArray[np.float64], height: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return epicardial radii (F, ANGLES) that enclose ``area`` (F,) mm2."""
    amplitude, angle = heart.ellipticity
    septum = np.exp(-0.5 * (np.angle(np.exp(1j * (_NODES - np.pi))) / 0.62) ** 2)
    strain = segments_to_angles(heart.circumferential, height)
    # Weakly shortening segments stay out, vigorous ones come in; half of the deviation reaches the outer surface.
    lag = 0.5 * (strain - strain.mean(axis=1, keepdims=True)) * c[:, None]
    flat = heart.flattening * (0.8 + 0.2 * c[:, None]) * septum
    shape = 1.0 + amplitude * np.cos(2 * (_NODES - angle)) + lag - flat
    radius = shape * np.sqrt(area[:, None] / np.pi) / np.sqrt((shape**2).mean(axis=1, keepdims=True))
    return np.maximum(radius, 0.0)


def _inner(
    heart: Heart,
    outer: NDArray[np.float64],
    area: NDArray[np.float64],
    height: NDArray[np.float64],
    c: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return endocardial radii that leave ``area`` (F,) mm2 inside ``outer``, the wall shared out by segment."""
    thickening = np.maximum(1.0 + segments_to_angles(heart.radial, height) * c[:, None], 0.3)
    wall = segments_to_angles(heart.thickness, height) * thickening
    squares, mixed, whole = (wall**2).mean(axis=1), (outer * wall).mean(axis=1), (outer**2).mean(axis=1)
    scale = (mixed - np.sqrt(np.maximum(mixed**2 - squares * (whole - area / np.pi), 0.0))) / squares
    return np.maximum(outer - scale[:, None] * wall, _SMALLEST_RADIUS)


def _crescent(
    heart: Heart, epi: NDArray[np.float64], area: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the RV cavity's outer radii for ``area`` (F,) mm2, and (ANGLES,) where the RV is (0 to 1)."""
    half, skew = heart.crescent
    offset = np.angle(np.exp(1j * (_NODES - np.pi - skew)))
    reach = np.clip(np.cos(0.5 * np.pi * np.clip(offset / half, -1, 1)), 0.0, 1.0) ** 0.6
    squares, mixed = (reach**2).mean(), (epi * reach).mean(axis=1)
    depth = (np.sqrt(mixed**2 + squares * area / np.pi) - mixed) / squares
    present = np.clip(3.0 * reach, 0.0, 1.0)
    return epi + depth[:, None] * reach - 4.0 * (1.0 - np.clip(20.0 * reach, 0.0, 1.0)), present


def contours(heart: Heart, z: NDArray[np.float64], contraction: NDArray[np.float64]) -> Contours:
    """Cut the heart at given heights and moments.

    Args:
        heart: Whose heart.
        z: (F,) height of the slice above the cavity's apex, mm; the apex stays, the base descends in systole.
        contraction: (F,) share of the stroke volume already ejected: 0 end-diastole, 1 end-systole.

    Returns:
        Contours of the F cuts.
    """
    z, c = np.asarray(z, dtype=np.float64), np.asarray(contraction, dtype=np.float64)
    length = heart.length * (1.0 - heart.shortening * c)
    height = z / length
    lv = heart.lv[0] + (heart.lv[1] - heart.lv[0]) * c
    rv = heart.rv[0] + (heart.rv[1] - heart.rv[0]) * c
    apex = 0.9 * heart.thickness[12:].mean()
    inside = np.clip(height, 0.0, 1.0)
    cavity = 1000.0 * lv / (_BULLET * length) * _bullet(np.minimum(height, 1.0))
    whole = (
        1000.0
        * (lv + heart.wall_volume)
        / (_BULLET * (length + apex))
        * _bullet(np.minimum((z + apex) / (length + apex), 1.0))
    )
    epi = _outline(heart, np.maximum(whole, 1e-3), inside, c)
    endo = _inner(heart, epi, cavity, inside, c)
    right = np.clip((inside - _RV_APEX) / (1 - _RV_APEX), 0.0, 1.0) ** _RV_TAPER * 1000.0 * rv / (length * _RV_PROFILE)
    cavity_rv, present = _crescent(heart, epi, right)
    outer = np.maximum(epi, cavity_rv) + 2.5 * present
    # Above the valves lie thin-walled atria: bright, about as wide as the ventricles, and without a label.
    ventricular = height <= 1.0
    endo = np.where(ventricular[:, None], endo, epi - 2.0)
    endo = np.where((cavity > 1.0)[:, None], endo, -10.0)
    beyond = (whole <= 0.0)[:, None]
    epi, cavity_rv, outer = (np.where(beyond, -10.0, radius) for radius in (epi, cavity_rv, outer))
    return Contours(_radii(endo), _radii(epi), _radii(cavity_rv), _radii(outer), ventricular)


def _radii(values: NDArray[np.float64]) -> Array:
    return values.astype(np.float32)


def ejected(time: NDArray[np.float64] | list[float], systole: float, atrial_kick: float) -> NDArray[np.float64]:
    """Give the share of the stroke volume ejected at moments of the cycle.

    Isovolumic start, ejection, early filling, diastasis and atrial contraction, each a smooth step.

    Args:
        time: Moments as fractions of the RR interval, 0 = R wave.
        systole: Moment of end-systole as a fraction of the RR interval.
        atrial_kick: Share of filling due to atrial contraction, 0 in atrial fibrillation.

    Returns:
        Values in [0, 1]: 0 at end-diastole, exactly 1 at ``systole``.
    """
    t = np.asarray(time, dtype=np.float64)

    def step(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sin(0.5 * np.pi * np.clip(x, 0.0, 1.0)) ** 2

    onset = 0.04
    emptying = step((t - onset) / (systole - onset))
    d = (t - systole) / (1.0 - systole)
    slow = 0.12
    filling = (
        (1 - slow - atrial_kick) * step(d / 0.45) + slow * np.clip(d, 0, 1) + atrial_kick * step((d - 0.72) / 0.28)
    )
    return np.where(t <= systole, emptying, 1.0 - filling)


def end_systole(heart_rate: float) -> float:
    """Return the moment of end-systole as a fraction of RR; systole shortens less than the beat (Weissler 1968)."""
    return float(np.clip(0.37 * np.sqrt(heart_rate / 63.0), 0.30, 0.48))
