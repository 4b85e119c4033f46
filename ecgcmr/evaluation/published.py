"""Scores that others have published, which stand beside ours in tables and are never ranked with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """One score as others have published it: on their own training subjects and windows, without an interval of ours.

    Attributes:
        method: What was trained, in their words or ours.
        source: Where it is published.
        task: Kind of the task beside which it is shown.
        task_name: Name of that task.
        metric: Key of the metric: the one that leads the task's tables, as a mean over its targets.
        asked: Entry of ``labels`` that it is shown under, such as ``all`` or ``10 %``.
        labels: Labelled training recordings that this entry was for us; None where we have not run it.
        value: The score.
    """

    method: str
    source: str
    task: str
    task_name: str
    metric: str
    asked: str
    labels: int | None
    value: float

    @property
    def title(self) -> str:
        """Name of its line; it says of how many labels, where no column of ours does."""
        return f"{self.method} (published)" if self.labels is not None else f"{self.method} (published, {self.asked})"
