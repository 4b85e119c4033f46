"""From the names in a config to label columns: groups, diseases with their times, covariates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ecgcmr.errors import UserError
from ecgcmr.shards.index import ShardIndex
from ecgcmr.shards.layout import Label

EVENT, TIME = "{}_incident", "{}_years"
"""Names of a disease's labels: whether it came after imaging, and after how many years it came or follow-up ended. A
declared event has its name alone for the first."""
BODY_SIZE = frozenset(("height", "weight", "bmi"))
"""Any two of these give the third."""


def expand_groups(known: Sequence[Label], names: Sequence[str]) -> list[str]:
    """Replace names of groups by all their labels in the order of the cohort; times to event belong to no group.

    A name that is both stands for the label. What is there twice is kept once.

    Raises:
        UserError: If a name is neither; the message lists the groups.
    """
    groups: dict[str, list[str]] = {}
    for label in known:
        if label.kind != "time" and label.group:
            groups.setdefault(label.group, []).append(label.name)
    labels = {label.name for label in known}
    for name in names:
        if name not in labels and name not in groups:
            alike = [group for group in groups if group.lower() == name.lower()]
            if alike:
                raise UserError(f"labels: there is no {name!r}; the group is written {alike[0]}")
            if len(name) <= 3 and groups:  # no label, but maybe meant as a group
                raise UserError(f"labels: {name!r} is neither a label nor a group; groups are {', '.join(groups)}")
    return _members(names, labels, groups)


def disease_labels(index: ShardIndex, diseases: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names of the event and of the time of each disease; a group stands for all of its diseases.

    Raises:
        UserError: If a cohort lacks a disease (the message lists those it has), or one is named twice.
    """
    names = set(index.label_names)
    stems = [label.name.removesuffix(TIME.format("")) for label in index.layout.labels if label.kind == "time"]
    events = {stem: next((n for n in (EVENT.format(stem), stem) if n in names), None) for stem in stems}
    there = {stem: event for stem, event in events.items() if event is not None and TIME.format(stem) in names}
    groups: dict[str, list[str]] = {}
    for label in index.layout.labels:
        if label.name in map(TIME.format, there):
            groups.setdefault(label.group, []).append(label.name.removesuffix(TIME.format("")))
    unknown = [name for name in diseases if name not in there and name not in groups]
    if unknown:
        has = ", ".join(there) or "none with time to event"
        raise UserError(f"diseases: {', '.join(unknown)} is not in the cohort, which has {has}")
    if len(set(diseases)) < len(diseases):
        raise UserError(f"diseases [{', '.join(diseases)}]: name each once")
    return [(there[name], TIME.format(name)) for name in _members(diseases, there, groups)]


def _members(names: Sequence[str], known: Collection[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Replace groups by their members; a name that is both stands for itself. What is there twice is kept once."""
    return list(dict.fromkeys(m for name in names for m in ([name] if name in known else groups.get(name, [name]))))


def check_covariates(index: ShardIndex, covariates: Sequence[str], targets: Sequence[str]) -> None:
    """Check that covariates are such, and give no target away.

    Raises:
        UserError: A covariate is unknown, named twice, of another kind or a target too, or two of height, weight and
            body-mass index are to predict the third.
    """
    columns = index.label_columns(covariates)
    labels = index.layout.labels
    other = [labels[column] for column in columns if labels[column].kind != "covariate"]
    if other:
        has = ", ".join(label.name for label in labels if label.kind == "covariate") or "none"
        raise UserError(f"covariates: {other[0].name} is a {other[0].kind}; the cohort's covariates are {has}")
    if len(set(covariates)) < len(covariates):
        raise UserError(f"covariates [{', '.join(covariates)}]: name each once")
    both = [name for name in covariates if name in targets]
    if both:
        raise UserError(f"covariates: {', '.join(both)} is a target too (labels); the model would be given its answer")
    known = determined(covariates, targets)
    if known:
        given = " and ".join(sorted(BODY_SIZE & set(covariates)))
        raise UserError(f"covariates: {given} give the target {', '.join(known)}")


def determined(given: Collection[str], targets: Sequence[str]) -> list[str]:
    """Return the targets that a model would be given, or could compute, from other labels of the same person.

    Args:
        given: Names of labels that a model or baseline is given, all of them together.
        targets: Names of what is predicted.
    """
    body_size = BODY_SIZE if len(BODY_SIZE & set(given)) >= 2 else frozenset()
    return [name for name in targets if name in given or name in body_size]
