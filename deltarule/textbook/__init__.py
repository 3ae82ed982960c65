"""The lectures' equations, forward and backward, in plain NumPy float64: one equation a line, every derivative written out by hand.

To be read in class, and the oracle of the tests. Nothing in the engine imports it.

activations, losses      g and g', loss and dL/dh                                   lecture rows 10, 14, 15
neurons, spiking         perceptron rule, Adaline; integrate-and-fire               rows 1 to 9
network, descent         the four equations of backpropagation; gradient descent    rows 16 to 19
convolution, pooling     the direct sums                                            rows 28 to 30
recurrent, lstm, gru     backpropagation through time                               rows 37 and 38
attention                scaled dot-product and multi-head                          row 39
normalization            batch and layer                                            row 23
"""

from deltarule.textbook.activations import ACTIVATIONS as ACTIVATIONS
from deltarule.textbook.activations import activation as activation
from deltarule.textbook.activations import elu as elu
from deltarule.textbook.activations import elu_prime as elu_prime
from deltarule.textbook.activations import exponential as exponential
from deltarule.textbook.activations import gelu as gelu
from deltarule.textbook.activations import gelu_prime as gelu_prime
from deltarule.textbook.activations import leaky_relu as leaky_relu
from deltarule.textbook.activations import leaky_relu_prime as leaky_relu_prime
from deltarule.textbook.activations import linear as linear
from deltarule.textbook.activations import linear_prime as linear_prime
from deltarule.textbook.activations import log_softmax as log_softmax
from deltarule.textbook.activations import log_softmax_prime as log_softmax_prime
from deltarule.textbook.activations import normal_distribution as normal_distribution
from deltarule.textbook.activations import parametric_relu as parametric_relu
from deltarule.textbook.activations import parametric_relu_prime as parametric_relu_prime
from deltarule.textbook.activations import parametric_relu_slope_prime as parametric_relu_slope_prime
from deltarule.textbook.activations import relu as relu
from deltarule.textbook.activations import relu_prime as relu_prime
from deltarule.textbook.activations import sigmoid as sigmoid
from deltarule.textbook.activations import sigmoid_prime as sigmoid_prime
from deltarule.textbook.activations import sign as sign
from deltarule.textbook.activations import silu as silu
from deltarule.textbook.activations import silu_prime as silu_prime
from deltarule.textbook.activations import softmax as softmax
from deltarule.textbook.activations import softmax_prime as softmax_prime
from deltarule.textbook.activations import softplus as softplus
from deltarule.textbook.activations import softplus_prime as softplus_prime
from deltarule.textbook.activations import step as step
from deltarule.textbook.activations import step_prime as step_prime
from deltarule.textbook.activations import tanh as tanh
from deltarule.textbook.activations import tanh_prime as tanh_prime
from deltarule.textbook.activations import through as through
from deltarule.textbook.attention import AttentionRun as AttentionRun
from deltarule.textbook.attention import MultiHeadRun as MultiHeadRun
from deltarule.textbook.attention import attention_backward as attention_backward
from deltarule.textbook.attention import attention_forward as attention_forward
from deltarule.textbook.attention import multi_head_backward as multi_head_backward
from deltarule.textbook.attention import multi_head_forward as multi_head_forward
from deltarule.textbook.attention import positional_encoding as positional_encoding
from deltarule.textbook.convolution import convolve as convolve
from deltarule.textbook.convolution import convolve_backward as convolve_backward
from deltarule.textbook.descent import Descent as Descent
from deltarule.textbook.descent import descend as descend
from deltarule.textbook.descent import numeric_gradient as numeric_gradient
from deltarule.textbook.gru import GRURun as GRURun
from deltarule.textbook.gru import gru_backward as gru_backward
from deltarule.textbook.gru import gru_forward as gru_forward
from deltarule.textbook.losses import LOSSES as LOSSES
from deltarule.textbook.losses import Loss as Loss
from deltarule.textbook.losses import absolute_error as absolute_error
from deltarule.textbook.losses import absolute_error_prime as absolute_error_prime
from deltarule.textbook.losses import binary_cross_entropy as binary_cross_entropy
from deltarule.textbook.losses import binary_cross_entropy_delta as binary_cross_entropy_delta
from deltarule.textbook.losses import cross_entropy as cross_entropy
from deltarule.textbook.losses import cross_entropy_delta as cross_entropy_delta
from deltarule.textbook.losses import gaussian as gaussian
from deltarule.textbook.losses import gaussian_prime as gaussian_prime
from deltarule.textbook.losses import hinge as hinge
from deltarule.textbook.losses import hinge_prime as hinge_prime
from deltarule.textbook.losses import huber as huber
from deltarule.textbook.losses import huber_prime as huber_prime
from deltarule.textbook.losses import loss as loss
from deltarule.textbook.losses import mean_loss as mean_loss
from deltarule.textbook.losses import perceptron_delta as perceptron_delta
from deltarule.textbook.losses import perceptron_loss as perceptron_loss
from deltarule.textbook.losses import poisson as poisson
from deltarule.textbook.losses import poisson_prime as poisson_prime
from deltarule.textbook.losses import quantile as quantile
from deltarule.textbook.losses import quantile_prime as quantile_prime
from deltarule.textbook.losses import squared_error as squared_error
from deltarule.textbook.losses import squared_error_prime as squared_error_prime
from deltarule.textbook.lstm import LSTMRun as LSTMRun
from deltarule.textbook.lstm import lstm_backward as lstm_backward
from deltarule.textbook.lstm import lstm_forward as lstm_forward
from deltarule.textbook.network import Backward as Backward
from deltarule.textbook.network import Forward as Forward
from deltarule.textbook.network import Layer as Layer
from deltarule.textbook.network import backward as backward
from deltarule.textbook.network import cost as cost
from deltarule.textbook.network import forward as forward
from deltarule.textbook.network import gradient_step as gradient_step
from deltarule.textbook.network import parameters as parameters
from deltarule.textbook.network import with_parameters as with_parameters
from deltarule.textbook.neurons import AdalineRun as AdalineRun
from deltarule.textbook.neurons import PerceptronRun as PerceptronRun
from deltarule.textbook.neurons import adaline as adaline
from deltarule.textbook.neurons import adaline_loss as adaline_loss
from deltarule.textbook.neurons import neuron as neuron
from deltarule.textbook.neurons import perceptron as perceptron
from deltarule.textbook.neurons import perceptron_rule as perceptron_rule
from deltarule.textbook.neurons import perceptron_threshold as perceptron_threshold
from deltarule.textbook.neurons import widrow_hoff as widrow_hoff
from deltarule.textbook.normalization import NormRun as NormRun
from deltarule.textbook.normalization import batch_norm as batch_norm
from deltarule.textbook.normalization import batch_norm_predict as batch_norm_predict
from deltarule.textbook.normalization import layer_norm as layer_norm
from deltarule.textbook.normalization import norm_backward as norm_backward
from deltarule.textbook.normalization import running_statistics as running_statistics
from deltarule.textbook.pooling import average_pool as average_pool
from deltarule.textbook.pooling import average_pool_backward as average_pool_backward
from deltarule.textbook.pooling import global_average_pool as global_average_pool
from deltarule.textbook.pooling import global_average_pool_backward as global_average_pool_backward
from deltarule.textbook.pooling import max_pool as max_pool
from deltarule.textbook.pooling import max_pool_backward as max_pool_backward
from deltarule.textbook.recurrent import RNNRun as RNNRun
from deltarule.textbook.recurrent import rnn_backward as rnn_backward
from deltarule.textbook.recurrent import rnn_forward as rnn_forward
from deltarule.textbook.spiking import Spikes as Spikes
from deltarule.textbook.spiking import SpikingNeuron as SpikingNeuron
from deltarule.textbook.spiking import firing_rate as firing_rate
from deltarule.textbook.spiking import simulate as simulate
from deltarule.textbook.windows import output_size as output_size
