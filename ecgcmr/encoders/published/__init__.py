"""ECG encoders that others have published, as encoders of this package: written from facts, weights by import.

`registry` lists them; a class such as `ECGFounder` is the bare network, which takes its own input; `PublishedECG` is
any of them by name behind the making of that input from recordings in mV. docs/published_encoders.md says what
they expect.
"""

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
from ecgcmr.encoders.published.registry import Published, published_encoder, published_encoders
from ecgcmr.encoders.published.st_mem import STMEM
