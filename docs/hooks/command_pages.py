"""The pages of the commands, from their parsers: a new command or option is there without being written down."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args

from field_tables import field_table
from markdown_text import cell, description

from ecgcmr.cli import COMMANDS
from ecgcmr.heavy_imports import import_heavy

STAGE_COMMANDS = ("fit", "validate", "test", "predict")
FOLDER = "reference/commands"

_OVERVIEW = """\
# Commands

Made from the parsers of the commands; `ecgcmr COMMAND --help` says the same.

| command | does |
|---|---|
"""
_CODES = """
| exit code | means |
|---|---|
| 0 | done |
| 2 | a mistake that can be mended; one line on standard error says how |
| 3 | done, but not all of it, or not as asked: the page of the command says when |
| 130, 143 | ended by Ctrl-C (SIGINT), by SIGTERM; one line says how to go on |
"""
_STAGE = """\

Every setting of stage, data and trainer is an option too, by its dotted name: `--model.mask_ratio 0.6`,
`--data.batch_size 32`, `--trainer.max_epochs 20`. Those of [the stages](../python/ecgcmr.stages.md), of
[the data modules](../python/data_modules.md), encoders, objectives and augmentations stand in the reference of the
classes, those of the trainer in Lightning's. `ecgcmr fit --model.help CLASS` explains a class on the terminal, and
`--print_config` prints what files and options come to.
"""


def command_pages() -> dict[str, str]:
    """Return the pages by their place below ``docs``."""
    rows = [f"| [`{name}`]({name}.md) | {cell(text)} |" for name, (_, text) in COMMANDS.items()]
    pages = {f"{FOLDER}/index.md": _OVERVIEW + "\n".join(rows) + "\n" + _CODES}
    for name in COMMANDS:
        pages[f"{FOLDER}/{name}.md"] = command_page(name)
    return pages


def command_page(name: str) -> str:
    """Return the page of a command."""
    module = import_heavy(COMMANDS[name][0])
    if name in STAGE_COMMANDS:
        parser: argparse.ArgumentParser = _stage_parser(name)
    else:
        parser = argparse.ArgumentParser(prog=f"ecgcmr {name}", add_help=False)
        module.add_arguments(parser)
    parts = [f"# ecgcmr {name}", description(module.HELP), *_tables(parser)]
    if name in STAGE_COMMANDS:
        parts += [_STAGE.strip(), *_settings(parser)]
    return "\n\n".join(parts) + "\n"


def _stage_parser(name: str) -> argparse.ArgumentParser:
    """Return a parser with what a stage's command takes beside the settings of its parts."""
    from jsonargparse import ArgumentParser

    from ecgcmr.training.stage_arguments import add_stage_arguments

    parser = ArgumentParser(prog=f"ecgcmr {name}", add_help=False)
    parser.add_argument("-c", "--config", metavar="FILE", help="a config; several are laid over each other in order")
    parser.add_argument("--print_config", action="store_true", help="print what the settings come to, and end")
    parser.add_argument("--seed_everything", metavar="N", default=0, help="seed of all random draws (default: 0)")
    parser.add_argument("--ckpt_path", metavar="FILE", help="a checkpoint, or best or last of the run folder")
    add_stage_arguments(parser, name)
    return parser


def _settings(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the reference of what an option holds that takes several settings, such as ``--budget.most``."""
    for action in parser._actions:
        if _is_help(action):
            continue
        for kind in _dataclasses(getattr(action, "_typehint", None)):
            yield f"## Settings of {action.option_strings[0]}\n\n{field_table(kind)}"


def _dataclasses(hint: Any) -> Iterator[type]:
    """Yield the dataclasses that a type names."""
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _dataclasses(part)


def _tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a table for each group of arguments that has any."""
    for group in parser._action_groups:
        rows = [row for action in group._group_actions if (row := _row(action))]
        if rows:
            head = "option" if group._group_actions[0].option_strings else "argument"
            title = {"positional arguments": "Arguments", "options": "Options"}.get(str(group.title), str(group.title))
            yield "\n".join([f"## {title[0].upper()}{title[1:]}", "", f"| {head} | what |", "|---|---|", *rows])


def _row(action: argparse.Action) -> str | None:
    """Return the row of an argument, None where its parser hides it."""
    if action.help is argparse.SUPPRESS or _is_help(action):
        return None
    names = ", ".join(f"`{name}`" for name in action.option_strings if not name.endswith("+"))
    value = _value(action)
    shown = " ".join(part for part in (names, f"`{value}`" if value else "") if part)
    needed = " (required)" if action.required and action.option_strings else ""
    return f"| {shown.replace('|', chr(92) + '|')} | {cell(_help(action))}{needed} |"


def _is_help(action: argparse.Action) -> bool:
    return isinstance(action, argparse._HelpAction) or any(name.endswith(".help") for name in action.option_strings)


def _value(action: argparse.Action) -> str:
    """Return what stands behind an option, as its help writes it."""
    if action.nargs == 0:
        return ""
    if action.metavar is not None:
        name = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    elif action.choices is not None:
        name = "|".join(str(choice) for choice in action.choices)
    else:
        name = action.dest.split(".")[-1].upper()
    many = action.nargs in ("+", "*") or (isinstance(action.nargs, int) and action.nargs > 1)
    return f"{name} ..." if many and not name.endswith("...") else name


def _help(action: argparse.Action) -> str:
    """Return the help of an argument, its default in place."""
    text = action.help or ""
    return text % {"default": action.default, "prog": "ecgcmr"} if "%(" in text else text.replace("%%", "%")
