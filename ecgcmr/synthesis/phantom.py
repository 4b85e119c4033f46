"""Short-axis cine pictures of the phantom heart, with the contrast and the defects of a balanced steady-state scan.

One painter serves both products: three frames of the middle slice for bulk cohorts, and a whole stack over the cycle
with its segmentation for raw files. What the scan adds (position, rotation, coil shading, contrast, noise, fat, slice
offset) is drawn per subject from that subject's own generator, so a subject looks the same in any cohort block.

Pictures are indexed [x, y] as in NIfTI, x to the right and y downwards when shown: anterior wall on top, septum left.
Relative brightness follows bSSFP (Bieri & Scheffler, JMRI 2013): blood and fat bright, myocardium dark, lung black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.preparation.heart_crop import heart_centre
from ecgcmr.synthesis.ecg import subject_generator
from ecgcmr.synthesis.phantom_geometry import ANGLES, Contours, Heart, contours, ejected, end_systole
from ecgcmr.synthesis.state import CardiacState

Array = NDArray[np.float32]

LV, MYOCARDIUM, RV = 1, 2, 3
"""Segmentation labels as in ukbb_cardiac and ACDC (ACDC's own numbering differs; ours is UK Biobank's)."""

_WORLD = 150.0  # half width in mm of the region in which texture is defined
_COUNTS = 160.0  # what a scanner would store for LV blood
_FRAMES = 50  # frames of a UK Biobank cine; the bulk frames are those that a 50-frame cine would hold


@dataclass(frozen=True)
class PhantomOptions:
    """Sampling of a picture.

    Attributes:
        size: Pixels along x and y.
        spacing_mm: Pixel spacing.
        slice_gap_mm: Distance of neighbouring slices of a stack; a long ventricle gets a wider one so as to fit.
    """

    size: int = 96
    spacing_mm: float = 2.0
    slice_gap_mm: float = 10.0


@dataclass(frozen=True)
class Scan:
    """What one subject's scan adds to the heart; lengths in mm, brightness relative to LV blood = 1.

    Attributes:
        offset: Shift of the slice along the axis.
        position: (2,) where the middle of the picture lies relative to the LV axis.
        body: (5,) centre x and y, half axes and tilt (rad) of the chest.
        fat: Thickness of the subcutaneous and of the epicardial fat.
        diaphragm: (3,) height, curvature and middle of the liver's dome.
        tissue: (5,) brightness of LV blood, RV blood, myocardium, liver and fat.
        shading: (5,) coefficients of the coil's log-sensitivity: x, y, xx, yy, xy per 100 mm.
        noise: Standard deviation of either receiver channel.
        blur: Width of an edge.
        coarse: (15, 15) texture of 20 mm grain.
        fine: (38, 38) texture of 8 mm grain.
    """

    offset: float
    position: NDArray[np.float64]
    body: NDArray[np.float64]
    fat: tuple[float, float]
    diaphragm: NDArray[np.float64]
    tissue: NDArray[np.float64]
    shading: NDArray[np.float64]
    noise: float
    blur: float
    coarse: Array
    fine: Array

    @classmethod
    def of(cls, state: CardiacState, row: int, generator: np.random.Generator) -> Scan:
        """Draw the scan of one row of a cohort; body size sets the fat, all else is chance."""
        body_mass = float(state.body.weight_kg[row]) / (float(state.body.height_cm[row]) / 100.0) ** 2
        n = generator.standard_normal
        subcutaneous = float(np.clip(14 + 1.6 * (body_mass - 26) + 4 * n(), 4, 45))
        epicardial = float(np.clip(3.5 + 0.25 * (body_mass - 26) + 1.2 * n(), 0.8, 9))
        return cls(
            offset=3.5 * float(n()),
            position=np.array([-12.0, 4.0]) + 5.0 * n(2),
            body=np.array([-28, 52, 118, 128, 0.25])
            + np.array([6, 6, 7, 7, 0.08]) * n(5)
            + subcutaneous * np.array([0, 0, 1, 1, 0]),
            fat=(subcutaneous, epicardial),
            diaphragm=np.array([46, 14, -40]) + np.array([5, 4, 15]) * n(3),
            tissue=np.clip(
                np.array([1.0, 0.90, 0.34, 0.42, 1.0]) + np.array([0.08, 0.08, 0.04, 0.05, 0.10]) * n(5), 0.2, 1.4
            ),
            shading=np.array([0.05, -0.18, -0.05, -0.05, 0.0]) + np.array([0.14, 0.14, 0.06, 0.06, 0.06]) * n(5),
            noise=float(0.028 * np.exp(0.3 * n())),
            blur=float(np.clip(2.2 + 0.4 * n(), 1.4, 3.4)),
            coarse=n((15, 15), dtype=np.float32),
            fine=n((38, 38), dtype=np.float32),
        )


@dataclass(frozen=True)
class Frames:
    """Pictures of one slice for several subjects.

    Attributes:
        pictures: (n, F, X, Y) float32, LV blood about 1, frames in the order of the phases asked for.
        masks: (n, F, X, Y) uint8, the true segmentation of the pictures: 1 LV cavity with papillary muscles, 2
            myocardium, 3 RV cavity.
        centre: (n, 2) centre of the heart (x, y) in pixels: the middle of the labelled pixels at end-diastole.
        spacing_mm: Pixel spacing.
    """

    pictures: Array
    masks: NDArray[np.uint8]
    centre: NDArray[np.float64]
    spacing_mm: float


@dataclass(frozen=True)
class Cine:
    """A stack over the cardiac cycle with its true segmentation.

    Attributes:
        volume: (X, Y, Z, T) uint16, slice 0 at the base, frame 0 at end-diastole.
        ed_labels: (X, Y, Z) uint8 at frame 0: 1 LV cavity with papillary muscles, 2 myocardium, 3 RV cavity.
        es_labels: (X, Y, Z) uint8 at ``es_frame``.
        es_frame: Frame of end-systole.
        spacing_mm: Spacing along x, y and z.
        frame_seconds: Time between frames.
    """

    volume: NDArray[np.uint16]
    ed_labels: NDArray[np.uint8]
    es_labels: NDArray[np.uint8]
    es_frame: int
    spacing_mm: tuple[float, float, float]
    frame_seconds: float


class _Grid:
    """Pixel positions in mm about the LV axis, and a fast look-up of angle-dependent radii on the heart's pixels."""

    def __init__(self, scan: Scan, options: PhantomOptions) -> None:
        steps = (np.arange(options.size) - (options.size - 1) / 2) * options.spacing_mm
        self.x = (steps + scan.position[0]).astype(np.float32)
        self.y = (steps + scan.position[1]).astype(np.float32)
        self.edge = max(scan.blur, options.spacing_mm)

    def aim(self, rotation: float, reach: float) -> None:
        """Keep the pixels within ``reach`` mm of the axis and their polar coordinates in the heart's frame."""
        radius = np.hypot(self.x[:, None], self.y[None])
        self.pixels = np.flatnonzero(radius < reach)
        column, line = np.divmod(self.pixels, len(self.y))
        px, py = self.x[column], self.y[line]
        self.radius = radius.ravel()[self.pixels]
        turns = (np.arctan2(-py, px) - np.float32(rotation)) * np.float32(ANGLES / (2 * np.pi))
        turns %= ANGLES
        self.node = np.minimum(turns.astype(np.int64), ANGLES - 1)
        self.fraction = turns - self.node
        cosine, sine = math.cos(rotation), math.sin(rotation)
        self.along = px * cosine - py * sine  # towards the lateral wall
        self.up = -px * sine - py * cosine  # towards the anterior wall

    def spread(self, radii: Array) -> Array:
        """Interpolate (F, ANGLES) radii to (F, pixels)."""
        closed = np.concatenate([radii, radii[:, :1]], axis=1)
        low = closed[:, self.node]
        return low + self.fraction * (closed[:, self.node + 1] - low)

    def inside(self, radii: Array, edge: float | None = None) -> Array:
        """Share of each pixel within the contour: 0 to 1 with a soft edge."""
        return _ramp(radii - self.radius, edge or self.edge)

    def texture(self, nodes: Array) -> Array:
        """Interpolate a square of random nodes bilinearly to (X, Y)."""
        count = len(nodes)
        spots = np.arange(count, dtype=np.float32)
        x, y = (np.clip((axis + _WORLD) * ((count - 1) / (2 * _WORLD)), 0, count - 1) for axis in (self.x, self.y))
        return np.maximum(1 - abs(x[:, None] - spots), 0) @ nodes @ np.maximum(1 - abs(spots[:, None] - y), 0)


def _ramp(distance: Array, width: float) -> Array:
    share = distance * (1 / width)
    share += 0.5
    return np.clip(share, 0, 1, out=share)


def _surroundings(scan: Scan, grid: _Grid, coarse: Array, fine: Array) -> Array:
    """Paint what does not move: lung with vessels, liver and stomach, aorta, chest wall, subcutaneous fat, air."""
    x, y = grid.x[:, None], grid.y[None]
    # Python floats, not NumPy's: the latter would turn every float32 picture into float64.
    _, _, _, liver, fat = scan.tissue.tolist()
    picture = 0.07 + 0.02 * coarse + 0.35 * np.clip(fine - 1.3, 0, 1)
    height, curvature, middle = scan.diaphragm.tolist()
    dome = y - (height + curvature * ((x - middle) / 60.0) ** 2)
    organ = liver + 0.05 * coarse + 0.04 * fine - 0.14 * _ramp(x - 25, 12.0)
    picture += _ramp(dome, 5.0) * (organ - picture)
    aorta = np.hypot(x - 44, y - 50)
    picture += _ramp(13.5 - aorta, 3.0) * (0.2 - picture)
    picture += _ramp(11.5 - aorta, 3.0) * (0.9 - picture)
    bx, by, half_x, half_y, tilt = scan.body.tolist()
    x, y = x - bx, y - by
    along, across = x * math.cos(tilt) + y * math.sin(tilt), y * math.cos(tilt) - x * math.sin(tilt)
    ratio = np.hypot(along / half_x, across / half_y) + 1e-6
    depth = (1 / ratio - 1) * np.hypot(along, across)  # mm below the skin along the ray
    muscle = 0.26 + 0.05 * coarse + 0.06 * fine + 0.25 * np.clip(coarse - 0.9, 0, 1)
    picture += _ramp(scan.fat[0] + 15 - depth, 4.0) * (muscle - picture)
    picture += _ramp(scan.fat[0] + 3 * coarse - depth, 3.0) * (fat * (1 - 0.05 * abs(fine)) - picture)
    picture += _ramp(-depth, 3.0) * (0.0 - picture)
    return np.maximum(picture, 0.0)


def _papillary(heart: Heart, grid: _Grid, endo: Array) -> Array:
    """Share of each pixel in a papillary muscle, (F, pixels); they hug the wall and move with it."""
    share = np.zeros((len(endo), len(grid.pixels)), dtype=np.float32)
    for angle, size in zip(heart.papillary, heart.papillary_radius, strict=True):
        node = round(angle / (2 * np.pi) * ANGLES) % ANGLES
        radius = np.minimum(size, 0.30 * endo[:, node])
        centre = np.maximum(endo[:, node] - 1.15 * radius - 0.8, 0.0)
        distance = np.hypot(
            grid.along - (centre * np.cos(angle))[:, None].astype(np.float32),
            grid.up - (centre * np.sin(angle))[:, None].astype(np.float32),
        )
        share = np.maximum(
            share, _ramp(radius[:, None].astype(np.float32) - distance, grid.edge) * (radius > 1.0)[:, None]
        )
    return share


def _epicardial_fat(scan: Scan, cuts: Contours) -> Array:
    """Outer radii of the fat, thickest over the grooves where the right ventricle inserts."""
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    where = 0.25 + 0.75 * (np.exp(6 * (np.cos(angle - 1.9) - 1)) + np.exp(6 * (np.cos(angle + 1.9) - 1)))
    return (cuts.outer + scan.fat[1] * where).astype(np.float32)


def _paint(heart: Heart, scan: Scan, grid: _Grid, cuts: Contours) -> Array:
    """Paint F cuts over the surroundings, without noise: (F, X, Y)."""
    coarse, fine = grid.texture(scan.coarse), grid.texture(scan.fine)
    still = _surroundings(scan, grid, coarse, fine)
    fat_radii = _epicardial_fat(scan, cuts)
    grid.aim(heart.rotation, float(fat_radii.max()) + 2 * grid.edge)
    grain = fine.ravel()[grid.pixels]
    blood, blood_rv, muscle, _, fat = scan.tissue.astype(np.float32)
    beating = np.repeat(still.ravel()[grid.pixels][None], len(cuts.endo), axis=0)
    endo = grid.spread(cuts.endo)
    in_endo = grid.inside(endo, 1.3 * grid.edge)
    layers = (
        (grid.inside(grid.spread(fat_radii)), 0.85 * fat),
        (grid.inside(grid.spread(cuts.outer)), muscle * (1 + 0.10 * grain)),
        (grid.inside(grid.spread(cuts.rv)), blood_rv * (1 - 0.10 * abs(grain))),
        (grid.inside(grid.spread(cuts.epi)), muscle * (1 + 0.06 * grain)),
        (in_endo, blood * (1 + 0.03 * grain)),
        (in_endo * _papillary(heart, grid, cuts.endo), muscle * 1.15),
    )
    for share, brightness in layers:
        beating += share * (brightness - beating)
    pictures = np.repeat(still.ravel()[None], len(beating), axis=0)
    pictures[:, grid.pixels] = beating
    x, y = grid.x[:, None] / 100, grid.y[None] / 100
    a, b, c, d, e = scan.shading.tolist()
    pictures *= np.exp(a * x + b * y + c * x * x + d * y * y + e * x * y).ravel()
    return pictures.reshape(len(beating), len(grid.x), len(grid.y))


def _label(grid: _Grid, cuts: Contours) -> NDArray[np.uint8]:
    """Segment F cuts as a perfect reader would: (F, X, Y). Needs ``grid.aim`` first."""
    radius = grid.radius
    endo, epi, rv = (grid.spread(contour) for contour in (cuts.endo, cuts.epi, cuts.rv))
    heart = np.where(radius < endo, LV, np.where(radius < epi, MYOCARDIUM, np.where(radius < rv, RV, 0)))
    labels = np.zeros((len(endo), len(grid.x) * len(grid.y)), dtype=np.uint8)
    labels[:, grid.pixels] = np.where(cuts.ventricular[:, None], heart, 0)
    return labels.reshape(len(endo), len(grid.x), len(grid.y))


def _expose(pictures: Array, noise: float, generator: np.random.Generator) -> Array:
    """Add the noise of a magnitude picture (Rician; Gudbjartsson & Patz 1995)."""
    real = generator.standard_normal(pictures.shape, dtype=np.float32)
    real *= np.float32(noise)
    real += pictures
    imaginary = generator.standard_normal(pictures.shape, dtype=np.float32)
    imaginary *= np.float32(noise)
    real *= real
    imaginary *= imaginary
    real += imaginary
    return np.sqrt(real, out=real)


def _moments(state: CardiacState, row: int, frames: int) -> tuple[int, NDArray[np.float64]]:
    """Return the end-systolic frame and the share ejected at each frame of a cine."""
    es_frame = round(end_systole(float(state.body.heart_rate[row])) * frames)
    kick = float(np.clip(0.15 + 0.003 * (state.body.age[row] - 45), 0.1, 0.3))
    kick *= not state.disease.atrial_fibrillation[row]
    return es_frame, ejected(np.arange(frames) / frames, es_frame / frames, kick)


def render_frames(
    state: CardiacState,
    rows: Sequence[int] | NDArray[np.int64],
    generator: np.random.Generator,
    *,
    phases: tuple[str, ...] = ("ES", "mid", "ED"),
    options: PhantomOptions | None = None,
) -> Frames:
    """Render chosen moments of the middle slice for many subjects.

    Args:
        state: Cardiac state of the cohort.
        rows: Rows to render.
        generator: Made by ``numpy.random.default_rng(seed)``; read, not advanced. Each subject has a stream of its
            own that depends on the seed and the row, not on the rows rendered beside it.
        phases: Of ``ES``, ``mid`` (half of the way from ED to ES in frames, rounded down) and ``ED``.
        options: Sampling of the pictures.

    Returns:
        Pictures, their segmentation, heart centres and spacing.
    """
    options = options or PhantomOptions()
    pictures = np.empty((len(rows), len(phases), options.size, options.size), dtype=np.float32)
    masks = np.empty(pictures.shape, dtype=np.uint8)
    centres = np.empty((len(rows), 2))
    for i, row in enumerate(rows):
        own = subject_generator(generator, int(row))
        heart, scan = Heart.of(state, int(row), own), Scan.of(state, int(row), own)
        es_frame, share = _moments(state, int(row), _FRAMES)
        frame_of = {"ES": es_frame, "mid": es_frame // 2, "ED": 0}
        moments = share[[*(frame_of[phase] for phase in phases), 0]]
        grid = _Grid(scan, options)
        cuts = contours(heart, np.full(len(moments), _middle(heart, scan)), moments)
        painted = _paint(heart, scan, grid, _take(cuts, slice(0, -1)))
        labels = _label(grid, cuts)
        centres[i], masks[i] = heart_centre(labels[-1]), labels[:-1]
        pictures[i] = _expose(painted, scan.noise, own)
    return Frames(pictures, masks, centres, options.spacing_mm)


def render_cine(
    state: CardiacState,
    row: int,
    generator: np.random.Generator,
    *,
    slices: int = 10,
    frames: int = _FRAMES,
    options: PhantomOptions | None = None,
) -> Cine:
    """Render one subject's short-axis stack over the cycle with its segmentation at end-diastole and end-systole.

    The middle slice (index ``slices // 2``) is the slice that ``render_frames`` shows.

    Args:
        state: Cardiac state of the cohort.
        row: Row to render.
        generator: As for ``render_frames``; the same one gives the same heart and scan.
        slices: Slices from base to apex.
        frames: Frames over one RR interval.
        options: Sampling; by default 128 x 128 pixels of 1.8 mm.
    """
    options = options or PhantomOptions(size=128, spacing_mm=1.8)
    own = subject_generator(generator, row)
    heart, scan = Heart.of(state, row, own), Scan.of(state, row, own)
    es_frame, share = _moments(state, row, frames)
    gap = max(options.slice_gap_mm, 1.12 * heart.length / slices)
    volume = np.empty((options.size, options.size, slices, frames), dtype=np.uint16)
    labels = np.empty((2, options.size, options.size, slices), dtype=np.uint8)
    for index in range(slices):
        grid = _Grid(scan, options)
        cuts = contours(heart, np.full(frames, _middle(heart, scan) + gap * (slices // 2 - index)), share)
        painted = _expose(_paint(heart, scan, grid, cuts), scan.noise, own)
        volume[:, :, index] = np.moveaxis(np.rint(np.minimum(_COUNTS * painted, 65535)), 0, -1)
        labels[..., index] = _label(grid, _take(cuts, [0, es_frame]))
    beat = 60.0 / float(state.body.heart_rate[row])
    return Cine(
        volume, labels[0], labels[1], es_frame, (options.spacing_mm, options.spacing_mm, float(gap)), beat / frames
    )


def _middle(heart: Heart, scan: Scan) -> float:
    return 0.5 * heart.length + scan.offset


def _take(cuts: Contours, which: slice | list[int]) -> Contours:
    return Contours(cuts.endo[which], cuts.epi[which], cuts.rv[which], cuts.outer[which], cuts.ventricular[which])
