"""Names from files, made harmless: for the terminal, for Markdown and for matplotlib."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ecgcmr.text import (
    duration,
    figure_text,
    markdown_cell,
    printable,
    printable_lines,
    show_any_name,
    show_names_plainly,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lv_edv of Müller, 左心室", "lv_edv of Müller, 左心室"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),  # the start of a sequence in one character
        ("exe.\u202egnp", r"exe.\u202egnp"),
        ("a\u200bb\ufeff\u2028", r"a\u200bb\ufeff\u2028"),
        (b"caf\xe9.csv".decode("utf-8", "surrogateescape"), r"caf\xe9.csv"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),  # a tag character, invisible
        (17, "17"),
    ],
)
def test_what_a_terminal_would_obey_becomes_visible(text: object, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()
    assert printable(text).encode("utf-8")


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    shown = printable("begin" + "x" * 5000 + "give another file", 100)
    assert len(shown) == 100
    assert shown.startswith("begin")
    assert shown.endswith("give another file")
    assert len(printable("\x1b" * 5000, 100)) == 100


def test_lines_stay_lines_where_they_may() -> None:
    assert printable_lines("a\x1b\nb") == "a\\x1b\nb"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lv_edv", "lv_edv"),
        ("mae, linear probe: r2", "mae, linear probe: r2"),
        ("a|b\nc", r"a\|b\\nc"),
        ("[x](javascript:alert(1))", r"[x\](javascript&#58;alert(1))"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("![x](http://e.vil/p.png)", r"![x\](http&#58;//e.vil/p.png)"),
        ("lv_edv [mL]", "lv_edv [mL]"),
        ("[x][y] and [x]: http://e.vil", r"[x\][y] and [x\]: http&#58;//e.vil"),
        ("me@e.vil www.e.vil", "me&#64;e.vil www&#46;e.vil"),
        (
            "`code` **bold** _a_ __b__ ~~c~~ # $x$ &lt;",
            r"\`code\` \*\*bold\*\* \_a\_ \_\_b\_\_ \~\~c\~\~ \# \$x\$ \&lt;",
        ),
    ],
)
def test_markdown_shows_a_name_letter_by_letter(text: str, shown: str) -> None:
    assert markdown_cell(text) == shown


def test_markdown_of_any_character_holds_no_bare_sign() -> None:
    cell = markdown_cell("".join(map(chr, range(256))), 10_000)
    assert "\n" not in cell
    assert not re.search(r"(?<!\\)[|<>`*]", cell.replace("\\\\", ""))


def test_a_formula_in_a_figures_name_is_shown_not_read() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_title(r"$\frac{1$ and $x")  # would end drawing with an error
    axes.plot([1, 2], label="$\\nope$\x1b")
    axes.legend(title="$a$")
    axes.set_yticks([1.0], [figure_text("a $ b $ \n")])
    show_names_plainly(figure)
    figure.canvas.draw()
    assert axes.get_title() == r"$\frac{1$ and $x"
    assert not axes.title.get_parse_math()
    assert axes.get_legend_handles_labels()[1] == ["$\\nope$\x1b"]
    assert axes.get_legend().get_texts()[0].get_text() == "$\\nope$\\x1b"
    assert axes.get_yticklabels()[0].get_text() == "a \\$ b \\$ \\n"


def test_powers_of_ten_on_an_axis_stay_formulas() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.plot([1, 1000], [0, 1])
    show_names_plainly(figure)
    figure.canvas.draw()
    assert all(label.get_parse_math() for label in axes.get_xticklabels())


def test_times_are_words() -> None:
    words = ["0 s", "59 s", "1 min 01 s", "1 h 01 min", "-"]
    assert [duration(seconds) for seconds in (0.4, 59, 61, 3661, -1)] == words


def test_a_line_is_written_at_once_to_a_file_too(tmp_path: Path) -> None:
    """Else the progress of hours is seen in blocks, and lost where the program is killed."""
    with (tmp_path / "log").open("w") as stream:
        show_any_name(stream)
        stream.write("mae: begins\n")
        assert (tmp_path / "log").read_text() == "mae: begins\n"
