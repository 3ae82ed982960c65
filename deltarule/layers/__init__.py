"""What a network is made of: one layer is one equation."""

from deltarule.layers.activation import Activation as Activation
from deltarule.layers.activation import LeakyReLU as LeakyReLU
from deltarule.layers.activation import ParametricReLU as ParametricReLU
from deltarule.layers.composition import Parallel as Parallel
from deltarule.layers.composition import Residual as Residual
from deltarule.layers.composition import Sequential as Sequential
from deltarule.layers.dense import Dense as Dense
from deltarule.layers.dropout import Dropout as Dropout
from deltarule.layers.layer import Layer as Layer
from deltarule.layers.normalization import BatchNorm as BatchNorm
from deltarule.layers.normalization import LayerNorm as LayerNorm
from deltarule.layers.reshape import Flatten as Flatten
from deltarule.layers.scope import Scope as Scope
