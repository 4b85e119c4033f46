"""Encoders that an experiment is given and does not train: with imported weights, or with random ones."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch

from ecgcmr.encoders import EncoderCard, export_encoder, load_encoder, read_encoder_card
from ecgcmr.encoders.protocol import require_encoder
from ecgcmr.encoders.weights import WEIGHTS_FILE
from ecgcmr.errors import UserError
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.plan_checks import CARD_FILE
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.files import replace_atomically
from ecgcmr.own_code import own_code_of
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.recipe import recipe_of
from ecgcmr.stages.preparation_check import check_encoder_preparation
from ecgcmr.weights_import.published_network import measured_preparation


def network_given(plan: Plan, name: str) -> dict[str, Any]:
    """Return class path and arguments of a given encoder: of its weights, or as the file has them.

    Raises:
        UserError: Its folder of weights is damaged, or of another network than the file names.
    """
    given = plan.encoders[name]
    if given.weights is None:
        return {"class_path": given.encoder["class_path"], "init_args": dict(given.encoder.get("init_args") or {})}
    card = read_encoder_card(plan.file(given.weights))
    named = given.encoder.get("init_args") or {}
    is_other = "name" in named and card.init_args.get("name") != named["name"]
    if given.encoder and (given.encoder["class_path"] != card.class_path or is_other):
        raise UserError(
            f"{plan.path.name}: encoders.{name}: {given.weights} holds {_title(card.class_path, card.init_args)}, and "
            f"the file names {_title(given.encoder['class_path'], named)}; change one of the two"
        )
    return {"class_path": card.class_path, "init_args": card.init_args}


def _title(class_path: str, arguments: Mapping[str, Any]) -> str:
    name = arguments.get("name")
    return f"{class_path.rpartition('.')[2]}{f' {name}' if name else ''}"


def given_fingerprint(plan: Plan, name: str) -> str:
    """Return what recognises a given encoder: its network, and its weights or the seed of random ones."""
    network, weights = network_given(plan, name), plan.encoders[name].weights
    origin = {"seed": plan.seed} if weights is None else {"weights": read_encoder_card(plan.file(weights)).sha256}
    code = own_code_of([network])
    return fingerprint_of({**network, **origin, **({"code": code} if code else {})})


def make_given(plan: Plan, name: str, folder: Path, trusted: Collection[str] = ()) -> Path:
    """Put a given encoder into its folder in the experiment, unless it is there.

    Args:
        plan: The experiment.
        name: Under ``encoders``.
        folder: Where it goes.
        trusted: Classes beside this package's encoders that the plan names.

    Raises:
        UserError: It cannot be built, or its weights are damaged.
    """
    fingerprint = given_fingerprint(plan, name)
    if is_finished(folder, fingerprint):
        return folder
    given = plan.encoders[name]
    folder.mkdir(parents=True, exist_ok=True)
    if given.weights is not None:
        load_encoder(plan.file(given.weights), trusted)  # checked before anything is trained
        for file in (WEIGHTS_FILE, CARD_FILE):
            with replace_atomically(folder / file) as temporary:
                shutil.copyfile(plan.file(given.weights) / file, temporary)
    else:
        network = network_given(plan, name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            try:
                encoder: Any = require_encoder(resolve_name(network["class_path"])(**network["init_args"]))
            except (TypeError, ValueError) as error:
                raise UserError(f"{plan.path.name}: encoders.{name}.encoder: {error}") from error
        specification = encoder.input_spec
        recipe = measured_preparation(specification) if getattr(specification, "preparation", None) else None
        export_encoder(encoder, folder, **network, preparation=recipe)
    write_marker(folder, fingerprint, finished=True)
    return folder


def check_given(plan: Plan, name: str, folder: Path, index: ShardIndex) -> None:
    """Refuse a cohort that a given encoder cannot take, before anything is trained.

    Args:
        plan: The experiment.
        name: Under ``encoders``.
        folder: Where ``make_given`` put it.
        index: A cohort on which it is judged.

    Raises:
        UserError: Its ECGs are of another rate or length, or were prepared otherwise; the message says what mends it.
    """
    card, ecg = read_encoder_card(folder), index.layout.ecg
    where = f"{plan.path.name}: encoders.{name}"
    _check_ecg(card, where)
    rate, samples = card.input_spec["sampling_rate"], card.input_spec["samples"]
    if ecg is None or ecg.sampling_rate != rate or ecg.samples < samples:
        has = "no ECGs" if ecg is None else f"{ecg.samples:,} samples at {ecg.sampling_rate:g} Hz"
        raise UserError(
            f"{where} takes {samples:,} samples at {rate:g} Hz, the cohort has {has}; change samples and sampling_rate "
            "of the encoder, or prepare the cohort for it"
        )
    if card.preparation is not None or card.input_spec.get("unit") is not None:
        check_encoder_preparation(card, folder, recipe_of(index.layout, "ecg"), index.layout, where)


def _check_ecg(card: EncoderCard, where: str) -> None:
    if card.input_spec.get("kind") != "ECGInput":
        raise UserError(f"{where}: is an encoder of other input than ECGs ({card.input_spec.get('kind')})")
