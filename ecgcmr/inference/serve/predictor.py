"""The seam between serving and the model: files in memory go in, the JSON of their answers comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Upload:
    """A file of a request; it is never written anywhere.

    Attributes:
        name: Its own name, without folders.
        content: Its bytes.
    """

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Wanted:
    """What a request asks for.

    Attributes:
        kind: ``predict`` or ``embed``.
        sex: ``female`` or ``male`` where the request states it.
        covariates: Numbers that the request states, by the names that the model has for them; also ``age``.
        tracing: Whether the recording is drawn too.
    """

    kind: Literal["predict", "embed"]
    sex: str | None = None
    covariates: Mapping[str, float] = field(default_factory=dict)
    tracing: bool = False


class Predictor(Protocol):
    """A model that answers for files in memory.

    Attributes:
        card: What `GET /v1/model` says of it.
    """

    card: Mapping[str, Any]

    def read(self, files: Sequence[Upload], wanted: Wanted) -> object:
        """Read and prepare one recording; several threads call it at the same time.

        Args:
            files: The file of the recording, then those that belong to it (signal files of a header, a declaration).
            wanted: What will be asked of it.

        Returns:
            What ``answer`` takes.

        Raises:
            UserError: The file is no sound recording; the message names the file by its own name.
        """
        ...

    def answer(self, readings: Sequence[Any]) -> list[list[dict[str, Any]]]:
        """Answer for recordings that were read, together; one thread alone calls it.

        Returns:
            For each its answers, of ``embed`` one for each window: the JSON of ``infer`` or ``embed``, and where it
            is wanted ``tracing``, the address of a picture.
        """
        ...
