"""Convolutional and state space networks among the published encoders."""

from __future__ import annotations

from dataclasses import replace

from ecgcmr.encoders.published.ecg_cpc import ECG_CPC_NAMES
from ecgcmr.encoders.published.inputs import ECG_CPC, ECGFOUNDER, ECGFOUNDER_SCALED, MERL
from ecgcmr.encoders.published.merl_resnet import MERL_RESNET_NAMES
from ecgcmr.encoders.published.merl_zero_shot import MERL_ZERO_SHOT_NAMES
from ecgcmr.encoders.published.net1d import ECGFOUNDER_NAMES
from ecgcmr.encoders.published.registry import Published, PublishedFile

_MASKED = "tokens come out of convolutions over all samples, so that no patch can be left out"

ECGFOUNDER_12 = Published(
    name="ecgfounder",
    title="ECGFounder, 12 leads",
    class_path="ecgcmr.encoders.published.ECGFounder",
    paper="Li et al., NEJM AI 2025;2(7):AIoa2401033, arXiv 2410.04133",
    code="github.com/PKUDigitalHealth/ECGFounder, MIT",
    weights="huggingface.co/PKUDigitalHealth/ECGFounder, said to be MIT",
    files=("12_lead_ECGFounder.pth",),
    takes=ECGFOUNDER,
    layout=PublishedFile(ECGFOUNDER_NAMES, holders=("state_dict",)),
    feature="mean over time, 1024",
    small={"widths": [8, 16], "depths": [2, 1], "base_width": 8, "group_width": 4, "samples": 500},
    other_inputs={"scaled": ECGFOUNDER_SCALED},
    lead_sets={1: ("I",)},
    masked=_MASKED,
    unverified=(
        "The authors' data set class filters, which their README says to follow; their script for PTB-XL does not "
        "(`preparation: scaled`).",
        "The licence of the weights, and what the files hold beside `state_dict`.",
    ),
    listing="ecgfounder",
    vectors="ecgfounder",
)

MERL_RESNET = Published(
    name="merl-resnet18",
    title="MERL, ResNet1d-18",
    class_path="ecgcmr.encoders.published.MERLResNet",
    paper="Liu et al., ICML 2024, arXiv 2403.06659",
    code="github.com/cheliu-computation/MERL-ICML2024, MIT",
    weights="Google Drive, linked from the README; no licence of their own",
    files=("res18_best_encoder.pth", "res18_best_ckpt.pth"),
    takes=replace(MERL, any_length=True),
    layout=PublishedFile(MERL_RESNET_NAMES),
    feature="mean over time, 512",
    small={"widths": [6, 8, 12, 16], "samples": 500},
    masked=_MASKED,
    unverified=("Whether the published encoder file holds `linear.*`, which is left out.",),
    listing="merl_resnet18",
    vectors="merl_resnet18",
)

ENTRIES = (
    ECGFOUNDER_12,
    replace(
        ECGFOUNDER_12,
        name="ecgfounder-1-lead",
        title="ECGFounder, lead I",
        files=("1_lead_ECGFounder.pth",),
        init_args={"leads": 1},
        listing="ecgfounder_1lead",
        vectors="",
    ),
    MERL_RESNET,
    replace(
        MERL_RESNET,
        name="merl-resnet18-zero-shot",
        title="MERL, ResNet1d-18 with the projection of its zero-shot classification",
        class_path="ecgcmr.encoders.published.MERLZeroShot",
        files=("res18_best_ckpt.pth",),
        takes=MERL,
        layout=PublishedFile(MERL_ZERO_SHOT_NAMES),
        feature="attention of a class token over projected times, before its L2 norm, 256",
        small={"widths": [6, 8, 12, 16], "projection": 12, "samples": 500},
        unverified=(),
        listing="merl_resnet18_ckpt",
    ),
    Published(
        name="ecg-cpc",
        title="ECG-CPC",
        class_path="ecgcmr.encoders.published.ECGCPC",
        paper="Al-Masud et al., ICLR 2026, arXiv 2509.25095",
        code="github.com/AI4HealthUOL/ecg-fm-benchmarking, no licence found",
        weights="figshare, item 30192604, CC BY 4.0",
        files=("last_11597276.ckpt",),
        takes=ECG_CPC,
        layout=PublishedFile(ECG_CPC_NAMES, holders=("state_dict",), objects=True),
        feature="mean over tokens, 512",
        small={"width": 16, "depth": 2, "state_size": 4, "kernel_length": 120, "samples": 240},
        masked=_MASKED,
        unverified=("Order of leads and unit of the recordings of pre-training.", "The licence of the code."),
        listing="ecg_cpc",
        vectors="ecg_cpc",
    ),
)
