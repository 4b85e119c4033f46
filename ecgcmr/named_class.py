"""Classes and objects of the user's own, named as ``package.module:Class``. No data file names one."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ecgcmr.current_folder import find_own_modules
from ecgcmr.errors import UserError
from ecgcmr.parser_words import in_plain_words
from ecgcmr.text import printable

_FORM = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)[:.](?P<name>[A-Za-z_]\w*)", re.ASCII)


Found = TypeVar("Found")


def load_object(name: str, option: str, kind: type[Found], what: str) -> Found:
    """Import an object by its name in a module, also from the working folder.

    Args:
        name: ``package.module:NAME``, or with a point.
        option: What messages begin with, such as ``--metric``.
        kind: What it must be an instance of.
        what: That in a word, such as "class".

    Raises:
        UserError: There is no such module or object, importing it failed, or it is something else.
    """
    where = f"{option} {printable(name, 100)}"
    form = _FORM.fullmatch(name)
    if form is None:
        raise UserError(f"{where}: is no name of a {what}; write package.module:{'Class' if kind is type else 'NAME'}")
    find_own_modules()
    try:
        module = importlib.import_module(form["module"])
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{where}: {form['module']} cannot be imported ({type(error).__name__}: {printable(error, 200)}); install "
            "it, run from the folder that holds it, or name that folder in PYTHONPATH"
        ) from error
    found = vars(module).get(form["name"])
    if not isinstance(found, kind):
        others = [key for key, value in vars(module).items() if isinstance(value, kind)]
        close = difflib.get_close_matches(form["name"], others, n=1)
        holds = f"has no {what}" if found is None else f"holds a {type(found).__name__}, not a {what}, named"
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"{where}: {form['module']} {holds} {form['name']}{hint}")
    return found


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
    found = load_object(name, option, type, "class")
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
        reason = in_plain_words(str(error)) or " ".join(str(error).split())
        raise UserError(f"{where}: {reason}; it is {printable(takes, 200)}") from error
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except Exception as error:
        raise UserError(f"{where}: cannot be built ({type(error).__name__}: {printable(error, 200)})") from error
