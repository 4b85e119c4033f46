"""What ``ecgcmr doctor`` found, as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ecgcmr.text import printable


def findings_text(found: dict[str, Any]) -> str:
    """Return the findings of ``doctor_command.examine`` as lines."""
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"ecgcmr {found['ecgcmr']}, Python {found['python']}"
    if "machine" in found:
        yield from _machine(found["machine"])
        yield from _devices(found)
    yield ""
    there = [f"{package['name']} {package['found']}" for package in found["packages"] if package["fits"]]
    yield f"needed packages: {len(there)} of {len(found['packages'])} are there"
    yield from _wrapped(there)
    yield ""
    yield "extras:"
    width = 2 + max((len(extra["for"]) for extra in found["extras"].values()), default=0)
    for name, extra in found["extras"].items():
        versions = ", ".join(f"{package['name']} {package['found']}" for package in extra["packages"])
        missing = f"missing; pip install 'ecgcmr[{name}]'"
        yield f"  {name:<13}{extra['for']:<{width}}{versions if extra['installed'] else missing}"
    if "speed" in found:
        yield ""
        yield "speed, in two seconds:"
        for device, rates in found["speed"].items():
            products = f"{rates['float32_gflops']:,.0f} GFLOP/s float32, {rates['bfloat16_gflops']:,.0f} bfloat16"
            yield f"  {device:<13}{products}; {rates['ecg_per_second']:,.0f} ECGs/s trained by the demo's encoder"
    yield ""
    for warning in found.get("warnings", []):
        yield f"warning: {printable(warning)}"
    for problem in found["problems"]:
        yield f"problem: {printable(problem)}"
    if found["problems"]:
        yield f"to mend it: {found['remedy']}"
    else:
        yield "all that is needed is there; try: ecgcmr demo"


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    cores = f"{machine['cores']} cores, {machine['threads']} threads, {machine['instructions']}"
    yield f"{machine['system']}, {printable(machine['processor'])}: {cores}"
    sizes = {
        "memory": machine["memory_gb"],
        "free": machine["memory_free_gb"],
        "/dev/shm": machine["shared_memory_gb"],
        "disk free here": machine["disk_free_gb"],
    }
    yield ", ".join(f"{name} {size:,.1f} GB" for name, size in sizes.items() if size is not None)


def _devices(found: dict[str, Any]) -> Iterator[str]:
    for device in found["devices"]:
        details = [f"{name.removesuffix('_gb')} {value}" for name, value in device.items() if name not in _HEAD]
        yield f"{device['device']}: {printable(device['name'])} ({', '.join(details)})"
    if not found["devices"]:
        yield "no accelerator: everything runs on the CPU"
    known = found["backends"]
    versions = [f"{name} {value}" for name, value in known.items() if value and value is not True]
    yield f"backends: {', '.join([name for name, value in known.items() if value is True] + versions)}"


_HEAD = ("device", "name")


def _wrapped(words: list[str], width: int = 112) -> Iterator[str]:
    """Give words with commas between them, in lines."""
    line = " "
    for word in words:
        if len(line) + len(word) > width:
            yield line
            line = " "
        line += f" {word},"
    yield line.removesuffix(",")
