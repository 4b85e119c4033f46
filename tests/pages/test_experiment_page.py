"""``ecgcmr report`` of an experiment: its numbers are those of results.json, and nothing of a file becomes markup."""

from __future__ import annotations

import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import finished_experiment
import numpy as np
import pytest
from finished_experiment import HOME, METHODS, SCRIPT, TARGETS, TURNED
from PIL import Image

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.pages.experiment_folder import read_experiment
from ecgcmr.pages.experiment_page import MOST_BYTES, experiment_page
from ecgcmr.pages.figure_files import read_figure
from ecgcmr.shards import ShardIndex


class Parsed(HTMLParser):
    """The elements of a page: tags with their attributes, texts, cells of each table, what it refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.styles, self.text, self._open = "", "", [""]
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.styles += data
        elif "script" not in self._open:
            self.text += data
            if "td" in self._open or "th" in self._open:
                self.tables[-1][-1][-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment") / "compare"
    finished_experiment.make(folder)
    return folder


@pytest.fixture(scope="module")
def page(experiment: Path) -> str:
    return experiment_page(read_experiment(experiment))


@pytest.fixture(scope="module")
def parsed(page: str) -> Parsed:
    return Parsed(page)


def test_the_numbers_of_the_page_are_those_of_results_json(experiment: Path, parsed: Parsed) -> None:
    rows = json.loads((experiment / "results.json").read_text())
    heads = {"R2": "r2", "Pearson r": "pearson", "MAE": "mae", "RMSE": "rmse"}
    (table,) = [table for table in parsed.tables if table[0][:5] == ["target", "method", "labels", "n", "seeds"]]
    checked = 0
    for target, method, _labels, n, _seeds, *cells in table[1:]:
        for head, cell in zip(table[0][5:], cells, strict=True):
            wanted = [
                row for row in rows
                if (row["target"], f"{row['method']}, linear probe".replace(TURNED, "abc\\u202edef"),
                    row["metric"]) == (target, method, heads.get(head))
            ]  # fmt: skip
            for row in wanted:
                digits = METRICS[row["metric"]].digits
                assert cell == f"{row['value']:.{digits}f} ({row['ci_low']:.{digits}f} to {row['ci_high']:.{digits}f})"
                assert n == str(row["n_test"])
                checked += 1
    assert checked == len(METHODS) * len(TARGETS) * len(heads)


def test_every_part_stands_under_a_heading_in_order(parsed: Parsed) -> None:
    titles = ["Question", "Results", "Figures", "Cohort", "Methods", "Training", "Notes", "Provenance", "Settings"]
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    anchors = {str(attributes["href"]) for attributes in parsed.named("a")} - {"#content"}
    assert anchors == {f"#{title.lower()}" for title in titles}
    assert {f"#{attributes['id']}" for attributes in parsed.named("h2")} == anchors
    for known in (
        "Does mae predict phenotypes",
        "20 resamples",
        "e" * 64,
        "ecgcmr experiment compare.yaml --out compare",
    ):
        assert known in parsed.text


def test_lines_of_the_gain_are_read_as_paragraphs(page: str) -> None:
    assert "<p>At 24: mae reaches less.</p>" in page


def test_nothing_is_fetched_from_outside(parsed: Parsed) -> None:
    for _, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
            assert re.match(r"#|data:", str(attributes.get(name) or "#")), (name, attributes)
    assert "url(" not in parsed.styles
    assert "@import" not in parsed.styles
    policy = next(a["content"] for a in parsed.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_hostile_names_stay_text(page: str, parsed: Parsed) -> None:
    assert len(parsed.named("script")) == 1
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert SCRIPT in parsed.text
    assert "\u202e" not in page
    assert "abc\\u202edef" in parsed.text


def test_neither_folders_nor_secrets_are_on_the_page(page: str, parsed: Parsed) -> None:
    assert "anna" not in page
    assert HOME not in page
    assert "swordfish" not in page
    assert "read …/table.csv" in parsed.text
    assert "root: …/shards" in parsed.text


def test_tables_figures_and_charts_can_be_read_without_seeing_them(parsed: Parsed) -> None:
    assert all(attributes.get("alt") for attributes in parsed.named("img"))
    assert len(parsed.named("img")) == 1
    assert all(attributes.get("aria-label") for attributes in parsed.named("svg"))
    heads = parsed.named("th")
    assert {attributes.get("scope") for attributes in heads} == {"col", "row"}
    assert len(parsed.named("caption")) == len(parsed.named("table")) == len(parsed.tables)
    assert dict(parsed.tags)["html"]["lang"] == "en"


def test_the_same_folder_gives_the_same_page_of_a_bounded_size(experiment: Path, page: str) -> None:
    assert experiment_page(read_experiment(experiment)) == page
    assert len(page.encode()) < MOST_BYTES
    smaller = experiment_page(read_experiment(experiment), most=len(page.encode()) - 1)
    assert "the tables of single targets would make this page too large" in smaller.lower()
    with pytest.raises(UserError, match="would be larger than 100 bytes"):
        experiment_page(read_experiment(experiment), most=100)


def test_a_cohort_elsewhere_is_described_where_it_is_named(experiment: Path, cohort: ShardIndex) -> None:
    assert "ecgcmr report --root DIR" in experiment_page(read_experiment(experiment)).replace("&#x27;", "'")
    tables = Parsed(experiment_page(read_experiment(experiment, cohort.root))).tables
    (splits,) = [table for table in tables if table[0][0] == "split"]
    assert [row[:3] for row in splits[1:]] == [["train", "36", "36"], ["val", "15", "15"], ["test", "9", "9"]]
    (labels,) = [table for table in tables if table[0][0] == "label"]
    known = cohort.statistics["lv_edv"]
    assert labels[1][5:7] == [str(known["n"]), f"{known['mean']:.4g}"]


def test_the_command_writes_the_page_and_replaces_nothing_unasked(
    experiment: Path, tmp_path: Path, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "report.html"
    assert main(["report", str(experiment), "--out", str(out)]) == 0
    assert out.read_text() == page
    out.write_text("mine")
    assert main(["report", str(experiment), "--out", str(out)]) == 2
    assert out.read_text() == "mine"
    assert "add --overwrite" in capsys.readouterr().err
    assert main(["report", str(experiment), "--out", str(out), "--overwrite"]) == 0
    assert out.read_text() == page


def test_a_colour_that_is_rare_in_a_figure_stays_apart_from_others(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers((150, 0, 0), (256, 200, 200), (300, 300, 3)).astype(np.uint8)
    rare = {(0, 114, 178): slice(0, 4), (0, 158, 115): slice(8, 12)}
    for colour, place in rare.items():
        pixels[place, :12] = colour
    Image.fromarray(pixels).save(tmp_path / "figure.png")
    with Image.open(io.BytesIO(read_figure(tmp_path / "figure.png").png)) as reduced:
        found = np.asarray(reduced.convert("RGB")).astype(int)
    for colour, place in rare.items():
        assert np.abs(found[place, :12] - colour).max() <= 25


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "results.json").unlink(), "has not finished"),
        (lambda folder: shutil.rmtree(folder / "evaluation"), "no evaluation/TASK/results.json"),
        (lambda folder: _cut(folder / "evaluation" / "phenotypes" / "results.json"), "cannot be read as JSON"),
        (lambda folder: _cut(folder / "figures" / "phenotypes_forest_20_labels.png"), "no PNG or damaged"),
        (lambda folder: (folder / "stages" / "mae" / "config.yaml").write_text("[\n"), "cannot be read as YAML"),
        (lambda folder: (folder / "stages" / "mae" / "metrics.json").write_text("[1]"), "holds no entries"),
        (lambda folder: (folder / "results.md").unlink(), "cannot be read"),
        (lambda folder: _edit(folder, "scores", "value", "high"), "value is 'high'"),
        (lambda folder: _edit(folder, "subgroups", "metric", "auroc"), "without scores of it"),
        (lambda folder: _edit(folder, "differences", "p", "small"), "p is 'small'"),
    ],
)
def test_a_damaged_or_unfinished_folder_is_one_line(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage, said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(experiment, folder)
    damage(folder)
    assert main(["report", str(folder)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (folder / "report.html").exists()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _edit(folder: Path, part: str, name: str, value: str) -> None:
    path = folder / "evaluation" / "phenotypes" / "results.json"
    content = json.loads(path.read_text())
    content[part][0][name] = value
    path.write_text(json.dumps(content))
