"""Whether the default settings are the fastest: whole training steps in every way of computing, in one race.

The default is what ``ecgcmr fit`` would take, from the times of single parts; here whole steps judge it.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ecgcmr.benchmarks.processes import OwnProcess, Works
from ecgcmr.benchmarks.steps import AlignmentSteps, AutoencoderSteps, TrainingSteps, in_ways, own_optimiser
from ecgcmr.benchmarks.training import default_device
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.encoders.kernels import AttentionWay, Kernels
from ecgcmr.speed_choices.candidates import BFLOAT16, FLOAT32
from ecgcmr.speed_choices.choose import LOW_PRECISION, choose_on_cpu, time_parts
from ecgcmr.speed_choices.parts import parts_of
from ecgcmr.speed_choices.race import race
from ecgcmr.training.host_memory import keep_freed_memory
from ecgcmr.training.machine_choices import accelerator_precision

TASKS = {"mae": 36, "alignment": 8, "downstream": 16}
"""Task -> samples in a step: enough tokens that linear layers may run as convolutions."""
_ATTENTION: tuple[AttentionWay, ...] = ("written", "float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to compute a whole step.

    Attributes:
        low_precision: bfloat16 by autocast.
        kernels: Ways of the networks.
    """

    low_precision: bool
    kernels: Kernels

    @property
    def name(self) -> str:
        """For keys of ``bench.json``."""
        words = [BFLOAT16 if self.low_precision else FLOAT32]
        words.append("convolution" if self.kernels.convolution else "linear")
        if self.low_precision:
            words.append(f"attention_{self.kernels.attention}")
        return "_".join(words if self.kernels.channels_last else [*words, "channels_first"])


class DownstreamSteps(TrainingSteps):
    """Steps of fine-tuning an encoder with a linear head of ten outputs.

    Args:
        encoder: Ours.
        batch: ECGs in a step.
        place: Device.
    """

    def __init__(self, encoder: ECGVisionTransformer, batch: int, place: torch.device) -> None:
        self.place = place
        self.network = nn.Sequential(encoder, nn.Linear(encoder.feature_dim, 10)).to(place)
        spec = encoder.input_spec
        generator = torch.Generator(device=place).manual_seed(0)
        self.ecg = torch.randn(batch, spec.leads, spec.samples, generator=generator, device=place)
        self.optimiser = own_optimiser(encoder, [self.network[1]])

    def loss(self) -> Tensor:
        """Return the loss of the batch."""
        return self.network(self.ecg).float().square().mean()


@dataclasses.dataclass(frozen=True)
class Case:
    """A task at a size.

    Attributes:
        task: ``mae``, ``alignment`` or ``downstream``.
        encoder: Of ECGs.
        images: Of CMR, for the alignment.
        samples: In a step.
        place: Device.
    """

    task: str
    encoder: ECGVisionTransformer
    images: CMRResNet
    samples: int
    place: torch.device

    def steps(self) -> TrainingSteps:
        """Return steps with networks of their own."""
        encoder = copy.deepcopy(self.encoder)
        if self.task == "mae":
            return AutoencoderSteps(encoder, self.samples, self.place)
        if self.task == "alignment":
            return AlignmentSteps(encoder, copy.deepcopy(self.images), self.samples, self.place)
        return DownstreamSteps(encoder, self.samples, self.place)

    def settings(self) -> list[Setting]:
        """Return the settings that are raced."""
        if self.place.type != "cpu":
            return [Setting(low, Kernels()) for low in (False, True)]
        found = [Setting(False, Kernels(convolution)) for convolution in (False, True)]
        found += [Setting(True, Kernels(convolution, way)) for convolution in (False, True) for way in _ATTENTION]
        if self.task == "alignment":
            found += [Setting(False, Kernels(channels_last=False)), Setting(True, Kernels(False, "written", False))]
        return found

    def default(self) -> Setting:
        """Return what a fit takes here where nobody says otherwise."""
        precision = accelerator_precision(self.place.type)
        if precision is not None:
            return Setting(precision == LOW_PRECISION, Kernels())
        choices = choose_on_cpu(self.steps().network, None, training=True)
        low = choices.precision == LOW_PRECISION
        # In float32 attention has one way alone, whatever stands there.
        attention = choices.kernels.attention if low else Kernels().attention
        return Setting(low, dataclasses.replace(choices.kernels, attention=attention))


def works_as_fit(case: Case, chosen: list[Setting], keep_memory: bool = True) -> Works:
    """Return steps in some settings, by name; in a process of its own, set up as ``ecgcmr fit`` does it or plainly."""
    if case.place.type == "cpu" and keep_memory:
        keep_freed_memory()
    # A network for each order of images, since turning it round takes time.
    steps = {last: case.steps() for last in {each.kernels.channels_last for each in chosen}}
    return {each.name: in_ways(steps[each.kernels.channels_last], each.kernels, each.low_precision) for each in chosen}


def measure(device: str | None = None, budget_s: float = 30.0, cases: Sequence[Case] | None = None) -> dict[str, float]:
    """Return the time of every way of computing, of parts and of whole steps, and how near the default is to the best.

    Args:
        device: Such as ``cuda``; the accelerator if there is one, else the CPU.
        budget_s: Seconds for each task.
        cases: The published sizes if not given.

    Returns:
        ``default_vs_best_<task>``: throughput of the default over that of the fastest setting, to be believed where
        ``..._is_steady`` is 1 (the least times repeated themselves; on a busy machine they do not);
        ``step_ms_<task>_<setting>``, ``step_ms_<task>_default``; ``part_ms_<part>_<way>`` as `fit` judges by it; and
        on a CPU ``step_ms_mae_default_memory_returned``, the default without keeping freed memory.
    """
    place = torch.device(device) if device else default_device()
    if place.type == "cpu":
        keep_freed_memory()  # as the fit whose choice is made here
    result: dict[str, float] = {}
    for case in cases or published(place):
        if place.type == "cpu":
            result |= part_times(case)
        default, chosen = case.default(), case.settings()
        chosen += [] if default in chosen else [default]
        with contextlib.ExitStack() as stack:
            works = dict(_in_its_process(stack, case, chosen, True))
            if case.task == "mae" and place.type == "cpu":
                [plainly] = _in_its_process(stack, case, [default], False).values()
                works["memory_returned"] = plainly
            took = race(works, least=4, most=10, budget_s=budget_s)
        result |= ratios(case.task, took.seconds, default.name)
        result[f"default_vs_best_{case.task}_is_steady"] = float(took.steady)
    return result


def ratios(task: str, seconds: Mapping[str, float], default: str) -> dict[str, float]:
    """Return the numbers of a task, from the time of a step in every setting."""
    numbers = {f"step_ms_{task}_{name}": 1e3 * took for name, took in seconds.items() if name != "memory_returned"}
    if "memory_returned" in seconds:
        numbers[f"step_ms_{task}_default_memory_returned"] = 1e3 * seconds["memory_returned"]
    numbers[f"step_ms_{task}_default"] = 1e3 * seconds[default]
    return numbers | {f"default_vs_best_{task}": min(seconds.values()) / seconds[default]}


def part_times(case: Case) -> dict[str, float]:
    """Return the milliseconds of every way of every part of a task's networks."""
    timed = time_parts(parts_of(case.steps().network, training=True), (FLOAT32, BFLOAT16))
    return {
        f"part_ms_{part.name}_{way}".replace(" ", "_"): 1e3 * took
        for part in timed.parts
        for way, took in part.seconds.items()
    }


def published(place: torch.device) -> list[Case]:
    """Return the three tasks at the published tiny size, ResNet-50 on 3 frames of 210 x 210 in the alignment."""
    torch.manual_seed(0)
    encoder, images = ECGVisionTransformer(), CMRResNet("resnet50", frames=3, height=210, width=210)
    return [Case(task, encoder, images, samples, place) for task, samples in TASKS.items()]


def _in_its_process(stack: contextlib.ExitStack, case: Case, chosen: list[Setting], keep_memory: bool) -> Works:
    if case.place.type != "cpu":
        return works_as_fit(case, chosen, keep_memory)
    process = stack.enter_context(OwnProcess(works_as_fit, case, chosen, keep_memory))
    return {each.name: process.work(each.name) for each in chosen}
