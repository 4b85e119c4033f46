"""Prints the deviation of every golden array when a run is of these tests alone, as ``make parity`` is."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_vectors import RESULTS, report

ALONE = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)  # after -k and -m have taken tests out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note whether all tests of this run lie in this folder."""
    config.stash[ALONE] = all(Path(__file__).parent in item.path.parents for item in items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    if RESULTS and config.stash.get(ALONE, False):
        terminalreporter.section("golden vectors")
        for line in report(RESULTS):
            terminalreporter.write_line(line, red=line.endswith("FAIL"))
