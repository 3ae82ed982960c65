"""C++ kernels behind the mathematics of `ops`, called from compiled programs through XLA's foreign function interface. Optional."""

from deltarule.kernels.building import kernels as kernels
from deltarule.kernels.convolution import WINDOW as WINDOW
from deltarule.kernels.convolution import Geometry as Geometry
from deltarule.kernels.convolution import backward as backward
from deltarule.kernels.convolution import forward as forward
from deltarule.kernels.convolution import multiply_adds as multiply_adds
