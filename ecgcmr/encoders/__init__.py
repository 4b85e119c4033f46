"""Encoders of ECGs, CMR images and measurements: pure torch, one contract (`protocol.Encoder`) for all.

Those that are made of MONAI's networks are imported when they are asked for: MONAI takes seconds, and no ECG needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ecgcmr.encoders.ecg_cnn import ECGCNN
from ecgcmr.encoders.ecg_resnet import ECGResNet
from ecgcmr.encoders.ecg_s4 import ECGS4
from ecgcmr.encoders.ecg_vit import SIZES, ECGVisionTransformer
from ecgcmr.encoders.masked_autoencoder import MAEDecoder, MAEOutput, MaskedAutoencoder
from ecgcmr.encoders.masking import (
    LeadPatchMasking,
    Masking,
    MaskingName,
    PatchMasking,
    RandomPatchMasking,
    TimePatchMasking,
    random_masking,
)
from ecgcmr.encoders.measurements import MeasurementEncoder
from ecgcmr.encoders.pooling import AttentionPooling
from ecgcmr.encoders.position import interpolate_position, learned_position, sincos_position
from ecgcmr.encoders.protocol import (
    AdaptableEncoder,
    AttendingEncoder,
    CMRInput,
    ECGInput,
    Encoder,
    FrameEncoder,
    LocalFeatureEncoder,
    LocalStackEncoder,
    MaskableEncoder,
    MeasurementInput,
    StandardisingEncoder,
    VariableLeadEncoder,
    require_encoder,
)
from ecgcmr.encoders.view import View
from ecgcmr.encoders.weights import EncoderCard, export_encoder, load_encoder, load_encoder_weights, read_encoder_card

if TYPE_CHECKING:
    from ecgcmr.encoders.cmr_frames import CMRFrameResNet
    from ecgcmr.encoders.cmr_resnet import CMRResNet
    from ecgcmr.encoders.cmr_resnet3d import CMRResNet3d
    from ecgcmr.encoders.cmr_vit import CMRVisionTransformer

_OF_MONAI = {
    "CMRFrameResNet": "cmr_frames",
    "CMRResNet": "cmr_resnet",
    "CMRResNet3d": "cmr_resnet3d",
    "CMRVisionTransformer": "cmr_vit",
}


def __getattr__(name: str) -> Any:
    if name not in _OF_MONAI:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OF_MONAI[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_OF_MONAI])
