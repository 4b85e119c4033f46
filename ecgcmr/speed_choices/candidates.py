"""The ways to compute that are timed against each other, a few for each kind of part, by name."""

from __future__ import annotations

import torch

from ecgcmr.encoders.kernels import AttentionWay, Kernels

FLOAT32, BFLOAT16 = "float32", "bfloat16"
TYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16}
Candidate = tuple[torch.dtype, Kernels]
_ATTENTION: tuple[AttentionWay, ...] = ("written", "float32", "bfloat16")


def linear_name(kind: str, convolution: bool) -> str:
    """Name of the way in which linear layers alone differ; with bfloat16, attention is then written out."""
    return f"{kind} {'convolution' if convolution else 'linear'}"


def attention_name(way: AttentionWay) -> str:
    """Name of the way in which attention with bfloat16 alone differs; linear layers are then linear."""
    return linear_name(BFLOAT16, convolution=False) if way == "written" else f"{BFLOAT16} attention {way}"


def order_name(kind: str, channels_last: bool) -> str:
    """Name of the way in which the order of images alone differs."""
    return f"{kind} {'channels last' if channels_last else 'channels first'}"


def candidates(part: str, kind: str) -> dict[str, Candidate]:
    """Return the ways for a kind of part (`tokens`, `images`, `other`) in a type, by name."""
    dtype = TYPES[kind]
    if part == "images":
        return {order_name(kind, last): (dtype, Kernels(channels_last=last)) for last in (True, False)}
    if part == "other":
        return {kind: (dtype, Kernels())}
    ways = {linear_name(kind, convolution): (dtype, Kernels(convolution, "written")) for convolution in (False, True)}
    if kind == BFLOAT16:
        ways |= {attention_name(way): (dtype, Kernels(attention=way)) for way in _ATTENTION}
    return ways
