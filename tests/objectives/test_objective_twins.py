"""Objectives against twins written in slow NumPy, row by row; their edges and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.errors import UserError
from ecgcmr.objectives import (
    BarlowTwinsLoss,
    BYOLLoss,
    CLIPLoss,
    CLOCSLoss,
    GlobalBatchNorm,
    MomentumTarget,
    NTXentLoss,
    PhenotypeGuidedCLIPLoss,
    PTACLLoss,
    SigLIPLoss,
    SimilarityGuidedCLIPLoss,
    ThreeWayContrast,
    phenotype_similarity,
    require_objective,
)
from ecgcmr.objectives.protocol import FURTHER_INPUTS

few = settings(max_examples=20, deadline=None)
ROWS, WIDTHS, SEEDS, TEMPERATURES = st.integers(2, 6), st.integers(2, 5), st.integers(0, 1000), st.floats(0.05, 2.0)
FLOAT32 = {"rel": 1e-5, "abs": 1e-6}  # the temperature is kept as a float32 logarithm


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _unit(x: torch.Tensor) -> np.ndarray:
    return x.numpy() / np.linalg.norm(x.numpy(), axis=-1, keepdims=True)


def _cross_entropy(logits, target: int, allowed=None) -> float:
    chosen = [math.exp(v) for j, v in enumerate(logits) if allowed is None or allowed[j]]
    return math.log(sum(chosen)) - logits[target]


@few
@given(ROWS, WIDTHS, TEMPERATURES, st.floats(-12.0, 2.0), SEEDS)
def test_siglip(rows, width, temperature, bias, seed):
    a, b = _random(rows, width, seed=seed), _random(rows, width, seed=seed + 1)
    ua, ub, expected = _unit(a), _unit(b), 0.0
    for i in range(rows):
        for j in range(rows):
            z = 1.0 if i == j else -1.0
            expected += math.log1p(math.exp(-z * (ua[i] @ ub[j] / temperature + bias))) / rows
    assert SigLIPLoss(temperature, bias, learnable=False)(a, b).item() == pytest.approx(expected, **FLOAT32)


@few
@given(ROWS, WIDTHS, TEMPERATURES, SEEDS)
def test_ntxent(rows, width, temperature, seed):
    a, b = _random(rows, width, seed=seed), _random(rows, width, seed=seed + 1)
    everyone, expected = np.concatenate([_unit(a), _unit(b)]), 0.0
    for i in range(2 * rows):
        logits = everyone @ everyone[i] / temperature
        expected += _cross_entropy(logits, (i + rows) % (2 * rows), np.arange(2 * rows) != i) / (2 * rows)
    assert NTXentLoss(temperature)(a, b).item() == pytest.approx(expected, **FLOAT32)


@few
@given(st.integers(2, 7), WIDTHS, st.floats(0.0, 1.0), SEEDS)
def test_barlow_twins(rows, width, weight, seed):
    a, b = _random(rows, width, seed=seed), 3.0 * _random(rows, width, seed=seed + 1) - 2.0
    x, y, expected = a.numpy(), b.numpy(), 0.0
    for i in range(width):
        for j in range(width):
            u, v = x[:, i] - x[:, i].mean(), y[:, j] - y[:, j].mean()
            c = np.mean(u * v) / math.sqrt((x[:, i].var() + 1e-5) * (y[:, j].var() + 1e-5))
            expected += (1 - c) ** 2 if i == j else weight * c**2
    assert BarlowTwinsLoss(weight)(a, b).item() == pytest.approx(expected, rel=1e-9)


@few
@given(ROWS, WIDTHS, SEEDS, st.booleans())
def test_byol(rows, width, seed, shared):
    a, b, target_a, target_b = (_random(rows, width, seed=seed + i) for i in range(4))
    objective = BYOLLoss(width, 4, shared_predictor=shared).double().eval()
    with torch.no_grad():
        p, q = _unit(objective.predictors[0](a)), _unit(objective.predictors[-1](b))
    u, v = _unit(target_a), _unit(target_b)
    expected = np.mean([(np.sum((p[i] - v[i]) ** 2) + np.sum((q[i] - u[i]) ** 2)) / 2 for i in range(rows)])
    assert objective(a, b, target_a, target_b).item() == pytest.approx(expected, rel=1e-9)
    assert len(objective.predictors) == (1 if shared else 2)


@few
@given(st.integers(2, 7), WIDTHS, TEMPERATURES, SEEDS, st.integers(1, 7))
def test_clocs(rows, width, temperature, seed, patients):
    a, b = _random(rows, width, seed=seed), _random(rows, width, seed=seed + 1)
    subjects = torch.from_numpy(np.random.default_rng(seed).integers(0, patients, rows))
    ua, ub, own, others = _unit(a), _unit(b), [], []
    for i in range(rows):
        for j in range(rows):
            if subjects[i] == subjects[j]:
                both = _cross_entropy(ub @ ua[i] / temperature, j), _cross_entropy(ua @ ub[i] / temperature, j)
                (own if i == j else others).extend(both)
    expected = (np.mean(own) + np.mean(others)) / 2 if others else np.mean(own)
    assert CLOCSLoss(temperature)(a, b, subjects).item() == pytest.approx(expected, **FLOAT32)


def test_clocs_of_different_patients_is_clip():
    a, b = _random(5, 3, seed=0), _random(5, 3, seed=1)
    torch.testing.assert_close(CLOCSLoss(0.2)(a, b, torch.arange(5)), CLIPLoss(0.2)(a, b))


@few
@given(ROWS, TEMPERATURES, st.floats(0.05, 1.0), st.floats(0.0, 1.0), SEEDS, st.sampled_from(["soft", "positives"]))
def test_soft_targets(rows, temperature, target_temperature, weight, seed, use):
    a, b = _random(rows, 4, seed=seed), _random(rows, 4, seed=seed + 1)
    phenotypes = _random(rows, 3, seed=seed + 2)
    ua, ub, expected = _unit(a), _unit(b), 0.0
    likeness = np.array(
        [[math.exp(-np.mean((p - q) ** 2) / 2) for q in phenotypes.numpy()] for p in phenotypes.numpy()]
    )
    for i in range(rows):
        target = np.exp(likeness[i] / target_temperature) if use == "soft" else (likeness[i] > 0.6).astype(float)
        target /= target.sum()
        for j in range(rows):
            expected += weight * target[j] * _cross_entropy(ua @ ub[i] / temperature, j) / rows
            expected += (1 - weight) * target[j] * _cross_entropy(ub @ ua[i] / temperature, j) / rows
    objective = PhenotypeGuidedCLIPLoss(temperature, use, 0.6, target_temperature, image_to_ecg_weight=weight)
    assert objective(a, b, phenotypes).item() == pytest.approx(expected, **FLOAT32)


@few
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), SEEDS, st.sampled_from(["gaussian", "cosine"]))
def test_similarity_is_of_the_phenotypes_known_of_both(n, m, count, seed, kind):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(n, count)), random.normal(size=(m, count))
    a[random.random(a.shape) < 0.3], b[random.random(b.shape) < 0.3] = np.nan, np.nan
    found = phenotype_similarity(torch.from_numpy(a), torch.from_numpy(b), kind, 0.8).numpy()
    for i in range(n):
        for j in range(m):
            known = ~np.isnan(a[i]) & ~np.isnan(b[j])
            p, q = a[i][known], b[j][known]
            if not known.any():
                assert found[i, j] == -math.inf
            elif kind == "gaussian":
                assert found[i, j] == pytest.approx(math.exp(-np.mean((p - q) ** 2) / (2 * 0.8**2)), rel=1e-9)
            else:
                assert found[i, j] == pytest.approx(p @ q / np.linalg.norm(p) / np.linalg.norm(q), rel=1e-9)


@pytest.mark.parametrize("use", ["positives", "exclude"])
def test_subjects_of_whom_nothing_is_known_are_contrasted_as_in_clip(use):
    a, b = _random(4, 3, seed=0), _random(4, 3, seed=1)
    unknown = torch.full((4, 2), math.nan)
    torch.testing.assert_close(PhenotypeGuidedCLIPLoss(0.1, use)(a, b, unknown), CLIPLoss(0.1)(a, b))


def test_soft_targets_of_a_cold_softmax_are_clip():
    a, b, phenotypes = _random(4, 3, seed=0), _random(4, 3, seed=1), _random(4, 2, seed=2)
    soft = PhenotypeGuidedCLIPLoss(0.1, "soft", target_temperature=1e-3)
    torch.testing.assert_close(soft(a, b, phenotypes), CLIPLoss(0.1)(a, b))


@few
@given(st.integers(2, 5), st.integers(2, 4), SEEDS, st.floats(0.0, 1.0))
def test_ptacl_local_term(rows, segments, seed, weight):
    a, b = _random(rows, 3, seed=seed), _random(rows, 3, seed=seed + 1)
    x, y = _random(rows, segments, 3, seed=seed + 2), _random(rows, segments, 3, seed=seed + 3)
    present = torch.from_numpy(np.random.default_rng(seed).random((rows, segments)) < 0.7)
    terms, ux, uy = [], _unit(x), _unit(y)
    for i in range(rows):
        if present[i].sum() < 2:
            continue
        for k in torch.nonzero(present[i])[:, 0].tolist():
            image_to_ecg = _cross_entropy(ux[i] @ uy[i, k] / 0.3, k, present[i])
            ecg_to_image = _cross_entropy(uy[i] @ ux[i, k] / 0.3, k, present[i])
            terms.append(weight * image_to_ecg + (1 - weight) * ecg_to_image)
    objective = PTACLLoss(0.2, weight, local_weight=0.5, local_temperature=0.3)
    expected = CLIPLoss(0.2, weight)(a, b).item() + 0.5 * (np.mean(terms) if terms else 0.0)
    assert objective(a, b, x, y, present).item() == pytest.approx(expected, **FLOAT32)


def test_ptacl_gradient_is_finite_where_no_phase_was_seen():
    a, b = _random(3, 2, seed=0).requires_grad_(), _random(3, 2, seed=1)
    x, y = _random(3, 4, 2, seed=2).requires_grad_(), _random(3, 4, 2, seed=3)
    x.data[0] = 0.0
    present = torch.tensor([[False] * 4, [True, False, False, False], [True, True, False, True]])
    PTACLLoss()(a, b, x, y, present).backward()
    assert torch.isfinite(x.grad).all()
    assert not x.grad[:2].any()
    assert x.grad[2, [0, 1, 3]].any()
    assert not x.grad[2, 2].any()


def test_ptacl_segments_average_tokens_and_frames_of_one_phase():
    ecg = torch.arange(12.0).view(1, 6, 2)
    phase = torch.tensor([[0.0, 0.24, 0.26, 0.74, 0.99, math.nan]])
    frames = torch.arange(16.0).view(1, 8, 2)
    found = PTACLLoss(segments=2).segments(ecg, phase, frames, torch.arange(8) / 8)
    assert found["segments_present"].tolist() == [[True, True]]
    # Around 0: tokens 0, 1, 4 and frames 0, 1, 2, 7; around 0.5: tokens 2, 3 and frames 3, 4, 5, 6, ties to the first.
    assert found["segments_a"][0, 0].tolist() == ecg[0, [0, 1, 4]].mean(0).tolist()
    assert found["segments_a"][0, 1].tolist() == ecg[0, [2, 3]].mean(0).tolist()
    each = PTACLLoss().segments(ecg, phase, frames, torch.arange(8) / 8)
    assert torch.equal(each["segments_b"], frames)
    assert each["segments_present"].tolist() == [[True, False, True, False, False, False, True, False]]


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_torchs_on_one_process(affine):
    x = _random(7, 3, seed=0)
    ours, theirs = GlobalBatchNorm(3, affine).double(), torch.nn.BatchNorm1d(3, affine=affine).double()
    for part in (x[:4], 2 * x[3:] + 1):
        torch.testing.assert_close(ours(part), theirs(part))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_momentum_grows_from_its_start_to_one():
    objective = BYOLLoss(4, 4, momentum=0.9)
    values = [objective.momentum_at(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert values == pytest.approx([0.9, 1 - 0.1 * (math.cos(math.pi / 4) + 1) / 2, 0.95, 1.0])


def test_target_is_a_moving_average_without_gradient():
    tower = torch.nn.Linear(3, 2)
    target = MomentumTarget([tower])
    start = tower.weight.detach().clone()
    with torch.no_grad():
        tower.weight += 1.0
    target.follow([tower], 0.75)
    torch.testing.assert_close(target.towers[0].weight, start + 0.25)
    assert torch.equal(target.towers[0].bias, tower.bias)
    assert not target(0, torch.ones(4, 3)).requires_grad
    assert not any(p.requires_grad for p in target.parameters())
    assert tower.weight.requires_grad
    target.copy_from([tower])
    assert torch.equal(target.towers[0].weight, tower.weight)
    assert target.towers[0].weight.data_ptr() != tower.weight.data_ptr()


FLOORS = {
    "clip": (lambda: CLIPLoss(0.1, learnable_temperature=True), 0.05),
    "siglip": (lambda: SigLIPLoss(), 0.05),
    "ntxent": (lambda: NTXentLoss(0.1), 0.05),
    "barlow": (lambda: BarlowTwinsLoss(), 0.05),
    "clocs": (lambda: CLOCSLoss(0.1), 0.05),
    "byol": (lambda: BYOLLoss(8, 16), 0.05),
    "phenotypes": (lambda: PhenotypeGuidedCLIPLoss(0.1, "exclude"), 0.05),
    "ptacl": (lambda: PTACLLoss(0.1), 0.1),
}


@pytest.mark.parametrize("name", FLOORS)
def test_embeddings_that_are_free_reach_the_floor(name):
    make, floor = FLOORS[name]
    torch.manual_seed(0)
    objective = make()
    a, b = (_random(16, 8, seed=i).float().requires_grad_() for i in (0, 1))
    x, y = (_random(16, 4, 8, seed=i).float().requires_grad_() for i in (2, 3))
    made = {
        "phenotypes": _random(16, 3, seed=4).float(),
        "subjects": torch.arange(16),
        "segments_a": x,
        "segments_b": y,
        "segments_present": torch.ones(16, 4, dtype=torch.bool),
    }
    optimiser = torch.optim.Adam([a, b, x, y, *objective.parameters()], lr=0.05)
    losses = []
    for _ in range(200):
        # The target of BYOL is here the other embedding itself, which a predictor can meet.
        further = {n: made.get(n, b if n == "target_b" else a) for n in objective.needs}
        loss = objective(a, b, **further)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 10 * floor
    assert losses[-1] < floor


LOSSES = {
    "siglip": SigLIPLoss(),
    "ntxent": NTXentLoss(),
    "barlow": BarlowTwinsLoss(),
    "clocs": CLOCSLoss(),
    "byol": BYOLLoss(3, 4),
    "phenotypes": PhenotypeGuidedCLIPLoss(),
    "ptacl": PTACLLoss(),
    "three-way": ThreeWayContrast(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_an_empty_batch_has_a_finite_loss_and_a_gradient(name):
    objective, x = LOSSES[name].eval(), torch.zeros(0, 3, requires_grad=True)
    shapes = {"phenotypes": (0, 2), "subjects": (0,), "segments_present": (0, 4)}
    further = {n: torch.zeros(shapes.get(n, (0, 4, 3) if "segments" in n else (0, 3))) for n in objective.needs}
    loss = objective(x, x, **further)
    loss.backward()
    assert torch.isfinite(loss)
    assert x.grad is not None


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"byol"}))  # the predictor of BYOL may run in half precision
def test_half_precision_is_compared_in_float32(name):
    objective = LOSSES[name].train()
    a, b = (_random(12, 3, seed=i).bfloat16() for i in (0, 1))
    made = {
        "c": _random(12, 3, seed=5).bfloat16(),
        "phenotypes": _random(12, 2, seed=2).float(),
        "subjects": torch.arange(12) // 2,
        "segments_a": _random(12, 4, 3, seed=3).bfloat16(),
        "segments_b": _random(12, 4, 3, seed=4).bfloat16(),
        "segments_present": torch.ones(12, 4, dtype=torch.bool),
    }
    further = {n: made[n] for n in objective.needs}
    exact = objective(a.float(), b.float(), **{n: x.float() for n, x in further.items()})
    with torch.autocast("cpu", torch.bfloat16):
        rounded = objective(a, b, **further)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=1e-5, atol=1e-6)


def test_learned_numbers_of_siglip():
    objective = SigLIPLoss()
    assert {name: p.item() for name, p in objective.named_parameters()} == pytest.approx(
        {"logit_scale.log_scale": math.log(10), "bias": -10.0}
    )
    x = _random(8, 4, seed=0)
    objective(x, x).backward()
    assert objective.bias.grad.item() < 0  # at -10 even a subject's own pair is a no
    assert list(SigLIPLoss(learnable=False).parameters()) == []


def test_objectives_say_what_they_need():
    for objective in (*LOSSES.values(), CLIPLoss()):
        assert set(objective.needs) <= set(FURTHER_INPUTS)
        assert require_objective(objective, FURTHER_INPUTS) is objective
    with pytest.raises(UserError, match="PTACLLoss needs segments_a, segments_b, segments_present"):
        require_objective(PTACLLoss(), ["subjects"])
    with pytest.raises(UserError, match="Linear is not an objective"):
        require_objective(torch.nn.Linear(2, 2), FURTHER_INPUTS)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SigLIPLoss(-1.0), "temperature must be positive"),
        (lambda: BarlowTwinsLoss(-0.1), "redundancy_weight"),
        (lambda: BYOLLoss(momentum=1.5), "momentum"),
        (lambda: PTACLLoss(local_weight=-1.0), "local_weight"),
        (lambda: PTACLLoss(segments=1), "at least 2"),
        (lambda: PTACLLoss(frame_phases=[0.1, 0.1]), "frame_phases"),
        (lambda: PTACLLoss(frame_phases=[0.1, 1.0]), "frame_phases"),
        (lambda: PhenotypeGuidedCLIPLoss(similarity="euclid"), "unknown similarity"),
        (lambda: PhenotypeGuidedCLIPLoss(width=0.0), "width"),
        (lambda: SimilarityGuidedCLIPLoss(target_temperature=0.0), "temperature must be positive"),
    ],
)
def test_numbers_out_of_range_are_refused(make, words):
    with pytest.raises(UserError, match=words):
        make()
