"""Parts are what a stage computes with, and injected times lead to its choices, remembered or measured again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from ecgcmr.encoders import (
    ECGCNN,
    ECGS4,
    CMRResNet,
    ECGResNet,
    ECGVisionTransformer,
    MAEDecoder,
    MaskedAutoencoder,
)
from ecgcmr.encoders.kernels import Kernels
from ecgcmr.errors import UserError
from ecgcmr.speed_choices import choose as module
from ecgcmr.speed_choices.candidates import TYPES, candidates
from ecgcmr.speed_choices.choose import choose_on_cpu
from ecgcmr.speed_choices.parts import parts_of
from ecgcmr.speed_choices.products import product_works
from ecgcmr.speed_choices.race import Race, Work


def tiny() -> ECGVisionTransformer:
    torch.manual_seed(0)
    return ECGVisionTransformer(leads=2, samples=100, patch_size=(1, 10), width=16, depth=3, heads=2, drop_path=0.1)


def stage() -> nn.Module:
    encoder = tiny()
    return nn.ModuleList([MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder, 16, 2, 2), 0.8)])


class Races:
    """Stands for the race: every work has the time that its name says, and races are counted."""

    def __init__(self, seconds: Mapping[str, float], steady: bool = True) -> None:
        self.seconds, self.steady, self.count = seconds, steady, 0

    def __call__(self, works: Mapping[str, Work]) -> Race:
        self.count += 1
        return Race({name: self.seconds.get(name, 1.0) for name in works}, self.steady)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(module.SWITCH, "kept")
    return tmp_path


def races(monkeypatch: pytest.MonkeyPatch, seconds: Mapping[str, float], steady: bool = True) -> Races:
    made = Races(seconds, steady)
    monkeypatch.setattr(module, "robust_race", made)
    return made


@pytest.mark.parametrize(("seconds", "hopeless"), [(2.1, True), (1.9, False), (0.5, False)])
def test_hopeless_products_end_the_matter_before_a_block_is_timed(
    seconds: float, hopeless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    raced: list[set[str]] = []
    times = dict.fromkeys(candidates("tokens", "bfloat16"), 0.1) | {"float32": 1.0, "bfloat16": seconds}

    def fake(works: Mapping[str, Work]) -> Race:
        raced.append(set(works))
        return Race({name: times.get(name, 1.0) for name in works}, steady=True)

    monkeypatch.setattr(module, "robust_race", fake)
    choices = choose_on_cpu(stage(), None, training=True)
    assert choices.precision == ("32-true" if hopeless else "bf16-mixed")
    assert raced[0] == {"float32", "bfloat16"}
    assert any("bfloat16 linear" in names for names in raced[1:]) is not hopeless
    assert ("2.1 times as long" in choices.line) is hopeless


def test_products_of_both_types_run() -> None:
    assert list(product_works()) == ["float32", "bfloat16"]
    for work in product_works().values():
        work()


SLOW = {"float32 convolution": 0.9, **dict.fromkeys(candidates("tokens", "bfloat16"), 2.0)}
FAST = dict.fromkeys(candidates("tokens", "bfloat16"), 0.3) | {"bfloat16 linear": 0.2}


def test_parts_of_a_masked_autoencoder_are_blocks_at_its_lengths() -> None:
    parts = parts_of(stage(), training=True)
    kept = MaskedAutoencoder(tiny(), MAEDecoder.for_encoder(tiny(), 16, 2, 2), 0.8).masking.kept((2, 10), 0.8)
    assert [(part.name, part.shape[1:], part.trains) for part in parts] == [
        (f"encoder block 16 x {1 + kept}", (1 + kept, 16), True),
        ("decoder block 16 x 21", (21, 16), True),
    ]
    assert sum(part.count * part.shape[0] for part in parts) == pytest.approx(3 + 2)


def test_parts_of_an_alignment_of_frozen_networks_and_of_evaluation() -> None:
    images = CMRResNet("resnet10", frames=3, height=32, width=32)
    both = nn.ModuleDict({"ecg": tiny().requires_grad_(False), "cmr": images, "cnn": ECGCNN(samples=100)})
    assert [(part.kind, part.trains) for part in parts_of(both, training=True)] == [
        ("tokens", False),
        ("images", True),
        ("other", True),
    ]
    assert not any(part.trains for part in parts_of(both, training=False))
    assert parts_of(nn.Linear(2, 2), training=True) == []


@pytest.mark.parametrize(
    "network",
    [
        tiny(),
        CMRResNet("resnet10", frames=1, height=32, width=32),
        ECGCNN(samples=64),
        ECGS4(samples=64, width=8, depth=1),
        ECGResNet("xresnet1d18", samples=64, norm="batch", pooling="mean_max"),
    ],
)
def test_every_way_of_a_part_runs_and_leaves_the_network_as_it_was(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    for training in (True, False):
        [part, *_] = parts_of(nn.ModuleList([network]), training)
        for kind in TYPES:
            for way in candidates(part.kind, kind).values():
                part.work(*way)()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_times_decide_and_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    made = races(monkeypatch, SLOW)
    choices = choose_on_cpu(stage(), None, training=True)
    assert (choices.precision, choices.kernels) == ("32-true", Kernels(convolution=True))
    assert "measured now" in choices.line
    assert "\n" not in choices.line
    count, again = made.count, choose_on_cpu(stage(), None, training=True)
    assert (again.precision, again.kernels, made.count) == (choices.precision, choices.kernels, count)
    assert "remembered" in again.line
    # A run with a given precision finds its ways in the same files.
    assert choose_on_cpu(stage(), "bf16-mixed", training=True).precision == "bf16-mixed"
    assert made.count == count


def test_another_machine_measures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = races(monkeypatch, FAST)
    assert choose_on_cpu(stage(), None, training=True).precision == "bf16-mixed"
    count = made.count
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    choose_on_cpu(stage(), None, training=True)
    assert made.count == 2 * count


def test_a_given_precision_is_respected_and_its_ways_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    races(monkeypatch, FAST)
    choices = choose_on_cpu(stage(), "32-true", training=True)
    assert (choices.precision, choices.kernels.convolution) == ("32-true", False)
    assert "as given" in choices.line
    assert choose_on_cpu(stage(), "64-true", training=True).precision == "64-true"


def test_anew_measures_again_and_ordinary_never(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = lambda: choose_on_cpu(stage(), None, training=True)  # noqa: E731
    races(monkeypatch, FAST)
    assert choose().precision == "bf16-mixed"
    made = races(monkeypatch, SLOW)
    monkeypatch.setenv(module.SWITCH, "anew")
    assert choose().precision == "32-true"
    monkeypatch.setenv(module.SWITCH, "kept")
    assert choose().precision == "32-true"
    count = made.count
    monkeypatch.setenv(module.SWITCH, "ordinary")
    assert choose().kernels == Kernels()
    assert made.count == count
    monkeypatch.setenv(module.SWITCH, "fastest")
    with pytest.raises(UserError, match="kept, anew, ordinary"):
        choose()


def test_a_cache_that_cannot_be_written_is_told_and_changes_no_choice(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / "ecgcmr").write_text("no folder")
    races(monkeypatch, FAST)
    choices = choose_on_cpu(stage(), None, training=True)
    assert choices.precision == "bf16-mixed"
    assert choices.line.count("cache folder cannot be written") == 1


def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    races(monkeypatch, FAST, steady=False)
    assert "the machine is busy" in choose_on_cpu(stage(), None, training=True).line


def test_a_later_rank_takes_what_the_first_one_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    races(monkeypatch, FAST)
    first = choose_on_cpu(stage(), None, training=True)
    made = races(monkeypatch, SLOW)
    second = choose_on_cpu(stage(), None, training=True, first_rank=False)
    assert (second.precision, second.kernels, made.count) == (first.precision, first.kernels, 0)


def test_a_stage_without_networks_stays_in_float32() -> None:
    assert choose_on_cpu(nn.ModuleList([nn.Linear(2, 2)]), None, training=True).precision == "32-true"


@pytest.mark.parametrize("kind", list(TYPES))
def test_every_way_of_a_part_runs_by_its_own_kernels(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that falls back to another would be timed as that one, and the choice between them would be chance."""
    calls: list[str] = []
    for name in ("conv2d", "linear"):
        run = getattr(torch.nn.functional, name)
        monkeypatch.setattr(
            torch.nn.functional, name, lambda *a, name=name, run=run, **k: calls.append(name) or run(*a, **k)
        )
    [part] = parts_of(nn.ModuleList([tiny()]), training=True)
    for name, way in candidates(part.kind, kind).items():
        calls.clear()
        part.work(*way)()
        assert ("conv2d" in calls) == way[1].convolution, name
