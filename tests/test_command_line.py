"""The command line as a whole: help, exit codes, and one clear line for every mistake a user can mend."""

from __future__ import annotations

import gc
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch  # noqa: F401  # here, so that its log is bound to a stream that outlives a test
import pytest

import ecgcmr
from ecgcmr import cli
from ecgcmr.cli import COMMANDS, main
from ecgcmr.errors import UserError
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.termination import Terminated

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """A folder of things to point at: empty/, full/, full/file, broken.yaml and cohorts of other schemas."""
    place = tmp_path_factory.mktemp("place")
    (place / "empty").mkdir()
    (place / "full").mkdir()
    (place / "full" / "file").write_text("neither an ECG nor a cohort")
    (place / "broken.yaml").write_text("model: [\n")
    for name, key, value in (("other", "version", 99), ("foreign", "schema", "some-shards")):
        shutil.copytree(cohort_root, place / name)
        index = json.loads((place / name / "index.json").read_text())
        (place / name / "index.json").write_text(json.dumps({**index, key: value}))
    shutil.copytree(cohort_root, place / "damaged")
    shard = next((place / "damaged" / "shards").glob("*.h5"))
    shard.write_bytes(shard.read_bytes()[:-100])
    return place


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ecgcmr {ecgcmr.__version__}\n"


def test_the_overview_needs_nothing_heavy() -> None:
    code = (
        "import sys; from ecgcmr.cli import main; main([]); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    word = "fit" if COMMANDS[name][0] == "ecgcmr.training.command" else name
    assert re.search(rf"^  ecgcmr {word} \S", text, flags=re.MULTILINE), text[:500]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_what_examples_name_is_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"] if name else []) == 0
    named = set(re.findall(r"configs/[\w/.+-]+\.yaml", capsys.readouterr().out))
    assert [path for path in named if not (REPOSITORY / path).is_file()] == []


def test_what_the_documents_name_is_there() -> None:
    for document in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")):
        named = set(re.findall(r"configs/[\w/.+-]+\.yaml", document.read_text()))
        assert [path for path in named if not (REPOSITORY / path).is_file()] == [], document.name


MISTAKES: dict[str, list[str]] = {
    # command line ({place}: see the fixture, {mae} and {demo}: shipped configs) -> words of the error
    "frobnicate": ["'frobnicate'", "prepare", "fit"],
    "prepare": ["--out"],
    "prepare --out {place}/out": ["--ecg", "--cmr"],
    "prepare --out {place}/out --ecg nowhere": ["--ecg nowhere", "does not exist"],
    "prepare --out {place}/out --cmr {place}/full/file": ["--cmr", "not a folder"],
    "prepare --out {place}/out --ecg {place}/empty": ["nothing to prepare", "empty"],
    "prepare --out {place}/out --cmr {place}/empty": ["nothing to prepare", "sa.nii.gz"],
    "prepare --out {place}/out --ecg {place}/full": ["nothing to prepare"],
    "prepare --out {place}/out --ecg {place}/full --table nowhere.csv": ["--table nowhere.csv"],
    "prepare --out {place}/out --ecg {place}/full --wrokers 2": ["--wrokers", "prepare --help"],
    "prepare --out {place}/out --ecg {place}/full --workers none": ["--workers", "'none'"],
    "synthesize --subjects 5 --seed 1": ["--out", "synthesize --help"],
    "synthesize --subjects 0 --seed 1 --out {place}/out": ["--subjects 0"],
    "synthesize --subjects few --seed 1 --out {place}/out": ["--subjects", "'few'"],
    "synthesize --subjects 5 --seed 1 --out {place}/out --format zip": ["--format", "'zip'", "shards"],
    "synthesize --subjects 5 --seed 1 --out {place}/full": ["full", "not empty"],
    "synthesize --subjects 5 --seed 1 --out {place}/full/file": ["full/file"],
    "experiment": ["FILE"],
    "experiment nowhere.yaml": ["nowhere.yaml"],
    "experiment {place}/empty": ["experiment", "this is a folder"],
    "experiment {place}/broken.yaml": ["broken.yaml", "YAML"],
    "experiment {mae}": ["demo.yaml", "cohort"],
    "experiment {demo} --root nowhere --out {place}/out": ["nowhere", "no such folder"],
    "experiment {demo} --root {place}/empty --out {place}/out": ["empty", "index.json"],
    "experiment {demo} --root {place}/other --out {place}/out": ["schema version 99", "prepare"],
    "experiment {demo} --root {place}/foreign --out {place}/out": ["index.json", "ecgcmr-shards"],
    "experiment {demo} --root {place}/damaged --out {place}/out": ["shard", "bytes"],
    "experiment {demo} --root {cohort} --out {place}/full/file": ["full/file"],
    "experiment {demo} --data {place}/empty": ["--data", "prepare"],
    "fit": ["fit --help"],
    "fit -c": ["-c"],
    "fit -c nowhere.yaml": ["nowhere.yaml"],
    "fit --config=nowhere.yaml": ["nowhere.yaml"],
    "fit -c {place}/broken.yaml": ["config"],
    "fit -c {demo}": ["stages"],
    "fit -c {mae} --data.root nowhere": ["nowhere", "no such folder"],
    "fit -c {mae} --data.root {place}/empty": ["empty", "index.json"],
    "fit -c {mae} --data.root {place}/other": ["schema version 99", "prepare"],
    "fit -c {mae} --data.root {place}/foreign": ["index.json", "ecgcmr-shards"],
    "fit -c {mae} --data.root {place}/damaged": ["shard", "bytes"],
    "fit -c {mae} --data.rot x": ["rot"],
    "fit -c {mae} --data.batch_size many": ["batch_size", "many"],
    "fit -c {mae} --data.root {cohort} --trainer.default_root_dir {place}/full/file": ["full/file"],
    "fit -c {mae} --data.root {cohort} --trainer.default_root_dir {place}/out --ckpt_path last": ["ckpt_path", "last"],
    "test -c {mae} --data.root {cohort} --trainer.default_root_dir {place}/out": ["best.ckpt", "fit first"],
    "predict -c {mae} --data.root {cohort} --ckpt_path {place}/full/file": ["ckpt_path", "full/file"],
    "bench --only nothing": ["--only nothing"],
}


FITS = ("fit -c {mae} --data.root", "test -c", "predict -c")
"""Beginnings of lines whose config is composed and checked."""


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.slow if line.startswith(FITS) else ()) for line in MISTAKES]
)
def test_a_mistake_is_one_line_and_exit_code_two(
    line: str, place: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"place": place, "cohort": cohort_root, "mae": CONFIGS / "mae" / "demo.yaml"}
    names["demo"] = CONFIGS / "experiments" / "demo.yaml"
    assert main([word.format(**names) for word in line.split()]) == 2
    text = capsys.readouterr().err
    errors = [entry for entry in text.splitlines() if entry.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in text
    assert all(word in errors[0] for word in MISTAKES[line]), errors[0]
    assert not (place / "out" / "index.json").exists()
    assert not (place / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "runs/best.ckpt"), 2, "error: runs/best.ckpt: No space left on device"),
        (KeyboardInterrupt("add --ckpt_path last"), 130, "interrupted; add --ckpt_path last\n"),
        (Terminated(), 143, "terminated; the same command goes on from what is finished\n"),
        (SystemExit(3), 3, ""),
    ],
)
def test_what_ends_a_command_becomes_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, said: str
) -> None:
    monkeypatch.setattr(cli, "_run_command", _raising(raised))
    assert main(["prepare"]) == code
    assert said in capsys.readouterr().err


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_run_command", _raising(ValueError("shapes differ")))
    with pytest.raises(ValueError, match="shapes differ"):
        main(["prepare"])


def _raising(error: BaseException) -> Callable[..., int]:
    def run(name: str, arguments: list[str]) -> int:
        raise error

    return run


def test_a_reader_who_has_gone_is_no_error() -> None:
    code = (
        "import os, sys; from ecgcmr.cli import main; r, w = os.pipe(); os.close(r); os.dup2(w, 1); sys.exit(main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_imported_for_a_command_is_never_looked_through_for_garbage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_heavy.py").write_text("import gc\nDURING = gc.isenabled()\nCYCLE = []\nCYCLE.append(CYCLE)\n")
    (tmp_path / "made_broken.py").write_text("raise ValueError('half way')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert gc.isenabled()
    module = import_heavy("made_heavy")
    assert not module.DURING
    assert gc.isenabled()
    assert not any(found is module.CYCLE for found in gc.get_objects())  # which leaves out what is there for good
    frozen, later = gc.get_freeze_count(), [[number] for number in range(100)]
    assert import_heavy("made_heavy") is module
    assert gc.get_freeze_count() < frozen + len(later)  # once only, else what is garbage later would stay
    with pytest.raises(ValueError, match="half way"):
        import_heavy("made_broken")
    assert gc.isenabled()


def test_an_error_that_lists_thousands_of_names_is_cut_and_keeps_file_and_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise UserError(f"a.yaml: unknown keys: {', '.join(['name'] * 5000)}; remove them")

    monkeypatch.setattr("ecgcmr.cli._dispatch", fail)
    assert main(["fit"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: a.yaml: unknown keys: name, ")
    assert line.endswith("; remove them\n")
    assert len(line) < 1000
