"""results.tex without LaTeX: what opens is closed, rows fit their columns, names are escaped, numbers agree."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecgcmr.evaluation.rows import Settings
from ecgcmr.experiments.report import assess_task, write_evaluation
from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.metrics.tasks import task_for

ODD = "[50 % of_A&B #1 {x} ~^\\$ <|>*"
METHODS = (("mae+alignment", "linear_probe"), ("mae+alignment", "finetune"), (ODD, "my_way"), ("oracle", None))
TARGETS = (("lv_edv", "mL", "regression"), ("rv_ef", "%", "regression"), ("r&d_100%", "m^2_#", "regression"),
           ("af_ever", "", "classification"), ("{odd}_finding", "", "classification"))  # fmt: skip
TASKS = [task_for("regression", "phenotypes"), task_for("classification", "diseases")]
TASK_OF = {task.kind: task.name for task in TASKS}
KIND_OF = {"Phenotypes": "regression", "Diseases and findings": "classification"}
PRIMARY = {"regression": "r2", "classification": "auroc"}
PROTOCOLS = {"linear_probe": ", linear probe", "finetune": ", fine-tuned", None: ""}
N = 90

ESCAPED = {rf"\{character}": character for character in "&%$#_{}"}
ESCAPED |= {r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", "$-$": "-"}
ESCAPED |= {r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", "{[}": "[", "{*}": "*"}
SYMBOL = re.compile("|".join(re.escape(text) for text in sorted(ESCAPED, key=len, reverse=True)))
NUMBER = re.compile(r"(-?\d+\.\d+)(?: \((-?\d+\.\d+) to (-?\d+\.\d+)\))?")


def made_frame() -> pd.DataFrame:
    """Return predictions of four methods, the oracle without labels, of targets and methods with awkward names."""
    world, parts = np.random.default_rng(0), []
    subjects = {"subject": [f"{k:032x}" for k in range(N)], "sex": world.integers(0, 2, N).astype(float)}
    for name, unit, kind in TARGETS:
        hidden = world.normal(size=N)
        truth = 100 + 20 * hidden if kind == "regression" else (hidden > 0.5) * 1.0
        for method, protocol in METHODS:
            guess = hidden + (0.2 if method == "oracle" else 0.8) * world.normal(size=N)
            prediction = 100 + 20 * guess if kind == "regression" else 1 / (1 + np.exp(-guess))
            if name == "{odd}_finding" and method == ODD:
                continue
            for labels in [np.nan] if method == "oracle" else [20.0, 1500.0]:
                about = {"method": method, "protocol": protocol, "labels": labels, "unit": unit or None, "seed": 0}
                own = {
                    "target": name,
                    "truth": truth,
                    "prediction": prediction + 0.001 * (labels > 20),
                    "task": TASK_OF[kind],
                }
                parts.append(pd.DataFrame({**subjects, **about, **own, "split": "test", "kind": kind, "group": kind}))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Table:
    """A table as a reader of the page sees it; ``best`` are the cells in bold, as (line, column)."""

    caption: str
    titles: list[str]
    lines: list[list[str]]
    best: set[tuple[int, int]]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tex")
    settings = Settings(resamples=40, focus="mae+alignment")
    write_evaluation([assess_task(made_frame(), task, settings) for task in TASKS], folder)
    return folder


@pytest.fixture(scope="module")
def found(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Scores, differences and subgroups of both tasks as results.json has them."""
    whole = [json.loads((out / "evaluation" / task.name / "results.json").read_text()) for task in TASKS]
    return {name: [row for part in whole for row in part[name]] for name in ("scores", "differences", "subgroups")}


@pytest.fixture(scope="module")
def tables(out: Path) -> list[Table]:
    return list(read_tables((out / "results.tex").read_text()))


def without_comments(text: str) -> str:
    return re.sub(r"(?<!\\)((?:\\\\)*)%.*", r"\1", text)


def plain(text: str) -> str:
    """Return what is shown for a text without markup; anything that LaTeX would take for markup is an error."""
    rest = SYMBOL.sub("", text)
    assert not set(rest) & set("\\{}$&#^_~%<>|"), text
    return SYMBOL.sub(lambda match: ESCAPED[match[0]], text)


def cells_of(line: str) -> list[str]:
    assert line.endswith(r" \\"), line
    return re.split(r" (?<!\\)& ", line.removesuffix(r" \\"))


def read_tables(text: str) -> Iterator[Table]:
    for part in re.findall(r"\\begin{table}\n(.*?)\\end{table}", text, flags=re.DOTALL):
        caption = re.search(r"^\\caption{(.*)}$", part, flags=re.MULTILINE)
        body = re.search(r"\\begin{tabular}{(.*?)}\n\\toprule\n(.*?)\n\\midrule\n(.*)\n\\bottomrule", part, re.DOTALL)
        assert caption is not None
        assert body is not None
        assert re.fullmatch("lr+", body[1])
        rows = [cells_of(line) for line in (body[2], *body[3].split("\n"))]
        assert {len(row) for row in rows} == {len(body[1])}
        bold = {(line, column) for line, row in enumerate(rows[1:]) for column, cell in enumerate(row)
                if cell.startswith(r"\textbf{")}  # fmt: skip
        bare = [[plain(re.sub(r"^\\textbf{(.*)}$", r"\1", cell)) for cell in row] for row in rows]
        yield Table(plain(caption[1]), bare[0], bare[1:], bold)


def test_what_opens_is_closed_and_nothing_else_is_used(out: Path) -> None:
    text = without_comments((out / "results.tex").read_text())
    opened: list[str] = []
    for word, name in re.findall(r"\\(begin|end){(\w+)}", text):
        if word == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    depth = 0
    for brace in re.sub(r"\\[\\{}]", "", text):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        assert depth >= 0
    assert depth == 0
    known = {"begin", "end", "centering", "caption", "resizebox", "ifdim", "width", "linewidth", "else", "fi"}
    known |= {"toprule", "midrule", "bottomrule", "textbf", "textbackslash", "textasciicircum", "textasciitilde"}
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= known | {"textless", "textgreater", "textbar"}
    assert "\n\n" not in "".join(re.findall(r"\\begin{table}.*?\\end{table}", text, flags=re.DOTALL))  # no paragraph


def test_every_table_is_there_and_names_come_out_as_they_went_in(tables: list[Table]) -> None:
    kinds = Counter(re.split(r"[:(]| one by one| in ", table.caption)[0].strip() for table in tables)
    # Of each task: both numbers of labels, all differences, one method's targets, and subgroups (of each disease).
    assert kinds == {"Phenotypes": 3, "Diseases and findings": 3, "Paired differences": 2, "Subgroups": 3}
    methods = {name + PROTOCOLS.get(protocol, f", {protocol}") for name, protocol in METHODS}
    shown = {line[0] for table in tables if table.titles[0] == "method" for line in table.lines}
    assert shown == methods
    targets = {line[0] for table in tables if table.titles[0] == "target" for line in table.lines}
    assert targets == {f"{name} [{unit}]" if unit else name for name, unit, _ in TARGETS}


def title(row: Mapping[str, Any], name: str = "method", protocol: str = "protocol") -> str:
    return row[name] + PROTOCOLS.get(row[protocol], f", {row[protocol]}")


def equals(cell: str, row: Mapping[str, Any] | None, *, interval: bool = True) -> bool:
    """Tell whether a cell says the value of a row, and its interval, as exactly as its decimals do."""
    if row is None or row["value"] is None:
        return cell == "-"
    match = NUMBER.fullmatch(cell)
    given = [row["value"], *([row["ci_low"], row["ci_high"]] if interval and row["ci_low"] is not None else [])]
    if match is None:
        return False
    numbers = [text for text in match.groups() if text is not None]
    return len(numbers) == len(given) and all(
        abs(float(text) - value) <= 0.5001 * 10.0 ** -len(text.partition(".")[2])
        for text, value in zip(numbers, given, strict=True)
    )


def one(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    matches = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(matches) <= 1, wanted
    return matches[0] if matches else None


def test_means_are_those_of_results_json_and_the_best_is_bold(tables: list[Table], found: dict) -> None:
    keys = {metric.title: metric.key for metric in METRICS.values()}
    for table in (table for table in tables if table.titles[0] == "method"):
        kind, count = re.fullmatch(r"([^:]+): mean over \d targets, ([\d,]+) labels\. .*", table.caption).groups()  # type: ignore[union-attr]
        number = int(count.replace(",", ""))
        rows = [row for row in found["scores"] if (row["target"], row["group"]) == ("mean", "all")]
        rows = [row for row in rows if row["task"] == KIND_OF[kind] and row["labels"] in (number, None)]
        assert len(table.titles) > 4 or kind == "Phenotypes"
        for column, name in enumerate(table.titles[1:], start=1):
            own = {title(row): row for row in rows if row["metric"] == keys[name]}
            assert {line[0] for line in table.lines} == set(own)
            assert all(equals(line[column], own[line[0]]) for line in table.lines)
            rivals = {line: row["value"] for line, row in own.items() if line != "oracle"}
            winner = (min if name == "Brier score" else max)(rivals, key=lambda line: rivals[line])
            wanted = {winner} if METRICS[keys[name]].higher_is_better is not None else set()
            assert {table.lines[line][0] for line, place in table.best if place == column} == wanted


def test_differences_are_those_of_results_json(tables: list[Table], found: dict) -> None:
    for table in (table for table in tables if table.caption.startswith("Paired differences")):
        task = "regression" if "R2" in table.caption else "classification"
        rows = {
            (f"{title(row)} - {title(row, 'reference', 'reference_protocol')}", f"{row['labels']:,}"): row
            for row in found["differences"]
            if (row["task"], row["target"], row["group"]) == (task, "mean", "all")
        }
        assert {(line[0], line[1]) for line in table.lines} == set(rows)
        assert len(rows) == len(table.lines) == 4  # each protocol of the focus, at both numbers of labels
        for line in table.lines:
            row = rows[line[0], line[1]]
            assert equals(line[2], row)
            assert [float(text) for text in line[3:5]] == pytest.approx([row["p"], row["p_holm"]], abs=0.00051)
            assert line[5] == f"{row['n_test']:,}"


def test_single_targets_and_subgroups_are_those_of_results_json(tables: list[Table], found: dict) -> None:
    keys = {metric.title: metric.key for metric in METRICS.values()}
    counted = 0
    for table in tables:
        if table.titles[0] == "target":
            kind, method, count = re.fullmatch(r"(.+) one by one: (.+), ([\d,]+) labels\.", table.caption).groups()  # type: ignore[union-attr]
            own = [row for row in found["scores"] if title(row) == method and row["task"] == KIND_OF[kind]]
            own = [row for row in own if row["labels"] == int(count.replace(",", ""))]
            for line in table.lines:
                for name, cell in zip(table.titles[2:], line[2:], strict=True):
                    row = one(own, target=line[0].split(" [")[0], metric=keys[name])
                    assert row is not None
                    assert line[1] == str(row["n_test"])
                    assert equals(cell, row, interval=row["metric"] == PRIMARY[row["task"]])
                    counted += 1
        if table.titles[0] == "subgroup":
            named = re.search(r" of (.+)\. Each", table.caption)
            target, group = (named[1], None) if named else ("mean", "all")
            metric = "r2" if "R2" in table.caption else "auroc"
            own = [row for row in found["subgroups"] if (row["target"], row["metric"]) == (target, metric)]
            own = [row for row in own if group in (row["group"], None)]
            for line in table.lines:
                for name, cell in zip(table.titles[2:], line[2:], strict=True):
                    rows = [row for row in own if title(row) == name]
                    assert equals(cell, one(rows, subgroup=line[0].removeprefix("sex: ")))
                    counted += 1
    assert counted == 3 * 9 + 2 * 5 + 3 * 2 * 4  # of a disease that a method did not predict there is a dash
