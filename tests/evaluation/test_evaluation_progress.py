"""The bar of a long assessment: silent where nobody looks, counting up to the end where somebody does."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ecgcmr.evaluation.arrangement import Arrangement, arrange
from ecgcmr.evaluation.assessment import assess
from ecgcmr.evaluation.prediction_table import checked_table
from ecgcmr.evaluation.progress import progress_bar
from ecgcmr.evaluation.rows import Settings

QUICK = Settings(resamples=20, focus="b")


@pytest.fixture(scope="module")
def data() -> Arrangement:
    """Three methods of a number and a disease; half of the subjects are women."""
    world, n = np.random.default_rng(0), 40
    about = {"subject": [f"{k:032x}" for k in range(n)], "sex": np.arange(n) % 2.0, "split": "test", "seed": 0}
    truth = {"lv_edv": world.normal(size=n), "af_ever": np.arange(n) // 2 % 2.0}
    parts = [
        pd.DataFrame({**about, "method": method, "target": name, "truth": own, "prediction": world.random(n)})
        for method in "abc"
        for name, own in truth.items()
    ]
    return arrange(checked_table(pd.concat(parts, ignore_index=True), "made"), "made")


def test_every_step_is_counted_and_results_are_the_same(data: Arrangement) -> None:
    seen: list[tuple[int, int]] = []
    found = assess(data, QUICK, lambda done, total: seen.append((done, total)))
    # Of each of two kinds: three methods, the focus against two others, three methods in two subgroups.
    assert seen == [(done, 22) for done in range(1, 23)]
    plain = assess(data, QUICK)
    for name in ("scores", "differences", "subgroups", "calibration", "notes"):
        assert repr(getattr(plain, name)) == repr(getattr(found, name))


def test_nothing_is_written_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    into = io.StringIO()
    for console in (None, Console(file=into)):
        with progress_bar("scoring", console) as on_step:
            on_step(1, 2)
            on_step(2, 2)
    assert into.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_how_far_it_is() -> None:
    into = io.StringIO()
    with progress_bar("scoring", Console(file=into, force_terminal=True, width=100)) as on_step:
        on_step(3, 7)
    assert "scoring" in into.getvalue()
    assert "3/7" in into.getvalue()
