"""The arguments of ``fit``, ``validate``, ``test`` and ``predict`` beside those of stage, data and trainer."""

from __future__ import annotations

import functools
import operator
from typing import Literal, get_args

import jsonargparse

from ecgcmr.training.budget_plan import Budget
from ecgcmr.training.candidates import Candidate
from ecgcmr.training.final_weights import FinalWeights
from ecgcmr.training.run_record import RESUME_OPTION


def add_stage_arguments(parser: jsonargparse.ArgumentParser, command: str) -> None:
    """Declare what a config may say at its top level: how a run computes, and what a fit does before and after.

    Args:
        parser: Of the command.
        command: ``fit``, ``validate``, ``test`` or ``predict``, which share config files.
    """
    parser.add_argument("--compile", type=bool, default=False, help="torch.compile the networks (default: false)")
    parser.add_argument(
        "--overflow_steps",
        type=int,
        default=20,
        help="steps in a row whose gradients may overflow under 16-mixed before a fit stops (default: 20)",
    )
    parser.add_argument(
        "--accept_other_preparation",
        type=bool,
        default=False,
        help="go on with weights that were trained on recordings of another preparation (default: false)",
    )
    parser.add_argument(
        "--budget",
        type=Budget | None,
        default=None,
        help="of a fit: until validation is flat, within steps derived from the training rows (default: null, "
        "trainer.max_epochs and its callbacks)",
    )
    parser.add_argument(
        "--search",
        type=list[Candidate] | None,
        default=None,
        help="of a fit: candidates of which validation chooses one by short fits before it, or a file of them "
        "(default: null, the settings as they stand)",
    )
    parser.add_argument(
        "--find",
        type=list[Literal["batch_size", "learning_rate"]] | None,
        default=None,
        help="of a fit: what to look for before it, [batch_size] (that fits into the memory of a GPU), [learning_rate] "
        "or both (default: null, the settings as they stand)",
    )
    parser.add_argument(
        "--final_weights",
        type=FinalWeights | None,
        default=None,
        help="which weights a fit hands on: averaged over its steps, and between its start and its best; null: "
        "those of the best validation as they are (default: null)",
    )
    if command == "predict":
        parser.add_argument(
            "--out",
            type=str | None,
            default=None,
            metavar="PLACE",
            help="folder to write to, or a table .parquet or .csv (default: the run folder)",
        )
    if command == "fit":
        parser.add_argument(
            "--resume_with_changes",
            RESUME_OPTION,
            action="store_true",
            help="go on from ckpt_path with other settings than it was trained with",
        )


def keep_whole_numbers(parser: jsonargparse.ArgumentParser) -> None:
    """Let what takes a count or a share, such as ``limit_train_batches``, read 1 as a count and 1.0 as a share.

    The parser tries the types of a union in their order. ``typing`` hands out a union it made before, whatever the
    order then was, so what has been imported would decide whether one batch is meant or all of them.

    Args:
        parser: Its arguments' types are changed.
    """
    for action in parser._actions:
        types = get_args(getattr(action, "_typehint", None))
        if int in types and float in types:
            ordered = [kind for kind in types if kind is not int]
            ordered.insert(ordered.index(float), int)
            action._typehint = functools.reduce(operator.or_, ordered)  # type: ignore[attr-defined]
