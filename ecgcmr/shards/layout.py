"""What a shard holds: leads, Hz, samples, frames, pixels, labels and how they were prepared.

A ``Layout`` is written into every shard and into the index, so that a shard explains itself and shards of different
preparations are never mixed: equal layouts have equal fingerprints.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from ecgcmr.leads import LEADS as LEADS
from ecgcmr.shards.layout_checks import check_layout

SCHEMA = "ecgcmr-shards"
SCHEMA_VERSION = 2

SPLITS = ("train", "val", "test")
ECG_DTYPES = ("float16", "float32")
CMR_DTYPES = ("uint8",)
LABEL_KINDS = ("phenotype", "disease", "covariate", "finding", "measurement", "time")
BINARY_KINDS = ("disease", "finding")
WAVES = ("P_onset", "P_peak", "P_offset", "QRS_onset", "QRS_offset", "T_onset", "T_peak", "T_offset")
"""What is marked of each beat, in storage order."""
MASK_REGIONS = ("outside", "LV cavity", "myocardium", "RV cavity")
"""What the values of a mask stand for; the LV cavity holds the papillary muscles."""
MASK_UNKNOWN = 255
"""Value of a mask where nobody has segmented."""
LEAD_FLAGS = ("missing", "derived", "flat", "clipped", "noisy")
"""What can be wrong with a lead; bit i of its flags stands for the i-th."""


@dataclass(frozen=True)
class ECGLayout:
    """One ECG record.

    Attributes:
        leads: Lead names in storage order.
        sampling_rate: In Hz.
        samples: Stored samples per lead.
        unit: ``z-score`` after the published cleaning, or ``mV``.
        dtype: Storage type, ``float16`` or ``float32``.
        max_beats: Beats whose R peak and waves are stored per record; 0 if none are.
        quality: Whether flags and a quality index of each lead are stored.
    """

    leads: tuple[str, ...] = LEADS
    sampling_rate: float = 500.0
    samples: int = 5000
    unit: str = "z-score"
    dtype: str = "float16"
    max_beats: int = 0
    quality: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "leads", tuple(self.leads))
        object.__setattr__(self, "sampling_rate", float(self.sampling_rate))
        if self.dtype not in ECG_DTYPES:
            raise ValueError(f"ECG dtype {self.dtype!r}: choose one of {', '.join(ECG_DTYPES)}")
        if self.max_beats and self.samples > 2**15:
            raise ValueError(f"beats of {self.samples} samples cannot be stored: positions are 16-bit")

    @property
    def shape(self) -> tuple[int, int]:
        """(leads, samples)."""
        return len(self.leads), self.samples


@dataclass(frozen=True)
class CMRLayout:
    """One set of short-axis frames. A stored value v means intensity v / 255.

    Attributes:
        frames: Names of the frames in storage order, such as ``("ES", "mid", "ED")``. With several slices one frame a
            phase and slice, phase by phase: reshape (F, H, W) to (F / slices, slices, H, W) for volumes.
        height: Rows in pixels.
        width: Columns in pixels.
        spacing_mm: Size of a pixel.
        dtype: Storage type, ``uint8``.
        slices: Slices of each phase.
        mask: Whether a segmentation lies beside the frames, see ``MASK_REGIONS``; no part of the JSON where False, so
            that cohorts from before there were any keep their fingerprint.
    """

    frames: tuple[str, ...]
    height: int
    width: int
    spacing_mm: float
    dtype: str = "uint8"
    slices: int = 1
    mask: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", tuple(self.frames))
        object.__setattr__(self, "spacing_mm", float(self.spacing_mm))
        if self.dtype not in CMR_DTYPES:
            raise ValueError(f"CMR dtype {self.dtype!r}: choose one of {', '.join(CMR_DTYPES)}")
        if self.slices < 1 or len(self.frames) % self.slices:
            raise ValueError(f"{len(self.frames)} frames cannot be phases of {self.slices} slices each")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, height, width)."""
        return len(self.frames), self.height, self.width


@dataclass(frozen=True)
class Label:
    """One label column.

    Attributes:
        name: Unique name, such as ``lv_edv``.
        kind: ``phenotype``, ``covariate`` or ``measurement`` of the ECG (a number in ``unit``), ``disease`` or
            ``finding`` (0 or 1, NaN = unknown), ``time`` (years to the event or to censoring).
        unit: Unit as text, empty where there is none.
        group: Group for averaging in tables, such as ``LV``.
        title: What it is, for tables and figures.
    """

    name: str
    kind: str
    unit: str
    group: str
    title: str

    def __post_init__(self) -> None:
        if self.kind not in LABEL_KINDS:
            raise ValueError(f"label {self.name}: kind {self.kind!r} is not one of {', '.join(LABEL_KINDS)}")

    @property
    def is_binary(self) -> bool:
        """Whether the values are 0 and 1."""
        return self.kind in BINARY_KINDS


@dataclass(frozen=True)
class Layout:
    """Everything that must agree between the shards of one cohort.

    Attributes:
        ecg: The ECG records, or None if the cohort has none.
        cmr: The frames, or None if the cohort has none.
        labels: Label columns in storage order, names unique.
        preparation: The parameters of the preparation; JSON-able and free of anything about a subject or a machine.
    """

    ecg: ECGLayout | None
    cmr: CMRLayout | None
    labels: tuple[Label, ...] = ()
    preparation: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        names = self.label_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"label names must be unique: {', '.join(twice)}")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the label columns in storage order."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def canonical_json(self) -> str:
        """The layout as JSON with sorted keys, no spaces and ASCII only: equal layouts give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) of the canonical JSON."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists."""
        content = json.loads(json.dumps(asdict(self)))
        if self.cmr is not None and not self.cmr.mask:
            del content["cmr"]["mask"]
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Layout:
        """Rebuild a layout.

        Raises:
            ValueError: If a key is missing, unknown or holds something impossible.
        """
        check_layout(content)
        try:
            ecg, cmr = content["ecg"], content["cmr"]
            return cls(
                ecg=None if ecg is None else ECGLayout(**ecg),
                cmr=None if cmr is None else CMRLayout(**cmr),
                labels=tuple(Label(**label) for label in content["labels"]),
                preparation=dict(content["preparation"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a layout: {error}") from error
