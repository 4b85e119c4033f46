"""`image_encoder_*.pth` -> `CMRResNet`: children of a torchvision ResNet by number instead of by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ecgcmr.encoders.cmr_resnet import CMRResNet
from ecgcmr.encoders.resnet_variants import VARIANTS
from ecgcmr.errors import UserError
from ecgcmr.weights_import.checkpoint import HINT, Checkpoint, count_numbered
from ecgcmr.weights_import.conversion import Conversion, KeyLine, drop_reason, fill

CLASS_PATH = "ecgcmr.encoders.CMRResNet"

_PREFIX = "encoder_imaging."
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Position in Sequential(conv1, bn1, relu, maxpool, layer1, layer2, layer3, layer4, avgpool) -> our module."""

_DROPPED = {
    "projection_head": "projection head",
    "classifier.": "classifier head",
    "head.": "classifier head",
    "fc.": "classifier head",
    "classifier_criterion.": "class weights of the classifier's loss",
    "encoder_ecg.": "ECG encoder; it is published as signal_encoder_*.pth",
    "criterion_": "state of the contrastive loss",
}


def convert_image_encoder(
    checkpoint: Checkpoint, *, height: int = 210, width: int = 210, dropped: Sequence[str] = ()
) -> Conversion:
    """Fill a ResNet over frames from a published image encoder.

    Block kind, depth, widths and the number of frames are read off the tensors; the image size leaves no trace in them
    and does not matter to a convolution.

    Args:
        checkpoint: Of kind "image".
        height: Rows of the images it will see, in pixels; 210 as published.
        width: Columns.
        dropped: Further prefixes of keys to leave out.

    Raises:
        UserError: Keys are missing, unknown or misshapen.
    """
    keys = []
    for name, tensor in checkpoint.tensors.items():
        reason = drop_reason(name, _DROPPED, dropped)
        keys.append(KeyLine(name, "" if reason else _our_name(name), tuple(tensor.shape), reason))
    mapped = {line.target: checkpoint.tensors[line.source] for line in keys if line.target}
    arguments = {**_architecture(checkpoint, mapped), "height": height, "width": width}
    with torch.random.fork_rng(devices=[]):  # initial values are overwritten; the caller's draws stay his own
        encoder = CMRResNet(**arguments)
    fill(encoder, checkpoint.name, checkpoint.tensors, keys)
    return Conversion(encoder, CLASS_PATH, arguments, tuple(keys))


def _our_name(name: str) -> str:
    """Our name of a key of the file; the name itself where it is none of the image encoder's."""
    child, _, rest = name.removeprefix(_PREFIX).partition(".")
    if not name.startswith(_PREFIX) or child not in _CHILDREN:
        return name
    return f"{_CHILDREN[child]}.{rest}"


def _architecture(checkpoint: Checkpoint, state: dict[str, Tensor]) -> dict:
    """Variant or explicit numbers of the network that the tensors' names and shapes describe."""
    needed = ["conv1.weight", *(f"layer{stage}.0.conv1.weight" for stage in range(1, 5))]
    missing = [name for name in needed if name not in state or state[name].ndim != 4]
    if missing:
        raise UserError(
            f"{checkpoint.name}: no ResNet under {_PREFIX}0 to {_PREFIX}7: {', '.join(missing)} missing{HINT}"
        )
    kind = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    layers = [count_numbered(checkpoint, state, rf"layer{stage}.(\d+)\.") for stage in range(1, 5)]
    widths = [int(state[f"layer{stage}.0.conv1.weight"].shape[0]) for stage in range(1, 5)]
    frames = int(state["conv1.weight"].shape[1])
    for variant, numbers in VARIANTS.items():
        if numbers == (kind, layers, widths):
            return {"variant": variant, "frames": frames}
    return {"variant": "custom", "block": kind, "layers": layers, "widths": widths, "frames": frames}
