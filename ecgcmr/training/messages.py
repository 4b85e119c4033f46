"""What a run says and what it keeps to itself: mistakes in one line, and no advice that does not concern its reader."""

from __future__ import annotations

import logging
import os
import warnings

from ecgcmr.errors import UserError
from ecgcmr.parser_words import in_plain_words


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
    plain = in_plain_words(str(error))
    if plain is not None:
        return plain[:600]
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
    """Tell whether a log record is about the run; Lightning recommends other products at the same level.

    What it says of signals is left out too: the command line says in one line how to go on.
    """
    return not any(words in record.getMessage() for words in ("Tip:", "Detected KeyboardInterrupt", "SIGTERM"))


def silence_advice() -> None:
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
        ".*could not find the monitored key.*",  # the end of the fit says that there was no validation
        ".*sync_dist=True.*",  # scores are computed from the rows of all ranks, the same on each
    ):
        warnings.filterwarnings("ignore", message=message)
    for name in ("utilities.rank_zero", "trainer.connectors.signal_connector"):
        logging.getLogger(f"lightning.pytorch.{name}").addFilter(_is_no_advertisement)
    # Read by ddp's child processes, which start anew from the command line.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning,ignore::FutureWarning")
