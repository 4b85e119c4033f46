"""The wheel: built twice it is the same, holds what the repository holds, and works in an empty folder by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from ecgcmr.shipped_configs import shipped_configs

pytestmark = [pytest.mark.slow, pytest.mark.long]

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("ecgcmr", "data_modules")
IN_THE_SDIST = (*PACKAGES, "configs", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore")
EXTRAS = {"hub", "serve", "onnx", "open-data", "formats", "explain", "wandb", "mlflow", "sweep", "dask", "docs", "all"}

pytest.importorskip("build")
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of two builds of the same files, which bear another time in the second."""
    place = tmp_path_factory.mktemp("wheel")
    for name in IN_THE_SDIST:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, place / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
            continue
        shutil.copyfile(REPOSITORY / name, place / "copy" / name)  # not its times
    return [_build(place / "copy", place / "first"), _build(place / "copy", place / "second")]


def _build(source: Path, out: Path) -> Path:
    for path in source.rglob("*"):
        os.utime(path)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: list[Path]) -> Path:
    """The wheel."""
    return next(built[0].glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the wheel is installed into, without what it depends on."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(wheel)], check=True)
    return target


def _run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the installed wheel in a folder; the repository is out of reach."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "ecgcmr", *words]
    environment["PYTHONPATH"] = str(installed)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_same_files_give_the_same_bytes(built: list[Path]) -> None:
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in built)
    assert {Path(name).suffix for name in first} == {".whl", ".gz"}
    assert first == second


def test_the_wheel_holds_every_file_of_the_packages_and_every_config(wheel: Path) -> None:
    paths = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(REPOSITORY).as_posix() for path in paths if "__pycache__" not in path.parts}
    wanted |= {f"ecgcmr/configs/{name}.yaml" for name in shipped_configs()}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {name for name in wanted if not Path(name).name.startswith(".")}
    assert {"ecgcmr/py.typed", "data_modules/py.typed", "ecgcmr/pages/page.css"} <= held


def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith("/METADATA"))
        metadata = BytesParser().parsebytes(file.read(name))
    assert set(metadata.get_all("Provides-Extra", [])) >= EXTRAS
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(project["dependencies"])


def test_all_is_every_extra_for_users() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    inner = extras["all"][0].removeprefix("ecgcmr[").removesuffix("]").split(",")
    assert set(inner) == set(extras) - {"all", "dev", "docs"}


def test_an_installed_wheel_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    helped = _run(installed, tmp_path, "--help")
    assert helped.returncode == 0, helped.stderr
    assert "ecgcmr demo" in helped.stdout
    listed = _run(installed, tmp_path, "configs")
    assert [line.split()[0] for line in listed.stdout.splitlines() if line] == list(shipped_configs())
    words = ["fit", "-c", "unimodal/ecg_byol", "--model.encoder", "encoders/ecg_cnn", "--print_config"]
    printed = _run(installed, tmp_path, *words)
    assert printed.returncode == 0, printed.stderr
    assert "ecgcmr.encoders.ECGCNN" in printed.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_editable_installation_is_the_path_of_the_repository_alone(built: list[Path], tmp_path: Path) -> None:
    copy = built[0].parent / "copy"
    code = "import sys, hatchling.build; hatchling.build.build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=copy, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as file:
        kept = [name for name in file.namelist() if ".dist-info/" not in name]
        assert [file.read(name).decode().strip() for name in kept] == [str(copy)]
