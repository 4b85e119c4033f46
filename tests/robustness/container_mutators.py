"""Changes inside containers that leave the container whole: zip, npz, checkpoints, safetensors, Parquet, NPY, HDF5."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from typing import Any

import numpy as np
from byte_mutators import BYTES, STRANGERS, Mutator
from document_mutators import VALUES, change_node

Generator = np.random.Generator


# --- zip archives (DICOM zips, .npz, .pth, .ckpt) ---------------------------------------------------------------------


def _members(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # two members of one name are what is wanted
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name or "empty"), content, compression)
    return buffer.getvalue()


def zip_member(content: bytes, rng: Generator) -> bytes:
    """Damage, lose, repeat, rename or replace one member; the archive itself stays right."""
    members = _members(content)
    place = int(rng.integers(len(members)))
    name, inside = members[place]
    way = int(rng.integers(6))
    if way == 0:
        del members[place]
    elif way == 1:
        members.insert(place, (name, STRANGERS[rng.integers(len(STRANGERS))]))
    elif way == 2:
        members[place] = (("../" + name, "/" + name, name + "\n", name.upper(), "x" * 3000)[rng.integers(5)], inside)
    elif way == 3:
        members[place] = (name, bytes(50 * 2**20))
    else:
        members[place] = (name, BYTES[rng.integers(len(BYTES))](inside, rng))
    return _archive(members, zipfile.ZIP_DEFLATED if way == 3 or rng.random() < 0.3 else zipfile.ZIP_STORED)


def zip_directory(content: bytes, rng: Generator) -> bytes:
    """Change a few bytes of the directory at the end, where sizes, places and methods stand."""
    values = bytearray(content)
    begin = content.rfind(b"PK\x05\x06")
    begin = (
        struct.unpack_from("<I", content, begin + 16)[0]
        if 0 <= begin < len(content) - 20 and rng.random() < 0.7
        else begin
    )
    if not 0 <= begin < len(content):
        return content[:-1]
    for place in rng.integers(begin, len(content), int(rng.integers(1, 5))):
        values[place] = rng.choice([0, 1, 127, 255, int(rng.integers(256))])
    return bytes(values)


ZIP: tuple[Mutator, ...] = (zip_member, zip_member, zip_directory, *BYTES)


# --- arrays -----------------------------------------------------------------------------------------------------------


def _odd_array(array: np.ndarray, rng: Generator) -> np.ndarray:
    """Another shape, type or content."""
    flat = array.ravel()
    way = int(rng.integers(9))
    if way == 0:
        return array[:0]
    if way == 1:
        return array[: max(1, len(array) // 2)] if array.ndim else array[None]
    if way == 2:
        return array[None]
    if way == 3:
        return np.concatenate([array, array[:1]]) if array.ndim and len(array) else np.zeros(3)
    if way == 4:
        return np.array(["text", "a\x1b[31m"])
    if way == 5 and array.dtype.kind == "f":
        array = array.copy()
        array.ravel()[rng.integers(max(1, flat.size), size=3) % max(1, flat.size)] = rng.choice(
            [np.nan, np.inf, 1e300, -1e300]
        )
        return array
    if way == 6:
        return np.full(array.shape, np.nan)
    if way == 7:
        return array.astype(np.complex128) if array.dtype.kind in "fiu" else np.zeros(array.shape, "datetime64[s]")
    return np.zeros(array.shape, bool)


def npz_array(content: bytes, rng: Generator) -> bytes:
    """An archive of arrays of which one is another."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    name = list(arrays)[rng.integers(len(arrays))]
    arrays[name] = _odd_array(arrays[name], rng)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy_array(content: bytes, rng: Generator) -> bytes:
    """An array that is another."""
    buffer = io.BytesIO()
    np.save(buffer, _odd_array(np.load(io.BytesIO(content)), rng))
    return buffer.getvalue()


# --- checkpoints of torch ---------------------------------------------------------------------------------------------


def _odd_tensors() -> tuple[Any, ...]:
    import torch

    return (
        torch.tensor(float("nan")),
        torch.zeros(0),
        torch.zeros(1).expand(10**6, 10**6),  # a few bytes on the disk
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3, dtype=torch.int8),
        torch.full((4, 4), 1e38),
        torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (10**6, 10**6)),
        torch.zeros((1,) * 40),
        torch.tensor(True),
    )


def torch_entry(content: bytes, rng: Generator) -> bytes:
    """A checkpoint with one entry changed: another value, tensor, name, or none."""
    import torch

    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)  # our file, not a stranger's
    plain = tuple(value for value in VALUES if not (isinstance(value, str) and "\ud800" in value) and value != 10**400)
    changed = change_node(state, rng, (*_odd_tensors(), *plain))
    buffer = io.BytesIO()
    torch.save(changed, buffer)
    return buffer.getvalue()


def torch_tensor(content: bytes, rng: Generator) -> bytes:
    """A checkpoint with one tensor of its state dictionary changed or one name more."""
    import torch

    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    tensors = state.get("state_dict", state.get("model"))
    name = list(tensors)[rng.integers(len(tensors))]
    value = tensors[name]
    odd = _odd_tensors()
    way = int(rng.integers(6))
    if way == 0:
        tensors[name] = odd[rng.integers(len(odd))]
    elif way == 1:
        tensors[name] = (
            torch.full_like(value, float(rng.choice([np.nan, np.inf, 3e38]))) if value.is_floating_point() else value
        )
    elif way == 2:
        tensors[
            ("blocks.100000000.norm1.weight", "blocks.-1.x", name + ".x", "\x1b[31m", "blocks.9" + "9" * 5000)[
                rng.integers(5)
            ]
        ] = value
    elif way == 3:
        tensors[name] = value.unsqueeze(0)
    elif way == 4:
        tensors[name] = value.to(torch.float64)
    else:
        del tensors[name]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def safetensors_header(content: bytes, rng: Generator) -> bytes:
    """A safetensors file whose header says something else."""
    (length,) = struct.unpack_from("<Q", content)
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    if rng.random() < 0.2:
        return struct.pack("<Q", int(rng.choice([0, 1, length + 1, 2**40, 2**63]))) + content[8:]
    text = json.dumps(change_node(header, rng)).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def safetensors_values(content: bytes, rng: Generator) -> bytes:
    """A safetensors file with values that are not finite, or tensors of other shapes and types."""
    from safetensors.numpy import load, save

    tensors = load(content)
    name = list(tensors)[rng.integers(len(tensors))]
    way = int(rng.integers(4))
    if way == 0:
        tensors[name] = np.full_like(tensors[name], rng.choice([np.nan, np.inf, 3e38]))
    elif way == 1:
        tensors[name] = np.zeros((*tensors[name].shape, 2), np.float32)
    elif way == 2:
        tensors[name] = tensors[name].astype(np.int64)
    else:
        tensors[("a\x1b[31m", "../x", "x" * 5000)[rng.integers(3)]] = tensors.pop(name)
    return save(tensors)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def parquet_column(content: bytes, rng: Generator) -> bytes:
    """A Parquet file with one column of another type, lost, renamed or twice, or with very many equal rows."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    place = int(rng.integers(table.num_columns))
    field, n = table.schema.field(place), table.num_rows
    others: tuple[Any, ...] = (
        pa.array([[1.0]] * n), pa.array([{"a": 1}] * n), pa.array([b"\xff\xfe"] * n), pa.array([True] * n), pa.nulls(n),
        pa.array([0] * n, pa.timestamp("ns")), pa.array([2**63 - 1] * n), pa.array(["nan"] * n),
        pa.array([float("inf")] * n),
        pa.array(["a\x1b[31m\n|<b>"] * n), pa.array([1e308] * n), pa.array([0] * n, pa.date32()), pa.array([""] * n),
        pa.array([b"x"] * n, pa.binary()), pa.array([0] * n, pa.duration("s")), pa.array(["x" * 10_000] * n),
    )  # fmt: skip
    way = int(rng.integers(8))
    if way == 0:
        table = table.remove_column(place)
    elif way == 1:
        table = table.append_column(field.name, table.column(place))
    elif way == 2:
        table = table.rename_columns([("\x1b[31m", "", "x" * 5000, "a\nb")[rng.integers(4)] if k == place else name
                                      for k, name in enumerate(table.column_names)])  # fmt: skip
    elif way == 3:
        table = table.slice(0, 0)
    elif way == 4 and n:
        return _many_rows(table, 12_000_000)
    else:
        table = table.set_column(place, field.name, others[rng.integers(len(others))])
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _many_rows(table: Any, rows: int) -> bytes:
    """The first row again and again: a small file that is large in memory."""
    import pyarrow as pa
    from pyarrow import parquet

    few = table.select(table.column_names[:4])
    block = few.take(pa.array(np.zeros(200_000, np.int64)))
    buffer = io.BytesIO()
    with parquet.ParquetWriter(buffer, block.schema, compression="zstd") as writer:
        for _ in range(rows // len(block)):
            writer.write_table(block)
    return buffer.getvalue()


# --- HDF5 -------------------------------------------------------------------------------------------------------------


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
            odd = _odd_array(np.asarray(file[name][()]), rng)
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
