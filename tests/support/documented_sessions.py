"""Running the blocks of a page one after the other, as a reader would, with so little data that it takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

from documented_blocks import ROOT, blocks

from ecgcmr.cli import main

SESSIONS = ("docs/index.md", "docs/tutorial.md", "docs/tutorial_ecg_folder.md", "docs/tutorial_uk_biobank.md",
            "docs/configs.md", "CONTRIBUTING.md")  # fmt: skip
"""Pages whose blocks are run unless a comment says otherwise."""
KEY = bytes([15] * 32)
"""Of subjects; under it three of the raw cohort validate, two test, and that each time."""
ELSEWHERE = {
    "tensorboard": "a server that does not end",
    "make": "tests/docs/test_command_blocks.py looks for its targets; a test cannot run the tests",
}
"""Programs that are not run -> why."""
SHORT = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false"]
OPTIONS = {
    "fit": ["--data.batch_size=4", "--trainer.accelerator=cpu", "--trainer.num_sanity_val_steps=0"],
    "prepare": ["--workers=1"],
    "inspect": ["--no-figures"],
    "infer": ["--workers=1"],
}
"""What is added to the words of a command."""


def run_page(page: str, folder: Path, shards: Path, raw: Path) -> list[str]:
    """Run a page's blocks in an empty folder; returns the commands that were run.

    Args:
        page: Its path in the repository.
        folder: Where the reader would be.
        shards: A cohort that ``ecgcmr synthesize --format shards`` made.
        raw: A cohort that ``ecgcmr synthesize --format raw`` made.
    """
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "project.key").write_bytes(KEY)
    _write_titled(ROOT / page, folder)
    done = []
    for block in blocks(ROOT / page):
        if block.note:
            continue
        for words in block.calls():
            if words[0] in ELSEWHERE:
                continue
            assert words[0] == "ecgcmr", f"{block}: {words[0]} is not run; say so above the block"
            _run([_named(word, folder) for word in words[1:]], folder, shards, raw)
            done.append(words[1])
    return done


def _write_titled(page: Path, folder: Path) -> None:
    """Write the files that a page shows under their names."""
    import re

    for name, text in re.findall(r'^```\w+ title="([\w.]+)"\n(.*?)^```$', page.read_text(), re.MULTILINE | re.DOTALL):
        (folder / name).write_text(text)


def _run(words: list[str], folder: Path, shards: Path, raw: Path) -> None:
    if words[0] == "synthesize":
        made = shards if words[words.index("--format") + 1] == "shards" else raw
        shutil.copytree(made, folder / words[words.index("--out") + 1])
        return
    assert main([*words, *_further(words)]) == 0, words


def _named(word: str, folder: Path) -> str:
    """Return a word with the place of some recording in place of ``RECORDING.xml``."""
    if not word.endswith("RECORDING.xml"):
        return word
    return str(min((folder / word).parent.glob("*.xml")).relative_to(folder))


def _further(words: list[str]) -> list[str]:
    """Return the options that make a command short."""
    further = list(OPTIONS.get(words[0], []))
    if words[0] == "fit" and "--print_config" not in words:
        if any("/downstream/" in word for word in words):
            return [*further, "--budget.most=4", "--search=null"]
        return [*further, "--trainer.max_epochs=1", *SHORT]
    return further if "--print_config" not in words else []
