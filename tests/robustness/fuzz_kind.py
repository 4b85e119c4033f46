"""What a kind of file is to the fuzzing harness: the good file, how mutants are made, the commands that read them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from byte_mutators import BYTES, Mutator, one_or_more
from document_mutators import alias_bomb, json_node, json_text, merged_bomb, yaml_node, yaml_text
from parquet_mutators import parquet_column
from text_mutators import TEXT
from weights_mutators import (
    many_blocks,
    not_finite,
    safetensors_header,
    safetensors_values,
    torch_entry,
    torch_tensor,
    vast_view,
)
from zip_mutators import ZIP

YAML = (yaml_node, yaml_node, yaml_node, yaml_text, alias_bomb, merged_bomb, *TEXT, *BYTES)
JSON = (json_node, json_node, json_node, json_text, *TEXT, *BYTES)
TORCH = (torch_entry, torch_tensor, torch_tensor, *ZIP)
SAFETENSORS = (safetensors_header, safetensors_values, *BYTES)
BOMBS = (alias_bomb, merged_bomb)
HOSTILE = (many_blocks, not_finite, vast_view)
PARQUET = (parquet_column, parquet_column, *BYTES)
PREPARE = "prepare --out out --key-file key --workers 1 --short pad --no-beats --size 16"
SHORT_FIT = (
    "--trainer.default_root_dir out --trainer.max_epochs 1 --trainer.limit_train_batches 1 "
    "--trainer.limit_val_batches 1 --trainer.num_sanity_val_steps 0"
)
FIT = f"fit -c mae.yaml {SHORT_FIT}"


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: What it is called, and what its random draws are keyed by.
        seed: Folder of the good files; a mutant is a copy of it with one file changed.
        target: That file, within the folder.
        mutators: One of them, now and then several, is applied.
        commands: Commands that read the file, run within the folder; taken in turns.
        crafted: Changes thought out by hand; every second mutant is one of them until there are no more.
        weight: How many of the mutants, relative to other kinds; less for what takes long.
        words: What an error may name beside the file itself, its folder and, of a document, its fields.
        goes_on: Whether one damaged file must not stop the command: it is listed, and the exit code is 0.
        names: Whether fields named in the good file count as naming what is wrong.
    """

    name: str
    seed: str
    target: str
    mutators: tuple[Mutator, ...]
    commands: tuple[str, ...]
    crafted: tuple[Mutator, ...] = ()
    weight: int = 4
    words: tuple[str, ...] = ()
    goes_on: bool = False
    names: bool = False

    def mutant(self, content: bytes, seed: int, number: int) -> bytes:
        """Return the content of one mutant: the same for the same seed and number, whatever else is made."""
        rng = self.random(seed, number)
        if number % 2 == 0 and number // 2 < len(self.crafted):
            return self.crafted[number // 2](content, rng)
        return one_or_more(self.mutators)(content, rng)

    def random(self, seed: int, number: int) -> np.random.Generator:
        """The draws of one mutant."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode()), number])

    def command(self, number: int) -> list[str]:
        """The words after ``ecgcmr`` for one mutant."""
        return self.commands[number % len(self.commands)].split()
