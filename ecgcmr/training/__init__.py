"""The command line of a fit: its run folder, its checkpoints, the machine it runs on, how it ends and is resumed."""

from ecgcmr.training.early_stopping import ToleranceEarlyStopping
from ecgcmr.training.loggers import CSVLog, MLflowLog, TensorBoardLog, WandbLog
from ecgcmr.training.run_folder import StepCheckpoint
from ecgcmr.training.utilisation import Utilisation
