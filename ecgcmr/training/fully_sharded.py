"""Training with weights, gradients and moments shared out over the devices (FSDP), for networks too large for one.

PyTorch's ``fully_shard`` keeps names and shapes of parameters, so that groups of layers, clipping and checkpoints are
those of any other run: a checkpoint is one file of whole weights, which any number of devices goes on from. Each
transformer block of an encoder is gathered when it is computed; what is left of the stage is gathered for the step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from ecgcmr.encoders.transformer import Block
from ecgcmr.errors import UserError
from ecgcmr.stages.downstream import Downstream
from ecgcmr.training.weight_average import AveragedWeights

NAME = "fully_sharded"
"""Of the strategy in a config: ``trainer.strategy``."""
_METHODS = ("training_step", "validation_step", "test_step", "predict_step")


class FullySharded(ModelParallelStrategy):
    """A trainer's ``strategy`` for pre-training stages; a device holds its share of weights, gradients and moments.

    Evaluation gathers all weights once, so that ranks need not compute alike there.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)
        self.plain: dict[str, nn.Module] = {}

    def setup_environment(self) -> None:
        """Share out over all devices of all nodes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: Any) -> None:
        """Share the stage out, then make its optimiser.

        Raises:
            UserError: The stage, or what the fit asks for, needs whole weights.
        """
        stage = self.lightning_module
        _refuse_what_needs_whole_weights(trainer, stage)
        self.accelerator.setup(trainer)  # type: ignore[union-attr]
        if trainer.is_global_zero:  # for the export, which no other rank takes part in
            exports: Any = stage.exports  # type: ignore[union-attr]
            self.plain = {name: copy.deepcopy(stage.get_submodule(name)) for name in exports.values()}  # type: ignore[union-attr]
        self.model_to_device()
        shard_stage(stage, self.device_mesh["data_parallel"])
        self.model = self.precision_plugin.convert_module(stage)  # type: ignore[arg-type]
        self.barrier()
        # Lightning's own setup asks each stage to share itself out.
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint of any strategy, and share out its weights and moments.

        Lightning takes moments to be in the order of the module's parameters; they are in that of our groups.
        """
        from torch.distributed.checkpoint.state_dict import (  # slow to import, and for this strategy alone
            StateDictOptions,
            set_model_state_dict,
            set_optimizer_state_dict,
        )

        checkpoint: dict[str, Any] = self.checkpoint_io.load_checkpoint(self.broadcast(checkpoint_path))
        model: Any = self.model
        options = StateDictOptions(full_state_dict=True, strict=self.lightning_module.strict_loading)  # type: ignore[union-attr]
        set_model_state_dict(model, checkpoint.pop("state_dict"), options=options)
        for optimiser, state in zip(self.optimizers, checkpoint.get("optimizer_states", []), strict=False):
            set_optimizer_state_dict(model, optimiser, _by_name(model, optimiser, state), options=options)
        return checkpoint

    def on_validation_start(self) -> None:
        """Gather all weights, and take rank zero's statistics of batch norms, as under ddp."""
        for buffer in self.lightning_module.buffers():  # type: ignore[union-attr]
            dist.broadcast(buffer, src=0)
        for module in _sharded(self.lightning_module):
            module.set_reshard_after_forward(False)
            module.unshard()

    def on_validation_end(self) -> None:
        """Share them out again."""
        for module in _sharded(self.lightning_module):
            module.set_reshard_after_forward(isinstance(module, Block))
            module.reshard()

    on_test_start = on_predict_start = on_validation_start
    on_test_end = on_predict_end = on_validation_end


StrategyRegistry.register(NAME, FullySharded, description="shares weights, gradients and moments out over devices")


def shard_stage(stage: Any, mesh: Any) -> None:
    """Share out a stage over a mesh of one dimension.

    Args:
        stage: Names its encoders in ``exports``.
        mesh: Of all devices.
    """
    # A learned temperature has nothing to be shared out; its gradient is averaged as ddp does.
    scalars = {parameter for parameter in stage.parameters() if parameter.ndim == 0}
    for parameter in scalars:
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(_average_gradient)
    for parameter in stage.parameters():  # those of convolutions may lie in another order, which cannot be cut
        parameter.data = parameter.data.contiguous()
    for name in stage.exports.values():
        for module in stage.get_submodule(name).modules():
            if isinstance(module, Block):
                fully_shard(module, mesh=mesh)
    fully_shard(stage, mesh=mesh, reshard_after_forward=False, ignored_params=scalars)
    for method in _METHODS:
        if hasattr(stage, method):
            register_fsdp_forward_method(stage, method)


def plain_module(trainer: Any, stage: Any, name: str) -> nn.Module:
    """Return a module of a stage for whole weights to be loaded into; rank zero alone may ask for it."""
    strategy = trainer.strategy
    module: nn.Module = strategy.plain[name] if isinstance(strategy, FullySharded) else stage.get_submodule(name)
    return module


def local_part(tensor: Tensor) -> Tensor:
    """Return what this device holds of a tensor: all of it where it is not shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor gathered from all devices; all of them call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _by_name(model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimiser's state with the names of parameters in place of their numbers.

    Raises:
        UserError: It is of other groups.
    """
    groups = [(str(group.get("name", "")), len(group["params"])) for group in optimiser.param_groups]
    stored = [(str(group.get("name", "")), len(group["params"])) for group in state["param_groups"]]
    if groups != stored:
        raise UserError("ckpt_path: the checkpoint's optimiser has other groups of parameters than the config's")
    names = {parameter: name for name, parameter in model.named_parameters()}
    moments, named = dict[str, Any](), list[dict[str, Any]]()
    for group, given in zip(optimiser.param_groups, state["param_groups"], strict=True):
        own = [names[parameter] for parameter in group["params"]]
        moments |= {
            name: state["state"][number]
            for name, number in zip(own, given["params"], strict=True)
            if number in state["state"]
        }
        named.append({**given, "params": own})
    return {"state": moments, "param_groups": named}


def _average_gradient(parameter: Tensor) -> None:
    if parameter.grad is not None:
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()


def _sharded(stage: Any) -> list[Any]:
    return [module for module in stage.modules() if isinstance(module, FSDPModule)]


def _refuse_what_needs_whole_weights(trainer: Any, stage: Any) -> None:
    settings: Mapping[str, bool] = {
        "final_weights": any(isinstance(callback, AveragedWeights) for callback in trainer.callbacks),
        type(stage).__name__: isinstance(stage, Downstream),
    }
    for name, given in settings.items():
        if given:
            raise UserError(f"trainer.strategy {NAME}: {name} needs whole weights on every device; take ddp")
