"""Ready networks of the lectures and of the papers behind them: each function returns a `Network` that is to be trained."""

from deltarule.models.captioning import captioner as captioner
from deltarule.models.convolutional import convnet as convnet
from deltarule.models.convolutional import lenet5 as lenet5
from deltarule.models.perceptron import mlp as mlp
from deltarule.models.residual import resnet as resnet
from deltarule.models.segmentation import unet as unet
from deltarule.models.transformer import language_model as language_model
from deltarule.models.transformer import sequence_classifier as sequence_classifier
from deltarule.models.transformer import transformer as transformer
