"""Encoders of ECGs and CMR images: pure torch, one contract (`protocol.Encoder`) for all."""

from ecgcmr.encoders.cmr_resnet import CMRResNet
from ecgcmr.encoders.ecg_vit import SIZES, ECGVisionTransformer
from ecgcmr.encoders.masked_autoencoder import MAEDecoder, MAEOutput, MaskedAutoencoder, Masking, random_masking
from ecgcmr.encoders.pooling import AttentionPooling
from ecgcmr.encoders.position import interpolate_position, sincos_position
from ecgcmr.encoders.protocol import CMRInput, ECGInput, Encoder, MaskableEncoder, require_encoder, require_maskable
from ecgcmr.encoders.weights import EncoderCard, export_encoder, load_encoder, load_encoder_weights, read_encoder_card

__all__ = [
    "SIZES",
    "AttentionPooling",
    "CMRInput",
    "CMRResNet",
    "ECGInput",
    "ECGVisionTransformer",
    "Encoder",
    "EncoderCard",
    "MAEDecoder",
    "MAEOutput",
    "MaskableEncoder",
    "MaskedAutoencoder",
    "Masking",
    "export_encoder",
    "interpolate_position",
    "load_encoder",
    "load_encoder_weights",
    "random_masking",
    "read_encoder_card",
    "require_encoder",
    "require_maskable",
    "sincos_position",
]
