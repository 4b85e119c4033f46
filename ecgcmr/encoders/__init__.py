"""Encoders of ECGs and CMR images: pure torch, one contract (`protocol.Encoder`) for all."""

from ecgcmr.encoders.cmr_frames import CMRFrameResNet
from ecgcmr.encoders.cmr_resnet import CMRResNet
from ecgcmr.encoders.cmr_resnet3d import CMRResNet3d
from ecgcmr.encoders.cmr_vit import CMRVisionTransformer
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
from ecgcmr.encoders.pooling import AttentionPooling
from ecgcmr.encoders.position import interpolate_position, learned_position, sincos_position
from ecgcmr.encoders.protocol import (
    AdaptableEncoder,
    CMRInput,
    ECGInput,
    Encoder,
    FrameEncoder,
    LocalFeatureEncoder,
    MaskableEncoder,
    VariableLeadEncoder,
    require_encoder,
)
from ecgcmr.encoders.view import View
from ecgcmr.encoders.weights import EncoderCard, export_encoder, load_encoder, load_encoder_weights, read_encoder_card
