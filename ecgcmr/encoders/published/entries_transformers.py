"""Transformers among the published encoders."""

from __future__ import annotations

from dataclasses import replace

from ecgcmr.encoders.published.dbeta import DBETA_NAMES
from ecgcmr.encoders.published.ecg_fm import ECG_FM_NAMES
from ecgcmr.encoders.published.ecg_jepa import ECG_JEPA_NAMES
from ecgcmr.encoders.published.hubert_ecg import HUBERT_ECG_NAMES
from ecgcmr.encoders.published.inputs import D_BETA, ECG_FM, ECG_JEPA, HUBERT_ECG, MERL, ST_MEM
from ecgcmr.encoders.published.merl_vit import MERL_VIT_NAMES
from ecgcmr.encoders.published.registry import Published, PublishedFile
from ecgcmr.encoders.published.st_mem import ST_MEM_NAMES

_MASKED = "its first layer is normalised over the whole recording, so that no patch can be left out"
_SMALL = {"width": 16, "depth": 2, "heads": 4}
_SMALL_WAVES = {**_SMALL, "position_kernel": 8, "position_groups": 4}

_ST_MEM = Published(
    name="st-mem",
    title="ST-MEM, base",
    class_path="ecgcmr.encoders.published.STMEM",
    paper="Na et al., ICLR 2024, arXiv 2402.09450",
    code="github.com/bakqui/ST-MEM; the README reserves all rights, the licence file is CC BY-NC 4.0",
    weights="Google Drive, linked from the README; no licence of their own: non-commercial at best",
    files=("st_mem_vit_base_encoder.pth", "st_mem_vit_base_full.pth"),
    takes=ST_MEM,
    layout=PublishedFile(ST_MEM_NAMES, holders=("model",)),
    feature="norm of the mean over tokens, 768",
    small={**_SMALL, "samples": 750},
    unverified=(
        "Which of the two statements of the licence holds.",
        "With the published weights one lead alone was read as twelve copies of it; this class refuses that.",
    ),
    listing="st_mem",
    vectors="st_mem",
)

_HUBERT = Published(
    name="hubert-ecg-base",
    title="HuBERT-ECG, base",
    class_path="ecgcmr.encoders.published.HuBERTECG",
    paper="Coppola et al., medRxiv 2024.11.14.24317328",
    code="github.com/Edoar-do/HuBERT-ECG, CC BY-NC 4.0",
    weights="huggingface.co/Edoardo-BS/hubert-ecg-base, CC BY-NC 4.0",
    files=("model.safetensors", "hubert_ecg_base.pt"),
    takes=HUBERT_ECG,
    layout=PublishedFile(HUBERT_ECG_NAMES, holders=("model_state_dict", ""), objects=True),
    feature="mean over tokens, 768",
    small={**_SMALL_WAVES, "convolutions": [8] * 5, "samples": 100},
    masked=_MASKED,
    unverified=(
        "Order of leads: the code does not say it; I, II, III, aVR, aVL, aVF, V1..V6 is assumed.",
        "Some use it lead by lead; the published code lays twelve leads end to end, as is done here.",
    ),
    listing="hubert_ecg_base",
    vectors="hubert_ecg",
)

ENTRIES: tuple[Published, ...] = (
    _ST_MEM,
    replace(
        _ST_MEM,
        name="st-mem-small",
        title="ST-MEM, small",
        files=(),
        feature="norm of the mean over tokens, 384",
        init_args={"width": 384, "heads": 6},
        unverified=("Whether weights of this size were published; only the network is in the code.",),
        listing="st_mem_small",
        vectors="",
    ),
    Published(
        name="merl-vit-tiny",
        title="MERL, ViT-tiny",
        class_path="ecgcmr.encoders.published.MERLVisionTransformer",
        paper="Liu et al., ICML 2024, arXiv 2403.06659",
        code="github.com/cheliu-computation/MERL-ICML2024, MIT",
        weights="Google Drive, linked from the README; no licence of their own",
        files=("vit_tiny_best_encoder.pth", "vit_tiny_best_ckpt.pth"),
        takes=MERL,
        layout=PublishedFile(MERL_VIT_NAMES),
        feature="norm of the mean over tokens, 192",
        small={**_SMALL, "samples": 500},
        unverified=("Names of the files: the README writes xxx_encoder and xxx_ckpt.",),
        listing="merl_vit_tiny",
        vectors="merl_vit",
    ),
    replace(
        _HUBERT,
        name="hubert-ecg-small",
        title="HuBERT-ECG, small",
        weights="huggingface.co/Edoardo-BS/hubert-ecg-small, CC BY-NC 4.0",
        files=("model.safetensors", "hubert_ecg_small.pt"),
        feature="mean over tokens, 512",
        init_args={"width": 512, "depth": 8, "heads": 8},
        listing="hubert_ecg_small",
        vectors="",
    ),
    _HUBERT,
    replace(
        _HUBERT,
        name="hubert-ecg-large",
        title="HuBERT-ECG, large",
        weights="huggingface.co/Edoardo-BS/hubert-ecg-large, CC BY-NC 4.0",
        files=("model.safetensors", "hubert_ecg_large.pt"),
        feature="mean over tokens, 960",
        init_args={"width": 960, "depth": 16},
        listing="hubert_ecg_large",
        vectors="",
    ),
    Published(
        name="ecg-fm",
        title="ECG-FM",
        class_path="ecgcmr.encoders.published.ECGFM",
        paper="McKeen et al., arXiv 2408.05178",
        code="github.com/bowang-lab/ECG-FM and github.com/Jwoo5/fairseq-signals, MIT",
        weights="huggingface.co/wanglab/ecg-fm, MIT",
        files=("mimic_iv_ecg_physionet_pretrained.pt", "mimic_iv_ecg_finetuned.pt"),
        takes=ECG_FM,
        layout=PublishedFile(
            ECG_FM_NAMES, holders=("model",), read={"norm_first": ("cfg", "model", "layer_norm_first")}
        ),
        feature="of each channel the sum over tokens over the number of those that are not 0, 768",
        small={**_SMALL_WAVES, "convolutions": [8] * 4, "samples": 500},
        masked=_MASKED,
        unverified=(
            "Pre-norm or post-norm: sources disagree and tensors do not show it, so it is read from the file "
            "(`cfg.model.layer_norm_first`); where it is not there, `--argument norm_first=true` or `false` says it.",
        ),
        listing="ecg_fm_pretrain",
        vectors="ecg_fm",
    ),
    Published(
        name="d-beta",
        title="D-BETA, ECG branch",
        class_path="ecgcmr.encoders.published.DBETA",
        paper="Pham et al., ICML 2025, arXiv 2410.02131",
        code="github.com/manhph2211/D-BETA, CC BY-NC 4.0",
        weights="huggingface.co/Manhph2211/D-BETA (ask for access), CC BY-NC 4.0",
        files=("sample.pt", "dbeta_best.pt"),
        takes=D_BETA,
        layout=PublishedFile(DBETA_NAMES, holders=("model",)),
        feature="tanh of two linear layers on the class token, 768",
        small={**_SMALL_WAVES, "convolutions": [8] * 4, "samples": 500},
        masked=_MASKED,
        unverified=("Unit and preparation of the recordings of pre-training; its example scales and filters nothing.",),
        listing="dbeta",
        vectors="dbeta",
    ),
    Published(
        name="ecg-jepa",
        title="ECG-JEPA",
        class_path="ecgcmr.encoders.published.ECGJEPA",
        paper="Kim, arXiv 2410.08559",
        code="github.com/sehunfromdaegu/ECG_JEPA, MIT",
        weights="Google Drive, linked from the README; no licence of their own",
        files=("multiblock_epoch100.pth", "random_epoch100.pth"),
        takes=ECG_JEPA,
        layout=PublishedFile(ECG_JEPA_NAMES, holders=("encoder",)),
        feature="mean over normalised tokens, 768",
        small={**_SMALL, "samples": 500},
        listing="ecg_jepa",
        vectors="ecg_jepa",
    ),
)
