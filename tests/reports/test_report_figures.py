"""Figures with more methods and targets than a page holds: what is drawn of which, and that looks differ."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ecgcmr.evaluation.methods import METHODS
from ecgcmr.evaluation.rows import ResultRow, Target
from ecgcmr.metrics.decisions import CalibrationBin
from ecgcmr.reports.agreement_figures import calibration
from ecgcmr.reports.bullseye import bullseye
from ecgcmr.reports.figure_styles import Styles
from ecgcmr.reports.figures import LONGEST_IN_FIGURE, label_efficiency, roc, save_figure, scatter
from ecgcmr.reports.forest_figures import MOST_METHODS, forest, forests, leading_methods

TARGETS = [Target(f"t{k}", group) for group, count in (("LV", 6), ("RV", 4), ("WT", 20)) for k in range(count)]
TARGETS = [Target(f"{target.group}{place}", target.group) for place, target in enumerate(TARGETS)]
SETS = ("all", "LV+RV", "LV mean", "RV mean", "WT mean")
LINES = [("oracle", None), *((f"method {k}", "linear_probe") for k in range(9)), ("method 3", "finetune")]


def rows(lines: list, targets: list[Target], value: dict) -> list[ResultRow]:
    entries = [*((target.name, target.group) for target in targets), *(("mean", name) for name in SETS)]
    return [
        ResultRow(name, group, "regression", *line, 20, "r2", own, own - 0.1, own + 0.1, 50, "regression")
        for line in lines
        for name, group in entries
        for own in [value[line]]
    ]


VALUE = {line: 0.9 - 0.05 * place for place, line in enumerate(LINES)}
ROWS = rows(LINES, TARGETS, VALUE)


def legend(figure: object) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]  # type: ignore[attr-defined]


def test_a_forest_of_too_many_intervals_becomes_means_and_the_leading_methods() -> None:
    made = forests(ROWS, 20, "r2", targets=TARGETS, focus="method 3")
    assert set(made) == {"forest", "forest_means"}
    # The focus twice, the best four others, and no ceiling.
    assert leading_methods(ROWS, 20, "r2", focus="method 3") == [
        *((f"method {k}", "linear_probe") for k in range(4)), ("method 3", "finetune"), ("method 4", "linear_probe"),
    ]  # fmt: skip
    assert set(legend(made["forest"])) == {
        *(f"method {k}, linear probe" for k in range(5)), "method 3, fine-tuned",
    }  # fmt: skip
    assert f"{MOST_METHODS} of {len(LINES)} methods" in made["forest"].get_suptitle()
    assert sum(len(axes.get_yticks()) for axes in made["forest"].axes) == len(TARGETS)
    means = [axes for axes in made["forest_means"].axes if axes.get_visible()]
    assert [axes.get_title() for axes in means] == [f"{name.removesuffix(' mean')} (n = 50)" for name in SETS]
    for axes in means:
        drawn = [container.lines[0].get_xdata()[0] for container in axes.containers]
        assert sorted(drawn) == pytest.approx(sorted(VALUE.values()))
    names = [text.get_text() for text in means[0].get_yticklabels()]  # those beside it have the same
    assert set(names) == {"oracle", *(f"method {k}, linear probe" for k in range(9)), "method 3, fine-tuned"}
    assert all(max(figure.get_size_inches()) * 150 < 2600 for figure in made.values())


def test_a_forest_that_can_be_read_shows_everything() -> None:
    made = forests(ROWS, 20, "r2", targets=TARGETS[:10], focus="method 3")
    assert set(made) == {"forest"}
    assert len(legend(made["forest"])) == len(LINES)
    assert set(forests(ROWS[: 35 * 5], 20, "r2", targets=TARGETS)) == {"forest"}  # five methods are few


def test_a_leading_method_is_taken_at_its_better_protocol_and_by_the_metrics_direction() -> None:
    assert leading_methods(ROWS, 20, "r2", most=4) == [(f"method {k}", "linear_probe") for k in range(4)]
    lines = [("a", "linear_probe"), ("a", "finetune"), ("b", None)]
    worse = rows(lines, [], {lines[0]: 0.3, lines[1]: 0.2, lines[2]: 0.1})
    worse = [ResultRow(**{**vars(row), "metric": "brier"}) for row in worse]  # less is better
    assert leading_methods(worse, 20, "brier", most=1) == [("b", None)]
    assert leading_methods(worse, 20, "brier", most=2) == [("a", "finetune"), ("b", None)]


@pytest.mark.parametrize("others", [0, 6, 60])
def test_no_two_methods_look_alike(others: int) -> None:
    """Two of nearly one colour have different markers; protocols differ by line and by hollow markers."""
    methods = [*METHODS, *(f"run {k}: mae" for k in range(others))]
    styles = Styles((name, None) for name in methods)
    looks = [styles.of((name, None))[:2] for name in methods]
    assert len(set(looks)) == len(methods)
    for place, (colour, marker) in enumerate(looks[: len(METHODS)]):
        for other, its in looks[:place]:
            assert np.abs(np.subtract(to_rgb(colour), to_rgb(other))).max() > 0.1
            assert marker != its
    probe, tuned = ("mae", "linear_probe"), ("mae", "finetune")
    assert styles.of(probe)[2] != styles.of(tuned)[2]
    assert styles.fill(probe) != styles.fill(tuned)


def test_protocols_of_one_method_look_unlike() -> None:
    protocols = ("linear_probe", "taught_probe", "attention_probe", "finetune", "taught", None)
    styles = Styles(("mae", protocol) for protocol in protocols)
    looks = {(*styles.of(("mae", protocol)), styles.fill(("mae", protocol))) for protocol in protocols}
    assert len(looks) == len(protocols)


def test_panels_are_named_by_titles_and_share_a_legend() -> None:
    disease = Target("af_ever", "disease", "", "Atrial fibrillation")
    bins = [CalibrationBin(0.2, 0.1, 20), CalibrationBin(0.6, 0.5, 20)]
    methods = {("mae", "linear_probe"): bins, ("cnn", "finetune"): bins}
    figure = calibration({"af_ever": methods, "cad_ever": methods}, [disease, Target("cad_ever", "disease")])
    assert [axes.get_title() for axes in figure.axes] == ["Atrial fibrillation", "cad_ever"]
    assert set(legend(figure)) == {"mae, linear probe", "cnn, fine-tuned"}
    truth = np.arange(20.0)[:, None] % 2
    assert roc(truth, {("mae", None): truth}, [disease]).axes[0].get_title() == "Atrial fibrillation (10 of 20)"
    drawn = bullseye([np.zeros(16)], ["Wall thickness"], title="mae, linear probe, 20 labels")
    assert drawn.get_suptitle() == "mae, linear probe, 20 labels"
    assert drawn.axes[0].get_title() == "Wall thickness"
    below = bullseye([np.zeros(16)] * 3, ["one", "two", "three"], columns=1)
    heights = [axes.get_subplotspec().rowspan.start for axes in below.axes[:3]]
    assert heights == [0, 1, 2]


def test_long_names_leave_the_panels_their_place(tmp_path: Path) -> None:
    """A method or target of 900 characters would else push the panels, or every other name, out of the picture."""
    targets = [Target("x" * 900, "other", "u" * 900), Target("y", "other")]
    truth = np.random.default_rng(0).normal(size=(30, 2))
    figure = scatter(truth, truth + 0.1, targets, title="t" * 900)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where panels have no room left
        save_figure(figure, tmp_path / "scatter.png")
    assert len(figure.axes[0].get_title()) == LONGEST_IN_FIGURE
    assert len(figure.get_suptitle()) == 2 * LONGEST_IN_FIGURE
    rows = [
        ResultRow(name, "other", "regression", method, None, None, "r2", 0.5, 0.4, 0.6, 30, "regression")
        for name in ("x" * 900, "y")
        for method in ("m" * 900, "n", "w" * 40)
    ]
    drawn = forest(rows, None, targets=targets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(drawn, tmp_path / "forest.png")
    assert {len(text.get_text()) for text in drawn.legends[0].get_texts()} == {1, 40, LONGEST_IN_FIGURE}
    assert max(len(tick.get_text()) for tick in drawn.axes[0].get_yticklabels()) == LONGEST_IN_FIGURE
    box = drawn.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.bbox.x1


@pytest.mark.parametrize("name", ["a", "method", "m" * 900])
@pytest.mark.parametrize("count", [2, 40])
def test_curves_over_labels_keep_their_place_beside_a_legend_of_any_length(
    tmp_path: Path, count: int, name: str
) -> None:
    lines = [(f"{name} {place}", "taught_probe") for place in range(count)]
    made = [
        ResultRow("mean", "all", "regression", *line, labels, "r2", 0.5, 0.4, 0.6, 30, "regression")
        for line in lines
        for labels in (20, 200)
    ]
    figure = label_efficiency(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "labels.png")
    figure.draw_without_rendering()  # places in the figure's own dots, not in those of the file
    legend_box, curves = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert len(legend(figure)) == count
    assert figure.bbox.y0 <= legend_box.y0
    assert legend_box.y1 <= figure.bbox.y1
    assert legend_box.x1 <= figure.bbox.x1
    assert curves.x1 <= legend_box.x0
    width, height = curves.width / figure.dpi, curves.height / figure.dpi
    assert 3.0 < width < 7.5  # the narrowest beside 48 letters m
    assert height > 3.5
