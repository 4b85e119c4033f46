"""Blocks of commands in README.md and docs: where they stand, what is said of them, which calls they make.

A block is run as it stands by a test, or a comment above it says what runs it or why nothing does::

    <!-- not run: needs the images of UK Biobank -->
    <!-- run by tests/outside/test_outside_documented.py -->
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
PROGRAMS = ("ecgcmr", "make", "pip", "python", "python3", "tensorboard", "curl", "torchrun", "srun", "sbatch", "docker",
            "git", "mlflow", "wandb", "uv", "mkdocs")  # fmt: skip
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"<!-- (not run: .+|run by .+) -->\s*\Z")
_COMMAND = re.compile(rf"^(?:\w+=\S+ )*(?:{'|'.join(PROGRAMS)})\s|^for \w+ in ", re.MULTILINE)
_RECORDER = """
command_not_found_handle() { record "$@"; }
.() { record . "$@"; }
record() { printf '%s\\0' "$@" >&3; printf '\\n\\0' >&3; }
"""


@dataclass(frozen=True)
class Block:
    """One block of commands.

    Attributes:
        page: The file it stands in.
        line: Its first line there.
        text: The commands.
        note: What the comment above it says, empty without one.
        variables: Assignments of the blocks above it on its page.
    """

    page: Path
    line: int
    text: str
    note: str
    variables: str = ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    def calls(self) -> list[list[str]]:
        """Return the words of every call that the shell would make, in order; nothing of it is run."""
        functions = "".join(f'{name}() {{ record {name} "$@"; }}\n' for name in PROGRAMS)
        script = (
            f"exec 3>&1 >/dev/null\nPATH=/nonexistent\n{_RECORDER}{functions}set -f\n{self.variables}\n{self.text}\n"
        )
        done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, timeout=20, check=False)
        assert done.stderr == "", (str(self), done.stderr)
        assert done.returncode == 0, str(self)
        calls: list[list[str]] = [[]]
        for word in done.stdout.split("\0")[:-1]:
            if word == "\n":
                calls.append([])
            else:
                calls[-1].append(word)
        return [call for call in calls if call]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of commands of a page; output, file listings and other languages are none."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _FENCE.finditer(text):
        if match[2] not in ("", "bash", "sh", "console") or not _COMMAND.search(match[3]):
            continue
        note = _NOTE.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 2
        above = "\n".join(block.text for block in found)
        variables = "\n".join(re.findall(r"^\w+=\S+$", above, re.MULTILINE))
        found.append(Block(page, line, match[3], note[1] if note else "", variables))
    return found
