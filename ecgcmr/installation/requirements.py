"""Which packages this program needs, which it can use, and which of them are installed in a version that fits."""

from __future__ import annotations

import importlib
import importlib.metadata
import shlex
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

import ecgcmr

USES = {
    "compression": "compressed shards",
    "dask": "prepare --backend dask",
    "explain": "explain: maps by UMAP",
    "formats": "ECGs: HL7, SCP, EDF, ISHNE, ...",
    "hub": "hf:// models, push",
    "mlflow": "fit: runs in MLflow",
    "onnx": "export --onnx, bench --only onnx",
    "open-data": "prepare --collection ecgbench:SLUG",
    "serve": "serve",
    "sweep": "sweep",
    "wandb": "fit: runs in Weights & Biases",
}
"""Extra -> what it is for, by the name of the command where there is one."""

COMPILED = ("numpy", "scipy", "pandas", "pyarrow", "h5py", "numba", "sklearn", "matplotlib", "safetensors", "torch")
"""Modules with compiled parts: one may be installed and yet not load."""
_PACKAGES = {"sklearn": "scikit-learn"}  # where the package has another name than its module


@dataclass(frozen=True)
class Package:
    """A package that is asked for.

    Attributes:
        name: As in the registry.
        wanted: Versions that fit, such as ``>=2.8``.
        found: The version installed, None where there is none.
        fits: Whether it is there in a version that fits.
    """

    name: str
    wanted: str
    found: str | None
    fits: bool


def needed() -> list[Package]:
    """Return the packages that the program does not run without."""
    return [_looked_up(requirement) for requirement in _requirements("")]


def extras() -> dict[str, list[Package]]:
    """Return extra -> its packages, for every extra of ``USES``."""
    always = {requirement.name for requirement in _requirements("")}
    found = {}
    for extra in USES:
        added = [requirement for requirement in _requirements(extra) if requirement.name not in always]
        found[extra] = [_looked_up(requirement) for requirement in added]
    return found


def broken_imports() -> dict[str, str]:
    """Import what has compiled parts.

    Returns:
        Module -> why it does not load; modules that are not installed are left out.
    """
    reasons = {}
    for name in COMPILED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                reasons[name] = str(error)
        except Exception as error:  # a library of another version, of another machine: whatever it raises
            reasons[name] = " ".join(str(error).split()) or type(error).__name__
    return reasons


def remedy(unfit: Iterable[Package], broken: Iterable[str]) -> str | None:
    """Return the commands that put right what does not fit and what does not load, None where all is well."""
    wanted = " ".join(shlex.quote(f"{package.name}{package.wanted}") for package in unfit)
    again = " ".join(_PACKAGES.get(module, module) for module in broken)
    commands = [f"pip install {wanted}"] if wanted else []
    commands += [f"pip install --force-reinstall {again}"] if again else []
    return " && ".join(commands) or None


def _requirements(extra: str) -> list[Requirement]:
    """Return what is asked for with an extra, or without one; the program itself is left out."""
    all_of_them = map(Requirement, _declared())
    asked = [one for one in all_of_them if one.marker is None or one.marker.evaluate({"extra": extra})]
    return [one for one in asked if one.name != "ecgcmr"]


def _declared() -> list[str]:
    """Return the lines of requirements: of the checkout that this is, else of the installed package."""
    file = Path(ecgcmr.__file__).resolve().parents[1] / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "ecgcmr":
            extras_of_it = project["optional-dependencies"].items()
            optional = [f'{one}; extra == "{extra}"' for extra, ones in extras_of_it for one in ones]
            return [*project["dependencies"], *optional]
    return importlib.metadata.requires("ecgcmr") or []


def _looked_up(requirement: Requirement) -> Package:
    wanted = ",".join(sorted(str(requirement.specifier).split(","), key=lambda part: (">" not in part, part)))
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Package(requirement.name, wanted, None, fits=False)
    return Package(requirement.name, wanted, found, requirement.specifier.contains(found, prereleases=True))
