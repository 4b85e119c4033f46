"""`README.md` of a model folder: a model card in Hugging Face's form, made of `model.yaml` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from ecgcmr.inference.model_entries import MetricEntry, ModelDescription, TargetEntry
from ecgcmr.text import markdown_cell

_WARNING = (
    "**Research use only. This is not a medical device.** It has not been evaluated or approved for diagnosis, "
    "screening or treatment, and its numbers must not decide about the care of anybody."
)
_KINDS = {"number": "regression", "yes/no": "classification", "event": "time to event"}
_MOST_METRICS = 400  # rows of a table that somebody reads


def card_text(description: ModelDescription) -> str:
    """Return the card.

    Args:
        description: Of a model.
    """
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(description), sort_keys=False, allow_unicode=True)}---",
        f"# {markdown_cell(description.name)}",
        _WARNING,
        *_use(description),
        *_input(description),
        *_training(description),
        *_results(description),
        *_limits(description),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(description: ModelDescription) -> dict[str, Any]:
    results = [
        {
            "task": {"type": "other", "name": f"{target.title} ({_KINDS[target.kind]})"},
            "dataset": {"type": "private", "name": "held-out test split"},
            "metrics": [{"type": entry.metric, "value": _rounded(entry.value)} for entry in whole],
        }
        for target in description.targets
        if (whole := [entry for entry in target.metrics if entry.subgroup == "all" and entry.value is not None])
    ]
    index = [{"name": description.name, "results": results}] if results else []
    return {
        "library_name": "ecgcmr",
        "pipeline_tag": "feature-extraction",
        "tags": ["ecg", "cardiology", "electrocardiogram", "research-use-only", "not-a-medical-device"],
        **({"model-index": index} if index else {}),
    }


def _use(description: ModelDescription) -> list[str]:
    what = "an embedding"
    if description.targets:
        what += f" and predictions of {len(description.targets)} targets"
    code = [
        "```python",
        "import ecgcmr",
        "",
        'model = ecgcmr.load("DIR")  # this folder, or hf://OWNER/NAME',
        'embedding = model.embed("recording.xml")',
        *(['prediction = model.predict("recording.xml")'] if description.targets else []),
        "```",
    ]
    return [
        "## Intended use",
        f"From a resting 12-lead ECG the model gives {what}, for research on cohorts: which traits of the heart an ECG "
        "carries, how groups differ, who might be worth a cardiac MRI in a study. Not intended: diagnosis of anybody, "
        "children, ECGs under exercise, single-lead or ambulatory recordings, images of ECGs.",
        "\n".join(code),
    ]


def _input(description: ModelDescription) -> list[str]:
    made = description.preparation
    steps = [next(iter(step.items())) for step in made.cleaning.get("steps", []) if isinstance(step, dict) and step]
    shown = [f"{name} ({', '.join(f'{k} {v}' for k, v in (values or {}).items())})" for name, values in steps]
    samples = description.encoder.input_spec["samples"]
    seconds, window = made.samples / made.sampling_rate, samples / made.sampling_rate
    short = "refused" if made.short == "reject" else "continued with missing samples"
    covariates = [f"Beside the ECG it takes {_listed(description.covariates)}."] if description.covariates else []
    return [
        "## Input",
        f"{seconds:g} s at {made.sampling_rate:g} Hz in the leads {', '.join(made.leads)} (unit after preparation: "
        f"{made.unit}); shorter recordings are {short}, of longer ones the {made.window} part is taken. Cleaning: "
        f"{markdown_cell('; '.join(shown), 2000)}. The encoder looks at {description.windows} evenly spaced window(s) "
        f"of {window:g} s, whose features are averaged. All of it is done by the library, from any supported file.",
        *covariates,
    ]


def _training(description: ModelDescription) -> list[str]:
    about = description.training
    counts = ", ".join(f"{count:,} {split}" for split, count in about.subjects.items())
    entries = {
        "Subjects with an ECG": counts or "not known",
        "Labelled training recordings of the heads": None if about.labels is None else f"{about.labels:,}",
        "Method": about.method,
        "Stages": " then ".join(about.stages) or None,
        "Started from": about.parent,
        "Experiment": about.experiment,
        "Why this method": about.choice,
        "Fingerprint of the prepared data": about.fingerprint,
        "Encoder": description.encoder.class_path,
        "Version of ecgcmr": description.code_version,
    }
    lines = [f"- {name}: {markdown_cell(value, 500)}" for name, value in entries.items() if value is not None]
    return ["## Training data", "\n".join(lines), "The data themselves are no part of this folder."]


def _results(description: ModelDescription) -> list[str]:
    if not description.targets:
        return []
    rows = [(target, entry) for target in description.targets for entry in target.metrics]
    parts = ["## Results"]
    if not rows:
        parts.append("Not assessed: no metrics were known when this folder was written.")
    whole = [row for row in rows if row[1].subgroup == "all"]
    others = [row for row in rows if row[1].subgroup != "all"]
    if whole:
        parts += ["On the test split, with 95 % intervals over subjects:", _table(whole)]
    if others:
        parts += ["### Subgroups", _table(others[:_MOST_METRICS])]
        if len(others) > _MOST_METRICS:
            parts.append(f"{len(others) - _MOST_METRICS:,} more rows are in `model.yaml`.")
    calibrated = [target for target in description.targets if target.calibration is not None]
    if calibrated:
        parts += ["### Calibration of risks on the validation split", _calibrations(calibrated)]
    return parts


def _table(rows: Sequence[tuple[TargetEntry, MetricEntry]]) -> str:
    lines = [
        "| target | unit | subgroup | metric | value | 95 % interval | subjects |",
        "|---|---|---|---|---|---|---|",
    ]
    for target, entry in rows:
        bounds = "" if entry.low is None or entry.high is None else f"{_short(entry.low)} to {_short(entry.high)}"
        cells = (
            target.title,
            target.unit,
            entry.subgroup,
            entry.metric,
            _short(entry.value),
            bounds,
            f"{entry.subjects:,}",
        )
        lines.append(f"| {' | '.join(markdown_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _calibrations(targets: Sequence[TargetEntry]) -> str:
    lines = [
        "| target | method | ECE before | ECE after | Brier before | Brier after | subjects |",
        "|---|---|---|---|---|---|---|",
    ]
    for target in targets:
        found = target.calibration
        if found is not None:
            numbers = (found.ece_before, found.ece_after, found.brier_before, found.brier_after)
            cells = (target.title, found.method, *(_short(value) for value in numbers), f"{found.subjects:,}")
            lines.append(f"| {' | '.join(markdown_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _head(*titles: str) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def _limits(description: ModelDescription) -> list[str]:
    lines = [
        "Its numbers hold for recordings like those it was trained on: same kind of population, devices, preparation.",
        "A prediction from an ECG is no measurement by MRI; see the intervals.",
    ]
    if description.distance is None:
        lines.append("It cannot tell a recording that is unlike its training data: no distance was fitted.")
    elif description.distance.threshold is not None:
        lines.append(
            f"Recordings farther from the training data than {description.distance.level:.0%} of such subjects are "
            "refused; that a recording is near does not make its prediction right."
        )
    without = [target.title for target in description.targets if target.kind == "number" and target.interval is None]
    if without:
        lines.append(f"No prediction interval: {_listed(without)}.")
    return ["## Limits", "\n".join(f"- {line}" for line in lines)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(markdown_cell(name) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
