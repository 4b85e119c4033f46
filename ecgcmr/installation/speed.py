"""Two seconds of work that say how fast a device is: matrix products, and training steps of the demo's ECG encoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pkgutil import resolve_name

import torch

from ecgcmr.shipped_configs import shipped_configs
from ecgcmr.yaml_file import mapping_at, read_yaml

BATCH = 32
SAMPLES = 1250
_SIZE = {"cpu": 1024, "other": 4096}
_FEWEST = 3


def speeds(device: str, seconds: float = 2.0) -> dict[str, float]:
    """Measure a device.

    Args:
        device: As torch names it, such as ``cpu`` or ``cuda:0``.
        seconds: Of wall time, shared among the parts; a slow machine takes a little longer.

    Returns:
        ``float32_gflops`` and ``bfloat16_gflops`` of matrix products, ``ecg_per_second`` trained (forward, backward and
        step of the encoder of ``encoders/ecg_demo``, float32, batches of 32).
    """
    found = {}
    for kind in (torch.float32, torch.bfloat16):
        product, operations = _product(device, kind)
        name = str(kind).removeprefix("torch.")
        found[f"{name}_gflops"] = operations / _seconds_each(product, device, seconds / 4) / 1e9
    found["ecg_per_second"] = BATCH / _seconds_each(_training_step(device), device, seconds / 2)
    return found


def _product(device: str, kind: torch.dtype) -> tuple[Callable[[], object], float]:
    """Return a matrix product and the operations it takes."""
    size = _SIZE["cpu" if device == "cpu" else "other"]
    left, right = (torch.ones(size, size, dtype=kind, device=device) for _ in range(2))
    return lambda: left @ right, 2.0 * size**3


def _training_step(device: str) -> Callable[[], object]:
    config = read_yaml(shipped_configs()["encoders/ecg_demo"], what="config", root=dict)
    arguments = {**mapping_at(config, "init_args"), "samples": SAMPLES}
    encoder = resolve_name(config["class_path"])(**arguments).to(device)
    optimiser = torch.optim.AdamW(encoder.parameters())
    ecg = torch.randn(BATCH, 12, SAMPLES, generator=torch.Generator().manual_seed(0)).to(device)

    def step() -> None:
        optimiser.zero_grad()
        encoder(ecg).square().mean().backward()
        optimiser.step()

    return step


def _seconds_each(work: Callable[[], object], device: str, seconds: float) -> float:
    """Return the seconds that one of many repetitions takes, after one that does not count."""
    work()
    _wait(device)
    count, start = 0, time.perf_counter()
    while count < _FEWEST or time.perf_counter() - start < seconds:
        work()
        _wait(device)
        count += 1
    return (time.perf_counter() - start) / count


def _wait(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
