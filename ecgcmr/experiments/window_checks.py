"""Whether recordings have room for ``evaluation.windows``, told before the first stage is trained.

How much of a recording an encoder takes is known then: it stands in the config of the stage that trains it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import jsonargparse
from torch import nn

from data_modules import ShardIndex
from ecgcmr.errors import UserError
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.stage_runs import StageRun


def check_windows(plan: Plan, index: ShardIndex) -> None:
    """Hold the number of windows against the recordings and the input length of every encoder that is compared.

    An encoder of another make, whose arguments do not tell a length, is checked when its features are taken.

    Args:
        plan: The experiment. With a single window there is nothing to check: no config is read.
        index: Its cohort.

    Raises:
        UserError: If recordings have fewer places for the windows of an encoder, or a config cannot be read.
    """
    windows, ecg = plan.evaluation.windows, index.layout.ecg
    if windows == 1 or ecg is None:
        return
    for encoder, samples in _input_lengths(plan).items():
        places = max(0, ecg.samples - samples + 1)
        if windows > places:
            most = f"set it to {'1' if places == 1 else f'at most {places:,}'} or " if places else ""
            raise UserError(
                f"{plan.path.name}: evaluation.windows is {windows}, but a window of {samples:,} samples, the input of "
                f"{encoder}, has {places:,} place{'' if places == 1 else 's'} in recordings of {ecg.samples:,}; {most}"
                "give the encoder fewer samples"
            )


def _input_lengths(plan: Plan) -> dict[str, int]:
    """Return stage or supervised network -> samples that its encoder takes, of those that the evaluation compares."""
    evaluation = plan.evaluation
    networks = {name: network.encoder for name, network in evaluation.supervised.items() if network.encoder}
    compared = {*evaluation.linear_probe, *evaluation.finetune} - networks.keys()
    if compared - plan.stages.keys():  # random weights in the shape of a stage's encoder
        compared.add(evaluation.random_encoder_of)
    found = _encoders_of_stages(plan, [name for name in plan.stages if name in compared])
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(nn.Module, "encoder")
    for name, encoder in networks.items():
        with _refusals_of(f"{plan.path.name}: evaluation.supervised.{name}"):
            found[name] = parser.parse_object({"encoder": encoder}).encoder
    lengths = {name: encoder.get("init_args", {}).get("samples") for name, encoder in found.items()}
    return {name: int(samples) for name, samples in lengths.items() if samples is not None}


def _encoders_of_stages(plan: Plan, names: list[str]) -> dict[str, Any]:
    """Return stage -> settings of the encoder it exports, with defaults and overrides, read as ``fit`` reads them."""
    from ecgcmr.stages.command import StageCLI  # heavy: torch and lightning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the command line is another one: here it is the experiment's
        parser = jsonargparse.capture_parser(StageCLI, ["fit"])
    found = {}
    for name in names:
        stage = plan.stages[name]
        run = StageRun(name, plan.path.parent, plan.file(stage.config), {"data.root": "", **stage.set}, {})
        with _refusals_of(f"{plan.path.name}: stages.{name}"):
            settings = parser.parse_args(["fit", *run.arguments()]).fit.model
        room, _, kind = settings.class_path.rpartition(".")
        found[name] = settings.init_args[getattr(import_module(room), kind).exports["encoder"]]
    return found


@contextmanager
def _refusals_of(where: str) -> Iterator[None]:
    """Tell what a parser refuses as a UserError that starts with ``where``."""
    from ecgcmr.stages.command import one_line

    try:
        yield
    except jsonargparse.ArgumentError as error:
        raise UserError(f"{where}: {one_line(error)}") from error
