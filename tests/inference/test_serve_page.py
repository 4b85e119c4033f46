"""The page in a browser: a file is dropped, its numbers appear; nothing is fetched from elsewhere or logged."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browsed, shown
from served import WIDE, Served, served, synthetic_signal, write_ecg
from tiny_model import write_tiny_model

pytest.importorskip("fastapi")

import ecgcmr  # noqa: E402
from ecgcmr.inference.person import Person  # noqa: E402
from ecgcmr.inference.serve.limits import Limits  # noqa: E402
from ecgcmr.inference.serve.model_predictor import ModelPredictor  # noqa: E402

DECLARATION = "unit: mV\nsampling_rate: 500\nleads: [I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6]\n"
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], name));
  const event = new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page")
    write_tiny_model(made / "model", distance=WIDE)
    write_ecg(made / "ecg.xml")
    np.save(made / "upside_down.npy", -synthetic_signal())
    (made / "ecg.yaml").write_text(DECLARATION)
    (made / "photo.xml").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    predictor = ModelPredictor(ecgcmr.load(folder / "model"), 0.95)
    with served(predictor, Limits(request_bytes=2_000_000, files=3)) as running:
        yield running


def ready(found: Browsed) -> None:
    found.page.wait_for_selector("body[data-ready]", timeout=30_000)


def said(found: Browsed, words: str) -> None:
    found.page.get_by_role("status").filter(has_text=words).wait_for(timeout=60_000)


def only_from(found: Browsed, server: Served) -> bool:
    return all(address.startswith((f"{server.address}/", "data:")) for address in found.requests)


@pytest.mark.slow
def test_a_file_is_dropped_and_its_numbers_appear(server: Served, folder: Path) -> None:
    expected = ecgcmr.load(folder / "model").predict(folder / "ecg.xml", person=Person("female"))
    with shown(server.address) as found:
        ready(found)
        found.page.get_by_label("Sex").select_option("female")
        content = base64.b64encode((folder / "ecg.xml").read_bytes()).decode()
        found.page.evaluate(DROP, ["<b>ecg.xml", content])
        said(found, "Read: 1.")
        report = found.page.get_by_role("article")
        assert report.get_by_role("heading").text_content() == "<b>ecg.xml"  # a name is text
        row = report.get_by_role("row").filter(has_text="LV end-diastolic volume").text_content()
        volume = expected.phenotypes[0]
        places = 0 if max(abs(end) for end in (volume.value, volume.low, volume.high)) >= 100 else 1
        assert f"{volume.value:.{places}f} mL" in row
        assert f"{volume.low:.{places}f} to {volume.high:.{places}f}" in row
        assert "women: 86.0 to 178.0" in row or "women: 86 to 178" in row
        risk = report.get_by_role("row").filter(has_text="Atrial fibrillation").text_content()
        assert f"{round(100 * expected.risks[0].probability)} %" in risk
        assert "Recording accepted." in report.text_content()
        tracing = report.get_by_role("img")
        assert tracing.evaluate("(image) => image.complete && image.naturalWidth") > 1000
        assert "25 mm/s" in tracing.get_attribute("alt")
        assert found.messages == []
        assert only_from(found, server)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_a_phone_shows_refusals_without_numbers(server: Served, folder: Path, scheme: str) -> None:
    with shown(server.address, width=390, scheme=scheme) as found:
        ready(found)
        chosen = [folder / name for name in ("upside_down.npy", "photo.xml", "ecg.yaml")]
        found.page.get_by_label("Drop ECG files here").set_input_files(chosen)
        said(found, "Read: 1, not read: 1.")
        refused, failed = found.page.get_by_role("article").all()
        assert "Refused: no prediction is given" in refused.text_content()
        assert "down" in refused.text_content()
        assert refused.get_by_role("table").count() == 0
        assert refused.get_by_role("img").is_visible()
        assert "photo.xml" in failed.text_content()
        assert found.width() == 390
        assert found.messages == []
        assert only_from(found, server)


@pytest.mark.slow
@pytest.mark.long
def test_the_keyboard_is_enough_and_what_is_too_large_is_said_before_it_is_sent(server: Served, folder: Path) -> None:
    with shown(server.address) as found:
        ready(found)
        found.page.keyboard.press("Tab")
        assert found.page.evaluate("document.activeElement.className") == "skip"
        for wanted in ("sex", "files"):
            found.page.keyboard.press("Tab")
            assert found.page.evaluate("document.activeElement.id") == wanted
        asked = len(found.requests)
        large = {"name": "large.xml", "mimeType": "text/xml", "buffer": b"x" * 2_100_000}
        found.page.get_by_label("Drop ECG files here").set_input_files(large)
        said(found, "At most 3 files and 2 MB")
        assert len(found.requests) == asked
        found.page.get_by_label("Drop ECG files here").set_input_files(folder / "photo.xml")
        said(found, "No file could be read.")
        found.page.get_by_role("button", name="Read the same files again").click()
        said(found, "No file could be read.")
        assert all("422" in message for message in found.messages)  # what the browser itself says of such an answer
