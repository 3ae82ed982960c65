"""C++ kernels behind the mathematics of `ops`, called from compiled programs through XLA's foreign function interface. Optional."""

from deltarule.kernels.adam import adam_direction as adam_direction
from deltarule.kernels.attention import attention_backward as attention_backward
from deltarule.kernels.attention import attention_forward as attention_forward
from deltarule.kernels.attention import attention_onward as attention_onward
from deltarule.kernels.building import DENSE as DENSE
from deltarule.kernels.building import kernels as kernels
from deltarule.kernels.convolution import ACTIVATIONS as ACTIVATIONS
from deltarule.kernels.convolution import WINDOW as WINDOW
from deltarule.kernels.convolution import Geometry as Geometry
from deltarule.kernels.convolution import backward as backward
from deltarule.kernels.convolution import forward as forward
from deltarule.kernels.counting import multiply_adds as multiply_adds
from deltarule.kernels.dense import BENT as BENT
from deltarule.kernels.dense import dense_row as dense_row
from deltarule.kernels.normalization import norm_backward as norm_backward
from deltarule.kernels.normalization import norm_forward as norm_forward
from deltarule.kernels.pooling import Geometry as PoolGeometry
from deltarule.kernels.pooling import pool_backward as pool_backward
from deltarule.kernels.pooling import pool_forward as pool_forward
from deltarule.kernels.recurrent import recurrent_backward as recurrent_backward
from deltarule.kernels.recurrent import recurrent_forward as recurrent_forward
from deltarule.kernels.rows import gelu_backward as gelu_backward
from deltarule.kernels.rows import gelu_forward as gelu_forward
from deltarule.kernels.rows import layer_norm_backward as layer_norm_backward
from deltarule.kernels.rows import layer_norm_forward as layer_norm_forward
from deltarule.kernels.taking import take_rows as take_rows

__all__ = ["ACTIVATIONS", "BENT", "DENSE", "WINDOW", "Geometry", "PoolGeometry", "adam_direction", "attention_backward",
           "attention_forward", "attention_onward", "backward", "dense_row", "forward", "gelu_backward", "gelu_forward", "kernels",
           "layer_norm_backward", "layer_norm_forward", "multiply_adds", "norm_backward", "norm_forward", "pool_backward", "pool_forward",
           "recurrent_backward", "recurrent_forward", "take_rows"]
