"""Where the numbers come from: code, command, seeds, checksums and the stages' parents; and all settings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ecgcmr import __version__
from ecgcmr.pages.experiment_folder import PLAN_FILE, RESULTS, ExperimentFolder
from ecgcmr.pages.markup import Html, element, joined
from ecgcmr.pages.stage_folder import StageFolder
from ecgcmr.pages.tables import disclosure, facts, in_two_parts, table
from ecgcmr.pages.yaml_text import yaml_block
from ecgcmr.shards import ShardIndex

_DIGITS = 16  # of a checksum: enough to tell two apart by eye


def provenance(folder: ExperimentFolder) -> Html:
    """Return the provenance of an experiment."""
    command = f"ecgcmr experiment {shlex.quote(folder.file or PLAN_FILE)} --out {shlex.quote(folder.name)}"
    pairs: list[tuple[object, object]] = [
        ("Command", element("code", command)),
        ("Code version", ", ".join(code_versions(folder.stages))),
        ("Page made by", f"ecgcmr {__version__}"),
        ("Seed", _shown(folder.plan.get("seed"))),
        ("Fingerprint of the experiment", _code(folder.fingerprint)),
        *(pair for name, cohort in folder.cohorts.items() for pair in _fingerprints(name, cohort)),
        (f"SHA-256 of {RESULTS}", _code(folder.results_sha256)),
    ]
    return joined([facts(pairs), stage_origins(folder.stages)])


def _fingerprints(name: str, cohort: ShardIndex | None) -> list[tuple[object, object]]:
    which = f"cohort {name}" if name else "cohort"
    if cohort is None:
        return []
    return [
        (f"Fingerprint of the {which}'s layout", _code(cohort.layout.fingerprint)),
        (f"Fingerprint of the {which}", _code(cohort.extra.get("fingerprint"))),
    ]


def code_versions(stages: Sequence[StageFolder]) -> list[str]:
    """Return the versions of the code that stages were made with, each once."""
    return sorted({str(stage.card["code_version"]) for stage in stages if stage.card.get("code_version")})


def stage_origins(stages: Sequence[StageFolder]) -> Html:
    """Return a line for each stage: what it starts from, and checksums of what went in and came out."""
    rows = [
        (
            stage.name,
            str(stage.card.get("parent") or "-"),
            _short(stage.fingerprint),
            _short(stage.card.get("sha256")),
            _shown(stage.config.get("seed_everything")) or "-",
        )
        for stage in stages
    ]
    titles = ("stage", "starts from", "fingerprint", "SHA-256 of the weights", "seed")
    note = f"The first {_DIGITS} digits of each checksum."
    return table("Stages", titles, rows, words=4, note=note) if rows else Html("")


def settings(plan: dict[str, Any], stages: Sequence[StageFolder], first: Sequence[str]) -> Html:
    """Return the experiment file and the settings of every stage, folded.

    Args:
        plan: Content of the experiment file; empty where there is none.
        stages: All.
        first: Names of those that stand by themselves; the others are folded together.
    """
    whole = [disclosure(f"The experiment ({PLAN_FILE})", yaml_block(plan))] if plan else []
    return joined([*whole, in_two_parts(stages, first, _settings)])


def _settings(stage: StageFolder) -> Html:
    config = [element("p", "Settings of the fit:"), yaml_block(stage.config)] if stage.config else []
    card = [element("p", "The exported encoder:"), yaml_block(stage.card)] if stage.card else []
    return disclosure(stage.name, *config, *card)


def _code(value: object) -> Html | None:
    return element("code", value) if value else None


def _short(value: object) -> Html | str:
    return element("code", str(value)[:_DIGITS]) if value else "-"


def _shown(value: object) -> str:
    return "" if value is None or isinstance(value, bool) else str(value)
