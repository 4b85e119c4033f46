"""The page per ECG: true to scale, what it says, that it says no more, and the same bytes again."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from phone_words import inside, smallest_letters
from PIL import Image

from ecgcmr.inference import ecg_page
from ecgcmr.inference.ecg_page import PLACE, draw_page
from ecgcmr.inference.narrow_page import draw_narrow_page
from ecgcmr.inference.page_lines import PageLine, in_columns, leading, number_text, page_lines, reference_note
from ecgcmr.inference.page_words import RESEARCH_USE
from ecgcmr.inspection.paper_tracing import PaperECG
from ecgcmr.phenotypes import phenotypes

RATE = 100.0
GROUPS = ("LV", "RV", "WT", "Ecc", "Err")
KNOWN = [phenotype for phenotype in phenotypes() if phenotype.group in GROUPS]


def signal() -> np.ndarray:
    """Ten seconds in which every lead steps from 0 to 1 mV and back each second; V3 was not recorded."""
    made = np.tile((np.arange(1000) % 100 < 50).astype(float), (12, 1))
    made[8] = np.nan
    return made


def model(**changes: object) -> dict[str, object]:
    targets = [
        {"name": one.name, "title": one.title, "group": one.group, "unit": one.unit, "kind": "number",
         "reference": {"female": [80.0, 120.0], "male": [100.0, 140.0]}}
        for one in KNOWN
    ]  # fmt: skip
    targets.append(
        {"name": "af_ever", "title": "atrial fibrillation", "group": "disease", "calibration": {"method": "platt"}}
    )
    return {"name": "mae+alignment", "code_version": "9.8.7", "sha256": "abcdef" * 10, "targets": targets, **changes}


def prediction(count: int = 6, **changes: object) -> dict[str, object]:
    values = [{"name": one.name, "value": 130.0, "unit": one.unit, "low": 110.0, "high": 150.0, "level": 0.9}
              for one in KNOWN[:count]]  # fmt: skip
    return {
        "file": "/home/anna/ECG 17.xml", "quality": {"usable": True, "noisy_leads": ["V1"]}, "in_distribution": True,
        "refused": None, "phenotypes": values, "risks": [{"name": "af_ever", "probability": 0.237}],
        "warnings": ["lead V3 is missing"], "sex": "female", **changes,
    }  # fmt: skip


def pages(shown: dict[str, object], described: dict[str, object] | None = None) -> list[Figure]:
    return ecg_page._pages(PaperECG(signal(), RATE, "mV"), shown, described or model())


def narrow(shown: dict[str, object], described: dict[str, object] | None = None) -> Figure:
    return draw_narrow_page(PaperECG(signal(), RATE, "mV"), shown, described or model())


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_millivolt_is_ten_millimetres_and_a_second_twenty_five_on_a_sheet_of_a4() -> None:
    (figure,) = pages(prediction())
    assert figure.get_size_inches() * 25.4 == pytest.approx([297.0, 210.0])
    traces = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) > 200]
    # One unit of the axes is a millimetre of the sheet.
    corners = figure.axes[0].transData.transform([(0, 0), (297, 210)]) / figure.dpi * 25.4
    assert corners == pytest.approx(np.array([[0.0, 0.0], [297.0, 210.0]]))
    strip = traces[-1]
    assert np.ptp(strip[:, 1]) == pytest.approx(10.0)
    assert np.ptp(strip[:, 0]) == pytest.approx(25.0 * 9.99)
    assert len(traces) == 12  # V3 says so instead
    assert "not recorded" in words(figure)
    assert PLACE.left < strip[:, 0].min()
    assert strip[:, 0].max() < PLACE.right


@pytest.mark.slow
def test_the_pdf_is_a4_and_both_files_are_the_same_again(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in draw_page(signal(), RATE, prediction(), model(), tmp_path / "a.1.json")]
    again = draw_page(signal(), RATE, prediction(), model(), tmp_path / "b")
    assert [path.name for path in again] == ["b.png", "b.pdf"]
    assert [path.read_bytes() for path in again] == first
    assert {path.name for path in tmp_path.iterdir()} == {"a.1.png", "a.1.pdf", "b.png", "b.pdf"}
    with Image.open(again[0]) as png:
        assert png.width == 1200
        assert png.info["dpi"] == pytest.approx((203.2, 203.2), abs=0.1)
    box = first[1].partition(b"/MediaBox [ ")[2].partition(b" ]")[0].split()
    assert [float(edge) for edge in box] == pytest.approx([0, 0, 297 / 25.4 * 72, 210 / 25.4 * 72], abs=0.01)
    assert b"CreationDate" not in first[1]


def test_the_page_says_what_was_predicted_of_what_and_by_which_model() -> None:
    (figure,) = pages(prediction())
    text = words(figure)
    for wanted in ("ECG ECG 17", "LV end-diastolic volume", "130 (110 to 150) mL", "Atrial fibrillation", "24 %",
                   "Recording accepted", "Like the training recordings", "noisy leads: V1",
                   "Warning: lead V3 is missing", RESEARCH_USE, "sex: female"):  # fmt: skip
        assert wanted in text
    assert any("mae+alignment" in line and "9.8.7" in line and "abcdefabcdef" in line for line in text)
    assert any("(women)" in line and "90 % prediction interval" in line for line in text)
    assert not any("anna" in line or ".xml" in line for line in text)


def test_warnings_come_before_what_was_measured_which_has_its_unit() -> None:
    quality = {"heart_rate": 75.4, "qrs_duration": 80.0, "leads": {"V1": ["noisy"]}, "warnings": ["lead V1: noisy"]}
    (figure,) = pages(prediction(quality=quality, warnings=["lead V1: noisy"]))
    text = words(figure)
    places = [text.index(line) for line in ("Warning: lead V1: noisy", "heart rate: 75.4 /min", "QRS duration: 80 ms")]
    assert places == sorted(places)
    assert text.count("Warning: lead V1: noisy") == 1


def test_a_refused_recording_shows_its_tracing_and_no_prediction() -> None:
    (figure,) = pages(prediction(refused="the limb leads are swapped", in_distribution=False))
    text = words(figure)
    assert "No prediction is given for this recording." in text
    assert "The limb leads are swapped" in text
    assert "Unlike the training recordings" in text
    assert not any("130" in line or "24 %" in line or "LV" in line for line in text)
    assert sum(len(line.get_xdata()) > 200 for line in figure.axes[0].lines) == 12


def test_61_phenotypes_take_a_second_page_that_has_all_of_them() -> None:
    first, second = pages(prediction(len(KNOWN)))
    titles = [one.title for one in KNOWN]
    assert [title for title in titles if title in words(first)] == [
        one.title for one in KNOWN if one.group in ("LV", "RV") or one.name.endswith("_global")
    ]
    assert [title for title in titles if title in words(second)] == titles
    assert "all 62 predictions: page 2" in words(first)
    assert "page 2 of 2" in words(second)
    assert RESEARCH_USE in words(second)
    assert all(0 < text.get_position()[1] < 210 for page in (first, second) for text in page.axes[0].texts)


@pytest.mark.parametrize("refused", [None, "the limb leads are swapped"])
def test_a_phone_shows_the_whole_page_in_words_that_can_be_read(refused: str | None) -> None:
    figure = narrow(prediction(len(KNOWN), refused=refused, quality={"heart_rate": 75.4, "qrs_duration": 80.0}))
    text = words(figure)
    for wanted in ("ECG ECG 17", RESEARCH_USE, "sex: female", "heart rate: 75.4 /min;  QRS duration: 80 ms",
                   "Warning: lead V3 is missing"):  # fmt: skip
        assert wanted in text
    shown = "all 62 predictions are in the JSON file"
    assert [line in text for line in ("130 (110 to 150) mL", "24 %", shown)] == [refused is None] * 3
    assert ("The limb leads are swapped" in text) == (refused is not None)
    assert smallest_letters(figure) > 8.5
    assert all(inside(figure, text) for text in figure.axes[0].texts)
    strips = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) > 200][-2:]
    assert [np.ptp(strip[:, 0]) for strip in strips] == pytest.approx([25.0 * 4.99] * 2)
    assert np.ptp(strips[0][:, 1]) == pytest.approx(10.0)
    corners = figure.axes[0].transData.transform([(0, 0), (150, 0)]) / figure.dpi * 25.4
    assert np.ptp(corners[:, 0]) == pytest.approx(150.0)


def test_values_are_compared_with_the_range_of_their_sex() -> None:
    def sides(sex: str | None) -> list[int]:
        return [line.side for line in page_lines(prediction(1, sex=sex), model()) if line.kind == "number"]

    assert sides("female") == [1]  # 130 of 80 to 120
    assert sides("male") == [0]  # of 100 to 140
    assert sides(None) == [0]  # outside only where it is outside of both
    lines = page_lines(prediction(1, sex=None), model())
    assert "(women above, men below)" in reference_note(lines)
    without = page_lines(prediction(1), model(targets=[]))
    assert [line.side for line in without if line.kind == "number"] == [0]
    assert "band" not in reference_note(without)


def test_a_probability_is_never_certain_and_says_where_it_is_not_calibrated() -> None:
    def shown(probability: float | None, described: dict[str, object]) -> str:
        (line,) = page_lines({"risks": [{"name": "af_ever", "probability": probability}]}, described)[1:]
        return line.text

    assert [shown(value, model()) for value in (0.0, 0.237, 1.0, None)] == ["< 1 %", "24 %", "> 99 %", "-"]
    assert shown(0.237, model(targets=[])) == "24 %, not calibrated"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((149.96, 112.2, 188.0, "mL"), "150 (112 to 188) mL"),
        ((9.5, 8.25, 12.0, "mm"), "9.5 (8.2 to 12.0) mm"),
        ((-0.001, float("nan"), float("nan"), ""), "0.00"),
        ((float("nan"),) * 3 + ("mL",), "-"),
    ],
)
def test_numbers_have_the_decimals_of_the_largest(given: tuple, text: str) -> None:
    assert number_text(*given) == text


def test_no_heading_stands_alone_and_every_line_keeps_its_place() -> None:
    lines = [PageLine("heading", "A"), *(PageLine("number", f"a{k}", group="A") for k in range(5)),
             PageLine("heading", "B"), *(PageLine("number", f"b{k}", group="B") for k in range(30))]  # fmt: skip
    columns = in_columns(lines, 7)
    assert all(len(column) <= 7 and column[0].kind == "heading" and column[-1].kind != "heading" for column in columns)
    kept = [line for column in columns for line in column if line.kind == "number"]
    assert kept == [line for line in lines if line.kind == "number"]
    assert columns[2][0].title == "B, continued"
    # None of the large group is global: its heading goes with it.
    assert [line.title for line in leading(lines, 2, 7)] == ["A", "a0", "a1", "a2", "a3", "a4"]


def test_hostile_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    name = "$\\frac{a}$ \u202e\x1b[31m <b> \N{CJK UNIFIED IDEOGRAPH-5FC3}" + "w" * 300
    shown = prediction(1, file=f"{name}.xml", warnings=[name], refused=None)
    described = model(name=name, targets=[{"name": "lv_edv", "title": name, "group": name, "unit": name}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = draw_page(signal(), RATE, shown, described, tmp_path / "page")
    assert all(path.stat().st_size > 10_000 for path in paths)
    for figure in (*pages(shown, described), narrow(shown, described)):
        assert not any("\u202e" in line or "\x1b" in line for line in words(figure))
        assert max(map(len, words(figure))) < 200


def test_another_number_of_leads_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        draw_page(signal()[:8], RATE, prediction(), model(), Path("never"))
