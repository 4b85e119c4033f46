"""What a reader of a table should know of how long a network was trained and what its search chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecgcmr.evaluation.training_ends import ENDS

_AT_START = [
    "validation chose the weights that fine-tuning started from (final_weights, share 0): its scores are those of its "
    "start, which is the probe where its head was one"
]
"""In place of what the search chose, which was not taken."""


def tuning_notes(folder: Path) -> list[str]:
    """Return the notes on a fine-tuned run, from its ``tuning.json``; none where its budget and search were enough.

    Args:
        folder: Its run folder.

    Raises:
        UserError: The file is damaged.
    """
    from ecgcmr.training import tuning_record  # heavy: lightning

    sections = tuning_record.read(folder)
    stayed = sections.get("final_weights", {}).get("share") == 0
    of_search = _AT_START if stayed else _of_search(sections.get("search", {}))
    return [*_of_budget(sections.get("budget", {})), *of_search]


def budget_end(folder: Path) -> str:
    """Return how a fine-tuned run ended where that is to be marked in the table, one of ``ENDS``.

    Args:
        folder: Its run folder.

    Raises:
        UserError: Its ``tuning.json`` is damaged.
    """
    from ecgcmr.training import tuning_record  # heavy: lightning

    ended = tuning_record.read(folder).get("budget", {}).get("ended")
    return ended if ended in ENDS else ""


def _of_budget(budget: dict[str, Any]) -> list[str]:
    ended, steps = budget.get("ended"), budget.get("steps")
    if budget and budget.get("best", 0.0) is None:
        return [
            f"no validation of fine-tuning gave a number ({budget.get('monitor')}): nothing chose its length, "
            "its epoch or its final weights"
        ]
    if ended == "most":
        return [
            f"fine-tuning ended at the most steps of its budget ({steps:,}), not because validation was flat; a larger "
            "budget.most may read better"
        ]
    if ended == "below least":
        return [
            f"fine-tuning ended after {steps:,} steps, below the least of its budget ({budget.get('least'):,}); its "
            "scores are of a network that is not trained to its end"
        ]
    return []


def _of_search(search: dict[str, Any]) -> list[str]:
    if not search.get("outermost"):
        return []
    return [
        f"the search chose the {search['outermost']} learning rate that it tried with these settings "
        f"({search.get('chosen')}); one beyond it may read better"
    ]
