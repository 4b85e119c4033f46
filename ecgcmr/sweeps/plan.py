"""The sweep file: what it may say, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.plan_reading import pieces_named, typed
from ecgcmr.shipped_configs import close_names, config_at
from ecgcmr.sweeps.space import Choice, choices_of
from ecgcmr.text import printable
from ecgcmr.training.candidates import candidates_of
from ecgcmr.yaml_file import parse_yaml, read_yaml

SAMPLERS = ("tpe", "random", "grid")
KEPT = ("best", "all")
PRUNERS = ("median", "halving", "none")
_NOT_OF_TRIALS = ("trainer.callbacks", "trainer.callbacks+", "trainer.default_root_dir", "ckpt_path")


@dataclass(frozen=True)
class SweepPlan:
    """A sweep.

    Attributes:
        config: Config file for ``ecgcmr fit``, relative to the sweep file.
        space: Dotted setting -> what it is drawn from: ``{low, high}`` with ``log`` or ``step``, or ``{choices}``.
        trials: How many are tried; raised, a finished sweep goes on.
        set: Settings over the config that all trials share, dotted as on the command line.
        description: For people.
        sampler: ``tpe`` (learns from the trials before), ``random`` or ``grid`` (choices and steps alone).
        pruner: Which trials are ended early: ``median`` (worse than half of those before at the same validation),
            ``halving`` (successive halving) or ``none``.
        startup: Trials that are drawn at random, and not pruned, before sampler and pruner begin.
        warmup: Validations of a trial before it may be ended.
        seed: Of the sampler.
        keep: Whose checkpoints and weights stay: of the ``best`` trial or of ``all``.
        path: The sweep file.
    """

    config: str
    space: dict[str, Any]
    trials: int
    set: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    sampler: str = "tpe"
    pruner: str = "median"
    startup: int = 5
    warmup: int = 1
    seed: int = 0
    keep: str = "best"
    path: Path = Path()

    @property
    def config_file(self) -> Path:
        """The config file.

        Raises:
            UserError: There is none.
        """
        found = config_at(self.config, self.path.parent)
        if found is None:
            missing = f"there is no file {printable(self.config, 200)} beside the sweep file"
            raise UserError(f"{self.path.name}: config: {missing}{close_names(self.config)}")
        return found.resolve()

    @property
    def choices(self) -> dict[str, Choice]:
        """Dotted setting -> what it is drawn from."""
        return choices_of(self.space)

    def content(self) -> dict[str, Any]:
        """Return what the results depend on, but for the number of trials."""
        kept = {
            name: value for name, value in asdict(self).items() if name not in ("path", "trials", "description", "keep")
        }
        return {**kept, "config": read_config(self.config_file)}


def read_plan(path: Path, overrides: Sequence[str] = (), trials: int | None = None) -> SweepPlan:
    """Read and check a sweep file.

    Args:
        path: The file.
        overrides: ``NAME=VALUE`` over ``set``, dotted as on the command line of ``fit``; values are YAML, and
            pieces that they name by path start from the current folder.
        trials: In place of the file's.

    Raises:
        UserError: An entry is unknown, missing or cannot be.
    """
    content = read_yaml(path, what="sweep", root=dict)
    if "path" in content:
        raise UserError(f"{path}: unknown entry 'path'")
    shared = content.get("set") or {}
    if not isinstance(shared, dict):
        raise UserError(f"{path}: set: expected a mapping of dotted settings")
    given = {} if trials is None else {"trials": trials}
    within = (path.resolve(),)
    changes = pieces_named(_given(overrides), (), f"{path}: set")
    content = {
        **content,
        "set": {**pieces_named(shared, within, f"{path}: set"), **changes},
        "path": str(path),
        **given,
    }
    plan = typed(SweepPlan, _with_pieces(content, within, f"{path}: space"), str(path))
    _check(plan)
    return plan


def _with_pieces(content: dict[str, Any], within: tuple[Path, ...], where: str) -> dict[str, Any]:
    """Return a sweep's entries with the pieces in their places that choices name by path, beside the file."""
    space = content.get("space")
    if not isinstance(space, dict):
        return content
    filled = dict(space)
    for name, entry in space.items():
        if isinstance(entry, dict) and isinstance(entry.get("choices"), list):
            choices = [pieces_named({str(name): value}, within, where)[str(name)] for value in entry["choices"]]
            filled[name] = {**entry, "choices": choices}
    return {**content, "space": filled}


def _given(overrides: Sequence[str]) -> dict[str, Any]:
    found = {}
    for word in overrides:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise UserError(f"{printable(word, 80)}: write NAME=VALUE, such as trainer.max_epochs=5")
        found[name.removeprefix("--")] = parse_yaml(text, name)
    return found


def _check(plan: SweepPlan) -> None:
    where = plan.path
    for name, value, known in (
        ("sampler", plan.sampler, SAMPLERS),
        ("pruner", plan.pruner, PRUNERS),
        ("keep", plan.keep, KEPT),
    ):
        if value not in known:
            raise UserError(f"{where}: {name} is {printable(value, 40)}; choose one of {', '.join(known)}")
    for name, number, least in (("trials", plan.trials, 1), ("startup", plan.startup, 1), ("warmup", plan.warmup, 0)):
        if not least <= number <= 100_000:
            raise UserError(f"{where}: {name} is {number}; it must lie in {least} to 100,000")
    if not 0 <= plan.seed < 2**31:
        raise UserError(f"{where}: seed is {plan.seed}; it must lie in 0 to 2147483647")
    try:
        choices = plan.choices
        # The same settings that a search may not choose: what is learned from and what judges is one for all.
        candidates_of([{"name": "trial", "set": dict.fromkeys(choices)}])
    except UserError as error:
        raise UserError(f"{where}: {str(error).replace('search: candidate trial', 'space:')}") from error
    for name in (*choices, *plan.set):
        if name in _NOT_OF_TRIALS:
            raise UserError(f"{where}: {name} is the sweep's; write callbacks into a config and name that")
    both = sorted(choices.keys() & plan.set.keys())
    if both:
        raise UserError(f"{where}: {both[0]} stands under space and under set; take it out of one")
    if plan.sampler == "grid":
        endless = [name for name, choice in choices.items() if not choice.is_finite]
        if endless:
            raise UserError(f"{where}: sampler grid: {endless[0]} has no end of values; give it choices or a step")
    config = read_config(plan.config_file)
    if plan.set.get("search", config.get("search")) is not None:
        raise UserError(f"{where}: {plan.config} searches by itself; add search: null under set")
