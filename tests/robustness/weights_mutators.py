"""Changes to what checkpoints of torch and safetensors files hold."""

from __future__ import annotations

import argparse
import io
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from document_mutators import VALUES, change_node

Generator = np.random.Generator


def _odd_tensors() -> tuple[Any, ...]:
    import torch

    return (
        torch.tensor(float("nan")),
        torch.zeros(0),
        torch.zeros(1).expand(10**6, 10**6),  # a few bytes on the disk
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3, dtype=torch.int8),
        torch.full((4, 4), 1e38),
        torch.sparse_coo_tensor(
            torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (10**6, 10**6), check_invariants=True
        ),
        torch.zeros((1,) * 40),
        torch.tensor(True),
    )


def _loaded(content: bytes) -> Any:
    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def torch_entry(content: bytes, rng: Generator) -> bytes:
    """A checkpoint with one entry changed: another value, tensor, name, or none."""
    import torch

    state = _loaded(content)
    plain = tuple(value for value in VALUES if not (isinstance(value, str) and "\ud800" in value) and value != 10**400)
    changed = change_node(state, rng, (*_odd_tensors(), *plain))
    buffer = io.BytesIO()
    torch.save(changed, buffer)
    return buffer.getvalue()


def torch_tensor(content: bytes, rng: Generator) -> bytes:
    """A checkpoint with one tensor of its state dictionary changed or one name more."""
    import torch

    state = _loaded(content)
    tensors = state.get("state_dict", state.get("model"))
    name = list(tensors)[rng.integers(len(tensors))]
    value = tensors[name]
    odd = _odd_tensors()
    way = int(rng.integers(6))
    if way == 0:
        tensors[name] = odd[rng.integers(len(odd))]
    elif way == 1:
        if value.is_floating_point():
            number = (np.nan, np.inf, 0.9 * torch.finfo(value.dtype).max)[rng.integers(3)]
            tensors[name] = torch.full_like(value, float(number))
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


def _with_tensor(content: bytes, name: str, change: Callable[[Any], Any]) -> bytes:
    """A checkpoint whose first tensor goes, changed, under another name too."""
    import torch

    state = _loaded(content)
    tensors = state.get("state_dict", state.get("model"))
    first = next(iter(tensors))
    tensors[name or first] = change(tensors[first])
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def many_blocks(content: bytes, rng: Generator) -> bytes:
    """A name that stands for a hundred million blocks."""
    return _with_tensor(content, "blocks.99999999.norm1.weight", lambda tensor: tensor)


def not_finite(content: bytes, rng: Generator) -> bytes:
    """Weights of a run that went astray."""
    return _with_tensor(content, "", lambda tensor: tensor * float("nan"))


def vast_view(content: bytes, rng: Generator) -> bytes:
    """A tensor of a few bytes that is four terabytes large when it is copied."""
    return _with_tensor(content, "", lambda tensor: tensor.ravel()[:1].expand(10**6, 10**6))


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
