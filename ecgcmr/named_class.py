"""Classes of the user's own, named on the command line as ``package.module:Class``. No data file names one."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.text import printable

_FORM = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)[:.](?P<name>[A-Za-z_]\w*)", re.ASCII)


def load_class(name: str, option: str, methods: Mapping[str, Sequence[str]]) -> type[Any]:
    """Import a class, also from the working folder.

    Args:
        name: ``package.module:Class``, or with a point.
        option: What messages begin with, such as ``--reader``.
        methods: Method that it must have -> names of what the method takes.

    Raises:
        UserError: There is no such module or class, importing it failed, or it lacks a method.
    """
    where = f"{option} {printable(name, 100)}"
    form = _FORM.fullmatch(name)
    if form is None:
        raise UserError(f"{where}: is no name of a class; write package.module:Class")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(form["module"])
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{where}: {form['module']} cannot be imported ({type(error).__name__}: {printable(error, 200)}); install "
            "it, run from the folder that holds it, or name that folder in PYTHONPATH"
        ) from error
    found = vars(module).get(form["name"])
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        close = difflib.get_close_matches(form["name"], classes, n=1)
        what = "has no class" if found is None else f"holds a {type(found).__name__}, not a class, named"
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"{where}: {form['module']} {what} {form['name']}{hint}")
    for method, takes in methods.items():
        call = f"{method}({', '.join(takes)})"
        function = getattr(found, method, None)
        if not callable(function):
            needed = " and ".join(f"{other}({', '.join(names)})" for other, names in methods.items())
            raise UserError(f"{where}: has no method {call}; it needs {needed}, see docs/extending.md")
        try:
            is_bound = isinstance(inspect.getattr_static(found, method), staticmethod | classmethod)
            inspect.signature(function).bind(*([] if is_bound else [None]), *takes)
        except TypeError as error:
            raise UserError(f"{where}: its method {method} cannot be called as {call}: {error}") from error
    return found


def build(cls: type[Any], arguments: Mapping[str, object], where: str) -> Any:
    """Build an object of a class from arguments that may be text, by the types that its constructor declares.

    Args:
        cls: The class.
        arguments: By name.
        where: What messages begin with.

    Raises:
        UserError: An argument is unknown, missing or of another type, or the constructor raised an error.
    """
    from jsonargparse import ArgumentParser  # not needed unless a class is named

    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_class_arguments(cls, fail_untyped=False)
        values = parser.parse_object(dict(arguments)).as_dict()
    except Exception as error:  # argparse's and jsonargparse's own, of several kinds
        signature = inspect.signature(cls).replace(return_annotation=inspect.Signature.empty)
        takes = f"{cls.__name__}{signature}"
        raise UserError(f"{where}: {' '.join(str(error).split())}; it is {printable(takes, 200)}") from error
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except Exception as error:
        raise UserError(f"{where}: cannot be built ({type(error).__name__}: {printable(error, 200)})") from error
