"""What the networks of an experiment cost, measured once and kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pkgutil import resolve_name
from typing import Any

from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.evaluation.costs import CostRow
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.experiments.stage_runs import fingerprint_of
from ecgcmr.files import write_atomically
from ecgcmr.json_file import read_json
from ecgcmr.speed_choices.encoder_cost import encoder_cost

FILE = "costs.json"


def measured_costs(experiment: Experiment) -> list[CostRow]:
    """Return the cost of every method that has a network, where the experiment asks for costs.

    Args:
        experiment: After ``predict``.
    """
    if not experiment.plan.evaluation.costs:
        return []
    path = experiment.out / FILE
    kept = read_json(path, what="costs of networks") if path.is_file() else {}
    rows, now = list[CostRow](), dict[str, Any]()
    for method, network in networks_of(experiment):
        key = fingerprint_of(network)
        if not isinstance(kept, dict) or key not in kept:
            now[key] = asdict(encoder_cost(_built(experiment, method, network)))
        else:
            now[key] = kept[key]
        rows.append(_row(experiment, method, now[key]))
    write_atomically(path, (json.dumps(now, indent=1, sort_keys=True) + "\n").encode())
    return rows


def _row(experiment: Experiment, method: str, cost: dict[str, Any]) -> CostRow:
    """Return the cost of reading a whole recording, which may be several windows."""
    windows = experiment.plan.evaluation.windows
    own = {"operations": cost["operations"] * windows, "recordings_per_s": cost["recordings_per_s"] / windows}
    return CostRow(**{**cost, **own, "method": experiment.plan.shown(method)})


def networks_of(experiment: Experiment) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give (method, class path and arguments) of each method that has a network."""
    plan, trainings = experiment.plan, experiment.trainings
    trained = [*plan.evaluation.linear_probe, *plan.evaluation.layer_probe, *plan.evaluation.attention_probe]
    for method in dict.fromkeys([*trained, *plan.evaluation.finetune, *plan.evaluation.taught]):
        network = plan.evaluation.supervised.get(method)
        if network is not None and network.encoder:
            arguments = dict(network.encoder.get("init_args") or {})
            read = experiment.settings.encoders[method]
            yield method, {"class_path": network.encoder["class_path"], "init_args": arguments | _plain(read)}
            continue
        is_given = method in (*plan.stages, *plan.encoders)
        card = read_encoder_card(trainings.folder(method) if is_given else trainings.random(plan.seed))
        yield method, {"class_path": card.class_path, "init_args": card.init_args}


def _plain(settings: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = settings.as_dict().get("init_args", {})
    return arguments


def _built(experiment: Experiment, method: str, network: dict[str, Any]) -> Any:
    if method in (*experiment.plan.stages, *experiment.plan.encoders):
        return load_encoder(experiment.trainings.folder(method), experiment.trainings.trusted)
    return resolve_name(network["class_path"])(**network["init_args"])
