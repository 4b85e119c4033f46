"""``inspect`` shows the device's measurements beside this project's, and what the published cleaning clips."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgcmr.cli import main
from ecgcmr.formats.device_measurements import device_measurements, measurements_in
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.clipping import clipped_of, summary_line, summary_of
from ecgcmr.preparation.ecg import clip_to_deviations
from ecgcmr.shards.layout import LEADS
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

CARDIOSOFT = """<CardiologyXML><PatientInfo><PID>1234567</PID></PatientInfo><RestingECGMeasurements>
<VentricularRate units="BPM">61</VentricularRate><PQInterval units="ms">168</PQInterval>
<PDuration>104</PDuration><QRSDuration> 88 </QRSDuration><QTInterval>412</QTInterval><QTCInterval>415</QTCInterval>
</RestingECGMeasurements>{strip}</CardiologyXML>"""
MUSE = """<RestingECG><RestingECGMeasurements><VentricularRate>75</VentricularRate><PRInterval>150</PRInterval>
<QRSDuration>92</QRSDuration><QTInterval>380</QTInterval><QTCorrected>424</QTCorrected>{more}
</RestingECGMeasurements></RestingECG>"""


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Give one synthetic recording (12, 5000) in steps of 5 uV."""
    states = sample_states(50, 3)
    row = np.flatnonzero(~states.disease.atrial_fibrillation)[:1]
    return np.rint(render_ecgs(states, row, np.random.default_rng(3))[0] / 5).astype(int)


def write_cardiosoft(path: Path, steps: np.ndarray) -> Path:
    waves = "".join(
        f'<WaveformData lead="{lead}">{",".join(map(str, values))}</WaveformData>'
        for lead, values in zip(LEADS, steps, strict=True)
    )
    head = '<SampleRate units="Hz">500</SampleRate><Resolution units="uVperLsb">5</Resolution>'
    strip = f"<StripData>{head}<ChannelSampleCountTotal>5000</ChannelSampleCountTotal>{waves}</StripData>"
    path.write_text(CARDIOSOFT.format(strip=strip), encoding="iso-8859-1")
    return path


@pytest.mark.slow
def test_the_devices_numbers_stand_beside_ours(
    tmp_path: Path, recording: np.ndarray, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(write_cardiosoft(tmp_path / "one.xml", recording))]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line.split("  ")[0]: line.split()[-4:] for line in lines}
    ours, device, difference, unit = table["QT interval"]
    assert (device, unit) == ("412", "ms")
    assert int(difference) == round(float(ours) - 412)
    assert 300 < float(ours) < 500
    assert table["PR interval"][1] == "168"
    assert table["QRS duration"][1] == "88"
    assert table["heart rate"][1] == "61"
    assert table["QT interval corrected for rate (Fridericia)"][1] == "415"
    assert table["standard deviation of RR intervals"][1:3] == ["-", "-"]
    assert any("most by Bazett's" in line for line in lines)
    assert any("T ends by the definition 'threshold'" in line for line in lines)
    assert "1234567" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            CARDIOSOFT.format(strip=""),
            {"heart_rate": 61, "p_duration": 104, "pr_interval": 168, "qrs_duration": 88, "qt_interval": 412}
            | {"qtc_interval": 415},
        ),
        (
            MUSE.format(more=""),
            {"heart_rate": 75, "pr_interval": 150, "qrs_duration": 92, "qt_interval": 380, "qtc_interval": 424},
        ),
        (MUSE.format(more="<QTcFrederica>405</QTcFrederica>").replace("380", "x").replace("92", "nan"), None),
        ("<RestingECG/>", {}),
        ("<Other><RestingECGMeasurements><QTInterval>400</QTInterval></RestingECGMeasurements></Other>", {}),
        (CARDIOSOFT.format(strip="").replace("412", "1e9").replace("61", "-1"), None),
    ],
)
def test_measurements_of_a_device_are_taken_where_they_are_numbers(text: str, wanted: dict[str, float] | None) -> None:
    found = measurements_in(ET.fromstring(text))
    if wanted is not None:
        assert found == wanted
        return
    assert "qt_interval" not in found
    assert found.get("qtc_interval") in (405, 415)
    assert all(0 < value < 3000 for value in found.values())


def test_files_without_a_devices_measurements_give_none(tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_text("<RestingECG><Rest")
    (tmp_path / "numbers.csv").write_text("I,II\n1,2\n")
    for name in ("bad.xml", "numbers.csv", "none.xml", ""):
        assert device_measurements(tmp_path / name) == {}


def test_inspect_says_what_the_published_clip_takes(
    tmp_path: Path, recording: np.ndarray, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["inspect", str(write_cardiosoft(tmp_path / "one.xml", recording))])
    text = capsys.readouterr().out
    values = recording * 0.005
    limit = 4 * values.std()
    beyond = np.abs(values) > limit
    leads = [lead for lead, own in zip(LEADS, beyond, strict=True) if own.any()]
    assert leads
    place = f"here {limit:.2f} mV: samples of {len(leads)} of 12 leads ({', '.join(leads)})"
    assert f"clips at 4 standard deviations, {place}, {100 * beyond.mean():.2f} % of all" in text


def test_what_is_counted_as_clipped_is_what_the_cleaning_clips(recording: np.ndarray) -> None:
    signal = recording * 0.005
    signal[3] = np.nan
    clipped = clipped_of(signal, Cleaning.from_name("published"), 500.0)
    assert clipped is not None
    values = np.nan_to_num(signal)
    after = values.copy()
    clip_to_deviations(after, np.empty_like(after), 4.0)
    changed = after != values
    assert clipped.share == changed.mean()
    assert clipped.leads == tuple(lead for lead, own in zip(LEADS, changed, strict=True) if own.any())
    assert clipped_of(signal, Cleaning.from_name("none"), 500.0) is None


def test_a_summary_counts_recordings_leads_and_samples() -> None:
    summary = summary_of([(8, 0.01), (0, 0.0), (4, 0.005)])
    assert summary == {
        "recordings": 3,
        "recordings_clipped": 2,
        "mean_leads": 4.0,
        "mean_share_of_samples": 0.005,
    }
    assert summary_line(summary) == (
        "note: the cleaning clipped 2 of 3 recordings, in 4.0 of 12 leads and 0.50 % of samples on average"
    )
    assert summary_line(summary_of([(0, 0.0)])) == ""
    assert summary_of([]) == {}
    assert summary_line({}) == ""


@pytest.mark.parametrize(("cleaning", "counted"), [("published", True), ("none", False)])
def test_prepare_counts_what_its_cleaning_clips(
    tmp_path: Path,
    recording: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    cleaning: str,
    counted: bool,
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "key").write_bytes(b"k" * 32)
    for number in range(3):
        write_cardiosoft(raw / f"{1000001 + number}_20205_2_0.xml", np.roll(recording, number * 50, axis=1))
    arguments = ["--ecg", str(raw), "--out", str(tmp_path / "out"), "--key-file", str(tmp_path / "key")]
    arguments += ["--cleaning", cleaning, "--workers", "1", "--t-end", "tangent"]
    run: Callable[[], int] = lambda: main(["prepare", *arguments])  # noqa: E731
    assert run() == 0
    said = capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    if counted:
        assert report["clipping"]["recordings"] == report["clipping"]["recordings_clipped"] == 3
        assert 0 < report["clipping"]["mean_share_of_samples"] < 0.1
        assert "note: the cleaning clipped 3 of 3 recordings, in " in said
    else:
        assert report["clipping"] == {}
        assert "clipped" not in said
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["layout"]["preparation"]["beats"] == {"t_end": "tangent"}
    assert run() == 0  # finished shards keep their counts
    assert json.loads((tmp_path / "out" / "report.json").read_text())["clipping"] == report["clipping"]
