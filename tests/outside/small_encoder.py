"""Two convolutions: a token for each 50 ms, the mean of tokens as the feature."""

import torch

from ecgcmr.encoders import ECGInput


class SmallConvEncoder(torch.nn.Module):
    """A small encoder of ECGs (B, 12, samples)."""

    def __init__(self, samples: int = 2500, width: int = 64) -> None:
        super().__init__()
        self.input_spec = ECGInput(leads=12, sampling_rate=500.0, samples=samples)
        self.feature_dim = width
        self.num_layers = 2
        self.stem = torch.nn.Conv1d(12, width, kernel_size=50, stride=25)
        self.body = torch.nn.Conv1d(width, width, kernel_size=5, padding=2)

    def forward_tokens(self, x: torch.Tensor) -> torch.Tensor:
        self.input_spec.check(x)
        return self.body(self.stem(x).relu()).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_tokens(x).mean(dim=1)

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 0 if name.startswith("stem.") else 1
