"""Every block of commands in README and docs is run by a test or says why not, and every call in it is understood."""

from __future__ import annotations

import argparse
import contextlib
import io
from itertools import pairwise
from pathlib import Path

import pytest
from documented_blocks import PAGES, ROOT, Block, blocks
from documented_sessions import SESSIONS

from ecgcmr.arguments import _Parser
from ecgcmr.cli import COMMANDS, main
from ecgcmr.heavy_imports import import_heavy

ALL = [block for page in PAGES for block in blocks(page)]
STAGES = ("fit", "validate", "test", "predict")


@pytest.mark.parametrize("block", ALL, ids=str)
def test_a_block_of_commands_is_run_or_says_why_not(block: Block) -> None:
    if block.note.startswith("run by "):
        test = ROOT / block.note.removeprefix("run by ")
        assert test.is_file()
        assert block.page.name in test.read_text(encoding="utf-8"), f"{test.name} says nothing of {block.page.name}"
    elif not block.note:
        page = block.page.relative_to(ROOT).as_posix()
        assert page in SESSIONS, f"{page}:{block.line}: say above the block what runs it, or why nothing does"


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in ALL if not block.note.startswith("run by ")], ids=str)
def test_every_call_of_a_block_is_understood(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("configs", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    seen = set()
    for words in block.calls():
        shape = tuple(word for word in words if word.startswith(("-", "configs/")) or word in COMMANDS)
        if words[0] == "ecgcmr" and shape not in seen:
            seen.add(shape)
            _check(words[1:])
        if words[0] == "make":
            assert f"\n{words[1]}:" in Path("Makefile").read_text()


def _check(words: list[str]) -> None:
    """Refuse a call that its command would refuse for its words alone."""
    assert words[0] in COMMANDS, words
    if words[0] not in STAGES:
        parser = _Parser(prog=f"ecgcmr {words[0]}", add_help=True)
        import_heavy(COMMANDS[words[0]][0]).add_arguments(parser)
        assert isinstance(parser.parse_intermixed_args(words[1:]), argparse.Namespace)
        return
    if "null" in words and any(word.endswith("encoder_weights") for word in words):
        return  # the network is built from the weights, which are not here
    if any(option == "-c" and file.startswith("runs/") for option, file in pairwise(words)):
        return  # a file that another run wrote
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main([word for word in words if word not in ("--overwrite", "--new_folder")] + ["--print_config"])
    assert code == 0, (words, output.getvalue()[-500:])


def test_a_wrong_option_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    page = tmp_path / "page.md"
    page.write_text(
        "Try\n\n<!-- not run: no reason -->\n```\necgcmr fit -c configs/mae/demo.yaml --model.mask_ration 1\n```\n"
    )
    (block,) = blocks(page)
    assert (block.line, block.note) == (5, "not run: no reason")
    with pytest.raises(AssertionError, match="mask_ration"):
        _check(block.calls()[0][1:])
