"""``ecgcmr fit|validate|test|predict``: the Lightning CLI, with run folders and errors of one line."""

from __future__ import annotations

import functools
import logging
import operator
import os
import warnings
from pathlib import Path
from typing import Any, get_args

import jsonargparse
import yaml
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ecgcmr.errors import UserError
from ecgcmr.stages.checkpoint_record import CheckpointRecord, read_checkpoint_record
from ecgcmr.stages.compilation import Compiled
from ecgcmr.stages.host_memory import keep_freed_memory
from ecgcmr.stages.precision import default_precision
from ecgcmr.stages.randomness import StepSeed
from ecgcmr.stages.run_folder import EncoderExport, MetricsFile, PredictionFile, RunConfig, checkpoints
from ecgcmr.stages.run_record import RESUME_OPTION, RunRecord

HELP = """\
Run one stage from a config file; every setting can be overridden on the command line.

  ecgcmr fit -c configs/mae/demo.yaml --data.root data/demo
  ecgcmr fit -c configs/mae/demo.yaml --data.root data/demo --ckpt_path last           goes on after an interruption
  ecgcmr fit -c configs/alignment/demo.yaml --data.root data/demo --model.ecg_encoder_weights runs/mae/demo
  ecgcmr test -c configs/alignment/demo.yaml --data.root data/demo                      judges best.ckpt of that run
  ecgcmr fit --model.help ecgcmr.stages.ECGMaskedAutoencoder                            explains a class

Everything goes to the run folder, runs/mae/demo for configs/mae/demo.yaml, or --trainer.default_root_dir.
"""


class StageCLI(LightningCLI):
    """The Lightning CLI with this project's conventions.

    - ``--trainer.default_root_dir`` is the run folder (default ``runs/mae/demo`` for ``configs/mae/demo.yaml``).
    - Checkpoints, encoder export, metrics, predictions and TensorBoard logs go there without being asked for.
    - Without ``--trainer.precision`` it is ``bf16-mixed`` where the hardware multiplies bfloat16, else ``32-true``.
    - ``fit`` on a CPU keeps the memory of a step for the next one.
    - ``--compile true`` runs the networks through torch.compile.
    - ``--ckpt_path`` resumes or evaluates a checkpoint of the same stage class; another class is refused. ``best`` and
      ``last`` mean those of the run folder; ``validate``, ``test`` and ``predict`` take ``best`` without being told.
    - A checkpoint is refused for other targets, covariates or leads than its own, and for recordings of another
      preparation without ``--accept_other_preparation true``; a fit goes on with other settings than it had only under
      ``--resume-with-changes``.
    """

    def __init__(self, args: list[str]) -> None:
        self.arguments = args
        self.checkpoint: CheckpointRecord | None = None
        super().__init__(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=RunConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            # The DataModules share out rows among ranks themselves, without the repeats of Lightning's sampler.
            trainer_defaults={"use_distributed_sampler": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={"exit_on_error": False, "prog": "ecgcmr"}
            | {name: {"exit_on_error": False} for name in self.subcommands()},
            args=args,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the one command that is run: to make parsers of the others too takes a third of a second."""
        command = self.arguments[0]
        return {command: LightningCLI.subcommands()[command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Beside Lightning's own arguments (a stage, its data, a trainer) whether to compile."""
        parser.add_argument("--compile", type=bool, default=False, help="torch.compile the networks (default: false)")
        parser.add_argument(
            "--accept_other_preparation",
            type=bool,
            default=False,
            help="go on with weights that were trained on recordings of another preparation (default: false)",
        )
        if self.arguments[0] == "fit":
            parser.add_argument(
                "--resume_with_changes",
                RESUME_OPTION,
                action="store_true",
                help="go on from ckpt_path with other settings than it was trained with",
            )
        keep_whole_numbers(parser)

    def _parse_ckpt_path(self) -> None:
        """Check a checkpoint's stage class; settings come from the config file, never from the checkpoint."""
        settings = self.config[self.config.subcommand]
        # Without a checkpoint Lightning would evaluate random weights.
        path = settings.get("ckpt_path") or (None if self.config.subcommand == "fit" else "best")
        if path is None:
            if settings.get("resume_with_changes"):
                raise UserError(f"{RESUME_OPTION} belongs to a run that goes on: add --ckpt_path last")
            return
        if path in ("best", "last"):
            path = settings["ckpt_path"] = str(self._run_folder(settings.trainer) / f"{path}.ckpt")
        self.checkpoint = read_checkpoint_record(Path(path))
        stage, wanted = self.checkpoint.stage, settings.model.class_path
        if stage is not None and stage.rsplit(".", 1)[-1] != wanted.rsplit(".", 1)[-1]:
            raise UserError(
                f"ckpt_path: {path} is a checkpoint of {stage}, the config asks for {wanted}; to hand an encoder on, "
                "give its run folder as encoder_weights"
            )

    def instantiate_classes(self) -> None:
        """Make stage, data and trainer; a refused argument is told as its class told it."""
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            raise user_error_behind(error) or UserError(one_line(error)) from error

    def _run_record(self) -> RunRecord:
        """Return what keeps the run's record in its checkpoints, and compares that of the one that is loaded."""
        settings = self.config[self.subcommand]
        written = self._parser(self.subcommand).dump(settings, skip_none=False)
        return RunRecord(
            yaml.safe_load(written),
            self.checkpoint,
            resume_with_changes=bool(settings.get("resume_with_changes")),
            accept_other_preparation=settings.accept_other_preparation,
        )

    def _run_folder(self, trainer: Any) -> Path:
        """Return where everything of this run goes, from the trainer's settings."""
        return Path(trainer.get("default_root_dir") or default_run_folder(self.arguments))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer with the run folder's callbacks and logger."""
        settings = self.config[self.subcommand]
        trainer = dict(self._get(self.config_init, "trainer"))
        folder = self._run_folder(trainer)
        trainer["default_root_dir"] = str(folder)
        model_config = settings.model.as_dict() if hasattr(settings.model, "as_dict") else dict(settings.model)
        record = self._run_record()
        callbacks: list[Any] = [record, MetricsFile(), StepSeed()]
        if settings.compile:
            callbacks.append(Compiled())
        if trainer.get("precision") is None:
            trainer["precision"] = default_precision(trainer.get("accelerator") or "auto")
        if not trainer.get("fast_dev_run"):
            callbacks += checkpoints(folder, self.model.monitor, self.model.mode)
            if self.subcommand == "fit":
                callbacks.append(EncoderExport(model_config, record))
        if self.subcommand == "predict":
            callbacks.append(PredictionFile(record))
        if trainer.get("logger") is None:
            trainer["logger"] = self.subcommand == "fit" and TensorBoardLogger(folder, name="tensorboard", version="")
        made = self._instantiate_trainer({**trainer, **kwargs}, callbacks)
        if self.subcommand == "fit" and isinstance(made.accelerator, CPUAccelerator):
            keep_freed_memory()
        return made


def keep_whole_numbers(parser: jsonargparse.ArgumentParser) -> None:
    """Let what takes a count or a share, such as ``limit_train_batches``, read 1 as a count and 1.0 as a share.

    The parser tries the types of a union in their order. ``typing`` hands out a union it made before, whatever the
    order then was, so what has been imported would decide whether one batch is meant or all of them.

    Args:
        parser: Its arguments' types are changed.
    """
    for action in parser._actions:
        types = get_args(getattr(action, "_typehint", None))
        if int in types and float in types:
            ordered = [kind for kind in types if kind is not int]
            ordered.insert(ordered.index(float), int)
            action._typehint = functools.reduce(operator.or_, ordered)  # type: ignore[attr-defined]


def default_run_folder(arguments: list[str]) -> Path:
    """Return ``runs/<folder>/<stem>`` of the config file, such as ``runs/mae/demo`` for ``configs/mae/demo.yaml``."""
    for position, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag in ("-c", "--config"):
            config = Path(value or arguments[position + 1]).resolve()
            return Path("runs") / config.parent.name / config.stem
    return Path("runs") / "unnamed"


def user_error_behind(error: BaseException) -> UserError | None:
    """Return the UserError that a parser wrapped into its own exception, if there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def one_line(error: Exception) -> str:
    """Return the lines of a parser's or Lightning's message that name the mistake, joined into one."""
    noise = (
        "usage:",
        "Problem with given class_path",
        "Subtypes:",
        "Given value",
        "Errors:",
        "Expected a <class 'None",
    )
    lines = [line.strip(" -\t") for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(noise)] or lines
    text = " ".join(telling).replace("Does not validate against any of the Union subtypes", "").replace(":  ", ": ")
    return text[:400] or type(error).__name__


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    """Tell whether a log record is about the run; Lightning recommends other products at the same level."""
    return "Tip:" not in record.getMessage()


def _quiet() -> None:
    """Silence advice that does not concern the reader of a run's output."""
    for message in (
        ".*does not have many workers.*",
        ".*The number of training batches.*is smaller than the logging interval.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*args parameter is intended to run from within Python.*",
        ".*`trainer.init_module`.*",
        ".*Couldn't infer the batch indices.*",
        ".*is not supported by the model summary.*",  # weights are float32 under bf16-mixed: the size is right
        ".*The dirpath has changed from.*",  # a checkpoint evaluated into another run folder
        ".*sync_dist=True.*",  # scores are computed from the rows of all ranks, the same on each
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    # Read by ddp's child processes, which start anew from the command line.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning,ignore::FutureWarning")


def run(name: str, arguments: list[str]) -> int:
    """Run one of ``fit, validate, test, predict``.

    Args:
        name: The command.
        arguments: What stands after it, such as ``["-c", "configs/mae/demo.yaml", "--data.root", "data/demo"]``.

    Returns:
        0 when the trainer finished, 130 when it was interrupted.

    Raises:
        UserError: On a mistake in config, arguments or data.
    """
    _quiet()
    for position, argument in enumerate(arguments[:-1]):
        if argument in ("-c", "--config") and not Path(arguments[position + 1]).is_file():
            raise UserError(f"there is no config file {arguments[position + 1]}")
    try:
        StageCLI([name, *arguments])
    except (jsonargparse.ArgumentError, MisconfigurationException) as error:
        raise UserError(f"{one_line(error)}; see 'ecgcmr {name} --help'") from error
    except SystemExit as stop:
        if not stop.code and {"-h", "--help"} & set(arguments):
            print(f"\n{HELP}")  # last, where it is seen
        if not isinstance(stop.__context__, KeyboardInterrupt):  # Lightning makes an exit of Ctrl-C
            raise
        return 130
    return 0
