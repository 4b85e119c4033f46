"""Values that jsonargparse does not take, of every kind that a setting may have: what is said names no Python type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import jsonargparse
import pytest

from ecgcmr.named_class import build
from ecgcmr.parser_words import in_plain_words
from ecgcmr.training.messages import one_line


@dataclass
class Length:
    """A group of settings."""

    most: int | Literal["auto"] = "auto"
    share: float = 1.0


class Part:
    """A part that is named by its class."""

    def __init__(self, width: int = 1, kind: Literal["mean", "last"] = "mean", length: Length | None = None) -> None:
        self.width = width


class Wider(Part):
    """One that passes further settings on."""

    def __init__(self, height: int = 2, **further: Any) -> None:
        super().__init__(**further)


HERE = f"{__name__}."
CASES = [
    (["--find=lr"], "find: expected a list of size, rate, such as [size], found lr"),
    (["--find=[lr]"], "find: expected one of size, rate, found lr"),
    (["--length=soon"], "length: expected entries of most, share, found soon"),
    (["--length.most=soon"], "length.most: expected a whole number or auto, found soon"),
    (["--length.share=half"], "length.share: expected a number, found half"),
    (["--length.moost=3"], "length: there is no setting moost of Length; did you mean most?"),
    (["--flag=maybe"], "flag: expected true or false, found maybe"),
    (["--count=1.5"], "count: expected a whole number, found 1.5"),
    (["--names=LV"], "names: expected a list, such as [a, b], found LV"),
    (["--names=[3]"], "names: expected a text, found 3"),
    (["--more=3"], "more: expected entries, found 3"),
    (["--lengths=[3]"], "lengths: expected entries of most, share, found 3"),
    (["--lengths=[{moost: 3}]"], "lengths: there is no setting moost of Length; did you mean most?"),
    (
        ["--part=nothing"],
        "part: expected entries, the path of a file that holds them, or a class by its class_path, found",
    ),
    (["--part=no_module.Part"], "part: No module named 'no_module'; a class of yours is looked for in"),
    ([f"--part={HERE}Part", "--part.widht=3"], "part: there is no setting widht of Part; did you mean width?"),
    ([f"--part={HERE}Wider", "--part.kinds=3"], "part: there is no setting kinds of Wider; did you mean kind?"),
    ([f"--part={HERE}Part", "--part.kind=best"], "part.kind: expected one of mean, last, found best"),
    (
        [f"--part={HERE}Part", "--part.length.most=soon"],
        "part.length.most: expected a whole number or auto, found soon",
    ),
]


@pytest.mark.parametrize(("words", "said"), CASES, ids=[words[-1] for words, _ in CASES])
def test_what_is_not_taken_is_named_by_its_setting_and_said_in_words(words: list[str], said: str) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False, parser_mode="omegaconf+")
    parser.add_argument("--find", type=list[Literal["size", "rate"]] | None)
    parser.add_argument("--length", type=Length | None)
    parser.add_argument("--lengths", type=list[Length] | None)
    parser.add_argument("--flag", type=bool)
    parser.add_argument("--count", type=int)
    parser.add_argument("--names", type=list[str] | None)
    parser.add_argument("--more", type=dict[str, Any])
    parser.add_argument("--part", type=Part | None, sub_configs=True)
    with pytest.raises(jsonargparse.ArgumentError) as refused:
        parser.parse_args(words)
    line = one_line(refused.value)
    assert line.startswith(said)
    assert re.search(r"class '|typing|Parser key|NoneType|Union|dot import", line) is None


def test_an_argument_of_a_class_of_ones_own_is_refused_in_the_same_words() -> None:
    with pytest.raises(Exception, match=r"^--args: width: expected a whole number, found wide; it is Part\(width"):
        build(Part, {"width": "wide"}, "--args")


@pytest.mark.parametrize("text", ["", "unrecognized arguments: --x", "Parser key", 'Parser key "a":', "\n \n"])
def test_what_is_of_another_form_is_left_to_others(text: str) -> None:
    assert in_plain_words(text) is None
