"""Ways of computing reach every layer of a network and its copies, change no weight, and orders of images agree."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.encoders.cmr_frames import CMRFrameResNet
from ecgcmr.encoders.kernels import ORDINARY, Kernels, RunsByKernels, use_kernels


def test_every_layer_and_every_copy_is_told_and_a_network_of_its_own_is_not() -> None:
    first = ECGVisionTransformer(leads=2, samples=100, patch_size=(1, 10), width=16, depth=2, heads=2)
    second = copy.deepcopy(first)
    ways, names = Kernels(True, "written", False), list(first.state_dict())
    use_kernels(first, ways)
    reached = [module for module in first.modules() if isinstance(module, RunsByKernels)]
    assert len(reached) == 1 + 2 * 5  # the patch embedding, and of each block four linear layers and the attention
    for network in (first, copy.deepcopy(first)):
        assert all(module.kernels == ways for module in network.modules() if isinstance(module, RunsByKernels))
    assert all(module.kernels == ORDINARY for module in second.modules() if isinstance(module, RunsByKernels))
    assert list(first.state_dict()) == names


def test_images_in_either_order_give_the_same_features() -> None:
    torch.manual_seed(0)
    network: nn.Module
    for network in (CMRResNet("resnet10", 3, 64, 64), CMRFrameResNet("resnet18", 2, 64, 64)):
        frames = torch.rand(2, *(3 if isinstance(network, CMRResNet) else 2, 64, 64))
        network.eval()
        before = network(frames)
        weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
        use_kernels(network, Kernels(channels_last=False))
        assert all(weight.is_contiguous() for weight in weights)
        torch.testing.assert_close(network(frames), before, rtol=0, atol=1e-4)
