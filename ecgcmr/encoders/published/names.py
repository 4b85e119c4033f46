"""How the names of tensors in a published file map to those of the encoder here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection

_WRAPPER = "module."
"""What torch puts before every name of a model that is trained over several devices."""


@dataclasses.dataclass(frozen=True)
class PublishedNames:
    """A published encoder's names, by patterns that match a whole name.

    Attributes:
        renamed: Pattern of a published name -> our name, in which ``\\1`` is what its first group matched. The first
            pattern that matches counts; a name that none matches is ours too.
        unused: Patterns of tensors that are no part of the encoder: heads and what only pre-training needs.
        prefixes: What the encoder's names may begin with, where it was saved as a part of a larger model.
        anchor: A name that every encoder has, by which the prefix is found.
        beside: Patterns of tensors beside the encoder, in a file in which its names have a prefix.
    """

    renamed: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    anchor: str = "norm.weight"
    beside: tuple[str, ...] = ()

    def ours(self, published: Collection[str]) -> dict[str, str | None]:
        """Return our name of each tensor of a file; None where it is no part of the encoder.

        Args:
            published: All names of the file; where training over several devices put its own beginning before all of
                them, that is left out.
        """
        wrapped = bool(published) and all(name.startswith(_WRAPPER) for name in published)
        inside = {name: name.removeprefix(_WRAPPER) if wrapped else name for name in published}
        prefix = next((prefix for prefix in self.prefixes if prefix + self.anchor in inside.values()), "")
        return {name: self._ours(bare, prefix) for name, bare in inside.items()}

    def _ours(self, name: str, prefix: str) -> str | None:
        if not name.startswith(prefix):
            return None if _matches(name, self.beside) else name
        inside = name.removeprefix(prefix)
        if _matches(inside, self.unused):
            return None
        for pattern, replacement in self.renamed:
            if match := re.fullmatch(pattern, inside):
                return match.expand(replacement)
        return inside


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)
