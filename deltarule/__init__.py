"""deltarule: neural networks to use, to see through, and to learn from.

Named after the learning rule of the first neurons (Widrow and Hoff 1960) and the quantity that backpropagation carries.
"""

import gc as _gc
from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_collecting = _gc.isenabled()
_gc.disable()       # importing makes many objects and no garbage: looking for some costs a tenth of the time

from deltarule import augment as augment
from deltarule import data as data
from deltarule import initializers as initializers
from deltarule import losses as losses
from deltarule import metrics as metrics
from deltarule.errors import DataError as DataError
from deltarule.errors import DeltaruleError as DeltaruleError
from deltarule.errors import DivergenceError as DivergenceError
from deltarule.errors import ModelFileError as ModelFileError
from deltarule.errors import ShapeError as ShapeError
from deltarule.glass.trace import Trace as Trace
from deltarule.layers import GRU as GRU
from deltarule.layers import LSTM as LSTM
from deltarule.layers import Activation as Activation
from deltarule.layers import AdaptiveAveragePool as AdaptiveAveragePool
from deltarule.layers import AdaptiveMaxPool as AdaptiveMaxPool
from deltarule.layers import AttentionPooling as AttentionPooling
from deltarule.layers import AttentiveLSTM as AttentiveLSTM
from deltarule.layers import AveragePool1D as AveragePool1D
from deltarule.layers import AveragePool2D as AveragePool2D
from deltarule.layers import AveragePool3D as AveragePool3D
from deltarule.layers import BatchNorm as BatchNorm
from deltarule.layers import Bidirectional as Bidirectional
from deltarule.layers import Conv1D as Conv1D
from deltarule.layers import Conv2D as Conv2D
from deltarule.layers import Conv3D as Conv3D
from deltarule.layers import ConvTranspose1D as ConvTranspose1D
from deltarule.layers import ConvTranspose2D as ConvTranspose2D
from deltarule.layers import ConvTranspose3D as ConvTranspose3D
from deltarule.layers import Crop as Crop
from deltarule.layers import Dense as Dense
from deltarule.layers import Dropout as Dropout
from deltarule.layers import Embedding as Embedding
from deltarule.layers import EncoderDecoder as EncoderDecoder
from deltarule.layers import Flatten as Flatten
from deltarule.layers import GlobalAveragePool as GlobalAveragePool
from deltarule.layers import GlobalMaxPool as GlobalMaxPool
from deltarule.layers import GroupNorm as GroupNorm
from deltarule.layers import Layer as Layer
from deltarule.layers import LayerNorm as LayerNorm
from deltarule.layers import LeakyReLU as LeakyReLU
from deltarule.layers import Masked as Masked
from deltarule.layers import MaxPool1D as MaxPool1D
from deltarule.layers import MaxPool2D as MaxPool2D
from deltarule.layers import MaxPool3D as MaxPool3D
from deltarule.layers import MultiHeadAttention as MultiHeadAttention
from deltarule.layers import Pad as Pad
from deltarule.layers import Parallel as Parallel
from deltarule.layers import ParametricReLU as ParametricReLU
from deltarule.layers import Positions as Positions
from deltarule.layers import Reshape as Reshape
from deltarule.layers import Residual as Residual
from deltarule.layers import SeparableConv2D as SeparableConv2D
from deltarule.layers import Sequential as Sequential
from deltarule.layers import SimpleRNN as SimpleRNN
from deltarule.layers import Skip as Skip
from deltarule.layers import SpatialDropout as SpatialDropout
from deltarule.layers import TimeDistributed as TimeDistributed
from deltarule.layers import TransformerDecoder as TransformerDecoder
from deltarule.layers import TransformerEncoder as TransformerEncoder
from deltarule.layers import UpSample as UpSample
from deltarule.network import Network as Network
from deltarule.ops import activations as activations
from deltarule.optimizers import LBFGS as LBFGS
from deltarule.optimizers import SGD as SGD
from deltarule.optimizers import Adagrad as Adagrad
from deltarule.optimizers import Adam as Adam
from deltarule.optimizers import AdamW as AdamW
from deltarule.optimizers import GradientDescent as GradientDescent
from deltarule.optimizers import RMSprop as RMSprop
from deltarule.schedules import CosineDecay as CosineDecay
from deltarule.schedules import ExponentialDecay as ExponentialDecay
from deltarule.schedules import InverseTimeDecay as InverseTimeDecay
from deltarule.schedules import LinearDecay as LinearDecay
from deltarule.schedules import OneCycle as OneCycle
from deltarule.schedules import StepDecay as StepDecay
from deltarule.schedules import WarmupCosine as WarmupCosine
from deltarule.spec import register as register
from deltarule.training.history import History as History
from deltarule.training.recording import Record as Record

if _collecting:
    _gc.enable()

if TYPE_CHECKING:
    from deltarule import figures as figures
    from deltarule import lessons as lessons
    from deltarule import models as models
    from deltarule import segmentation as segmentation
    from deltarule import textbook as textbook
    from deltarule.ensembles import Ensemble as Ensemble
    from deltarule.estimators import Classifier as Classifier
    from deltarule.estimators import Regressor as Regressor
    from deltarule.generation import generate as generate
    from deltarule.generation import write as write
    from deltarule.model import Model as Model
    from deltarule.model import load as load
    from deltarule.preflight import check as check
    from deltarule.searching import LogUniform as LogUniform
    from deltarule.searching import search as search
    from deltarule.seeing import maximize as maximize
    from deltarule.seeing import saliency as saliency
    from deltarule.seeing import top_patches as top_patches
    from deltarule.streaming import Stream as Stream
    from deltarule.transcription import ctc_decode as ctc_decode
    from deltarule.translation import translate as translate
    from deltarule.trials import Trials as Trials
    from deltarule.tuning import sweep as sweep

_LAZY = {"Classifier": "deltarule.estimators", "Regressor": "deltarule.estimators", "Model": "deltarule.model", "load": "deltarule.model",
         "check": "deltarule.preflight", "generate": "deltarule.generation", "saliency": "deltarule.seeing",
         "maximize": "deltarule.seeing", "top_patches": "deltarule.seeing", "translate": "deltarule.translation",
         "Stream": "deltarule.streaming", "write": "deltarule.generation",
         "ctc_decode": "deltarule.transcription", "Ensemble": "deltarule.ensembles", "Trials": "deltarule.trials",
         "sweep": "deltarule.tuning", "search": "deltarule.searching", "LogUniform": "deltarule.searching"}
_MODULES = ("figures", "lessons", "models", "segmentation", "textbook")


def __getattr__(name: str) -> Any:
    """What costs time to import (scikit-learn), and what only some need, is imported when first used."""
    if name in _MODULES:
        return _import_module(f"deltarule.{name}")
    if name in _LAZY:
        return getattr(_import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'deltarule' has no attribute {name!r}")
