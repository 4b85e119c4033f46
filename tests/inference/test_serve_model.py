"""A model behind the server: the answers of the model itself, nothing on a disk, and no way to crash it."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import WIDE, Served, application, served, synthetic_signal, write_ecg
from tiny_model import write_tiny_model

httpx = pytest.importorskip("httpx")

import ecgcmr  # noqa: E402
from ecgcmr.inference.model import Model  # noqa: E402
from ecgcmr.inference.person import Person  # noqa: E402
from ecgcmr.inference.serve.limits import Limits  # noqa: E402
from ecgcmr.inference.serve.model_predictor import ModelPredictor  # noqa: E402
from ecgcmr.inference.serve.predictor import Upload, Wanted  # noqa: E402

DECLARATION = b"unit: mV\nsampling_rate: 500\nleads: [I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("serve")
    write_tiny_model(made / "model", distance=WIDE)
    write_ecg(made / "ecg.xml")
    np.save(made / "ecg.npy", synthetic_signal(1))
    (made / "ecg.yaml").write_bytes(DECLARATION)
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return ecgcmr.load(folder / "model")


@pytest.fixture(scope="module")
def predictor(model: Model) -> ModelPredictor:
    return ModelPredictor(model, 0.9)


@pytest.fixture(scope="module")
def server(predictor: ModelPredictor) -> Iterator[Served]:
    with served(predictor) as running:
        yield running


def post(server: Served, path: str, folder: Path, *names: str, **fields: str) -> Any:
    files = [("files", (name, (folder / name).read_bytes())) for name in names]
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.post(f"{server.address}{path}", files=files, data=fields)


def test_what_is_served_is_what_the_model_says(server: Served, model: Model, folder: Path) -> None:
    answer = post(server, "/v1/predict?tracing=true", folder, "ecg.xml", "ecg.npy", "ecg.yaml", sex="female")
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    tracings = [result.pop("tracing") for result in results]
    said = model.predict([folder / "ecg.xml", folder / "ecg.npy"], person=Person("female"), level=0.9)
    for result, one in zip(results, said, strict=True):
        expected = json.loads(json.dumps(one.to_dict(), allow_nan=False))
        assert result["refused"] is None
        assert [item["name"] for item in result["phenotypes"] + result["risks"]] == [
            item["name"] for item in expected["phenotypes"] + expected["risks"]
        ]
        assert result["phenotypes"][0]["value"] == pytest.approx(expected["phenotypes"][0]["value"], abs=1e-3)
        assert result["phenotypes"][0]["level"] == 0.9
        assert result["quality"]["heart_rate"] == pytest.approx(expected["quality"]["heart_rate"])
        assert result.keys() == expected.keys()
    for tracing in tracings:
        kind, _, content = tracing.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content).startswith(b"\x89PNG")


def test_embeddings_are_those_of_the_model(server: Served, model: Model, folder: Path) -> None:
    result = post(server, "/v1/embed", folder, "ecg.xml").json()["results"][0]
    np.testing.assert_allclose(result["embedding"], model.embed(folder / "ecg.xml").embedding, atol=1e-5)
    assert result["file"] == "ecg.xml"
    assert result["in_distribution"] is True
    assert 0 < result["quality"] <= 1


def test_what_must_not_become_a_number_is_refused_with_its_tracing(server: Served, folder: Path) -> None:
    signal = synthetic_signal()
    np.save(folder / "flat.npy", np.zeros((12, 5000)))
    np.save(folder / "short.npy", signal[:, :4000])
    np.save(folder / "upside_down.npy", -signal)
    (folder / "photo.xml").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    sent = ("flat.npy", "short.npy", "upside_down.npy", "photo.xml", "ecg.yaml")
    answer = post(server, "/v1/predict?tracing=true", folder, *sent).json()
    for result, reason in zip(answer["results"], ("flat", "lasts 8.00 s", "down"), strict=True):
        assert reason in result["refused"]
        assert result["phenotypes"] == result["risks"] == []
    assert answer["results"][0]["tracing"] is None  # it has nothing to show
    assert all(result["tracing"].startswith("data:image/png;base64,") for result in answer["results"][1:])
    assert [failed["file"] for failed in answer["failed"]] == ["photo.xml"]


def test_the_card_holds_what_the_page_shows_and_no_class(server: Served) -> None:
    card = httpx.get(f"{server.address}/v1/model", trust_env=False).json()
    assert {target["name"] for target in card["targets"]} == {"lv_edv", "af_ever", "cad_incident"}
    assert card["measurements"]["heart_rate"] == {"title": "heart rate", "unit": "1/min"}
    assert card["limits"] == {"request_bytes": Limits().request_bytes, "files": Limits().files}
    assert "class_path" not in json.dumps(card)


def test_a_header_is_read_with_its_signal_file(predictor: ModelPredictor) -> None:
    steps = np.rint(1000 * synthetic_signal()).astype("<i2")
    names = ("I", "II", "III", "aVR", "aVL", "aVF", *(f"V{place}" for place in range(1, 7)))
    lines = [f"rec.dat 16 1000/mV 16 0 {steps[row, 0]} {np.int16(steps[row].sum())} 0 {name}"
             for row, name in enumerate(names)]  # fmt: skip
    header = "\n".join(["rec 12 500 5000", *lines, ""]).encode()
    files = [Upload("rec.hea", header), Upload("rec.dat", steps.T.tobytes())]
    answer = predictor.answer([predictor.read(files, Wanted("predict"))])[0][0]
    assert answer["refused"] is None
    assert answer["file"] == "rec.hea"


def test_nothing_is_written_to_a_disk(server: Served, folder: Path) -> None:
    opened, watching = [], [False]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching[0] and event == "open" and _writes(*arguments[1:3]):
            opened.append(arguments)

    sys.addaudithook(watch)  # it cannot be taken away again, only silenced
    (folder / "large.csv").write_bytes(b"I,II\n" + b"1,2\n" * 700_000)  # beyond what forms keep in memory by default
    watching[0] = True
    try:
        answer = post(server, "/v1/predict?tracing=true", folder, "ecg.xml", "ecg.npy", "large.csv", "ecg.yaml")
    finally:
        watching[0] = False
    assert len(answer.json()["results"]) >= 2
    assert opened == []
    with (folder / "witness").open("w"):
        assert _writes("w", os.O_WRONLY)


def _writes(mode: Any, flags: Any) -> bool:
    return bool(set(str(mode or "")) & set("wax+")) or bool(int(flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_that_the_description_allows_or_forbids_makes_an_error_of_the_server(
    predictor: ModelPredictor, folder: Path
) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import checks
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    app, pipeline = application(predictor, Limits(request_bytes=100_000, held_bytes=1_000_000), ["testserver"])
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    wanted = [checks.not_a_server_error, content_type_conformance, response_schema_conformance]
    answered = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            answer = case.call()
            answered.append((case.path, answer.status_code))
            case.validate_response(answer, checks=wanted)

        ask()
    pipeline.close()
    assert {path for path, _ in answered} == {"/v1/predict", "/v1/embed", "/v1/model", "/healthz"}
    assert all(status < 500 for _, status in answered)
