"""What the site makes of parsers, configs, docstrings, shards and results: a new option needs no page of its own."""

from __future__ import annotations

import argparse
import json
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))

import command_pages  # noqa: E402
from config_pages import config_pages  # noqa: E402
from field_tables import field_table  # noqa: E402
from markdown_text import cell, description  # noqa: E402
from notebook_pages import notebook_pages  # noqa: E402
from python_pages import python_pages  # noqa: E402
from result_pages import result_pages  # noqa: E402
from schema_pages import schema_pages  # noqa: E402

from ecgcmr.cli import COMMANDS  # noqa: E402
from ecgcmr.training.budget_plan import Budget  # noqa: E402
from ecgcmr.training.run_claim import _OF_A_RUN  # noqa: E402


def test_a_new_command_gets_a_page_of_all_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="FILE", help="what is read")
        group = parser.add_argument_group("weights")
        group.add_argument("--kind", choices=("a", "b"), default="a", help="a|b_c by %(default)s")
        group.add_argument("--hidden", help=argparse.SUPPRESS)
        group.add_argument("--needed", type=int, metavar="N", required=True, help="100 %% of it")

    module = types.SimpleNamespace(HELP="Does it.\n\n  ecgcmr mine x\n", add_arguments=add_arguments)
    monkeypatch.setitem(COMMANDS, "mine", ("mine.command", "does it"))
    monkeypatch.setattr(command_pages, "import_heavy", lambda name: module)
    page = command_pages.command_page("mine")
    assert "# ecgcmr mine\n\nDoes it.\n\n```text\necgcmr mine x\n```" in page
    assert "| `FILE ...` | what is read |" in page
    assert r"| `--kind` `a\|b` | a\|`b_c` by a |" in page
    assert "| `--needed` `N` | 100 % of it (required) |" in page
    assert "## Weights" in page
    assert "hidden" not in page


def test_a_stage_command_has_its_settings_and_what_they_hold() -> None:
    page = command_pages.command_page("fit")
    for option in ("--config", "--ckpt_path", "--budget", "--search", "--final_weights", "--resume-with-changes"):
        assert f"`{option}`" in page
    assert "## Settings of --budget" in page
    assert "| `patience` |" in page
    assert ".help" not in page.replace("--model.help", "")


def test_text_that_looks_like_markup_stays_text() -> None:
    assert cell("a*b <c> | [x]") == r"a\*b \<c\> \| \[x\]"
    assert cell("see --out and runs/mae/demo, best.ckpt.") == "see `--out` and `runs/mae/demo`, `best.ckpt`."
    assert description("One\ntwo\n\n  code *x*\n  more\n\nthree") == "One two\n\n```text\ncode *x*\nmore\n```\n\nthree"


def test_every_config_is_shown_whole() -> None:
    pages = config_pages(ROOT / "configs")
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert path.read_text().rstrip() in pages[f"reference/configs/{path.parent.name}.md"]
        assert f"{path.parent.name}.md#{path.stem}" in pages["reference/configs/index.md"]


@pytest.mark.slow
def test_every_package_and_name_it_offers_is_there_once() -> None:
    pages = python_pages(ROOT)
    for init in (*(ROOT / "ecgcmr").rglob("__init__.py"), ROOT / "data_modules" / "__init__.py"):
        assert f"reference/python/{'.'.join(init.parent.relative_to(ROOT).parts)}.md" in pages
    names = re.findall(r"^::: (\S+)$", "\n".join(pages.values()), re.MULTILINE)
    assert len(names) == len(set(names))
    for name in ("ecgcmr.encoders.ecg_vit.ECGVisionTransformer", "data_modules.ecg.ECGDataModule",
                 "ecgcmr.inference.load.load", "ecgcmr.encoders.cmr_resnet.CMRResNet"):  # fmt: skip
        assert name in names
    assert "[`ecgcmr.Encoder`][ecgcmr.encoders.protocol.Encoder]" in pages["reference/python/ecgcmr.md"]


def test_the_table_of_a_dataclass_has_every_field_and_what_is_said_of_it() -> None:
    table = field_table(Budget)
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == ["least", "most", "interval", "patience", "share"]
    assert "Optimiser steps between validations" in table


def test_the_schema_of_a_cohort_is_that_of_a_cohort_and_agrees_with_the_page_by_hand() -> None:
    page = schema_pages(ROOT / "docs")["reference/cohort_schema.md"]
    assert "| `ecg` | (n, 12, T) | `float16` | (1, 12, T) |" in page
    assert "| `waves` | (n, B, 8) | `int16` | contiguous |" in page
    shards = (ROOT / "docs" / "shards.md").read_text()
    for name in re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE):
        assert f"`{name}`" in shards or f'"{name}"' in shards, name


def test_the_schema_of_a_run_names_every_file_that_a_run_leaves() -> None:
    page = schema_pages(ROOT / "docs")["reference/run_schema.md"]
    for pattern in _OF_A_RUN:
        assert pattern.replace("*.ckpt", "last.ckpt").replace("*", "").rstrip("/") in page, pattern


def test_a_page_of_results_has_the_numbers_of_its_file(tmp_path: Path) -> None:
    row = {"method": "mae", "protocol": "linear_probe", "labels": 200, "value": 0.25, "ci_low": 0.1, "ci_high": 0.4}
    oracle = {**row, "method": "oracle", "protocol": None, "labels": None, "value": 0.5}
    table = {"task": "phenotypes", "targets": "LV mean", "metric": "r2", "test_subjects": 60, "scores": [row, oracle],
             "differences": [{**row, "reference": "random", "reference_protocol": None, "p_holm": 0.04}]}  # fmt: skip
    kept = {"title": "A_trial", "cohort": "synthetic", "code_version": "1", "synthetic": True, "tables": [table]}
    (tmp_path / "trial.json").write_text(json.dumps(kept))
    pages = result_pages(tmp_path)
    page = str(pages["results/trial.md"])
    assert "# A\\_trial" in page
    assert "nothing about\n    patients" in page
    assert "| mae, linear probe | 0.250 (0.100 to 0.400) |" in page
    assert "| oracle | 0.500 (0.100 to 0.400) |" in page
    assert "| mae, linear probe | random | 200 | 0.250 (0.100 to 0.400) | 0.040 |" in page
    assert bytes(pages["results/trial.svg"]).startswith(b"<?xml")
    assert pages["results/trial.svg"] == result_pages(tmp_path)["results/trial.svg"]


def test_a_notebook_is_a_page_of_its_text_and_code() -> None:
    page = notebook_pages(ROOT / "docs")["notebooks/first_steps.md"]
    assert page.startswith("# First steps in Python\n")
    assert "```python\nfrom pathlib import Path" in page
