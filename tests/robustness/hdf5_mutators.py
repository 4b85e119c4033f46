"""Shards of which one dataset or attribute is another."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from array_mutators import odd_array
from document_mutators import VALUES, change_node

Generator = np.random.Generator


def hdf5_entry(content: bytes, rng: Generator) -> bytes:
    """An HDF5 file with one dataset or attribute changed, lost, linked in a circle or of a claimed size."""
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = names[rng.integers(len(names))]
        way = int(rng.integers(10))
        attributes = list(file.attrs)
        if way <= 1 and attributes:
            _odd_attribute(file, attributes[rng.integers(len(attributes))], rng)
        elif way == 2:
            del file[name]
        elif way in (3, 4):
            odd = odd_array(np.asarray(file[name][()]), rng)
            del file[name]
            file[name] = odd.astype("S") if odd.dtype.kind == "U" else odd.view("i8") if odd.dtype.kind == "M" else odd
        elif way == 5:
            shape, kind = file[name].shape, file[name].dtype
            del file[name]
            size = (10 ** int(rng.integers(6, 13)), *shape[1:])
            file.create_dataset(name, size, kind, chunks=tuple(min(64, max(1, edge)) for edge in size))
        elif way == 6:
            del file[name]
            file[name] = (
                h5py.SoftLink("/" + name),
                h5py.ExternalLink("none.h5", "/x"),
                h5py.ExternalLink("/dev/zero", "/x"),
            )[rng.integers(3)]
        elif way == 7:
            del file[name]
            file.create_group(name)
        else:
            _odd_values(file[name], rng)
    return buffer.getvalue()


def _odd_attribute(file: Any, name: str, rng: Generator) -> None:
    value = file.attrs[name]
    odd = (
        "",
        "{}",
        "[" * 3000,
        "a\x1b[31mb",
        -1,
        2**62,
        float("nan"),
        np.zeros(3),
        np.bytes_(b"\xff\xfe"),
        "null",
        '{"ecg": null}',
    )
    if isinstance(value, str) and value[:1] in "{[" and rng.random() < 0.6:
        file.attrs[name] = json.dumps(
            change_node(json.loads(value), rng, tuple(v for v in VALUES if v != "a\x00b" and v != "\ud800"))
        ).replace("\\u0000", "")
    elif rng.random() < 0.2:
        del file.attrs[name]
    else:
        file.attrs[name] = odd[rng.integers(len(odd))]


def _odd_values(dataset: Any, rng: Generator) -> None:
    """Extremes at random places of a dataset."""
    if not dataset.shape or dataset.dtype.kind not in "fiu" or 0 in dataset.shape:
        return
    place = tuple(int(rng.integers(edge)) for edge in dataset.shape)
    if dataset.dtype.kind == "f":
        dataset[place] = rng.choice([np.nan, np.inf, -6e4, 6e4])
    else:
        limits = np.iinfo(dataset.dtype)
        dataset[place] = (limits.max, limits.min)[rng.integers(2)]
