"""`signal_encoder_*.pth` -> `ECGVisionTransformer`: names are timm's; what the file does not say is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ecgcmr.encoders.ecg_vit import SIZES, ECGVisionTransformer, Pooling
from ecgcmr.encoders.position import sincos_position
from ecgcmr.errors import UserError
from ecgcmr.weights_import.checkpoint import HINT, Checkpoint, count_numbered
from ecgcmr.weights_import.conversion import Conversion, KeyLine, drop_reason, fill

CLASS_PATH = "ecgcmr.encoders.ECGVisionTransformer"

_DROPPED = {
    "decoder_": "decoder of the masked autoencoder",
    "mask_token": "decoder of the masked autoencoder",
    "head.": "classifier head",
    "head_drop.": "classifier head",
    "projection_head": "projection head",
    "projector.": "projection head",
    "predictor.": "prediction head of the contrastive branch",
}
_NEEDED = ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight")
_NORM = {"weight", "bias"}


def convert_signal_encoder(
    checkpoint: Checkpoint,
    *,
    pooling: Pooling = "mean",
    leads: int = 12,
    sampling_rate: float = 500.0,
    heads: int | None = None,
    fresh_norm: bool = False,
    dropped: Sequence[str] = (),
) -> Conversion:
    """Fill an ECG transformer from a published signal encoder.

    Width, depth, patch size, length and MLP ratio are read off the tensors. The number of heads leaves no trace in
    them: it is that of the published size with this width and depth, or `heads`.

    The final norm: with the class token as feature it is the file's `norm`. With pooled tokens it is the file's
    `fc_norm`; where there is none, as in the released files, `norm` takes its place, or (`fresh_norm`) it starts anew
    with scale 1 and shift 0, as the published downstream code has it.

    Args:
        checkpoint: Of kind "signal".
        pooling: Pooling of the new encoder: "mean", "cls" or "attention".
        leads: Leads of the recordings it was trained on.
        sampling_rate: Their sampling rate in Hz.
        heads: Attention heads.
        fresh_norm: Start `fc_norm` anew even though the file holds `norm`.
        dropped: Further prefixes of keys to leave out.

    Raises:
        UserError: Keys are missing, unknown or misshapen, or the size is not one of the published ones.
    """
    tensors = checkpoint.tensors
    missing = [name for name in _NEEDED if name not in tensors]
    if missing:
        raise UserError(
            f"{checkpoint.name}: no ECG transformer of the published kind: {', '.join(missing)} missing{HINT}"
        )
    if fresh_norm and pooling == "cls":
        raise UserError("--fresh-norm is for pooled tokens; with --pooling cls the file's norm is the trained one")
    arguments = _arguments(checkpoint, pooling, leads, sampling_rate, heads)
    with torch.random.fork_rng(devices=[]):  # initial values are overwritten; the caller's draws stay his own
        encoder = ECGVisionTransformer(**arguments)
    keys = [_line(name, checkpoint, pooling, fresh_norm, dropped) for name in tensors]
    if fresh_norm:
        keys += [KeyLine("", f"fc_norm.{part}", (encoder.feature_dim,), "starts anew") for part in ("weight", "bias")]
    if pooling == "attention" and not any(line.target.startswith("attention_pool.") for line in keys):
        raise UserError(
            f"{checkpoint.name}: holds no attention_pool; import with --pooling mean and set pooling: attention in the "
            "stage, which then learns it"
        )
    fill(encoder, checkpoint.name, tensors, keys)
    return Conversion(encoder, CLASS_PATH, {**arguments, "patch_size": list(encoder.patch_size)}, tuple(keys))


def _arguments(checkpoint: Checkpoint, pooling: Pooling, leads: int, sampling_rate: float, heads: int | None) -> dict:
    """Constructor arguments of the encoder that the tensors' shapes describe."""
    tensors, name = checkpoint.tensors, checkpoint.name
    weight, table = tensors["patch_embed.proj.weight"], tensors["pos_embed"]
    hidden = tensors["blocks.0.mlp.fc1.weight"]
    if weight.ndim != 4 or weight.shape[1] != 1 or table.ndim != 3 or hidden.ndim != 2:
        raise UserError(
            f"{name}: patch_embed.proj.weight is {tuple(weight.shape)} and pos_embed {tuple(table.shape)}, not "
            "(D, 1, leads, samples) and (1, 1 + N, D)"
        )
    width, _, height, length = weight.shape
    rows, left = divmod(leads, height)
    if left or rows == 0 or (table.shape[1] - 1) % rows:
        raise UserError(
            f"{name}: {table.shape[1] - 1} patches of {height} x {length} do not lie on {leads} leads; give --leads"
        )
    columns = (table.shape[1] - 1) // rows
    depth = count_numbered(checkpoint, tensors, r"blocks.(\d+)\.")
    if heads is None:
        known = [number for (size, blocks, number) in SIZES.values() if (size, blocks) == (width, depth)]
        if not known:
            raise UserError(f"{name}: width {width} with depth {depth} is no published size; give --heads")
        heads = known[0]
    fixed = table.shape[2] % 4 == 0 and torch.allclose(
        table.float(), sincos_position((rows, columns), table.shape[2]), atol=1e-4
    )
    return {
        "leads": leads,
        "samples": columns * length,
        "sampling_rate": float(sampling_rate),
        "patch_size": (height, length),
        "width": width,
        "depth": depth,
        "heads": heads,
        "mlp_ratio": hidden.shape[0] / width,
        "pooling": pooling,
        "positions": "sincos" if fixed else "learned",
    }


def _line(name: str, checkpoint: Checkpoint, pooling: Pooling, fresh_norm: bool, dropped: Sequence[str]) -> KeyLine:
    """What becomes of one key of the file."""
    shape = tuple(checkpoint.tensors[name].shape)
    reason = drop_reason(name, _DROPPED, dropped)
    module, _, part = name.partition(".")
    if not reason and module in ("norm", "fc_norm") and part in _NORM:
        return _norm_line(name, shape, checkpoint, pooling, fresh_norm)
    if not reason and module == "attention_pool" and pooling != "attention":
        reason = f"attention pooling, unused with pooling {pooling}"
    return KeyLine(name, "" if reason else name, shape, reason)


def _norm_line(
    name: str, shape: tuple[int, ...], checkpoint: Checkpoint, pooling: Pooling, fresh_norm: bool
) -> KeyLine:
    """What becomes of a key of one of the two final norms."""
    module, _, part = name.partition(".")
    if pooling == "cls":
        unused = "norm of the pooled tokens, unused with pooling cls"
        return KeyLine(name, name if module == "norm" else "", shape, "" if module == "norm" else unused)
    if fresh_norm:
        return KeyLine(name, "", shape, "final norm, started anew as asked (--fresh-norm)")
    if module == "fc_norm":
        return KeyLine(name, name, shape)
    if f"fc_norm.{part}" in checkpoint.tensors:
        return KeyLine(name, "", shape, f"norm of the class token, unused with pooling {pooling}")
    return KeyLine(name, f"fc_norm.{part}", shape, "the file's only final norm; --fresh-norm starts one anew instead")
