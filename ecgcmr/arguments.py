"""Parsing the arguments of a command module; shared by the command line and by experiments, which call commands too."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from ecgcmr.errors import UserError


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line that the command line prints."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see '{self.prog} --help'")


def run_command(name: str, module: ModuleType, arguments: Sequence[str]) -> int:
    """Parse and run one command.

    Args:
        name: The command's name, for its help.
        module: Has ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``.
        arguments: What stands after the name.

    Returns:
        The exit code.

    Raises:
        UserError: If the arguments are not understood, and whatever the command raises.
    """
    parser = _Parser(
        prog=f"ecgcmr {name}", description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_intermixed_args(list(arguments))))
