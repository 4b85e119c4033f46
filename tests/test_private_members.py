"""Members that other packages call private and that we use all the same: an upgrade that drops one fails here."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jsonargparse
import optuna
import pytest
import torch
from joblib.externals.loky import reusable_executor
from jsonargparse._typehints import ActionTypeHint
from lightning.fabric.loggers import logger
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies import DDPStrategy, launchers
from packaging.requirements import Requirement
from tensorboard.summary.writer import event_file_writer

REPOSITORY = Path(__file__).resolve().parents[1]
Owner = Callable[[Trainer], object]


def _typed_argument(_: Trainer) -> ActionTypeHint:
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--number", type=int | float)
    return next(action for action in parser._actions if isinstance(action, ActionTypeHint))


def _started_executor(_: Trainer) -> object:
    executor = reusable_executor.get_reusable_executor(max_workers=1)
    executor.shutdown()
    return executor


USED: dict[tuple[str, str], Owner] = {
    ("data_modules/dataset.py", "_new_shared"): lambda _: torch.UntypedStorage,
    ("ecgcmr/encoders/bfloat16_attention.py", "_softmax_backward_data"): lambda _: torch.ops.aten,
    ("ecgcmr/speed_choices/encoder_cost.py", "_fft_c2c"): lambda _: torch.ops.aten,
    ("ecgcmr/speed_choices/encoder_cost.py", "_fft_c2r"): lambda _: torch.ops.aten,
    ("ecgcmr/speed_choices/encoder_cost.py", "_fft_r2c"): lambda _: torch.ops.aten,
    ("ecgcmr/stages/whole_pass.py", "_on_before_batch_transfer"): lambda _: LightningModule,
    ("ecgcmr/sweeps/study.py", "_trial_id"): lambda _: optuna.create_study().ask(),
    ("ecgcmr/training/budget.py", "_should_accumulate"): lambda trainer: trainer.fit_loop.epoch_loop,
    ("ecgcmr/training/operations.py", "_compiled_call_impl"): lambda _: torch.nn.Linear(1, 1),
    ("ecgcmr/training/operations.py", "_overloadpacket"): lambda _: torch.ops.aten.mm.default,
    ("ecgcmr/training/operations.py", "_python_dispatch"): lambda _: torch.utils,
    ("ecgcmr/training/operations.py", "_scaled_dot_product_flash_attention_for_cpu"): lambda _: torch.ops.aten,
    ("ecgcmr/training/operations.py", "_scaled_dot_product_flash_attention_for_cpu_backward"): lambda _: torch.ops.aten,
    ("ecgcmr/training/stage_arguments.py", "_actions"): lambda _: jsonargparse.ArgumentParser(),
    ("ecgcmr/training/stage_cli.py", "_get"): lambda _: LightningCLI,
    ("ecgcmr/training/stage_cli.py", "_instantiate_trainer"): lambda _: LightningCLI,
    ("ecgcmr/training/stage_cli.py", "_parser"): lambda _: LightningCLI,
    ("ecgcmr/training/stage_arguments.py", "_typehint"): _typed_argument,
    ("ecgcmr/training/config_files.py", "_loaders_dumpers"): lambda _: jsonargparse,
    ("ecgcmr/training/late_logger.py", "_DummyExperiment"): lambda _: logger,
    ("ecgcmr/training/run_session.py", "_AsyncWriterThread"): lambda _: event_file_writer,
    ("ecgcmr/training/run_session.py", "_SubprocessScriptLauncher"): lambda _: launchers,
    ("ecgcmr/training/stop_when_terminated.py", "_data_fetcher"): lambda trainer: trainer.fit_loop,
    ("ecgcmr/training/stop_when_terminated.py", "_last_global_step_saved"): lambda _: ModelCheckpoint(),
    ("ecgcmr/training/stop_when_terminated.py", "_should_accumulate"): lambda trainer: trainer.fit_loop.epoch_loop,
    ("ecgcmr/training/stop_when_terminated.py", "_should_check_val_fx"): lambda trainer: trainer.fit_loop.epoch_loop,
    ("ecgcmr/training/trainer.py", "_broadcast_sigterm_tensor"): lambda trainer: trainer.fit_loop.epoch_loop,
    ("ecgcmr/training/trainer.py", "_ddp_kwargs"): lambda _: DDPStrategy(),
    ("ecgcmr/training/trainer.py", "_signal_connector"): lambda trainer: trainer,
    ("ecgcmr/training/trainer.py", "_sigterm_notifier_fn"): lambda trainer: trainer._signal_connector,
    ("ecgcmr/training/trainer.py", "_slurm_sigusr_handler_fn"): lambda trainer: trainer._signal_connector,
    ("ecgcmr/worker_processes.py", "_executor"): lambda _: reusable_executor,
    ("ecgcmr/worker_processes.py", "_flags"): _started_executor,
}
"""File and member -> what has it."""
OVERRIDDEN = [
    (LightningCLI, "_parse_ckpt_path"),
    (LightningCLI, "_set_seed"),
    (RichProgressBar, "_get_train_description"),
]
PUBLIC = {"_asdict", "_replace"}
"""Of named tuples, which document it."""
STANDARD = {"argparse", "os"}
"""Of Python itself, which does not come and go with packages."""


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)


@pytest.mark.parametrize(("place", "member"), USED, ids=".".join)
def test_a_private_member_that_is_used_is_there(trainer: Trainer, place: str, member: str) -> None:
    assert hasattr(USED[place, member](trainer), member)


@pytest.mark.parametrize(("owner", "member"), OVERRIDDEN)
def test_a_private_member_that_is_overridden_is_there(owner: type, member: str) -> None:
    assert callable(vars(owner)[member])


@pytest.mark.long
@pytest.mark.slow
def test_no_other_private_member_is_used() -> None:
    trees = {path: ast.parse(path.read_text()) for room in ("ecgcmr", "data_modules") for path in _files(room)}
    made_here = {name for tree in trees.values() for name in _names(tree)} | PUBLIC
    found = set()
    for path, tree in trees.items():
        place = path.relative_to(REPOSITORY).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in made_here:
                found |= {(place, node.attr)} if ast.unparse(node.value) not in STANDARD else set()
            if isinstance(node, ast.ImportFrom) and not str(node.module).startswith(("ecgcmr", "data_modules")):
                words = [*str(node.module).split("."), *(alias.name for alias in node.names)]
                found |= {(place, word) for word in words if _is_private(word)}
    assert found == set(USED)


def test_lightning_has_an_upper_bound_that_is_the_version_tested_here() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    requirement = next(r for r in map(Requirement, project["dependencies"]) if r.name == "lightning")
    assert version("lightning") in requirement.specifier
    major, minor, *_ = map(int, version("lightning").split("."))
    assert f"{major}.{minor + 1}.0" not in requirement.specifier


def _files(room: str) -> list[Path]:
    return sorted((REPOSITORY / room).rglob("*.py"))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _names(tree: ast.Module) -> list[str]:
    """Names of functions and classes that a file defines, and of attributes and variables that it assigns."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            found.append(node.attr)
    return found


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
