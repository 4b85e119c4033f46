"""What jsonargparse says of a value that it does not take, in plain words: the setting's dotted name, what it takes.

Its message is a tree by indentation: settings within settings, of each union what every type says. The deepest setting
is the one that is wrong; of unions with null that is left out.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
import sys
from collections.abc import Iterable

from ecgcmr.text import printable

UNKNOWN = "unrecognized arguments"
_KEY = re.compile(r'Parser key "([^"]+)":(.*)')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_GIVEN = re.compile(r"Given value: (.*)|.*Got value: (.*)|Expected a dot import path string: (.*)")
_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_TYPE = re.compile(r"Expected a <class '([\w.]+)'>")
_CHOICE = re.compile(r"Expected a typing\.Literal(\[.*?\])(?:\. Got value.*)?$")
_LISTED = re.compile(r"list\[typing\.Literal(\[[^\]]*\])\]")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list, such as [a, b]",
    "collections.abc.Iterable": "a list",
    "dict": "entries",
    "NoneType": "null",
}
_PART = "entries, the path of a file that holds them, or a class by its class_path"
_OF_A_PART = ("Expected a path but", "Expected a dot import path string", "Not a valid subclass of")


def in_plain_words(text: str) -> str | None:
    """Return a message of the parser in plain words; None where it is of another form.

    Args:
        text: Of the exception, with its lines.
    """
    deepest = _deepest(text)
    if deepest is None:
        return None
    keys, said, of_class, given = deepest
    where = ".".join(keys)
    for line in said:
        option = _OPTION.search(line)
        if option is not None:
            return _unknown(where, option[1], of_class)
    wanted = list(dict.fromkeys(word for line in said for word in _wanted(line, text)))
    choices = list(dict.fromkeys(name for line in said for name in _choices(line)))
    others = [*(word for word in wanted if word != "null"), *([_one_of(choices)] if choices else [])] or wanted
    reasons = [line for line in said if not _wanted(line, text) and re.search(r"[Nn]o module|has no attr|import", line)]
    if reasons:
        looked = "a class of yours is looked for in the current folder and PYTHONPATH"
        return f"{where}: {printable(reasons[0], 200)}; {looked}"
    if not others:
        return None
    found = f", found {printable(given, 80)}" if given is not None else ""
    return f"{where}: expected {' or '.join(others)}{found}"


def with_close_option(text: str, known: Iterable[str]) -> str:
    """Return the parser's message about a word that it does not know, with the option that may have been meant."""
    flag = next((word for word in text.removeprefix(f"{UNKNOWN}: ").split() if word.startswith("--")), "")
    close = difflib.get_close_matches(flag.partition("=")[0], list(known), n=1)
    return f"{text}; did you mean {close[0]}?" if flag and close and text.startswith(UNKNOWN) else text


def _deepest(text: str) -> tuple[list[str], list[str], str | None, str | None] | None:
    """Return of the innermost setting: its names from the outside, what is said of it, its class and its value."""
    stack: list[tuple[int, str]] = []
    found: dict[tuple[str, ...], list[str]] = {}
    classes: dict[tuple[str, ...], str] = {}
    given: dict[tuple[str, ...], str] = {}
    for line in filter(str.strip, text.splitlines()):
        content = line.strip(" -\t")
        indent = len(line) - len(line.lstrip(" -\t"))
        key = _KEY.fullmatch(content)
        if key is None and stack and indent <= stack[-1][0]:
            stack = [entry for entry in stack if entry[0] < indent]
        place = tuple(name for _, name in stack)
        if key is not None:
            stack = [*(entry for entry in stack if entry[0] < indent), (indent, key[1])]
            place = tuple(name for _, name in stack)
            found.setdefault(place, [])
            content = key[2].strip()
        if not content or not place:
            continue
        named, value = _CLASS.match(content), _GIVEN.fullmatch(content)
        if named is not None:
            classes[place] = named[1]
        if value is not None:
            given.setdefault(place, next(part for part in value.groups() if part is not None))
        if not content.startswith("Given value"):
            found.setdefault(place, []).append(content)
    if not found:
        return None
    inner = max(found, key=len)
    return list(inner), found[inner], classes.get(inner), given.get(inner)


def _wanted(line: str, text: str) -> list[str]:
    """Return what a line of the parser asks for, in words; choices apart."""
    kind = _TYPE.search(line)
    if kind is not None:
        listed = _LISTED.search(text)
        if kind[1] == "list" and listed is not None:
            names = ast.literal_eval(listed[1])
            return [f"a list of {', '.join(names)}, such as [{names[0]}]"]
        return [_KINDS.get(kind[1], f"a {kind[1].rpartition('.')[2]}")]
    if not line.startswith(_OF_A_PART):
        return []
    entries = [name for subtypes in re.findall(r"Subtypes: (.*)", text)[-1:] for name in _entries(subtypes)]
    return [f"entries of {', '.join(entries)}" if entries else _PART]


def _entries(subtypes: str) -> list[str]:
    """Return the entries of what is no part of its own but a group of settings, such as a budget."""
    for name in re.findall(r"[a-z][\w.]*\.[A-Z]\w*", subtypes):
        module, _, last = name.rpartition(".")
        kind = getattr(sys.modules.get(module), last, None)
        if dataclasses.is_dataclass(kind):
            return [field.name for field in dataclasses.fields(kind)]
    return []


def _choices(line: str) -> list[str]:
    """Return the choices that a line of the parser names."""
    choice = _CHOICE.search(line)
    return [] if choice is None else [str(name) for name in ast.literal_eval(choice[1])]


def _one_of(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"


def _parameters(name: str) -> list[str]:
    """Return what the constructors of a class and of those that it is derived from take; the parser has imported it."""
    module, _, last = name.rpartition(".")
    kind = getattr(sys.modules.get(module), last, None)
    if not isinstance(kind, type):
        return []
    taken = [inspect.signature(vars(each)["__init__"]).parameters for each in kind.__mro__ if "__init__" in vars(each)]
    return list(dict.fromkeys(key for each in taken for key in each if key not in ("self", "args", "kwargs")))


def _unknown(where: str, option: str, of_class: str | None) -> str:
    """Return that there is no such setting, with those close to it."""
    known = _parameters(of_class) if of_class is not None else []
    close = difflib.get_close_matches(option.split(".")[0], known, n=1)
    of = "" if of_class is None else f" of {of_class.rpartition('.')[2]}"
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}" if known else ""
    return f"{where}: there is no setting {printable(option, 60)}{of}{hint}"
