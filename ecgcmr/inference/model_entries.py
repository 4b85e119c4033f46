"""What `model.yaml` says, as dataclasses: the contract between those who write model folders and those who use them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

FORMAT: Final = "ecgcmr-model"
FORMAT_VERSION = 1

TargetKind = Literal["number", "yes/no", "event"]
Head = Literal["ridge", "logistic", "cox", "network"]
Range = tuple[float, float]


@dataclass(frozen=True)
class EncoderEntry:
    """How the encoder is built again, as `encoder.yaml` has it.

    Attributes:
        class_path: Importable name of its class.
        init_args: Plain constructor arguments.
        input_spec: ``kind: ECGInput`` with ``leads``, ``sampling_rate`` and ``samples``.
    """

    class_path: str
    init_args: dict[str, Any]
    input_spec: dict[str, Any]


@dataclass(frozen=True)
class Preparation:
    """How a recording becomes what the model sees; all steps and numbers.

    Attributes:
        version: Of the preparation's code (``preparation.cohort_layout.RECIPE_VERSION``).
        sampling_rate: Hz.
        samples: Samples per lead of a prepared recording.
        leads: Names of the leads that the encoder sees, in its order; a recording is prepared in all twelve.
        unit: ``z-score`` or ``mV``.
        dtype: Type in which shards store a prepared recording, ``float16`` or ``float32``: it is rounded to it.
        cleaning: ``{"steps": [...]}`` of ``preparation.cleaning.Cleaning``.
        short: What happens to a shorter recording, ``reject`` or ``pad``.
        window: Which part of a longer one, ``first``, ``middle`` or ``all``.
        leave_out_leads: Marks (``missing``, ``noisy`` ...) with which a lead is left out; none = all leads are seen.
    """

    version: int
    sampling_rate: float
    samples: int
    leads: list[str]
    unit: Literal["z-score", "mV"]
    dtype: Literal["float16", "float32"]
    cleaning: dict[str, Any]
    short: Literal["reject", "pad"]
    window: Literal["first", "middle", "all"]
    leave_out_leads: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Readout:
    """Attention pooling over the encoder's tokens; its weights are under ``readout.``.

    Attributes:
        pooling: ``attention``.
        heads: Attention heads.
    """

    pooling: Literal["attention"]
    heads: int


@dataclass(frozen=True)
class IntervalEntry:
    """Residuals by which a prediction gets an interval.

    Attributes:
        scores: Start of the tensors' names: ``{scores}.{group}`` is (n,), the sorted absolute residuals of n validation
            subjects (``conformal.ConformalResiduals``).
        groups: Those there are: ``all``, and ``female`` and ``male`` where there were enough of them.
    """

    scores: str
    groups: list[str]


@dataclass(frozen=True)
class CalibrationEntry:
    """How a probability of a yes or no is calibrated, and what that changed on the validation rows.

    Attributes:
        method: ``isotonic``, ``platt``, or ``none`` where probabilities stay as they are.
        points: Name of the tensor (2, p): raw and calibrated probabilities (``calibration.apply_points``).
        ece_before: Expected calibration error before; None where it is undefined.
        ece_after: The same after, cross-fitted.
        brier_before: Brier score before.
        brier_after: The same after.
        subjects: Validation subjects.
        events: Those of them with the event.
        reason: Why probabilities stay as they are; None if they do not.
    """

    method: Literal["isotonic", "platt", "none"]
    points: str
    ece_before: float | None
    ece_after: float | None
    brier_before: float | None
    brier_after: float | None
    subjects: int
    events: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class MetricEntry:
    """One metric on the test split, with its 95 % interval.

    Attributes:
        metric: Such as ``r2`` or ``auroc``.
        value: None where undefined.
        low: Lower end.
        high: Upper end.
        subjects: Test subjects.
        subgroup: ``all``, or a subgroup such as ``female``.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    subjects: int
    subgroup: str = "all"


@dataclass(frozen=True)
class TargetEntry:
    """One target, in the order of the head's rows.

    Attributes:
        name: Such as ``lv_edv``.
        title: For people.
        kind: ``number``, ``yes/no`` or ``event``.
        unit: Empty where there is none.
        group: Such as ``LV``.
        head: ``ridge``, ``logistic``, ``cox`` or ``network``; the row of the head gives the target's own unit, a logit
            (yes/no) or a log risk (event).
        plausible: Values that a living subject can have, or None.
        reference: ``female`` and ``male`` -> 2.5 and 97.5 % of the training subjects, None where there were too few.
        interval: None where there is none.
        calibration: Of yes/no; None where there is none.
        metrics: On the test split.
    """

    name: str
    title: str
    kind: TargetKind
    unit: str
    group: str
    head: Head
    plausible: Range | None = None
    reference: dict[str, Range | None] | None = None
    interval: IntervalEntry | None = None
    calibration: CalibrationEntry | None = None
    metrics: list[MetricEntry] = field(default_factory=list)


@dataclass(frozen=True)
class DistanceEntry:
    """How far from the training recordings an embedding may lie; ``distance.mean`` (D,), ``distance.factor`` (D, D).

    Attributes:
        method: ``mahalanobis``.
        threshold: Largest distance of what is taken for one of them; None where too few subjects could set one.
        level: Share of new subjects of the same population within it.
        subjects: Validation subjects that it was set on.
    """

    method: Literal["mahalanobis"]
    threshold: float | None
    level: float
    subjects: int


@dataclass(frozen=True)
class TrainingEntry:
    """What trained the model: counts and fingerprints alone.

    Attributes:
        subjects: ``train``, ``val`` and ``test`` -> number of subjects.
        fingerprint: Of the prepared data, or None.
        experiment: Name of the experiment file, or None.
        method: Of the experiment, such as ``alignment``, or None.
        labels: Labelled training recordings of the heads, or None.
        seed: Of their choice, or None.
        stages: Names of the stages, first one first.
        parent: Name of the run that the encoder started from, or None.
        choice: Why this method was taken, or None.
    """

    subjects: dict[str, int] = field(default_factory=dict)
    fingerprint: str | None = None
    experiment: str | None = None
    method: str | None = None
    labels: int | None = None
    seed: int | None = None
    stages: list[str] = field(default_factory=list)
    parent: str | None = None
    choice: str | None = None


@dataclass(frozen=True)
class OnnxEntry:
    """`model.onnx` and how near it comes to torch.

    Attributes:
        sha256: Of the file.
        opset: Version of ONNX's operators.
        max_difference: Largest difference from torch at export.
    """

    sha256: str
    opset: int
    max_difference: float


@dataclass(frozen=True)
class ModelDescription:
    """All of `model.yaml`.

    Attributes:
        name: Of the method or run.
        code_version: Of this package when it was written.
        sha256: Of `model.safetensors`.
        encoder: See ``EncoderEntry``.
        preparation: See ``Preparation``.
        windows: Evenly spaced windows of a recording, whose features are averaged.
        readout: None: the encoder's own pooling.
        covariates: Names, in the order of the head's columns after the features.
        targets: None for a pre-trained encoder, which gives embeddings alone.
        distance: None where there is none.
        training: See ``TrainingEntry``.
        onnx: None without `model.onnx`.
    """

    name: str
    code_version: str
    sha256: str
    encoder: EncoderEntry
    preparation: Preparation
    windows: int = 1
    readout: Readout | None = None
    covariates: list[str] = field(default_factory=list)
    targets: list[TargetEntry] = field(default_factory=list)
    distance: DistanceEntry | None = None
    training: TrainingEntry = field(default_factory=TrainingEntry)
    onnx: OnnxEntry | None = None
    format: Literal["ecgcmr-model"] = FORMAT
    version: int = FORMAT_VERSION

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets, in the order of the head's rows."""
        return tuple(target.name for target in self.targets)
