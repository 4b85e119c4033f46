"""Many clients at once at a server on loopback: no request is lost, and its memory stays flat.

    python tests/drill/serve_load.py                         16 clients for 60 s, a tiny model
    python tests/drill/serve_load.py --seconds 10 --model DIR

Each client sends files one after another and looks at every answer; 503 is no loss where the same request is answered
when it comes again after Retry-After. Prints one line of JSON; exit code 1 if a request was lost or memory grew.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import httpx  # noqa: E402
from served import WIDE, write_ecg  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

MOST_GROWTH = 30.0
"""MB between the first and the last quarter of the time; a leak of a kilobyte a recording would be more in an hour."""
MOST_REQUESTS = 100_000


class Clients:
    """Clients that send until the time is over."""

    def __init__(self, address: str, contents: list[bytes], seconds: float) -> None:
        self.address, self.contents, self.seconds = address, contents, seconds
        self.answered = self.again = 0
        self.lost: list[str] = []
        self.slowest = 0.0
        self._lock = threading.Lock()

    def run(self, count: int) -> None:
        end = time.monotonic() + self.seconds
        threads = [threading.Thread(target=self._client, args=(number, end)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, number: int, end: float) -> None:
        with httpx.Client(base_url=self.address, timeout=120, trust_env=False) as client:
            while time.monotonic() < end and self.answered < MOST_REQUESTS:
                path = ("/v1/predict", "/v1/embed")[number % 2]
                files = [("files", ("ecg.xml", self.contents[number % len(self.contents)]))]
                began = time.monotonic()
                try:
                    while (answer := client.post(path, files=files)).status_code == 503:
                        with self._lock:
                            self.again += 1
                        time.sleep(float(answer.headers["Retry-After"]))
                    whole = answer.status_code == 200 and len(answer.json()["results"]) == 1
                    problem = None if whole else f"status {answer.status_code}"
                except httpx.HTTPError as error:
                    problem = type(error).__name__
                with self._lock:
                    self.answered += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if problem is not None:
                        self.lost.append(problem)


def memory_mb(process: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def drill(folder: Path, model: str | None, clients: int, seconds: float) -> dict[str, object]:
    """Run the drill and return what was found."""
    if model is None:
        write_tiny_model(folder / "model", distance=WIDE)
        model = str(folder / "model")
    contents = [write_ecg(folder / f"{number}.xml", number).read_bytes() for number in range(4)]
    process = subprocess.Popen(
        [sys.executable, "-m", "ecgcmr", "serve", "--model", model, "--port", "0"],
        stdout=subprocess.PIPE, stderr=(folder / "log").open("w"), text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+)/", process.stdout.readline())
        assert found, (folder / "log").read_text()
        Clients(found[1], contents, min(5.0, seconds)).run(clients)  # until all is warm
        work = Clients(found[1], contents, seconds)
        worker = threading.Thread(target=work.run, args=(clients,))
        worker.start()
        memory = []
        while worker.is_alive():
            memory.append(memory_mb(process.pid))
            worker.join(0.5)
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    finally:
        process.kill()
    quarter = max(1, len(memory) // 4)
    growth = max(memory[-quarter:]) - max(memory[:quarter])
    return {
        "clients": clients, "seconds": seconds, "answered": work.answered, "asked_again": work.again,
        "lost": len(work.lost), "problems": sorted(set(work.lost)), "slowest_s": round(work.slowest, 2),
        "memory_mb": [round(memory[0]), round(max(memory)), round(memory[-1])], "growth_mb": round(growth, 1),
        "exit_code": code,
    }  # fmt: skip


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder; a tiny one is made without it")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = drill(Path(folder), args.model, args.clients, args.seconds)
    print(json.dumps(found))
    good = found["lost"] == 0 and found["exit_code"] == 0 and float(str(found["growth_mb"])) < MOST_GROWTH
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
