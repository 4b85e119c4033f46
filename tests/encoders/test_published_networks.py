"""What the published networks do beyond the contract: kernels, odd lengths, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgcmr.encoders.published import ECGCPC, ECGFounder, MERLResNet
from ecgcmr.encoders.published.full_state_space import FullStateSpace, corrected_readout, discrete_matrix, normal_form
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.net1d import ECGFOUNDER_NAMES
from ecgcmr.errors import UserError


def dense(w: np.ndarray, p: np.ndarray) -> np.ndarray:
    w, p = np.concatenate([w, w.conj()]), np.concatenate([p, p.conj()])
    return np.diag(w) - np.outer(p, p.conj())


def test_the_normal_form_is_the_matrix_of_legendre_memory():
    w, p, b = normal_form(6)
    n = np.arange(6)
    root = np.sqrt(2 * n + 1)
    legendre = -np.tril(np.outer(root, root), -1) - np.diag(n + 1.0)
    answers = [np.linalg.matrix_power(legendre, k) @ root for k in range(6)]
    both = np.concatenate([b, b.conj()])
    transformed = [np.linalg.matrix_power(dense(w, p), k) @ both for k in range(6)]
    # In whichever basis, lengths and angles of B, A B, A A B ... are the same.
    np.testing.assert_allclose(
        np.conj(transformed) @ np.transpose(transformed), answers @ np.transpose(answers), rtol=1e-8
    )


def test_a_kernel_is_the_answer_of_the_recurrence():
    """The generating function, the low-rank form and the corrected readout, against stepping through the states."""
    torch.manual_seed(0)
    model, length = FullStateSpace(channels=3, state_size=6, length=40), 40
    dt = model.log_dt.double().exp().numpy()
    w, p, b = normal_form(6)
    a = discrete_matrix(dt, w, p)
    both = np.concatenate
    full = dense(w, p)
    inputs = np.linalg.solve(np.eye(6) - dt[:, None, None] / 2 * full, dt[:, None, None] * both([b, b.conj()])[:, None])
    c = np.random.default_rng(0).normal(size=(3, 3)) + 1j * np.random.default_rng(1).normal(size=(3, 3))
    corrected = corrected_readout(c, dt, w, p, length)
    model.C.data = torch.from_numpy(np.stack([corrected.real, corrected.imag], -1)[None].astype(np.float32))
    state, answers = inputs[..., 0], []
    for _ in range(length):
        answers.append((both([c, c.conj()], axis=1) * state).sum(axis=1).real)
        state = np.einsum("cnm,cm->cn", a, state)
    wanted = np.stack(answers, axis=1)
    kernel = model.kernel(length)[0].detach().numpy()
    np.testing.assert_allclose(kernel, wanted, atol=2e-5 * np.abs(wanted).max())
    assert np.array_equal(model.kernel(17)[0].detach().numpy(), kernel[:, :17])  # cut, not built anew


def test_the_state_space_looks_back_alone_and_passes_gradients():
    torch.manual_seed(0)
    model = FullStateSpace(channels=2, state_size=4, length=20)
    x = torch.randn(1, 2, 20, requires_grad=True)
    model(x)[0, :, 7].sum().backward()
    assert (x.grad[..., 8:].abs() < 1e-5).all()
    assert (x.grad[..., :8].abs() > 1e-4).any()
    assert {name for name, _ in model.named_parameters()} == {"C", "D"}
    assert model.C.grad.abs().max() > 0


def test_ecgfounder_keeps_no_batch_norm():
    names = ["first_bn.weight", "stage_list.3.block_list.0.bn2.running_var", "dense.bias", "first_conv.conv.bias"]
    assert list(ECGFOUNDER_NAMES.ours(names).values()) == [None, None, None, "first_conv.conv.bias"]
    with torch.device("meta"):
        network = ECGFounder()
    assert not [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    assert network.num_layers == 8


def test_time_is_halved_and_rounded_up():
    for network, halvings in (
        (ECGFounder(samples=251, widths=[8, 16], depths=[1, 1], base_width=8, group_width=4), 3),
        (MERLResNet(samples=251, widths=[4, 4, 8, 8]), 4),
        (ECGCPC(samples=251, width=8, depth=1, state_size=2, kernel_length=126), 1),
    ):
        length = 251
        for _ in range(halvings):
            length = -(-length // 2)
        assert network.forward_tokens(torch.zeros(1, 12, 251)).shape[1] == length


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ECGFounder(widths=[64], depths=[1, 1]), "as many of the one as of the other"),
        (lambda: ECGFounder(widths=[60], depths=[1]), "must not fall and be multiples of 16"),
        (lambda: ECGFounder(widths=[80, 64], depths=[1, 1]), "must not fall"),
        (lambda: MERLResNet(widths=[8, 8]), "four positive numbers"),
        (lambda: ECGCPC(samples=2500), "kernels reach over 2400 samples \\(10 s\\); give shorter windows"),
        (lambda: ECGCPC(depth=0), "depth of ECG-CPC must be positive"),
        (lambda: ECGCPC(state_size=3), "state_size and kernel length must be even"),
    ],
)
def test_numbers_that_do_not_fit_are_named(make, message):
    with torch.device("meta"), pytest.raises(UserError, match=message):
        make()


def test_a_name_that_nobody_knows_is_kept():
    assert PublishedNames().ours(["odd.weight"]) == {"odd.weight": "odd.weight"}
