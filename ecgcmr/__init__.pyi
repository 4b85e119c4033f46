from ecgcmr.encoders.protocol import ECGInput as ECGInput
from ecgcmr.encoders.protocol import Encoder as Encoder
from ecgcmr.errors import UserError as UserError
from ecgcmr.formats.record import ECGRecord as ECGRecord
from ecgcmr.inference.load import load as load
from ecgcmr.inference.model import Model as Model
from ecgcmr.stages.downstream import Downstream as Downstream
from ecgcmr.stages.stage_module import StageModule as StageModule

__version__: str
