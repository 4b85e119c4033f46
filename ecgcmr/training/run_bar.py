"""The progress bar of a run: one line however narrow the terminal is, with the numbers of the fit behind the time."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class RunBar(RichProgressBar):
    """Rich's bar, where Lightning's wraps the numbers over several lines as soon as they do not fit.

    Attributes:
        numbers: Behind the bar of an epoch: name -> text or number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, Any] = {}

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
        """Keep the numbers for this bar's column; Lightning's own gets none."""
        self.numbers = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if value != ""}
        return {}

    def _get_train_description(self, current_epoch: int) -> str:
        """Return what stands before the bar: of epochs whose number is open, as under a budget, no last one."""
        text = super()._get_train_description(current_epoch)
        return text.replace("/-2", "") if self.trainer.max_epochs == -1 else text

    def configure_columns(self, trainer: Any) -> list[Any]:
        """Return what the line is made of, from left to right."""
        whole: dict[str, Any] = {"table_column": Column(no_wrap=True)}  # what does not fit is taken off the numbers
        return [
            TextColumn("{task.description}", **whole),
            BarColumn(bar_width=12, **whole),
            MofNCompleteColumn(**whole),
            TimeElapsedColumn(**whole),
            TextColumn("left", style="dim", **whole),
            TimeRemainingColumn(**whole),
            Numbers(self),
        ]


class Numbers(ProgressColumn):
    """Loss, learning rate and the like, cut off at the end of the line.

    Args:
        bar: Has them.
    """

    def __init__(self, bar: RunBar) -> None:
        super().__init__()
        self.bar = bar

    def render(self, task: Task) -> Text:
        """Return the numbers as text, of the bar of an epoch alone."""
        if task.id != self.bar.train_progress_bar_id:
            return Text()
        words = (f"{name} {value}" for name, value in self.bar.numbers.items())
        return Text("  ".join(words), no_wrap=True, overflow="ellipsis")
