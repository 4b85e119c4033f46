"""What a server answers: files in, the contract out; broken, large, many and foreign requests are refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from served import Echo, Served, served

httpx = pytest.importorskip("httpx")

from ecgcmr.inference.serve.guard import HEADERS  # noqa: E402
from ecgcmr.inference.serve.limits import Limits  # noqa: E402
from ecgcmr.inference.serve.predictor import Upload  # noqa: E402
from ecgcmr.inference.serve.uploads import own_name, recordings  # noqa: E402

LIMITS = Limits(request_bytes=20_000, held_bytes=60_000, files=3, recordings=8)
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
HEADER = b"rec 1 500 10\nrec.dat 16 200/mV 16 0 0 0 0 I\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(Echo(), LIMITS, ["ecg.example"]) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[Any]:
    with httpx.Client(base_url=server.address, timeout=20, trust_env=False) as made:
        yield made


def files(*contents: bytes, name: str = "ecg{}.xml") -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (name.format(place), content)) for place, content in enumerate(contents)]


def test_files_of_a_request_are_answered_in_their_order(client) -> None:
    answer = client.post("/v1/predict", files=files(b"one", b"two22"), data={"sex": "female", "age": "61"})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["file"] for result in results] == ["ecg0.xml", "ecg1.xml"]
    assert [result["phenotypes"][0]["value"] for result in results] == [3.0, 5.0]
    assert results[0]["risks"] == [{"name": "female", "probability": 0.5}]
    assert results[0]["quality"] == {"age": 61.0}
    assert client.post("/v1/embed", files=files(b"one")).json()["results"][0]["embedding"] == [1.0]


def test_a_bad_file_never_stops_the_rest(client) -> None:
    answer = client.post("/v1/predict", files=files(b"good", b"bad"))
    assert answer.status_code == 200
    assert [result["file"] for result in answer.json()["results"]] == ["ecg0.xml"]
    assert answer.json()["failed"] == [{"file": "ecg1.xml", "reason": "ecg1.xml: is no ECG"}]
    none = client.post("/v1/predict", files=files(b"bad"))
    assert none.status_code == 422
    assert none.json()["failed"][0]["file"] == "ecg0.xml"


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (415, {"content": b"x", "headers": {"Content-Type": "application/xml"}}),
        (415, {"json": {"files": []}}),
        (400, {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        (400, {"content": b"no boundary", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
        (400, {"content": PART + b"cut off", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
        (400, {"content": b"--b\r\nContent-Type: text/xml\r\n\r\nx\r\n--b--\r\n",
               "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
        (422, {"files": [("other", ("a.xml", b"x"))]}),
        (422, {"files": files(b"x"), "data": {"sex": "F"}}),
        (422, {"files": files(b"x"), "data": {"age": "old"}}),
        (422, {"files": files(b"x"), "data": {"age": "nan"}}),
        (422, {"files": files(b"x"), "data": {"height": "180"}}),
        (422, {"files": files(b"leads: [I]", name="ecg.yaml")}),
        (422, {"files": [*files(b"x", name="a.csv"), *files(b"1", b"2", name="ecg.yaml")]}),
        (413, {"files": files(b"1", b"2", b"3", b"4")}),
        (413, {"files": files(b"x" * 20_001)}),
        (413, {"files": files(b"x" * 300_000)}),
        (413, {"content": iter([PART, *[b"x" * 15_000] * 3]),
               "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
        (413, {"files": files(b"x"), "data": {"age": "6" * 30_000}}),
        (400, {"files": files(b"x"), "data": {"age": "6" * 2_000}}),
        (400, {"files": files(b"x"), "headers": {"Host": "rebound.example"}}),
        (400, {"files": files(b"x"), "headers": {"Host": "ecg.example:80:80"}}),
        (403, {"files": files(b"x"), "headers": {"Origin": "https://rebound.example"}}),
        (403, {"files": files(b"x"), "headers": {"Origin": "null"}}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_as_the_clients_fault(client, status: int, request_: dict[str, Any]) -> None:
    answer = client.post("/v1/predict", **request_)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_model_without_targets_says_where_its_embeddings_are() -> None:
    echo = Echo()
    echo.card["targets"] = []
    with served(echo, LIMITS) as running, httpx.Client(base_url=running.address, trust_env=False) as asking:
        answer = asking.post("/v1/predict", files=files(b"x"))
        assert answer.status_code == 422
        assert "/v1/embed" in answer.json()["detail"]
        assert asking.post("/v1/embed", files=files(b"x")).status_code == 200


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:80", "192.168.0.7", "ECG.example"])
def test_addresses_and_allowed_names_are_answered(client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


def test_every_answer_carries_the_headers_and_none_opens_other_sites(client) -> None:
    answers = [
        *(client.get(path) for path in ("/", "/page.css", "/page.js", "/v1/model", "/openapi.json", "/none")),
        client.options("/v1/predict", headers={"Origin": client.base_url.copy_with(path="").__str__().rstrip("/")}),
        client.post("/v1/predict", files=files(b"x" * 30_000)),
        client.get("/healthz", headers={"Host": "rebound.example"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 404, 405, 413, 400]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "server" not in answer.headers


def test_the_log_holds_no_name_no_query_and_no_content(client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.post("/v1/predict?tracing=false&who=Jane", files=files(b"good", b"bad", name="Jane-Doe-{}.xml"))
        failed = client.post("/v1/predict", files=files(b"bug Jane", name="Jane-Doe-{}.xml"))
        client.get("/Jane")
        client.request("JANE", "/Jane")
        until = time.monotonic() + 10
        while "(other) (other)" not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)  # a request is logged after it was answered
    assert failed.status_code == 500
    assert failed.json() == {"detail": "internal error"}
    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("ecgcmr", "uvicorn"))]
    assert any(line.startswith("POST /v1/predict 200, recordings: 2, ") for line in lines)
    assert any(line.startswith("RuntimeError at ") and "served.py:" in line for line in lines)
    assert sum(line.startswith("GET (other) 404") for line in lines) == 1
    assert sum(line.startswith("(other) (other) 4") for line in lines) == 1
    assert "Jane" not in "\n".join([*lines, *(str(record.exc_info) for record in caplog.records)])


def test_a_header_takes_its_signal_files_and_a_declaration_goes_with_every_table() -> None:
    sent = [Upload(name, content) for name, content in (
        ("a.csv", b""), ("rec.dat", b""), ("rec.hea", HEADER), ("ecg.yaml", b""), ("b.npy", b"")
    )]  # fmt: skip
    found = [[file.name for file in one] for one in recordings(sent)]
    assert found == [["a.csv", "ecg.yaml"], ["rec.hea", "rec.dat"], ["b.npy", "ecg.yaml"]]


def test_headers_of_one_name_are_not_mixed_up(client) -> None:
    sent = [("files", ("rec.hea", HEADER)), ("files", ("rec.dat", b"1")), ("files", ("rec.dat", b"2"))]
    answer = client.post("/v1/predict", files=sent)
    assert answer.status_code == 422
    assert "two files are called rec.dat" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("stated", "kept"),
    [("C:\\ward 7\\a.xml", "a.xml"), ("../../etc/passwd", "passwd"), ("", "unnamed"), (None, "unnamed"),
     ("..", "unnamed"), ("a\x1b[2J\n.xml", "a_[2J_.xml"), ("x" * 500 + ".xml", "x" * 196 + ".xml")],
)  # fmt: skip
def test_of_a_file_its_own_name_is_kept(stated: str | None, kept: str) -> None:
    assert own_name(stated) == kept
