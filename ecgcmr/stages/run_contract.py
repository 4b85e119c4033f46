"""What a run was trained for: targets, covariates, leads, windows and preparation, kept with its weights as plain data.

A head's columns have no names. Only with these can a checkpoint refuse to predict one target under the name of another.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.shards.index import ShardIndex
from ecgcmr.shards.recipe import COMPARED, Comparison, Recipe, compare_recipes, measurement_recipe, recipe_of
from ecgcmr.stages.protocol import NO_TARGETS, Stage, StageData


@dataclass(frozen=True)
class Column:
    """A target or covariate.

    Attributes:
        name: Of its label, such as ``lv_edv``.
        kind: Such as ``phenotype``.
        unit: Such as ``mL``; empty where there is none.
    """

    name: str
    kind: str
    unit: str

    def __str__(self) -> str:
        return f"{self.name} ({self.unit or self.kind})"


@dataclass(frozen=True)
class RunContract:
    """What weights were trained for.

    Attributes:
        task: What is learned; empty where the stage does not say.
        targets: In the order of the head's outputs; none in pre-training.
        covariates: Beside the input, in the order of their inputs.
        diseases: Whose time to event is the target.
        inputs: Any of ``ecg``, ``cmr`` and ``measurements``.
        leads: Names of the leads of a batch, in its order.
        sampling_rate: Hz; 0 without ECGs.
        samples: ECG samples of a window; 0 without ECGs.
        evaluation_windows: Windows of a recording in evaluation. A choice of each run, not of the weights.
        leave_out_leads: Marks with which a lead is left out.
        image: Frames, rows and columns; empty without frames.
        measurements: That an ECG is aligned with, in the order of their columns; empty without them.
        preparation: Modality -> recipe.
    """

    task: str
    targets: tuple[Column, ...] = ()
    covariates: tuple[Column, ...] = ()
    diseases: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    sampling_rate: float = 0.0
    samples: int = 0
    evaluation_windows: int = 1
    leave_out_leads: tuple[str, ...] = ()
    image: tuple[int, ...] = ()
    measurements: tuple[Column, ...] = ()
    preparation: dict[str, Recipe] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint or a card."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Any) -> RunContract:
        """Rebuild a contract.

        Raises:
            ValueError: Something is missing, unknown or of another type.
        """
        try:
            plain: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
            }
            for name in ("targets", "covariates", "measurements"):
                plain[name] = tuple(Column(**column) for column in plain.get(name, ()))
            contract = cls(**plain)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not what a run was trained for ({error})") from error
        if not isinstance(contract.task, str) or not isinstance(contract.preparation, dict):
            raise ValueError("not what a run was trained for")
        return contract

    def recipe(self, modality: str) -> Recipe:
        """Return how the recordings of a modality were prepared; empty if that is not known."""
        return self.preparation.get(modality, {})

    def differences(self, other: RunContract) -> list[str]:
        """Say where another run asks for something else than this one was trained for, a phrase each.

        The preparation is left to ``compare_preparation``, evaluation windows to the run.
        """
        found = []
        if self.task != other.task:
            found.append(f"task {self.task or 'unknown'}, the config asks for {other.task or 'another'}")
        targets = "data.diseases" if self.diseases else "data.labels"
        options = (("targets", targets), ("covariates", "data.covariates"), ("measurements", "data.measurements"))
        for name, option in options:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found.append(_columns_differ(name, option, mine, theirs))
        if self.diseases != other.diseases and self.targets == other.targets:
            found.append(f"diseases {_list(self.diseases)}, the config asks for {_list(other.diseases)}")
        for name, title in (("inputs", "input"), ("leads", "leads"), ("image", "frames, rows and columns")):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found.append(f"{title} {_list(mine)}, the data give {_list(theirs)}")
        for name, title in (("sampling_rate", "sampling rate (Hz)"), ("samples", "samples")):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found.append(f"{title} {mine:g}, the data give {theirs:g}")
        return found

    def compare_preparation(self, other: RunContract) -> Comparison:
        """Say where another run's recordings were prepared otherwise, or where that is not known."""
        differences, unknown = list[str](), list[str]()
        for modality in self.inputs:
            if modality in other.inputs and modality in COMPARED:
                # Leads and rate are compared as such.
                drop = ("leads", "sampling_rate")
                mine, theirs = (
                    {name: value for name, value in contract.recipe(modality).items() if name not in drop}
                    for contract in (self, other)
                )
                compared = compare_recipes(mine, theirs, modality)
                differences += compared.differences
                unknown += [f"{modality.upper()} {name}" for name in compared.unknown]
        if self.leave_out_leads != other.leave_out_leads:
            before, now = _list(self.leave_out_leads), _list(other.leave_out_leads)
            differences.append(f"leave_out_leads {before} -> {now}")
        return Comparison(tuple(differences), tuple(unknown))


def contract_between(stage: Stage, data: StageData) -> RunContract:
    """Return what a stage learns from a DataModule, which is set up.

    Raises:
        UserError: The DataModule's index is none of a prepared cohort.
    """
    if not isinstance(data.index, ShardIndex):
        raise UserError(f"{type(data).__name__}: index is a {type(data.index).__name__}; it must be a ShardIndex")
    layout, task = data.index.layout, stage.task
    columns = {label.name: Column(label.name, label.kind, label.unit) for label in layout.labels}
    spec, ecg = data.input_spec, layout.ecg
    names = () if task in NO_TARGETS else data.label_names
    measured = tuple(spec["measurements"]["names"]) if "measurements" in spec else ()
    leads = tuple(data.leads or (ecg.leads if ecg is not None else ())) if "ecg" in spec else ()
    recipes = {name: recipe_of(layout, name, leads or None) for name in spec if name != "measurements"}
    return RunContract(
        task=task,
        targets=tuple(columns[name] for name in names),
        covariates=tuple(columns[name] for name in data.covariate_names),
        diseases=tuple(data.diseases),
        inputs=tuple(spec),
        leads=leads,
        sampling_rate=float(spec["ecg"]["sampling_rate"]) if "ecg" in spec else 0.0,
        samples=int(spec["ecg"]["samples"]) if "ecg" in spec else 0,
        evaluation_windows=int(data.evaluation_windows),
        leave_out_leads=tuple(sorted(data.leave_out_leads)),
        image=tuple(spec["cmr"].values()) if "cmr" in spec else (),
        measurements=tuple(columns[name] for name in measured),
        preparation=recipes | ({"measurements": measurement_recipe(layout, measured)} if measured else {}),
    )


def _columns_differ(title: str, option: str, mine: tuple[Column, ...], theirs: tuple[Column, ...]) -> str:
    names, asked = [column.name for column in mine], [column.name for column in theirs]
    if names == asked:  # the same names with another unit or kind
        pairs = [(column, other) for column, other in zip(mine, theirs, strict=True) if column != other]
        described = [
            _list([f"{c.name} {c.kind} in {c.unit or 'no unit'}" for c in side]) for side in zip(*pairs, strict=True)
        ]
        return f"{title} {described[0]}, this cohort has {described[1]}; prepare its labels alike"
    order = " (the same in another order)" if sorted(names) == sorted(asked) else ""
    listed = ", ".join(name.removesuffix("_incident") if option == "data.diseases" else name for name in names)
    remedy = f"give {option} [{listed}]" if names else f"leave {option} out"
    return f"{title} {_list(mine)}, the config asks for {_list(theirs)}{order}; {remedy}"


def _list(values: Any) -> str:
    words = [str(value) for value in values]
    more = f" and {len(words) - 12} more" if len(words) > 12 else ""
    return f"[{', '.join(words[:12])}{more}]"
