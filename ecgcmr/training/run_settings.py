"""The settings of a fit that shape its result, and where those of a resumed one differ.

Progress bars, loggers, workers and devices shape nothing: a run may be shown otherwise and go on elsewhere. Nor does
the place of the cohort: its content is compared instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any, cast

from ecgcmr.contracts import lacking
from ecgcmr.files import sha256_of
from ecgcmr.stages.optimisation import OptimiserSettings
from ecgcmr.stages.protocol import StageData, TaughtData

_DATA_OF_THE_MACHINE = (
    "root",
    "apart_from",  # what it leaves out shows in the number of training rows
    "batch_size",  # the global batch is compared
    "num_workers",
    "pin_memory",
    "start_method",
    "locking",
    "verify_reads",
    "predict_split",
)
_TRAINER = (
    "max_epochs",
    "max_steps",
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "limit_train_batches",
    "limit_val_batches",
    "overfit_batches",
    "check_val_every_n_epoch",
    "val_check_interval",
    "sync_batchnorm",
)
_SHOWING = ("StepCheckpoint", "LearningRateMonitor", "ProgressBar", "Timer", "DeviceStatsMonitor", "ModelSummary")
"""Parts of the names of callbacks that show or keep, and change nothing."""
_WEIGHTS = "_weights"
_LIMITS = ("trainer.max_epochs", "trainer.max_steps")
_MISSING = "not there"
_PSEUDO_LABELS = "pseudo_labels"
"""A file of data: what it holds is compared, not where it lies."""
_FOLDERS = (_WEIGHTS, f".{_PSEUDO_LABELS}", ".root", ".apart_from", ".default_root_dir")
_OF_ONE_CALL = ("ckpt_path", "weights_only", "resume_with_changes", "search")
LABELLED = "labelled rows"
"""In ``settings_of_data``, where a teacher labels the others."""
SHOWN_OF_DATA = {
    "the cohort's content": "cohort.content",
    "training rows": "cohort.training_rows",
    "global batch": "cohort.global_batch",
}
"""Name in ``settings_of_data`` -> name in a logger's table, which takes no apostrophes."""


def settings_that_count(config: Mapping[str, Any], optimiser: OptimiserSettings | None) -> dict[str, Any]:
    """Return what of a fit's config shapes its result.

    Args:
        config: As ``config.yaml`` holds it, defaults in place.
        optimiser: What the stage is optimised by, which is its default where the config has none.

    Returns:
        Dotted name, as on the command line -> plain value. Of folders of weights the last part of the name alone.
    """
    found: dict[str, Any] = {"seed_everything": config.get("seed_everything")}
    for room in ("model", "data"):
        part = config.get(room) or {}
        found[f"{room}.class_path"] = part.get("class_path")
        for name, value in (part.get("init_args") or {}).items():
            if room == "data" and name in _DATA_OF_THE_MACHINE:
                continue
            if room == "model" and name == "optimiser" and optimiser is not None:
                value = asdict(optimiser)
            if name.endswith(_WEIGHTS):
                # By whatever path or link a folder is named, it is the same one.
                found[f"{room}.{name}"] = Path(value).resolve().name if isinstance(value, str) else value
            elif name == _PSEUDO_LABELS:
                if value is not None:
                    found[f"{room}.{name}"] = sha256_of(Path(value))[:12] if Path(value).is_file() else _MISSING
            else:
                found.update(_leaves(f"{room}.{name}", value))
    for entry in ("budget", "final_weights"):
        if config.get(entry) is not None:
            found.update(_leaves(entry, config[entry]))
    trainer = config.get("trainer") or {}
    found.update({f"trainer.{name}": trainer.get(name) for name in _TRAINER})
    callbacks = [entry for entry in trainer.get("callbacks") or [] if not _only_shows(entry)]
    for number, entry in enumerate(callbacks):
        found.update(_leaves(f"trainer.callbacks.{number}", entry))
    for name in _without_influence(found):
        del found[name]
    return found


def settings_of_data(data: StageData) -> dict[str, Any]:
    """Return what of a cohort and of the machine shapes the result: content, training rows and global batch.

    Args:
        data: Set up for a fit.
    """
    digest = hashlib.sha256(data.index.layout.fingerprint.encode())
    for shard in data.index.shards:
        digest.update(str(shard["sha256"]).encode())
    found = {
        "the cohort's content": digest.hexdigest()[:12],
        "training rows": data.train_size,
        "global batch": data.global_batch,
    }
    if not lacking(data, TaughtData):
        labelled = cast(TaughtData, data).labelled_size
        found |= {LABELLED: labelled} if labelled != data.train_size else {}
    return found


def flat_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fit's config as a logger's table of hyperparameters takes it.

    Args:
        config: As ``config.yaml`` holds it, defaults in place.

    Returns:
        Dotted name, as on the command line -> number, text or truth value; lists are text. What is null and the
        loggers themselves, which may hold keys of a server, are left out. Of a folder the last part of its name alone:
        a path says more about a machine and its users than should travel.
    """
    found: dict[str, Any] = {}
    for room, part in config.items():
        given = {name: value for name, value in part.items() if name != "logger"} if room == "trainer" else part
        for name, value in _leaves(room, given):
            if value is None or value == {} or name in _OF_ONE_CALL:
                continue
            if name.endswith(_FOLDERS):
                several = isinstance(value, list)
                names = [PurePath(str(each)).name for each in (value if several else [value])]
                value = " + ".join(names) if several else names[0]
            found[name] = value if isinstance(value, str | bool | int | float) else str(value)
    return found


def setting_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say where settings differ, a phrase each, such as ``model.optimiser.lr 0.001 -> 1e-09``."""
    names = [name for name in dict.fromkeys([*before, *now]) if name not in _LIMITS or (name in before and name in now)]
    pairs = [(name, before.get(name, _MISSING), now.get(name, _MISSING)) for name in names]
    return [f"{name} {_word(old)} -> {_word(new)}" for name, old, new in pairs if old != new]


def weights_differences(differences: list[str]) -> list[str]:
    """Return those of some differences that a resumed run cannot follow: it has its weights from the checkpoint."""
    return [text for text in differences if text.split(" ", 1)[0].endswith(_WEIGHTS)]


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Give the plain values of a nested setting; ``init_args`` has no place in a dotted name."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if key == "init_args":
                yield from _leaves(name, inner or None) if inner else iter(())
            elif key not in ("dirpath", "dict_kwargs"):
                yield from _leaves(f"{name}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        for number, entry in enumerate(value):
            yield from _leaves(f"{name}.{number}", entry)
    elif isinstance(value, str) and PurePath(value).is_absolute():
        yield name, PurePath(value).name  # a checkpoint says nothing of the machine it was made on
    else:
        yield name, value


def _only_shows(callback: Any) -> bool:
    name = str(callback.get("class_path", "")) if isinstance(callback, Mapping) else str(callback)
    return any(part in name.rpartition(".")[2] for part in _SHOWING)


def _without_influence(settings: Mapping[str, Any]) -> list[str]:
    """Return the limits of a run that do not change how it goes: those of a schedule that is flat after warm-up."""
    limits = [name for name in _LIMITS if name in settings]
    if settings.get("model.optimiser.schedule") != "constant":
        return []
    warms_up = bool(settings.get("model.optimiser.warmup_epochs"))
    by_steps = settings.get("trainer.max_steps") not in (None, -1)
    # Where both limits are given, the warm-up is a share of the steps; whether they are may change too.
    return [] if warms_up and by_steps else limits


def _word(value: Any) -> str:
    if isinstance(value, list) and len(value) > 6:
        return f"[{', '.join(map(str, value[:6]))} and {len(value) - 6} more]"
    return "null" if value is None else str(value)[:80]
