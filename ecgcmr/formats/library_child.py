"""The process in which libraries read recordings: a file that makes one hang, grow or crash costs this process alone.

It is run as a script, imports nothing of this program, is sent bytes without a file's name, and answers with numbers,
names of leads and kinds of faults; nothing about the person but sex and age.

A request is the length of a line of JSON (four bytes, little-endian), that line, and as many bytes as it states under
``bytes``. An answer is the same, with the samples of all leads as float64 behind it.
"""

import json
import os
import re
import signal
import struct
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

LENGTH = struct.Struct("<I")
SECONDS_BETWEEN_LOOKS = 1.0
_QUOTED = re.compile(r"""b?'(?:\\.|[^'\\])*'|b?"(?:\\.|[^"\\])*\"""", re.DOTALL)
_LONGEST = 160
_NUMBERS = ("double", "single", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
Answer = tuple[dict[str, Any], list[Any]]


class Refused(Exception):
    """A fault that this process finds itself; the message is its kind."""


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """Give content a path: in memory where the system can, else as a temporary file."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("ecg"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def read_ecg(path: str, request: dict[str, Any]) -> Answer:
    """Read a recording with ecgdatakit, samples as they are stored."""
    from ecgdatakit import FileParser

    found = FileParser.detect_format(path)
    if found is None or found["name"] != request["format"]:
        raise Refused("unrecognised")
    record = FileParser.parse(path, auto_scale=False)
    if sum(len(lead.samples) for lead in record.leads) > request["most"]:
        raise Refused("size")
    rates = exact_rates(record)
    leads = [
        {
            "label": lead.label,
            "samples": len(lead.samples),
            "rate": float(rate),
            "unit": lead.resolution_unit if lead.is_raw else lead.units,
            "scale": float(lead.resolution) if lead.is_raw else 1.0,
            "offset": float(lead.offset) if lead.is_raw else 0.0,
            "start": lead.annotations.get("start_sample", "1"),
        }
        for lead, rate in zip(record.leads, rates, strict=True)
    ]
    said = {"sex": record.patient.sex, "age": record.patient.age, "stated": record.raw_metadata.get("ecg_size")}
    return {"leads": leads, **said}, [lead.samples for lead in record.leads]


def exact_rates(record: Any) -> list[float]:
    """Return each lead's rate as the file states it: the library keeps whole numbers of Hz on the lead itself."""
    facts, kind = record.raw_metadata, record.source_format
    rounded = [float(lead.sampling_rate) for lead in record.leads]
    if kind in ("edf", "edf_plus"):
        exact = facts.get("exact_sampling_rates", {})
        return [exact.get(lead.label, rate) for lead, rate in zip(record.leads, rounded, strict=True)]
    if kind == "mfer":
        return list(facts.get("sampling_rates", rounded))
    one = None
    if kind == "hl7_aecg":
        one = facts["rhythm_time"]["sampling_rate_exact"]
    elif kind == "scp_ecg":
        one = 1e6 / facts["rhythm_sample_interval_us"]
    elif kind == "alivecor_kardia":
        one = float(facts["raw"]["frequency"])
    return rounded if one is None else [one] * len(rounded)


def read_matrix(path: str, request: dict[str, Any]) -> Answer:
    """Read the matrix ``val`` of a MATLAB file, or the only one of numbers that it holds."""
    from scipy.io import loadmat, whosmat

    listed = whosmat(path, appendmat=False)
    found = [(name, shape) for name, shape, kind in listed if kind in _NUMBERS and len(shape) == 2]
    named = [one for one in found if one[0] == "val"] or found
    if len(named) != 1:
        raise Refused("no matrix")
    name, shape = named[0]
    if shape[0] * shape[1] > request["most"]:
        raise Refused("size")
    values = loadmat(path, variable_names=[name], appendmat=False)[name]
    if values.dtype.kind not in "iuf" or values.shape != tuple(shape):
        raise Refused("no matrix")
    return {"shape": list(shape)}, [values]


READERS: dict[str, Callable[[str, dict[str, Any]], Answer]] = {"ecg": read_ecg, "matrix": read_matrix}


def answer(request: dict[str, Any], content: bytes) -> Answer:
    """Do what is asked for; whatever a library raises becomes a kind of fault and what it said, without quotations."""
    path = ""
    try:
        with warnings.catch_warnings(record=True) as caught, as_file(content) as path:
            warnings.simplefilter("always")
            found, values = READERS[request["do"]](path, request)
        remarks = [f"{one.category.__name__}: {harmless(str(one.message), path)}" for one in caught]
        return {**found, "remarks": remarks}, values
    except MemoryError:
        return {"fault": "memory"}, []
    except Refused as error:
        return {"fault": str(error)}, []
    except Exception as error:  # libraries meet damage with errors of every kind
        return {"fault": type(error).__name__, "said": harmless(str(error), path)}, []


def harmless(text: str, path: str) -> str:
    """Return a message without what it quotes from the file, which may be anything, and without the path."""
    text = _QUOTED.sub("...", text).replace(path or "\0", "the file").replace(os.path.basename(path) or "\0", "it")
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())[:_LONGEST]


def bound_memory(most: int) -> None:
    """Let no file make this process larger than that."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def watch(parent: int) -> None:
    """End with the process that started this one, even if another one of its children holds the pipe."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(0)


def send(stream: BinaryIO, found: dict[str, Any], values: list[Any]) -> None:
    """Write an answer."""
    line = json.dumps(found).encode()
    stream.write(LENGTH.pack(len(line)) + line)
    for part in values:
        stream.write(np.ascontiguousarray(part, dtype="<f8").tobytes())
    stream.flush()


def main() -> None:
    """Answer requests until there are no more."""
    parent, most = int(sys.argv[1]), int(sys.argv[2])
    for sign in (signal.SIGINT, signal.SIGTERM):  # sent to all of a job: the parent says what happened, and ends this
        signal.signal(sign, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    bound_memory(most)
    threading.Thread(target=watch, args=(parent,), daemon=True).start()
    send(replies, {"ready": True}, [])
    while head := sys.stdin.buffer.read(LENGTH.size):
        request = json.loads(sys.stdin.buffer.read(LENGTH.unpack(head)[0]))
        send(replies, *answer(request, sys.stdin.buffer.read(request["bytes"])))


if __name__ == "__main__":
    main()
