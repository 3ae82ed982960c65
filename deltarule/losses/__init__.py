"""Losses: how wrong a prediction is, one number for each row; training minimises their mean over the batch.

With a softmax or sigmoid output the loss is worked out on the pre-activation a (log-sum-exp), so that nothing
overflows and the output delta dL/da of a cross-entropy is exactly y_hat - y. Targets are compared with the outputs exactly,
before the first step: a shape that would broadcast is an error.
"""

from deltarule.losses.base import LOSSES as LOSSES
from deltarule.losses.base import Loss as Loss
from deltarule.losses.base import Output as Output
from deltarule.losses.base import loss as loss
from deltarule.losses.base import name_of as name_of
from deltarule.losses.classes import BinaryCrossEntropy as BinaryCrossEntropy
from deltarule.losses.classes import CrossEntropy as CrossEntropy
from deltarule.losses.classes import Hinge as Hinge
from deltarule.losses.classes import Perceptron as Perceptron
from deltarule.losses.numbers import AbsoluteError as AbsoluteError
from deltarule.losses.numbers import Gaussian as Gaussian
from deltarule.losses.numbers import Huber as Huber
from deltarule.losses.numbers import Poisson as Poisson
from deltarule.losses.numbers import Quantile as Quantile
from deltarule.losses.numbers import SquaredError as SquaredError
from deltarule.losses.overlap import Combined as Combined
from deltarule.losses.overlap import Dice as Dice
from deltarule.losses.overlap import Jaccard as Jaccard
from deltarule.losses.overlap import Overlap as Overlap
from deltarule.losses.transcription import CTC as CTC

LOSSES.update({
    "squared_error": SquaredError(), "mean_squared_error": SquaredError(), "mse": SquaredError(),
    "sum_squared_error": SquaredError("sum"), "quadratic": SquaredError("half"),
    "absolute_error": AbsoluteError(), "mean_absolute_error": AbsoluteError(), "mae": AbsoluteError(),
    "huber": Huber(), "quantile": Quantile(), "poisson": Poisson(), "gaussian": Gaussian(),
    "cross_entropy": CrossEntropy(), "binary_cross_entropy": BinaryCrossEntropy(), "hinge": Hinge(), "perceptron": Perceptron(),
    "ctc": CTC(), "dice": Dice(), "jaccard": Jaccard(), "iou": Jaccard(),
    "binary_cross_entropy_dice": Combined((BinaryCrossEntropy(), Dice())),
})
