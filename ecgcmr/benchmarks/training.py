"""Training steps per second of the published sizes, forward and backward, without loading."""

from __future__ import annotations

import torch

from ecgcmr.benchmarks.timing import seconds
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer, MAEDecoder, MaskedAutoencoder
from ecgcmr.objectives import CLIPLoss, MaskedReconstruction


def measure(batch: int = 32, repeats: int = 2, device: str | None = None) -> dict[str, float]:
    """Return ``mae_step_samples_per_s_fp32``, ``..._bf16`` and ``alignment_step_samples_per_s_fp32``.

    Args:
        batch: ECGs in a step of the masked autoencoder (published tiny size); a quarter of them in the alignment with
            ResNet-50 at 210 x 210.
        repeats: Runs of which the fastest counts.
        device: Such as ``cuda``; the accelerator if there is one, else the CPU.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator = torch.Generator(device=place).manual_seed(0)
    encoder = ECGVisionTransformer.from_size("tiny").to(place)
    autoencoder = MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder).to(place), 0.8)
    objective = MaskedReconstruction()
    ecg = torch.randn(batch, 12, 2500, generator=generator, device=place)
    noise = torch.rand(batch, autoencoder.num_patches, generator=generator, device=place)

    def reconstruct(low_precision: bool) -> None:
        with torch.autocast(place.type, torch.bfloat16, enabled=low_precision):
            output = autoencoder(ecg, noise)
            loss = objective(output.pred, ecg, output.mask, autoencoder.patch_size)["loss"]
        autoencoder.zero_grad()
        loss.backward()
        _wait(place)

    pairs = max(2, batch // 4)
    image_encoder = CMRResNet("resnet50", frames=3, height=210, width=210).to(place)
    heads = torch.nn.ModuleList([torch.nn.Linear(encoder.feature_dim, 128), torch.nn.Linear(2048, 128)]).to(place)
    frames = torch.rand(pairs, 3, 210, 210, generator=generator, device=place)
    contrast = CLIPLoss()

    def align() -> None:
        loss = contrast(heads[0](encoder(ecg[:pairs])), heads[1](image_encoder(frames)))
        image_encoder.zero_grad()
        encoder.zero_grad()
        loss.backward()
        _wait(place)

    return {
        "mae_step_samples_per_s_fp32": batch / seconds(lambda: reconstruct(False), repeats),
        "mae_step_samples_per_s_bf16": batch / seconds(lambda: reconstruct(True), repeats),
        "alignment_step_samples_per_s_fp32": pairs / seconds(align, repeats),
    }


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize()
