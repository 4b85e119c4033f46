"""The page in a browser: nothing fetched, nothing logged, tables that sort, dark and light, narrow and wide."""

from __future__ import annotations

from pathlib import Path

import finished_experiment
import pytest
from browser import shown
from PIL import Image

from ecgcmr.pages.experiment_folder import read_experiment
from ecgcmr.pages.experiment_page import experiment_page


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown") / "compare"
    finished_experiment.make(folder)
    (folder / "interpretation").mkdir()
    for name, size in {"a_map": (60, 40), "a_map_narrow": (30, 70), "alone_narrow": (20, 20)}.items():
        Image.new("RGB", size, "navy").save(folder / "interpretation" / f"{name}.png")
    page = folder / "report.html"
    page.write_text(experiment_page(read_experiment(folder)))
    return page


@pytest.mark.slow
@pytest.mark.long
def test_tables_sort_and_nothing_is_fetched_or_logged(file: Path) -> None:
    with shown(file) as found:
        before = found.column(0, 1)
        head = found.page.locator("table").first.locator("thead th").nth(1)
        head.get_by_role("button").click()
        falling = [float(text.split()[0]) for text in found.column(0, 1)]
        assert falling == sorted(falling, reverse=True)
        assert head.get_attribute("aria-sort") == "descending"
        found.page.keyboard.press("Enter")  # the button keeps the focus
        rising = [float(text.split()[0]) for text in found.column(0, 1)]
        assert rising == falling[::-1]
        assert sorted(found.column(0, 1)) == sorted(before)
        found.page.get_by_label("Colours").select_option("dark")
        assert _background(found) == "rgb(20, 23, 28)"
        assert found.messages == []
        assert [address for address in found.requests if not address.startswith("data:")] == [file.as_uri()]


@pytest.mark.slow
def test_a_phone_needs_no_sideways_scroll_and_no_script(file: Path) -> None:
    with shown(file, width=390, scheme="dark", scripts=False) as found:
        found.page.set_viewport_size({"width": 390, "height": 800})
        assert _background(found) == "rgb(20, 23, 28)"
        for summary in found.page.locator("section > details > summary").all():
            summary.click()
        assert found.width() == 390
        assert found.page.get_by_role("button").count() == 0
        assert found.page.locator("td").first.is_visible()
        assert found.messages == []


@pytest.mark.slow
def test_a_figure_that_was_drawn_twice_shows_as_the_screen_is_wide(file: Path) -> None:
    for width, expected in ((390, [30, 70]), (1280, [60, 40])):
        with shown(file, width=width) as found:
            figure = found.page.locator("picture img")
            figure.scroll_into_view_if_needed()
            assert figure.count() == 1
            assert (
                figure.evaluate("(image) => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")
                == expected
            )
            assert found.messages == []


def _background(found) -> str:
    return str(found.page.evaluate("getComputedStyle(document.body).backgroundColor"))
