"""Every stage and objective learns 32 recordings by heart: its loss falls from chance level to near its floor.

Each case states both. Chance is the loss of an encoder that tells recordings apart no better than by luck, the floor
the least value that the loss can take; nearly all of the way between them must be gone in 60 to 350 steps, and the
untrained loss must not have been there already.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ecgcmr.encoders import CMRResNet, ECGVisionTransformer, TimePatchMasking
from ecgcmr.encoders.cmr_frames import CMRFrameResNet
from ecgcmr.objectives import (
    BarlowTwinsLoss,
    BYOLLoss,
    CLIPLoss,
    CLOCSLoss,
    MaskedReconstruction,
    NTXentLoss,
    PhenotypeGuidedCLIPLoss,
    PTACLLoss,
    SigLIPLoss,
    phenotype_similarity,
)
from ecgcmr.objectives.rows import unit_rows
from ecgcmr.row_random import normal
from ecgcmr.stages import (
    DiagnosisClassification,
    ECGCMRAlignment,
    ECGMaskedAutoencoder,
    PhenotypeRegression,
    UnimodalContrast,
)
from ecgcmr.stages.masked_autoencoder import SecondViewSettings
from ecgcmr.stages.views import AugmentedViews, PatientViews

N, SAMPLES, SIZE = 32, 200, 8
WIDTH = 16
"""Of projections."""
MOMENTUM = 0.9
IMAGES: dict[str, Any] = {"variant": "custom", "block": "basic", "layers": [1] * 4, "widths": [8, 8, 16, 16]}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _waves() -> Tensor:
    """ECGs (N, 12, 100) of variance 1 whose parts tell the rest: two periods of a sine, of a size for each lead."""
    random = _generator(0)
    time, phase = torch.arange(100) / 50, torch.rand(N, 1, generator=random)
    wave = torch.sin(2 * math.pi * (time + phase))
    ecg = (0.5 + torch.rand(12, 1, generator=random)) * wave[:, None]
    return ecg / ecg.std(dim=(1, 2), keepdim=True)


LABELS = torch.randn(N, 3, generator=_generator(3))
GROUPS = torch.arange(N) % 8
"""Patient of each recording, four of a kind."""
PHENOTYPES = torch.eye(8)[GROUPS]


class Data:
    """What the stages ask of a DataModule."""

    batch_size = train_size = global_batch = N
    root, predict_split = "memory", "test"
    covariate_names: tuple[str, ...] = ()
    diseases = leave_out_leads = ()
    leads = balanced_label = None
    evaluation_windows, seed = 1, 0

    def __init__(self, labels: Tensor | None = None, samples: int = SAMPLES) -> None:
        self.labels, self.samples = labels, samples
        self.label_names = [] if labels is None else [f"label{i}" for i in range(labels.shape[1])]
        ecg = SimpleNamespace(sampling_rate=500.0, samples=samples, max_beats=4)
        layout = SimpleNamespace(ecg=ecg, cmr=SimpleNamespace(frames=("t0", "t1", "t2", "t3")))
        self.index = SimpleNamespace(layout=layout, subjects=lambda: GROUPS.numpy())
        self.input_spec = {
            "ecg": {"leads": 12, "sampling_rate": 500.0, "samples": samples},
            "cmr": {"frames": 4, "height": SIZE, "width": SIZE},
        }

    def rows(self, split: str) -> np.ndarray:
        return np.arange(N)

    def label_values(self) -> np.ndarray | None:
        return None if self.labels is None else self.labels.numpy()

    def label_statistics(self, names: list[str]) -> tuple[Tensor, Tensor]:
        assert self.labels is not None
        known = self.labels.numpy()
        return torch.tensor(np.nanmean(known, axis=0)), torch.tensor(np.nanstd(known, axis=0))


def ecg_encoder(patch: tuple[int, int] = (12, 25), samples: int = SAMPLES) -> ECGVisionTransformer:
    return ECGVisionTransformer(samples=samples, patch_size=patch, width=32, depth=1, heads=2)


def attached(stage: Any, data: Data) -> Any:
    """The stage as a Trainer would have it: set up, and logging nowhere."""
    stage._trainer = SimpleNamespace(
        datamodule=data, current_epoch=0, global_step=0, world_size=1, state=SimpleNamespace(fn="fit"), ckpt_path=None
    )
    stage.log = stage.log_dict = lambda *arguments, **options: None
    stage.setup("fit")
    return stage.train()


def overfit(stage: Any, batch: dict[str, Tensor], steps: int, rate: float = 1e-2) -> tuple[float, float]:
    """Train on one batch; the loss before the first and after the last step."""
    optimiser = torch.optim.AdamW(stage.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1)
    losses = []
    for _ in range(steps + 1):
        loss = stage.training_step(batch, 0)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if getattr(stage, "target", None) is not None:
            towers = stage.towers
            stage.target.follow(towers, MOMENTUM)
    return losses[0], losses[-1]


def near_floor(losses: tuple[float, float], floor: float, chance: float, part: float = 0.05) -> None:
    """All but a part of the way from chance to the floor is gone, which was still ahead at the start."""
    first, last = losses
    assert first - floor > 0.6 * (chance - floor), f"untrained loss {first} is near the floor {floor}"
    assert floor - 1e-4 < last < floor + part * (chance - floor), f"loss {last}, floor {floor}, chance {chance}"


@pytest.mark.parametrize(
    ("masking", "patch", "objective", "steps"),
    [
        ("random", (4, 25), MaskedReconstruction(0.1), 250),
        pytest.param("lead", (4, 25), MaskedReconstruction(0.1), 350, marks=pytest.mark.long),
        pytest.param("time", (12, 10), MaskedReconstruction(0.1, "masked"), 200, marks=pytest.mark.long),
        (TimePatchMasking(3), (12, 10), MaskedReconstruction(1.0), 120),
    ],
    ids=["random", "lead", "time-masked", "spans-ncc"],
)
def test_masked_autoencoder(masking: Any, patch: tuple[int, int], objective: MaskedReconstruction, steps: int) -> None:
    """Floor 0: every sine is told by what is seen of it. Chance 1: a flat line, error 1 and correlation 0."""
    torch.manual_seed(0)
    model = ECGMaskedAutoencoder(ecg_encoder(patch, 100), 32, 1, 2, objective, mask_ratio=0.5, masking=masking)
    stage = attached(model, Data(samples=100))
    near_floor(overfit(stage, {"ecg": _waves(), "row": torch.arange(N)}, steps), 0.0, 1.0)


@pytest.mark.long
def test_masked_autoencoder_with_a_second_view() -> None:
    """Floor 0 and chance 1 of both terms: unrelated views have a cosine of 0."""
    torch.manual_seed(0)
    second = SecondViewSettings(weight=1.0, size=16, hidden=8)
    model = ECGMaskedAutoencoder(ecg_encoder((4, 25), 100), 32, 1, 2, mask_ratio=0.5, second_view=second)
    stage = attached(model, Data(samples=100))
    near_floor(overfit(stage, {"ecg": _waves(), "row": torch.arange(N)}, 250), 0.0, 2.0)


def _entropy(target: Tensor) -> float:
    return -torch.xlogy(target, target).sum(dim=1).mean().item()


def _phenotype_floor(use: str) -> float:
    """The targets' own entropy, less than which no cross-entropy can be."""
    mean, deviation = Data(PHENOTYPES).label_statistics([])
    standard = (PHENOTYPES - mean) / deviation
    similarity = phenotype_similarity(standard, standard)
    if use == "soft":
        return _entropy((similarity / 0.1).softmax(dim=1))
    alike = (similarity > 0.9).float()
    assert alike.sum(dim=1).tolist() == [4.0] * N
    return _entropy(alike / alike.sum(dim=1, keepdim=True)) if use == "positives" else 0.0


ALIGNMENTS: dict[str, tuple[Any, float, float]] = {
    # objective, floor, chance
    "clip": (lambda: CLIPLoss(), 0.0, math.log(N)),
    "clip-learned": (lambda: CLIPLoss(0.07, 0.75, learnable_temperature=True), 0.0, math.log(N)),
    "siglip": (lambda: SigLIPLoss(), 0.0, 10.0),  # an own pair is taken for a stranger, whose logit is the bias
    "ntxent": (lambda: NTXentLoss(), 0.0, math.log(2 * N - 1)),
    "exclude": (lambda: PhenotypeGuidedCLIPLoss(use="exclude"), 0.0, math.log(N - 3)),
    "positives": (lambda: PhenotypeGuidedCLIPLoss(use="positives"), _phenotype_floor("positives"), math.log(N)),
    "soft": (lambda: PhenotypeGuidedCLIPLoss(use="soft"), _phenotype_floor("soft"), math.log(N)),
    "barlow": (lambda: BarlowTwinsLoss(), 0.0, float(WIDTH)),  # each feature uncorrelated with its partner
    "byol": (lambda: BYOLLoss(WIDTH, 32, shared_predictor=False), 0.0, 2.0),  # unrelated unit vectors
    "ptacl": (lambda: PTACLLoss(), 0.0, math.log(N) + math.log(4)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", ALIGNMENTS)
def test_alignment(name: str) -> None:
    torch.manual_seed(0)
    make, floor, chance = ALIGNMENTS[name]
    image = CMRFrameResNet if name == "ptacl" else CMRResNet
    stage = attached(
        ECGCMRAlignment(
            ecg_encoder(),
            image(**IMAGES, frames=4, height=SIZE, width=SIZE),
            projection_hidden=32,
            projection_size=WIDTH,
            projection_norm=name in ("barlow", "byol"),
            objective=make(),
            r_peaks="detected",
        ),
        Data(PHENOTYPES),
    )
    if name == "ptacl":  # a beat of 150 samples, 0.3 s, from sample 20 on
        peaks = torch.arange(20, 500, 150).expand(N, -1) - 150
        stage._cycle._r_peaks = SimpleNamespace(of=lambda *arguments: peaks)
    batch = {
        "ecg": torch.randn(N, 12, SAMPLES, generator=_generator(1)),
        "cmr": torch.rand(N, 4, SIZE, SIZE, generator=_generator(2)),
        "row": torch.arange(N),
        "labels": PHENOTYPES,
    }
    steps = {"byol": 120, "siglip": 90, "ntxent": 90}.get(name, 60)
    near_floor(overfit(stage, batch, steps), floor, chance)
    if name == "byol":  # not by making all embeddings one point
        assert unit_rows(stage._embed(batch, training=True)["a"]).std(dim=0).square().sum().sqrt() > 0.3


def test_floors_are_what_the_losses_can_reach() -> None:
    """The stated floors, from embeddings made for them: orthogonal, or equal where subjects are alike."""
    kinds = PHENOTYPES
    mean, deviation = Data(kinds).label_statistics([])
    positives = ALIGNMENTS["positives"][0]()(kinds, kinds, (kinds - mean) / deviation)
    assert positives.item() == pytest.approx(_phenotype_floor("positives"), abs=0.01)
    assert CLIPLoss()(torch.eye(N), torch.eye(N)).item() == pytest.approx(0.0, abs=0.01)


def _drowned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of three times the signal, the same in every step: views that have to be learned by heart."""
    return x + 3.0 * normal(generator, x, *x.shape[1:])


VIEWS = AugmentedViews(_drowned)
UNIMODAL: dict[str, tuple[Any, Any, float, float]] = {
    "simclr": (lambda: NTXentLoss(), VIEWS, 0.0, math.log(2 * N - 1)),
    "byol": (lambda: BYOLLoss(WIDTH, 32), VIEWS, 0.0, 2.0),
    "barlow": (lambda: BarlowTwinsLoss(), VIEWS, 0.0, float(WIDTH)),
    # Of four recordings of a patient the own has half of the weight and, at best, of the probability.
    "clocs": (lambda: CLOCSLoss(), PatientViews(segments=True), (math.log(2) + math.log(6)) / 2, math.log(N)),
}


@pytest.mark.parametrize("name", UNIMODAL)
def test_unimodal(name: str) -> None:
    torch.manual_seed(0)
    make, views, floor, chance = UNIMODAL[name]
    norm = name in ("byol", "barlow")
    encoder = ecg_encoder(samples=SAMPLES // 2 if name == "clocs" else SAMPLES)
    model = UnimodalContrast(
        encoder, views, "ecg", make(), projection_hidden=32, projection_size=WIDTH, projection_norm=norm
    )
    stage = attached(model, Data())
    ecg = torch.randn(N, 12, SAMPLES, generator=_generator(1))
    batch = {"ecg": ecg, "row": torch.arange(N)}
    near_floor(overfit(stage, batch, 140 if name == "byol" else 60), floor, chance)
    if name == "byol":
        assert unit_rows(stage._embed(batch, training=True)["a"]).std(dim=0).square().sum().sqrt() > 0.3


def _downstream_batch(labels: Tensor) -> dict[str, Tensor]:
    return {"ecg": torch.randn(N, 12, SAMPLES, generator=_generator(1)), "row": torch.arange(N), "labels": labels}


def test_regression() -> None:
    """Floor 0; chance 1, the variance of standardised labels, some of which are missing."""
    torch.manual_seed(0)
    labels = LABELS.clone()
    labels[::5, 1] = torch.nan
    stage = attached(PhenotypeRegression(ecg_encoder()), Data(labels))
    near_floor(overfit(stage, _downstream_batch(labels), 60), 0.0, 1.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_classification(smoothing: float) -> None:
    """Floor: the entropy of the smoothed targets. Chance: a coin's."""
    torch.manual_seed(0)
    labels = (LABELS > 0).float()
    labels[::5, 1] = torch.nan
    stage = attached(DiagnosisClassification(ecg_encoder(), label_smoothing=smoothing), Data(labels))
    sure = torch.tensor([1.0 - smoothing / 2, smoothing / 2])
    floor = -torch.xlogy(sure, sure).sum().item()
    near_floor(overfit(stage, _downstream_batch(labels), 60), floor, math.log(2))
