"""``--compile``: torch.compile for a stage's networks, block by block.

Transformer blocks are compiled, not whole encoders: all blocks of a network share their code, so that compiling takes
seconds, and masked, visible-only and tokens-only passes use the same compiled blocks. Convolutional encoders are
compiled whole. Parameter names, checkpoints and exported encoders stay as they are.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import nn

from ecgcmr.encoders import ECGCNN, CMRResNet, CMRResNet3d, ECGResNet
from ecgcmr.encoders.transformer import Block
from ecgcmr.errors import UserError

_WHOLE = (CMRResNet, CMRResNet3d, ECGCNN, ECGResNet)


def require_compiler(device: torch.device) -> None:
    """Check what torch.compile needs on a device.

    Raises:
        UserError: There is no C++ compiler, or no Triton for CUDA.
    """
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++", "cl"]
    if not any(shutil.which(name.split()[0]) for name in candidates):
        raise UserError(
            f"--compile needs a C++ compiler ({' or '.join(candidates)} on the PATH, or named by CXX): install one, "
            "such as the package g++, or leave --compile out"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("--compile on CUDA needs the package triton: install it, or leave --compile out")


def compile_networks(stage: nn.Module, device: torch.device) -> list[nn.Module]:
    """Let a stage's transformer blocks and convolutional encoders run compiled from their next call on.

    Args:
        stage: Any module that holds networks.
        device: Where it will run.

    Returns:
        What was compiled.

    Raises:
        UserError: torch.compile cannot run here, or the stage holds nothing that is compiled.
    """
    require_compiler(device)
    found: list[nn.Module] = [module for module in stage.modules() if isinstance(module, (Block, *_WHOLE))]
    if not found:
        raise UserError(f"--compile: {type(stage).__name__} holds no network that is compiled; leave it out")
    for module in found:
        module.compile()
    return found


class Compiled(Callback):
    """Compiles the stage's networks before the run starts."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Compile in place; code is made at each network's first call, which is said, for it takes its time."""
        compiled = {type(module).__name__ for module in compile_networks(pl_module, trainer.strategy.root_device)}
        rank_zero_info(f"compiling {', '.join(sorted(compiled))}: the first steps take a minute or more")
