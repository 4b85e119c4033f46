"""Text of the program as Markdown: what it means as it stands must not be read as markup."""

from __future__ import annotations

import re

_CODE = re.compile(
    r"(?<![\w`~])(--?[a-z](?:[\w.-]*\w)?|~?[\w.+-]*/[\w./+-]*\w/?|[\w-]+\.(?:json|yaml|ckpt|parquet|html|npz|md|png)"
    r"|[A-Za-z]*_\w+|\w+_[A-Za-z]\w*)"
)
_QUOTED = re.compile(r"``([^`]+)``|`([^`]+)`")


def plain(text: str) -> str:
    """Return text with every sign that Markdown would read escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", text)


def prose(text: str) -> str:
    """Return plain text as Markdown, options and names of files as code."""
    parts = _CODE.split(text)
    return "".join(f"`{part}`" if place % 2 else plain(part) for place, part in enumerate(parts))


def cell(text: str) -> str:
    """Return text for a cell of a table, on one line."""
    return prose(" ".join(text.split()))


def docstring(text: str) -> str:
    """Return the first lines of a docstring for a cell: what stands between backticks is code."""
    parts = []
    for place, part in enumerate(_QUOTED.split(" ".join(text.split()))):
        if part is not None:
            parts.append(f"`{part}`" if place % 3 else plain(part))
    return "".join(parts).replace("`\\|`", "`|`")


def description(text: str) -> str:
    """Return a help text as Markdown: indented lines become blocks of code, the others paragraphs."""
    blocks: list[tuple[bool, list[str]]] = []
    for line in text.strip("\n").splitlines():
        indented = line.startswith("  ")
        if line.strip() and blocks and blocks[-1][0] == indented and blocks[-1][1]:
            blocks[-1][1].append(line)
        elif line.strip():
            blocks.append((indented, [line]))
        else:
            blocks.append((indented, []))
    parts = []
    for indented, lines in blocks:
        if indented and lines:
            parts.append("```text\n" + "\n".join(line[2:] for line in lines) + "\n```")
        elif lines:
            parts.append(prose(" ".join(lines)))
    return "\n\n".join(parts)
