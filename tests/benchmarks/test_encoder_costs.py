"""The part ``encoders`` of ``ecgcmr bench``: what published encoders cost at their full sizes."""

from __future__ import annotations

from ecgcmr.benchmarks import encoders


def test_costs_of_a_published_encoder_at_its_full_size() -> None:
    found = encoders.measure(batch=1, device="cpu", names=["merl-resnet18"])
    assert set(found) == {f"encoder_merl_resnet18_{what}" for what in ("parameters", "operations", "recordings_per_s")}
    assert 3.8e6 < found["encoder_merl_resnet18_parameters"] < 3.9e6
    assert found["encoder_merl_resnet18_operations"] > 1e9
    assert found["encoder_merl_resnet18_recordings_per_s"] > 0
