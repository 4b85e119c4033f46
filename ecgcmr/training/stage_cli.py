"""The Lightning CLI with this project's run folders, checkpoints and callbacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from ecgcmr.errors import UserError
from ecgcmr.parser_words import with_close_option
from ecgcmr.speed_choices.choose import Choices
from ecgcmr.stages.contract_checks import check_run
from ecgcmr.training.budget import StepBudget
from ecgcmr.training.budget_checks import check_budget
from ecgcmr.training.budget_plan import Budget
from ecgcmr.training.candidates import words_of
from ecgcmr.training.checkpoint_record import CheckpointRecord, read_checkpoint_record
from ecgcmr.training.compilation import Compiled
from ecgcmr.training.config_files import Composition
from ecgcmr.training.early_stopping import StaysStopped
from ecgcmr.training.encoder_source import spell_out_sizes
from ecgcmr.training.final_weights import final_weights_callbacks
from ecgcmr.training.finders import BATCH_SIZE, LEARNING_RATE, Finder, check_find, optimiser_of, with_rate
from ecgcmr.training.finite import FiniteCheck
from ecgcmr.training.finite_inputs import FiniteInputs
from ecgcmr.training.launch import check_environment
from ecgcmr.training.loggers import TensorBoardLog
from ecgcmr.training.machine_choices import MachineChoices, choose_for_run
from ecgcmr.training.messages import one_line, user_error_behind
from ecgcmr.training.prediction_files import PredictionFile
from ecgcmr.training.provenance import EvaluationNote, Provenance
from ecgcmr.training.run_bar import RunBar
from ecgcmr.training.run_claim import choose_folder, default_run_folder, launched_for, run_files, run_of_config
from ecgcmr.training.run_folder import EncoderExport, MetricsFile, RunConfig, checkpoints
from ecgcmr.training.run_record import RESUME_OPTION, RunRecord
from ecgcmr.training.run_session import RunSession
from ecgcmr.training.run_start import RunEnd, RunStart
from ecgcmr.training.search_command import SearchRecord, search_for, searched_before
from ecgcmr.training.settings_checks import check_seed, check_trainer
from ecgcmr.training.slurm_job import go_on
from ecgcmr.training.stage_arguments import add_stage_arguments, keep_whole_numbers
from ecgcmr.training.step_log import StepLog
from ecgcmr.training.step_seed import StepSeed
from ecgcmr.training.stop_when_terminated import EndRanks, StopWhenTerminated
from ecgcmr.training.target_table import TargetTable
from ecgcmr.training.time_limit import TimeLimit, time_limit
from ecgcmr.training.trainer import make_trainer
from ecgcmr.training.whole_checkpoints import LAST, newest_whole

_PARSER: dict[str, Any] = {
    "exit_on_error": False,
    "parser_mode": "omegaconf+",  # references such as ${data.samples} are resolved after all files and the command line
    "allow_abbrev": False,  # what is looked for among the words, such as a run folder, has its whole name there
}
FitTrial = Callable[[list[str]], None]
"""Fits a candidate of a search by the words of a command line after ``fit``."""


class StageCLI(LightningCLI):
    """The Lightning CLI with this project's conventions.

    - ``--trainer.default_root_dir`` is the run folder (default ``runs/mae/demo`` for ``mae/demo``).
    - Checkpoints, encoder export, metrics, predictions and TensorBoard logs go there without being asked for.
    - Without ``--trainer.precision`` the faster of ``bf16-mixed`` and ``32-true`` is taken, measured on a CPU; so are
      the ways in which its networks compute. ``ECGCMR_MACHINE_CHOICES`` set to ``ordinary`` or ``anew`` says otherwise.
    - ``fit`` on a CPU keeps the memory of a step for the next one.
    - ``--compile true`` runs the networks through torch.compile.
    - ``--ckpt_path`` resumes or evaluates a checkpoint of the same stage class; another class is refused. ``best`` and
      ``last`` mean those of the run folder; ``validate``, ``test`` and ``predict`` take ``best`` without being told.
    - A checkpoint is refused for other targets, covariates or leads than its own, and for recordings of another
      preparation without ``--accept_other_preparation true``; a fit goes on with other settings than it had only under
      ``--resume-with-changes``.
    """

    def __init__(self, args: list[str], session: RunSession | None = None, fit_trial: FitTrial | None = None) -> None:
        self.arguments = args
        self.fit_trial = fit_trial
        self.composition = Composition(args[0], args[1:])
        self.session = session or RunSession(args[0])
        self.checkpoint: CheckpointRecord | None = None
        self.export: EncoderExport | None = None
        self.search: dict[str, Any] | None = None
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
            parser_kwargs={"prog": "ecgcmr", **_PARSER} | dict.fromkeys(self.subcommands(), _PARSER),
            args=[args[0], *self.composition.arguments()],
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the composed settings; a piece or a reference that leads nowhere is named."""
        self._parse(parser, args)
        self._go_on_in_a_job()
        chosen = self._searched()
        if chosen is not None:
            self.composition = Composition(self.arguments[0], [*self.arguments[1:], *words_of(chosen), "--search=null"])
            self._parse(parser, [self.arguments[0], *self.composition.arguments()])
        spell_out_sizes(self.config[self.config.subcommand].model)

    def _parse(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            with self.composition.parsing():
                super().parse_arguments(parser, args)
        except ArgumentError as error:
            known = [f"--{name}" for name in vars(self._parser(self.arguments[0]).get_defaults().as_flat())]
            raise ArgumentError(None, with_close_option(str(error), known)) from error
        folder = run_of_config(self.arguments)
        if folder is not None:
            self.config[self.config.subcommand].trainer["default_root_dir"] = str(folder)

    def _go_on_in_a_job(self) -> None:
        """Go on with the run that a SLURM job began before it was queued again."""
        settings = self.config[self.config.subcommand]
        if self.config.subcommand != "fit" or settings.get("ckpt_path") or settings.trainer.get("fast_dev_run"):
            return
        path, self.session.leave = go_on(self._run_folder(settings.trainer), self.session.leave, os.environ)
        if path is not None:
            self.arguments = [*self.arguments, f"--ckpt_path={path}"]  # a search parses them once more
            settings["ckpt_path"] = path

    def _searched(self) -> dict[str, Any] | None:
        """Return the settings that the config's search chose, after running it where a fit begins; None without one."""
        command = str(self.config.subcommand)
        settings = self.config[command]
        if settings.search is None:
            return None
        path = settings.get("ckpt_path")
        if command != "fit" or path:
            return searched_before(launched_for() or self._run_folder(settings.trainer), path)
        if settings.trainer.get("fast_dev_run"):
            print("note: fast_dev_run tries the settings as they stand, without their search", file=sys.stderr)
            return None
        if self.fit_trial is None:
            raise ValueError("a config with a search needs a way to fit its trials")
        check_budget(settings)
        folder = choose_folder(self._run_folder(settings.trainer), self.session.leave, None)
        self.session.searching = True
        self.search = search_for(settings, self._written(settings), folder, self.arguments[1:], self.fit_trial)
        self.session.searching = False
        return dict(self.search["set"])

    def _written(self, settings: Any) -> dict[str, Any]:
        """Return settings as ``config.yaml`` holds them."""
        written: dict[str, Any] = yaml.safe_load(self._parser(self.arguments[0]).dump(settings, skip_unset=False))
        return written

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the one command that is run: to make parsers of the others too takes a third of a second."""
        command = self.arguments[0]
        return {command: LightningCLI.subcommands()[command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Beside Lightning's own arguments (a stage, its data, a trainer): those of this project."""
        add_stage_arguments(parser, self.arguments[0])
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
        folder = self._run_folder(settings.trainer)
        if path in ("best", "last"):
            path = str(folder / f"{path}.ckpt")
        if Path(path) == folder / LAST:
            path = str(newest_whole(folder))
        settings["ckpt_path"] = path
        self.session.resumes = Path(path) if self.config.subcommand == "fit" else None
        self.checkpoint = read_checkpoint_record(Path(path))
        stage, wanted = self.checkpoint.stage, settings.model.class_path
        if stage is not None and stage.rsplit(".", 1)[-1] != wanted.rsplit(".", 1)[-1]:
            raise UserError(
                f"ckpt_path: {path} is a checkpoint of {stage}, the config asks for {wanted}; to hand an encoder on, "
                "give its run folder as encoder_weights"
            )

    def _set_seed(self) -> None:
        """Check the settings that Lightning would stumble over, the seed first, which it takes here."""
        settings = self.config[self.subcommand]
        check_seed(settings.seed_everything)
        check_trainer(str(self.subcommand), settings.trainer)
        if self.subcommand == "fit":
            check_budget(settings)
        check_environment(os.environ)
        super()._set_seed()

    def before_instantiate_classes(self) -> None:
        """Choose the run folder of a fit, and refuse one that holds another run, before data and networks are made."""
        settings = self.config[self.subcommand]
        if self.subcommand == "fit" and not settings.trainer.get("fast_dev_run"):
            asked, path = self._run_folder(settings.trainer), settings.get("ckpt_path")
            folder = choose_folder(asked, self.session.leave, Path(path) if path else None)
            if folder != asked and launched_for() is None:
                print(f"the run goes to {folder}", file=sys.stderr)
            settings.trainer["default_root_dir"] = str(folder)

    def instantiate_classes(self) -> None:
        """Make stage, data and trainer; a refused argument is reported as its class reports it."""
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
            # RuntimeError and the like are torch's word on sizes that cannot be.
            raise user_error_behind(error) or UserError(f"model, data or trainer: {one_line(error)}") from error

    def _run_record(self) -> RunRecord:
        """Return what keeps the run's record in its checkpoints, and compares that of the one that is loaded."""
        settings = self.config[self.subcommand]
        return RunRecord(
            self._written(settings),
            self.checkpoint,
            resume_with_changes=bool(settings.get("resume_with_changes")),
            accept_other_preparation=settings.accept_other_preparation,
        )

    def _run_folder(self, trainer: Any) -> Path:
        """Return where everything of this run goes, from the trainer's settings."""
        return Path(trainer.get("default_root_dir") or default_run_folder(self.arguments))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Check stage and data, then make the trainer with the run folder's callbacks and logger."""
        command = str(self.subcommand)
        check_run(self.model, self.datamodule, command)
        self._find()
        trainer = {**self._get(self.config_init, "trainer"), **kwargs}
        folder, fits = self._run_folder(trainer), command == "fit"
        recorded = self.checkpoint.machine_choices if fits and self.checkpoint is not None else None
        choices = choose_for_run(self.model, trainer, fits, recorded)
        trainer |= {"default_root_dir": str(folder), "precision": choices.precision}
        if fits:
            trainer["max_time"] = None  # Lightning's timer would end the run as if it were complete
        if fits and self.config[command].budget is not None:
            trainer["max_epochs"] = -1  # the budget says how many steps there are
        if trainer.get("logger") is None:
            trainer["logger"] = TensorBoardLog() if fits else False
        writes = not trainer.get("fast_dev_run")
        callbacks = self._callbacks(folder, choices, writes=writes)
        made = make_trainer(trainer, lambda ready: self._instantiate_trainer(ready, callbacks), self.session, fits=fits)
        self.session.hold(folder, made, writes=writes)
        return made

    def _find(self) -> None:
        """Look for the settings that a fit is to find out before it begins, and let them take their places."""
        settings = self.config[self.subcommand]
        wanted = settings.get("find") or []
        if self.subcommand != "fit" or not wanted or settings.trainer.get("fast_dev_run"):
            return
        check_find(settings, self.search is not None, os.environ)
        stage, data = cast(Any, self.model), cast(Any, self.datamodule)
        finder = Finder(stage, data, settings.trainer.as_dict())
        if BATCH_SIZE in wanted:
            settings.data.init_args["batch_size"] = data.batch_size = finder.batch_size()
            print(f"found: data.batch_size {data.batch_size}", file=sys.stderr)
        if LEARNING_RATE in wanted:
            stage.settings = with_rate(optimiser_of(stage), Finder(stage, data, finder.trainer).learning_rate())
            settings.model.init_args["optimiser"] = asdict(stage.settings)
            print(f"found: model.optimiser.lr {stage.settings.lr:g}", file=sys.stderr)
        settings["find"] = None  # config.yaml holds what was found

    def _callbacks(self, folder: Path, choices: Choices, *, writes: bool) -> list[Any]:
        """Return what every run has, and what keeps the folder of one that writes."""
        settings, stage, record = self.config[self.subcommand], cast(Any, self.model), self._run_record()
        step_log = StepLog()
        check = FiniteCheck(settings.overflow_steps, step_log.add, lambda: self.session.asked_to_end)
        callbacks: list[Any] = [
            EndRanks(self.session),
            record,
            check,
            step_log,
            FiniteInputs(),
            MetricsFile(),
            StaysStopped(),
            StepSeed(),
            *([Compiled()] if settings.compile else []),
            MachineChoices(choices),
            *self._bar(),
        ]
        if self.subcommand == "fit" and settings.budget is not None:
            callbacks.append(StepBudget(Budget(**settings.budget.as_dict())))
        if writes:
            best, last = checkpoints(folder, stage.monitor, stage.mode)
            callbacks += [best, last]
            if self.subcommand == "fit":
                earlier = run_files(folder) if self.session.leave.overwrite else []
                self.export = EncoderExport(settings.model.as_dict(), record, stage.exports)
                start = RunStart(self.session, earlier, record)
                callbacks.insert(0, TimeLimit(self.session, time_limit(settings.trainer.get("max_time")), os.environ))
                final = final_weights_callbacks(self._get(self.config_init, "final_weights"))
                search = [] if self.search is None else [SearchRecord(self.search)]
                # The start clears the folder, before which nothing is written; what saves and exports comes after those
                # that say what is to be saved.
                note = Provenance(self.session, self.arguments, record.config, choices)
                callbacks += [start, *search, note, *final, StopWhenTerminated(self.session, last, check), self.export]
                callbacks.append(RunEnd(self.session, record, best))
            else:
                callbacks.append(EvaluationNote(self.arguments, record.config, choices))
        if self.subcommand in ("validate", "test"):
            callbacks.append(TargetTable(record))
        if self.subcommand == "predict":
            callbacks.append(PredictionFile(record, settings.out and Path(settings.out)))
        return callbacks

    def _bar(self) -> list[RunBar]:
        """Return this project's progress bar, unless the config names one or wants none."""
        trainer = self._get(self.config_init, "trainer")
        given = trainer.get("callbacks") or []
        named = any(isinstance(each, ProgressBar) for each in (given if isinstance(given, list) else [given]))
        return [] if named or trainer.get("enable_progress_bar") is False or trainer.get("barebones") else [RunBar()]

    def after_fit(self) -> None:
        """Refuse to call a fit done that left nothing for others to go on from.

        Raises:
            UserError: No epoch was validated.
        """
        if self.export is not None and self.export.problem:
            raise UserError(self.export.problem)
