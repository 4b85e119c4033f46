"""``ecgcmr doctor``: whether this installation is whole, what it can use, and how fast the machine is."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

HELP = """\
Say what this installation consists of: versions of every package, devices, backends, which extras are there and what
the others would be for, and a speed check of two seconds.

  ecgcmr doctor
  ecgcmr doctor --needs serve --needs onnx      these extras count as needed
  ecgcmr doctor --json                          the same for programs

Exit code 0: all that is needed is there; 3: a package is missing, of another version, or does not load.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--needs", action="append", default=[], metavar="EXTRA", help="an extra that has to be there; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--without-speed", action="store_true", help="no speed check")


def run(args: argparse.Namespace) -> int:
    """Print the findings.

    Returns:
        0 where all that is needed is there, else 3.

    Raises:
        UserError: ``--needs`` names no extra.
    """
    from ecgcmr.errors import UserError
    from ecgcmr.installation.findings_text import findings_text
    from ecgcmr.installation.requirements import USES

    for extra in args.needs:
        if extra not in USES:
            raise UserError(f"--needs {extra}: is no extra; choose of {', '.join(USES)}")
    found = examine(args.needs, speed=not args.without_speed)
    print(json.dumps(found, indent=1) if args.json else findings_text(found))
    return 3 if found["problems"] else 0


def examine(needs: list[str], *, speed: bool) -> dict[str, Any]:
    """Return all findings as plain values.

    Args:
        needs: Extras that count as needed.
        speed: Whether devices are timed.
    """
    from dataclasses import asdict

    from ecgcmr import __version__
    from ecgcmr.installation.requirements import USES, broken_imports, extras, needed, remedy

    packages, optional, broken = needed(), extras(), broken_imports()
    asked = [*packages, *(package for extra in needs for package in optional[extra])]
    unfit = [package for package in dict.fromkeys(asked) if not package.fits]
    problems = [
        f"{package.name} {package.wanted}: " + (f"{package.found} is installed" if package.found else "is missing")
        for package in unfit
    ]
    problems += [f"{name}: is installed, but does not load: {reason}" for name, reason in broken.items()]
    found: dict[str, Any] = {
        "ecgcmr": __version__,
        "python": platform.python_version(),
        "problems": problems,
        "remedy": remedy(unfit, broken),
        "packages": [asdict(package) for package in packages],
        "extras": {
            extra: {
                "for": USES[extra],
                "installed": all(package.fits for package in of_it),
                "packages": [asdict(package) for package in of_it],
            }
            for extra, of_it in optional.items()
        },
    }
    return found if _lacks_torch(found, broken) else {**found, **_of_the_machine(speed)}


def _lacks_torch(found: dict[str, Any], broken: dict[str, str]) -> bool:
    absent = [package["name"] for package in found["packages"] if package["found"] is None]
    return bool({"torch", "numpy"} & {*absent, *broken})


def _of_the_machine(speed: bool) -> dict[str, Any]:
    from ecgcmr.installation.machine import backends, describe, devices, warnings_about

    described, accelerators = describe(Path.cwd()), devices()
    found = {
        "machine": described,
        "devices": accelerators,
        "backends": backends(),
        "warnings": warnings_about(described, accelerators),
    }
    if speed:
        from ecgcmr.installation.speed import speeds

        timed = ["cpu", *(device["device"] for device in accelerators[:1])]
        found["speed"] = {device: speeds(device, 2.0 / len(timed)) for device in timed}
    return found
