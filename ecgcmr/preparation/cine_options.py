"""Which frames of a cine are kept and how they are cropped and scaled: the options of ``ecgcmr.preparation.cine``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ecgcmr.errors import UserError

CINE_FRAMES = ("ES", "mid", "ED")
TWO_PHASE_FRAMES = ("ES", "ED")
VOLUME_PHASES = ("ED", "ES")
CONTENTS = ("three", "all", "volumes")
CROPS = ("auto", "segmentation", "motion", "published", "centre")


@dataclass(frozen=True)
class CineOptions:
    """How frames are made.

    Attributes:
        frames: Names of the frames in storage order, with several slices phase by phase. With content ``three`` a
            choice: ``("ES", "mid", "ED")`` from a cine, ``("ES", "ED")`` where only two phases were imaged. Otherwise
            they follow from the content.
        size: Height and width in pixels.
        field_of_view_mm: Edge of the square around the heart; with ``size`` it sets the pixel spacing.
        percentiles: Intensities at these percentiles become 0 and 255.
        min_slices: A stack of fewer slices is refused. UK Biobank work takes 8 (reference implementations skip
            7 or fewer); clinical stacks such as ACDC's have 6 to 18, hence the default of 1.
        content: ``three``: three (or two) moments of the middle slice. ``all``: the middle slice over the whole cycle,
            resampled to ``phases`` moments. ``volumes``: end-diastole and end-systole, ``slices`` slices each, spread
            evenly over the stack from its first slice to its last; phase by phase.
        crop: Where the square is centred. ``segmentation``: on the labelled heart; ``motion``: on what beats;
            ``published``: at the fixed place of the published work (see ``heart_crop.published_centre``); ``centre``:
            in the middle of the image; ``auto``: the first of the first three that can be had.
        phases: Moments of content ``all``. UK Biobank's cines have 50.
        slices: Slices of each phase of content ``volumes``.
        slice_distance_mm: Distance of these slices, from the first of the stack on, black ones at the end where the
            stack is shorter; None: spread evenly over the stack instead.
    """

    frames: tuple[str, ...] = ()
    size: int = 96
    field_of_view_mm: float = 160.0
    percentiles: tuple[float, float] = (0.5, 99.5)
    min_slices: int = 1
    content: str = "three"
    crop: str = "auto"
    phases: int = 50
    slices: int = 8
    slice_distance_mm: float | None = None

    def __post_init__(self) -> None:
        if self.content not in CONTENTS:
            raise UserError(f"CMR content {self.content!r}: choose one of {', '.join(CONTENTS)}")
        if self.crop not in CROPS:
            raise UserError(f"CMR crop {self.crop!r}: choose one of {', '.join(CROPS)}")
        if not 8 <= self.size <= 1024:
            raise UserError(f"frame size {self.size} px: choose 8 to 1024")
        if not 10 <= self.field_of_view_mm <= 1000:
            raise UserError(f"field of view {self.field_of_view_mm} mm: choose 10 to 1000")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise UserError(f"intensity percentiles {low} and {high}: choose 0 to 100, the lower one first")
        if not 2 <= self.phases <= 200:
            raise UserError(f"{self.phases} phases: choose 2 to 200")
        if not 2 <= self.slices <= 64:
            raise UserError(f"{self.slices} slices: choose 2 to 64")
        self._check_slice_distance()
        self._settle_frames()

    def _check_slice_distance(self) -> None:
        distance = self.slice_distance_mm
        if distance is None:
            return
        if self.content != "volumes":
            raise UserError(f"slice distance {distance:g} mm: content {self.content!r} has one slice; choose volumes")
        if not 1 <= distance <= 50:
            raise UserError(f"slice distance {distance:g} mm: choose 1 to 50")

    def _settle_frames(self) -> None:
        if self.content == "three":
            choices: tuple[tuple[str, ...], ...] = (CINE_FRAMES, TWO_PHASE_FRAMES)
        elif self.content == "all":
            digits = len(str(self.phases - 1))
            choices = (tuple(f"t{moment:0{digits}d}" for moment in range(self.phases)),)
        else:
            choices = (tuple(f"{phase}-{i + 1}" for phase in VOLUME_PHASES for i in range(self.slices)),)
        frames = tuple(self.frames) or choices[0]
        if frames not in choices:
            raise UserError(f"frames {frames} with content {self.content!r}: choose {' or '.join(map(str, choices))}")
        object.__setattr__(self, "frames", frames)

    @property
    def stored_slices(self) -> int:
        """Slices of each phase in the result: 1 but for volumes."""
        return self.slices if self.content == "volumes" else 1

    @property
    def needs_cine(self) -> bool:
        """Whether an end-diastolic and an end-systolic volume alone are not enough."""
        return self.content == "all" or "mid" in self.frames

    @property
    def spacing_mm(self) -> float:
        """Pixel size of the result."""
        return self.field_of_view_mm / self.size

    def for_two_phases(self) -> CineOptions:
        """Return the options for images of end-diastole and end-systole alone; the whole cycle stays out of reach."""
        return replace(self, frames=TWO_PHASE_FRAMES) if self.content == "three" else self
