"""The schema of an experiment file: what may be written in it, or overridden on the command line, stands here alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgcmr.evaluation.methods import OF_RANDOM_WEIGHTS
from ecgcmr.experiments.plan_checks import FRACTION, LEAST_LABELS, MEASURED
from ecgcmr.shipped_configs import config_at

FOCUS = "mae+alignment"
"""The method that is compared with every other where the file names none under ``gain``."""


@dataclass(frozen=True)
class CohortPlan:
    """Where the shards come from: exactly one entry is given.

    Attributes:
        synthesize: Arguments of ``ecgcmr synthesize`` without ``--out`` and ``--format``, such as ``{subjects: 2000}``.
        prepare: Arguments of ``ecgcmr prepare`` without ``--out``, such as ``{ecg: DIR, table: [CSV]}``.
        root: Folder of shards that are there already.
    """

    synthesize: dict[str, Any] | None = None
    prepare: dict[str, Any] | None = None
    root: str | None = None


@dataclass(frozen=True)
class StagePlan:
    """One pre-training stage.

    Attributes:
        config: Config file for ``ecgcmr fit``, relative to the experiment file.
        start_from: Config entry (such as ``ecg_encoder_weights``) -> name of the stage whose encoder goes there.
        set: Overrides, dotted as on the command line: ``{trainer.max_epochs: 10}``.
        encoder: Its ECG encoder, by ``class_path`` and ``init_args`` or the path of a file that holds them; empty: that
            of the whole experiment, else the config's.
        cohort: Names under ``cohorts`` of what it is trained on; several are one training set. A single name may stand
            without a list. Empty: the only cohort.
    """

    config: str
    start_from: dict[str, str] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    cohort: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EncoderPlan:
    """An ECG encoder that is compared as it is given, such as a published one.

    Attributes:
        encoder: Its ``class_path`` and ``init_args``, or the path of a file that holds them; empty: as ``weights``
            says.
        weights: Folder of ``ecgcmr import-weights`` or run folder, relative to the experiment file; None: random
            weights, which the tables say.
        set: Overrides of the tasks' configs where it is fine-tuned or probed by attention; a probe's learning rate is
            its own.
    """

    encoder: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskPlan:
    """What is predicted from the ECG.

    Attributes:
        task: ``regression``, ``classification`` or ``time_to_event``.
        targets: Label names or groups of them as declared in the shards' index, such as ``LV`` or ``cad_ever``; for
            ``time_to_event`` diseases such as ``cad``, which stand for ``cad_incident`` and ``cad_years``. With a
            prepared cohort also ``every number``, ``every yes/no`` or ``every event`` that it has.
        finetune: Config file of the downstream stage, relative to the experiment file; None: no fine-tuning.
        set: Overrides of that config.
        separately: Fine-tune one model for each ``target`` or each ``group`` of targets; None: one for all.
        cohort: Name under ``cohorts`` of the one whose labels are predicted; empty: the only cohort.
    """

    task: str
    targets: list[str]
    finetune: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    separately: str | None = None
    cohort: str = ""


@dataclass(frozen=True)
class SupervisedPlan:
    """A network trained on the labels alone, from random weights, by the tasks' fine-tuning configs.

    Attributes:
        encoder: Its ``class_path`` and ``init_args``, or the path of a file that holds them; empty takes those of
            ``random_encoder_of``.
        set: Overrides of the tasks' configs, such as another learning rate.
    """

    encoder: dict[str, Any] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GainPlan:
    """The one comparison that the experiment is about, told in a paragraph of results.md.

    Attributes:
        method: Whose gain; fine-tuned where it was, else by its linear probe.
        over: The best of these, by its mean test score over all targets, is the reference.
        task: Name of a regression task.
        labels: One entry of ``labels``.
        published: A published gain in per cent to show beside, or None.
        source: Where it is published.
    """

    method: str
    over: list[str]
    task: str
    labels: int | str
    published: float | None = None
    source: str = ""


@dataclass(frozen=True)
class InterpretationPlan:
    """What is to be shown of what a stage learned, as ``ecgcmr explain`` shows it of the test split.

    Attributes:
        method: A stage.
        kinds: Analyses; empty: all that the stage can be given.
        subjects: At most so many.
        targets: What attribution is about: outputs of the linear probe on the stage's encoder. Empty: of an alignment
            the similarity with the own image; of another stage no attribution.
        cohort: Name under ``cohorts``; empty: the first that the stage was trained on.
    """

    method: str
    kinds: list[str] = field(default_factory=list)
    subjects: int = 500
    targets: list[str] = field(default_factory=list)
    cohort: str = ""


@dataclass(frozen=True)
class PublishedPlan:
    """Scores of others, shown beside ours and marked as theirs.

    Attributes:
        method: What was trained, such as ``S4, from scratch``.
        source: Where it is published.
        scores: Task -> value of the metric that leads the task's tables, a mean over its targets; or task -> entry of
            ``labels`` -> value. A single value stands under ``all``; null says that none is published.
    """

    method: str
    source: str
    scores: dict[str, Any]


@dataclass(frozen=True)
class EvaluationPlan:
    """How encoders are compared.

    Attributes:
        tasks: Name -> task.
        labels: Numbers of labelled training recordings, parts of them such as ``10 %``, or ``all``.
        linear_probe: Methods probed: ``random`` or names of stages and encoders; ``every encoder`` stands here, and in
            the next entries, for all under ``encoders``.
        layer_probe: Of these, methods whose layers are probed too, one by one; validation chooses the layer.
        attention_probe: Methods on whose frozen tokens an attention pooling and a head are trained, by the tasks'
            configs: names of stages and encoders.
        finetune: Methods fine-tuned: ``scratch`` (random weights), or names under ``supervised``, of stages or of
            encoders.
        finetune_labels: Labels fine-tuning is run with; the same as ``labels`` if empty.
        teacher: Alignment whose image encoder labels the recordings that have no label: by a linear probe on its
            features, fitted on the labelled ones.
        taught_probe: Methods under ``linear_probe`` whose probes are fitted on labels and on what the teacher says.
        taught: Methods, of those that may stand under ``finetune``, trained on the same; both in tasks of regression.
        taught_labels: Labels that both are run with; those of ``labels`` and of fine-tuning but ``all`` if empty.
        supervised: Name -> network trained from random weights; ``scratch`` may stand here too, for its overrides.
        baselines: Any of ``BASELINES``.
        stack: Name -> methods that it combines: two or more under ``linear_probe`` and ``baselines``.
        random_encoder_of: Stage or encoder whose encoder config, with random weights, is the ``random`` and ``scratch``
            encoder.
        seeds: Of label subsets, random encoders and probes; results are means over them. Empty: the plan's seed.
        finetune_seeds: Seeds of what takes long: fine-tuning and gradient boosting. Empty: the first of ``seeds``.
        resamples: Bootstrap resamples behind each interval.
        windows: Windows spread evenly over each recording, whose features are averaged for probes and for what
            fine-tuned networks predict; 1 looks at the first samples alone.
        gain: The comparison that the experiment is about.
        against: Fine-tuned or supervised methods: paired differences are those to the one of them that reads best on
            the validation split, for each task and number of labels; empty: as without.
        costs: Whether what each network costs is measured and stands in the tables.
        metrics: Metrics of your own beside the built-in ones, ``package.module:NAME`` each.
    """

    tasks: dict[str, TaskPlan]
    labels: list[int | str]
    linear_probe: list[str] = field(default_factory=list)
    layer_probe: list[str] = field(default_factory=list)
    attention_probe: list[str] = field(default_factory=list)
    finetune: list[str] = field(default_factory=list)
    finetune_labels: list[int | str] = field(default_factory=list)
    teacher: str | None = None
    taught_probe: list[str] = field(default_factory=list)
    taught: list[str] = field(default_factory=list)
    taught_labels: list[int | str] = field(default_factory=list)
    supervised: dict[str, SupervisedPlan] = field(default_factory=dict)
    baselines: list[str] = field(default_factory=list)
    stack: dict[str, list[str]] = field(default_factory=dict)
    random_encoder_of: str = "mae"
    seeds: list[int] = field(default_factory=list)
    finetune_seeds: list[int] = field(default_factory=list)
    resamples: int = 1000
    windows: int = 1
    gain: GainPlan | None = None
    against: list[str] = field(default_factory=list)
    costs: bool = False
    metrics: list[str] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        """Every method that is compared."""
        trained = [*self.linear_probe, *self.layer_probe, *self.attention_probe, *self.finetune, *self.taught]
        return list(dict.fromkeys([*trained, *self.baselines, *self.stack]))

    def lessons(self, labels: Sequence[int | str]) -> list[int | str]:
        """Return the labels that are taught beside ``labels``: ``taught_labels``, or all of these but ``all``."""
        return self.taught_labels or [entry for entry in labels if entry != "all"]

    @property
    def compared(self) -> tuple[tuple[str, str], ...]:
        """Each stack with its parts, with what is measured without a network, and with the stacks before it."""
        pairs, earlier = list[tuple[str, str]](), list[str]()
        for name, parts in self.stack.items():
            measured = [baseline for baseline in self.baselines if baseline in MEASURED]
            pairs += [(name, reference) for reference in dict.fromkeys([*parts, *measured, *earlier])]
            earlier.append(name)
        return tuple(pairs)


@dataclass(frozen=True)
class Plan:
    """A whole experiment.

    Attributes:
        path: The experiment file, and no entry of it; relative paths in it start from its folder.
        cohort: Where the shards come from; without any entry where there are ``cohorts``.
        stages: Name -> pre-training stage, in the order they run.
        evaluation: How encoders are compared.
        seed: Seed of pre-training and bootstrap, and of everything else where ``evaluation.seeds`` is empty.
        description: One line for the head of the results.
        encoder: ``class_path`` and ``init_args`` of the ECG encoder of every stage that names none, or the path of a
            file that holds them, such as ``../encoders/ecg_cnn.yaml``; None: each stage's config has its own.
        interpretation: What is shown of what a stage learned; None: nothing.
        published: Scores of others that stand beside ours in the tables.
        encoders: Name -> encoder that no stage of this experiment trains.
        cohorts: Name -> where its shards come from, in place of ``cohort``: each stage and task names its own.
    """

    path: Path
    cohort: CohortPlan
    stages: dict[str, StagePlan]
    evaluation: EvaluationPlan
    seed: int = 0
    description: str = ""
    encoder: dict[str, Any] | None = None
    interpretation: InterpretationPlan | None = None
    published: list[PublishedPlan] = field(default_factory=list)
    cohorts: dict[str, CohortPlan] = field(default_factory=dict)
    encoders: dict[str, EncoderPlan] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """Return a path named in the plan, relative to the plan's own folder, or the shipped config of that name."""
        path = self.path.parent / name
        return (path if path.exists() else config_at(name, self.path.parent) or path).resolve()

    @property
    def seeds(self) -> list[int]:
        """Seeds of label subsets, random encoders and probes."""
        return self.evaluation.seeds or [self.seed]

    @property
    def finetune_seeds(self) -> list[int]:
        """Seeds of fine-tuning and gradient boosting."""
        return self.evaluation.finetune_seeds or self.seeds[:1]

    def shown(self, method: str) -> str:
        """Return what tables call a method: an encoder that was given no weights is a random one."""
        given = self.encoders.get(method)
        return f"{method}{OF_RANDOM_WEIGHTS}" if given is not None and given.weights is None else method

    @property
    def focus(self) -> str | None:
        """The method that is compared with every other, None where it does not take part."""
        focus = FOCUS if self.evaluation.gain is None else self.evaluation.gain.method
        return focus if focus in self.evaluation.methods else None


def amount_of(label: int | str, available: int) -> int:
    """Return how many of ``available`` labelled subjects an entry of ``labels`` asks for."""
    if label == "all":
        return available
    if isinstance(label, int):
        return label
    match = FRACTION.fullmatch(label)
    if match is None:
        raise ValueError(f"labels {label!r}: neither a number, 'all' nor a part such as '10 %'")
    return max(LEAST_LABELS, round(float(match[1]) / 100.0 * available))
