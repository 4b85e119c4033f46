"""Encoders that others have published, as encoders of this package: written from facts, weights by import.

`registry` lists them; a class such as `ECGFounder` is the bare network, which takes its own input; `PublishedECG` is
any of ECGs by name behind the making of that input from recordings in mV; `CineMA` is one of CMR images.
docs/published_encoders.md says what they expect.
"""

from ecgcmr.encoders.published.cinema import CineMA
from ecgcmr.encoders.published.dbeta import DBETA
from ecgcmr.encoders.published.ecg_cpc import ECGCPC
from ecgcmr.encoders.published.ecg_fm import ECGFM
from ecgcmr.encoders.published.ecg_jepa import ECGJEPA
from ecgcmr.encoders.published.hubert_ecg import HuBERTECG
from ecgcmr.encoders.published.merl_resnet import MERLResNet
from ecgcmr.encoders.published.merl_vit import MERLVisionTransformer
from ecgcmr.encoders.published.merl_zero_shot import MERLZeroShot
from ecgcmr.encoders.published.net1d import ECGFounder
from ecgcmr.encoders.published.published_ecg import PublishedECG
from ecgcmr.encoders.published.registry import (
    Published,
    PublishedImages,
    published_encoder,
    published_encoders,
    published_image_encoders,
    published_network,
)
from ecgcmr.encoders.published.st_mem import STMEM
