"""Damaged tables and lists: whatever is in them, they are read or refused in one line that tells no id."""

from __future__ import annotations

import gzip
import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ptbxl
from ecgcmr.formats.ptbxl_statements import read_statement_sets
from ecgcmr.preparation.collections.ptbxl import label_values
from ecgcmr.preparation.diseases import load_code_lists
from ecgcmr.preparation.label_columns import LabelCounts
from ecgcmr.preparation.label_table import label_subjects, read_label_table
from ecgcmr.preparation.labels import label_schema
from ecgcmr.preparation.subject_table import read_subjects
from ecgcmr.preparation.withdrawn import read_withdrawn
from ecgcmr.synthesis.population import Population, draw_population

MUTANTS = 25
INSERTED = (
    b"9" * 6000, b"1e999", b"nan,inf,-inf", b"\xff\xfe", b"2037-07-07", b"p41270_a999999999", b"-" * 50, b"\0", b'"',
    b"{" * 3000, b"(" * 3000, b"&a *a !!python/object:os.system", b"../../x", b"\n" * 300, b"," * 5000,
)  # fmt: skip


@pytest.fixture(scope="module")
def population() -> Population:
    return draw_population(60, 1)


def damage(content: bytes, generator: np.random.Generator) -> bytes:
    """Cut, flip, remove, repeat or insert, at random."""
    start, end = sorted(generator.integers(0, len(content) + 1, 2).tolist())
    flipped = bytearray(content)
    for place in generator.integers(0, len(content), generator.integers(1, 20)):
        flipped[place] = generator.integers(0, 256)
    word = INSERTED[generator.integers(0, len(INSERTED))]
    ways = (
        content[:end],
        bytes(flipped),
        content[:start] + content[end:],
        content[:end] + content[start:],
        content[:start] + generator.integers(0, 256, 100).astype(np.uint8).tobytes() + content[start:],
        content[:start] + word + content[start:],
        content[:start] + word + content[end:],
    )
    return ways[generator.integers(0, len(ways))]


def check(path: Path, content: bytes, read: Callable[[Path], object], ids: list[str]) -> None:
    refusals = []
    generator = np.random.default_rng(20240501)
    for _ in range(MUTANTS):
        path.write_bytes(damage(content, generator))
        began = time.monotonic()
        try:
            read(path)
        except UserError as error:
            refusals.append(str(error))
        assert time.monotonic() - began < 5
    assert len(refusals) >= 5  # the damage is not all harmless
    assert not any("\n" in refusal for refusal in refusals)
    assert not any(subject in refusal for subject in ids for refusal in refusals)


@pytest.mark.parametrize("name", ["phenotypes.csv", "diagnoses.csv", "diagnoses.csv.gz", "diagnoses.parquet"])
def test_damaged_tables(tmp_path, population, name):
    ids = [str(eid) for eid in population.eids]
    frame = population.phenotypes if name.startswith("p") else population.diagnoses
    if name.endswith(".parquet"):
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        content = buffer.getvalue()
    else:
        content = frame.to_csv(index=False).encode()
        content = gzip.compress(content) if name.endswith(".gz") else content

    def read(path: Path) -> None:
        labels = label_subjects(ids, [read_label_table(path, ids)], 2, LabelCounts())
        assert labels.shape == (len(ids), len(label_schema()))
        assert not np.isinf(labels).any()

    read(_written(tmp_path / name, content))
    check(tmp_path / name, content, read, ids)


@pytest.mark.parametrize("name", ["ptbxl_database.csv", "scp_statements.csv"])
def test_damaged_tables_of_ptbxl(tmp_path, real_data_dir, name):
    for part in ("ptbxl_database.csv", "scp_statements.csv"):
        shutil.copy(real_data_dir / "ptbxl" / part, tmp_path / part)
    lines = (tmp_path / name).read_bytes().splitlines(keepends=True)

    def read(path: Path) -> None:
        records, sets = read_ptbxl(path.parent), read_statement_sets(path.parent)
        labels = label_values(records, sets, LabelCounts())
        assert labels.shape == (len(records), 7 + sum(len(one.titles) for one in sets))
        for record in records:
            assert record.path.resolve().is_relative_to(tmp_path.resolve())

    check(tmp_path / name, b"".join(lines[:60]), read, [])


def test_damaged_lists(tmp_path, population):
    ids = [str(eid) for eid in population.eids]
    codes = b"heart_failure:\n  title: heart failure\n  prefixes: [I50, i11.0]\nstroke: {prefixes: [I6]}\n"
    check(tmp_path / "codes.yaml", codes, load_code_lists, [])
    check(tmp_path / "w.csv", "\n".join(["eid", *ids]).encode(), read_withdrawn, ids)
    files = "".join(f"{eid}_20205_2_0.xml,{eid}\n" for eid in ids)
    check(tmp_path / "s.csv", f"file,subject\n{files}".encode(), read_subjects, ids)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
