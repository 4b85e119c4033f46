"""The structured state space model in its full form (S4; Gu et al. 2022, arXiv 2111.00396), as a causal convolution.

A state matrix is diagonal but for a product of two vectors (normal plus low rank). The generating function of the
kernel, evaluated at the roots of unity, is then a few sums over 1 / (z - w) (Cauchy products), and the kernel its
inverse Fourier transform. Shorter recordings take the beginning of the kernel, as the published network does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgcmr.encoders.state_space import convolve
from ecgcmr.errors import UserError

_STEPS = (0.001, 0.1)
Complex = NDArray[Any]


class FullStateSpace(nn.Module):
    """A convolution by a state space model for each channel; only C and D are trained.

    Complex numbers are stored as pairs of real ones. C holds the correction for kernels of `length` samples.

    Args:
        channels: Rows of the input.
        state_size: States of a channel, even; they come in conjugate pairs, of which one is kept.
        length: Samples of the kernel, even.

    Raises:
        UserError: A number is odd or not positive.
    """

    C: nn.Parameter
    D: nn.Parameter
    B: Tensor
    P: Tensor
    Q: Tensor
    w: Tensor
    log_dt: Tensor
    omega: Tensor
    z: Tensor

    def __init__(self, channels: int, state_size: int, length: int) -> None:
        super().__init__()
        if min(state_size, length) < 2 or state_size % 2 or length % 2:
            raise UserError(f"state_size and kernel length must be even and positive, got {state_size} and {length}")
        self.length = length
        w, p, b = normal_form(state_size)
        least, largest = (math.log(step) for step in _STEPS)
        log_dt = least + (largest - least) * torch.rand(channels)
        c = torch.view_as_complex(math.sqrt(0.5) * torch.randn(channels, state_size // 2, 2))
        self.C = nn.Parameter(torch.empty(1, channels, state_size // 2, 2))
        if not self.C.is_meta:
            corrected = corrected_readout(c.numpy(), log_dt.double().exp().numpy(), w, p, length)
            self.C = nn.Parameter(_pairs(corrected[None]))
        self.D = nn.Parameter(torch.randn(1, channels))
        nodes = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
        each = np.ones((channels, 1))
        self.register_buffer("log_dt", log_dt)
        self.register_buffer("B", _pairs((each * b)[None]))
        self.register_buffer("P", _pairs((each * p)[None]))
        self.register_buffer("Q", _pairs((each * p.conj())[None]))
        self.register_buffer("w", _pairs(each * w))
        self.register_buffer("omega", _pairs(nodes))
        self.register_buffer("z", _pairs(2 * (1 - nodes) / (1 + nodes)))

    def kernel(self, length: int) -> Tensor:
        """Answer to a single 1 after 0, 1, ... `length` - 1 samples: (1, channels, length)."""
        omega, z, w = (_complex(numbers) for numbers in (self.omega, self.z, self.w))
        dt = self.log_dt.exp()[:, None]
        inputs = torch.cat([_complex(self.B), _complex(self.P)])  # (2, channels, pairs)
        outputs = torch.cat([_complex(self.C), _complex(self.Q)])
        poles = (w * dt)[..., None]
        v = (inputs[:, None] * outputs[None])[..., None]  # (2, 2, channels, pairs, 1)
        # Each pole with its conjugate: no node is near both.
        sums = (v / (z - poles) + v.conj() / (z - poles.conj())).sum(dim=-2) * dt
        spectrum = sums[0, 0] - sums[0, 1] * sums[1, 0] / (1 + sums[1, 1])
        return torch.fft.irfft(spectrum * 2 / (1 + omega), n=self.length)[None, :, :length]

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, T) -> (B, channels, T), in float32 under autocast too; T is at most ``length``."""
        with torch.autocast(x.device.type, enabled=False):
            signal = x.to(torch.promote_types(x.dtype, torch.float32))
            mixed = convolve(signal, self.kernel(x.shape[-1]).to(signal.dtype)) + self.D[0, :, None] * signal
        return mixed.to(x.dtype)


def normal_form(states: int) -> tuple[Complex, Complex, Complex]:
    """Return the matrix of scaled Legendre memory (HiPPO-LegS) as diagonal plus low rank: w, P and B, one a pair.

    The matrix is diag(w) - P P* in a basis in which the input matrix is B.
    """
    n = np.arange(states)
    root = np.sqrt(2 * n + 1)
    matrix = -np.tril(np.outer(root, root), -1) - np.diag(n + 1.0)
    p = np.sqrt(n + 0.5)
    skew = matrix + np.outer(p, p) + 0.5 * np.eye(states)
    frequencies, basis = np.linalg.eigh(skew * -1j)
    kept = frequencies > 0
    w = -0.5 + 1j * frequencies[kept]
    return w, (basis.conj().T @ p)[kept], (basis.conj().T @ root)[kept]


def corrected_readout(c: Complex, dt: NDArray[np.float64], w: Complex, p: Complex, length: int) -> Complex:
    """Return C (I - A^length) of the discrete model: the generating function is then that of a kernel of that length.

    Args:
        c: (channels, pairs) readout.
        dt: (channels,) steps.
        w: (pairs,) diagonal.
        p: (pairs,) low-rank vector.
        length: Samples of the kernel.
    """
    full = discrete_matrix(dt, w, p)
    both = np.concatenate([c, c.conj()], axis=1)
    power = np.linalg.matrix_power(full, length)
    return (both - np.einsum("cn,cnm->cm", both, power))[:, : len(w)]


def discrete_matrix(dt: NDArray[np.float64], w: Complex, p: Complex) -> Complex:
    """Return the state matrix held by the bilinear rule, (channels, states, states), pairs then their conjugates."""
    w, p = np.concatenate([w, w.conj()]), np.concatenate([p, p.conj()])
    matrix = (np.diag(w) - np.outer(p, p.conj())) * (dt[:, None, None] / 2)
    one = np.eye(len(w))
    return np.linalg.solve(one - matrix, one + matrix)


def _pairs(numbers: Complex) -> Tensor:
    return torch.from_numpy(np.stack([numbers.real, numbers.imag], axis=-1).astype(np.float32))


def _complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs.float().contiguous())
