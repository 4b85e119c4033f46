"""Servers on loopback: of a model that only echoes, and of a tiny one; and recordings to send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.inference.model_entries import DistanceEntry
from ecgcmr.inference.serve.app import make_app
from ecgcmr.inference.serve.connections import listening, make_server
from ecgcmr.inference.serve.guard import Guard
from ecgcmr.inference.serve.limits import Limits
from ecgcmr.inference.serve.pipeline import Pipeline
from ecgcmr.inference.serve.predictor import Upload, Wanted
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.raw_files import MICROVOLTS_PER_STEP, DeviceNotes, quantise, write_cardiosoft
from ecgcmr.synthesis.state import sample_states

ABOUT = {"name": "echo", "code_version": "0", "sha256": "0" * 64}


@dataclass
class Echo:
    """Answers the size of a file; refuses what begins with ``bad``, fails at ``bug``, and waits while it is held.

    Attributes:
        batches: Sizes of the batches so far.
        free: Cleared, the network waits.
        asked: How often the network has begun.
        card: What it says of itself.
    """

    batches: list[int] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    asked: int = 0
    card: dict[str, Any] = field(
        default_factory=lambda: {
            **ABOUT, "covariates": ["age"], "measurements": {}, "training": {},
            "targets": [{"name": "size", "title": "Size", "group": "File", "reference": {"female": [1.0, 2.0]}}],
        }
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.free.set()

    def read(self, files: Sequence[Upload], wanted: Wanted) -> tuple[Sequence[Upload], Wanted]:
        if files[0].content.startswith(b"bad"):
            raise UserError(f"{files[0].name}: is no ECG")
        if files[0].content.startswith(b"bug"):
            raise RuntimeError(f"what is in {files[0].name}")
        return files, wanted

    def answer(self, readings: Sequence[Any]) -> list[list[dict[str, Any]]]:
        self.asked += 1
        assert self.free.wait(20)
        self.batches.append(len(readings))
        return [[_answer(files, wanted)] for files, wanted in readings]


def _answer(files: Sequence[Upload], wanted: Wanted) -> dict[str, Any]:
    known = {"file": files[0].name, "in_distribution": True, "refused": None, "model": ABOUT}
    if wanted.kind == "embed":
        return {**known, "recording": 0, "embedding": [float(len(files))], "quality": 1.0}
    size = {"name": "size", "value": float(sum(len(file.content) for file in files)), "unit": "B"}
    risks = [] if wanted.sex is None else [{"name": wanted.sex, "probability": 0.5}]
    return {**known, "quality": dict(wanted.covariates), "risks": risks,
            "phenotypes": [{**size, "low": None, "high": None, "level": None}]}  # fmt: skip


@dataclass
class Served:
    """A server at work.

    Attributes:
        address: Such as ``http://127.0.0.1:40123``.
        pipeline: What works for it.
        server: Its server.
    """

    address: str
    pipeline: Pipeline
    server: Any

    def connected(self) -> socket.socket:
        """Return a plain connection."""
        host, _, port = self.address.removeprefix("http://").partition(":")
        return socket.create_connection((host, int(port)), timeout=15)


@contextmanager
def served(predictor: Any, limits: Limits | None = None, names: Collection[str] = ()) -> Iterator[Served]:
    """Serve at a free port of loopback, in a thread."""
    limits = limits or Limits()
    app, pipeline = application(predictor, limits, names)
    sock = listening("127.0.0.1", 0)
    server = make_server(app, limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{sock.getsockname()[1]}", pipeline, server)
    finally:
        if isinstance(predictor, Echo):
            predictor.free.set()
        server.should_exit = True
        thread.join(30)
        pipeline.close()
        sock.close()
    assert not thread.is_alive()


def application(predictor: Any, limits: Limits, names: Collection[str] = ()) -> tuple[Guard, Pipeline]:
    pipeline = Pipeline(predictor, places=limits.recordings, batch=limits.batch, readers=limits.readers)
    return make_app(pipeline, predictor.card, limits, names), pipeline


WIDE = DistanceEntry("mahalanobis", 1e6, 0.99, 120)
"""Within which every recording lies, of a tiny model that has seen none."""


def synthetic_signal(number: int = 0) -> np.ndarray:
    """Return (12, 5000) mV at 500 Hz, in sinus rhythm, in steps of the recorder."""
    states = sample_states(30, 8)
    rows = np.flatnonzero(~states.disease.atrial_fibrillation)[number : number + 1]
    steps = quantise(render_ecgs(states, rows, np.random.default_rng(8))[0])
    return steps * MICROVOLTS_PER_STEP / 1000


def write_ecg(path: Path, number: int = 0) -> Path:
    """Write a synthetic recording as CardioSoft XML."""
    steps = np.rint(1000 * synthetic_signal(number) / MICROVOLTS_PER_STEP).astype(np.int32)
    write_cardiosoft(path, steps, DeviceNotes({}, {}, {}), sampling_rate=500)
    return path
