"""``ecgcmr fit|validate|test|predict``: the Lightning CLI, with run folders and errors of one line."""

from __future__ import annotations

import contextlib
import traceback

import jsonargparse
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ecgcmr.errors import Diverged, UserError
from ecgcmr.own_code import own_place
from ecgcmr.termination import Terminated
from ecgcmr.training import diverged_trial
from ecgcmr.training.config_files import CONFIG_FLAGS
from ecgcmr.training.messages import one_line, silence_advice
from ecgcmr.training.run_claim import take_leave
from ecgcmr.training.run_session import RunSession
from ecgcmr.training.settings_checks import refused_by_lightning
from ecgcmr.training.stage_cli import StageCLI

HELP = """\
Run one stage from a config file; every setting can be overridden on the command line.

  ecgcmr fit -c mae/demo --data.root data/demo
  ecgcmr fit -c mae/demo --data.root data/demo --ckpt_path last         goes on after an interruption
  ecgcmr fit -c alignment/demo --data.root data/demo --model.ecg_encoder_weights runs/mae/demo
  ecgcmr test -c alignment/demo --data.root data/demo                   judges best.ckpt of that run
  ecgcmr fit --model.help ecgcmr.stages.ECGMaskedAutoencoder            explains a class
  ecgcmr fit -c alignment/demo -c objectives/byol                       one config laid over another
  ecgcmr fit -c mae/demo --data.samples 1000 --model.encoder encoders/ecg_vit    another encoder, whole
  ecgcmr fit -c mae/demo --data.samples 1000 --print_config             what all of it comes to
  ecgcmr fit -c downstream/regression --data.root data/demo --budget.most 20     a quick run of a budget
  ecgcmr fit -c mae/demo --data.root data/demo --trainer.logger loggers/csv      CSV in place of TensorBoard
  ecgcmr fit -c mae/demo --data.root data/demo --find '[learning_rate]'          looks for a rate first
  ecgcmr predict -c runs/downstream/regression/config.yaml --data.predict_split all --out all.parquet

A config is a file of yours by its path, or one that comes with ecgcmr by its name ('ecgcmr configs' lists them).
Everything goes to the run folder, runs/mae/demo for mae/demo, or --trainer.default_root_dir. A fit does not
replace a run that lies there unless it is asked to:

  --ckpt_path last   goes on with it
  --overwrite        begins anew; the earlier files are removed when training starts, not before
  --new_folder       writes to runs/mae/demo-2, or the next number that is free
"""


def print_merged(name: str, arguments: list[str]) -> None:
    """Print the settings that config files and command line come to, where there are any."""
    words = [word for word in arguments if word not in ("-h", "--help")]
    if any(word.partition("=")[0] in CONFIG_FLAGS for word in words):
        print("The settings of this command, all files and overrides in place:\n")
        with contextlib.suppress(SystemExit):
            StageCLI([name, *words, "--print_config"])


def run(name: str, arguments: list[str]) -> int:
    """Run one of ``fit, validate, test, predict``.

    Args:
        name: The command.
        arguments: What stands after it, such as ``["-c", "mae/demo", "--data.root", "data/demo"]``.

    Returns:
        0 when the trainer finished.

    Raises:
        UserError: On a mistake in config, arguments or data, or a folder that holds another run.
        KeyboardInterrupt: It was interrupted; the argument says how to go on.
        Terminated: SIGTERM ended it, after a checkpoint if it was training; it says how to go on.
    """
    silence_advice()
    arguments, leave = take_leave(arguments)
    if name != "fit" and (leave.overwrite or leave.new_folder):
        raise UserError(f"{name} begins no run; --overwrite and --new_folder belong to fit")
    with RunSession(name, leave) as session:
        _run_within(session, name, arguments)
    return 0


def fit_trial(arguments: list[str]) -> None:
    """Fit a candidate of a search in this process.

    Args:
        arguments: Of the command line, after ``fit``.

    Raises:
        Diverged: Its network did.
        UserError: Something else stopped it.
    """
    arguments, leave = take_leave(arguments)
    with RunSession("fit", leave) as session:
        _run_within(session, "fit", arguments)


def _run_within(session: RunSession, name: str, arguments: list[str]) -> None:
    """Run a command within its session; raises as ``run`` does."""
    try:
        StageCLI([name, *arguments], session, fit_trial)
    except (jsonargparse.ArgumentError, MisconfigurationException) as error:
        raise UserError(f"{one_line(error)}; see 'ecgcmr {name} --help'") from error
    except Terminated:
        raise session.ended() from None
    except (ValueError, TypeError, RuntimeError, KeyError, ImportError) as error:
        if session.termination.requests and "DataLoader worker" in str(error):
            raise session.ended() from error  # SIGTERM reached the workers too, and they could not wait
        if refused_by_lightning(error):
            raise UserError(f"{one_line(error)}; see 'ecgcmr {name} --help'") from error
        _say_where_own_code_failed(error)
        raise
    except Diverged as error:
        diverged_trial.note(error)
        raise
    except (UserError, OSError):
        raise
    except Exception as error:
        _say_where_own_code_failed(error)
        raise
    except SystemExit as stop:
        if not stop.code and {"-h", "--help"} & set(arguments):
            print(f"\n{HELP}")  # last, where it is seen
            print_merged(name, arguments)
        if not isinstance(stop.__context__, KeyboardInterrupt):  # Lightning makes an exit of Ctrl-C
            raise
        raise KeyboardInterrupt(session.advice()) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(session.advice()) from None
    if session.termination.requests:  # too late for a checkpoint, but whoever called must not go on
        raise session.ended()


def _say_where_own_code_failed(error: Exception) -> None:
    """Show an error of a user's own class in full, for who is to mend it, and end with one line as any other mistake.

    Raises:
        UserError: The error came through a file that is neither this program's nor installed.
    """
    place = own_place(error)
    if place:
        traceback.print_exception(error)
        raise UserError(f"{place}: {type(error).__name__}: {one_line(error)}") from error
