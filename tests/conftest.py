"""Fixtures shared by all tests: where golden vectors and real recordings lie, if they are there at all."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# Before NumPy and torch are imported: pytest-xdist runs a process a core, and each is to keep to its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # pytest runs a process a core already
# Nothing is timed while other tests run, and what tests compute does not depend on the machine.
os.environ.setdefault("ECGCMR_MACHINE_CHOICES", "ordinary")

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["cohort_fixtures", "tiny_experiment"]

REPOSITORY = Path(__file__).resolve().parents[1]


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / default))
    if not folder.is_dir():
        pytest.skip(f"{variable} is not set and {default}/ is not beside the checkout")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave garbage alone while the test files import everything, and what is there by then for good.

    The collector would look through half a million objects that stay, in each of its full rounds.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Make errors of what the tests themselves are warned of: pyproject.toml has the packages."""
    modules = "|".join(sorted(path.stem for path in Path(__file__).parent.rglob("*.py")))
    config.addinivalue_line("filterwarnings", f"error:::({modules})$")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that take long first, so that parallel runs do not end with one process at work.

    Of those that need the finished experiment one comes first of all and the rest last: else every process would wait
    for the one that makes it.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("multiprocess")}
    sharing = [item.path for item in items if "finished" in getattr(item, "fixturenames", ())]
    first = max(dict.fromkeys(sharing), key=sharing.count, default=None)
    others = set(sharing) - {first}
    # Stable: the order within a file stays.
    items.sort(key=lambda item: (item.path != first, item.path not in slow, item.path in others))


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Folder of golden vectors made with the published implementation."""
    return _folder("ECGCMR_PARITY_DIR", "parity")


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """Folder with real ECGs (ptbxl/) and short-axis images (acdc/)."""
    return _folder("ECGCMR_DATA_DIR", "data")


@pytest.fixture(scope="session")
def cohort_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 80 synthetic subjects (52 train, 16 val, 12 test), two shards of 40, frames of 48 x 48 pixels."""

    from made_once import made_once  # the support folder is in the path by now

    def make(folder: Path) -> None:
        from ecgcmr.cli import main

        sizes = ["--subjects", "80", "--shard-size", "40", "--size", "48", "--workers", "1"]
        assert main(["synthesize", "--seed", "5", "--out", str(folder / "shards"), "--format", "shards", *sizes]) == 0

    return made_once(tmp_path_factory, "cohort", make) / "shards"


@pytest.fixture
def interrupt_restored() -> Iterator[None]:
    """Let Ctrl-C stop the tests again after one in which Lightning met it: it ignores every further one."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(autouse=True)
def notes_of_lightning() -> None:
    """Let notes be read in every test: an experiment that ran in the same process before has raised the level."""
    logging.getLogger("lightning.pytorch").setLevel(logging.INFO)
    logging.getLogger("lightning.fabric").setLevel(logging.INFO)
