"""Figures of networks and of what they learn: each function returns a matplotlib figure, `save` writes it as SVG or PNG."""

from deltarule.figures.attended import attended as attended
from deltarule.figures.attention import attention as attention
from deltarule.figures.bend import bending as bending
from deltarule.figures.diagram import network as network
from deltarule.figures.fitted import fit_with_units as fit_with_units
from deltarule.figures.functions import activations as activations
from deltarule.figures.functions import neuron as neuron
from deltarule.figures.images import augmented as augmented
from deltarule.figures.images import image_grid as image_grid
from deltarule.figures.maps import feature_maps as feature_maps
from deltarule.figures.maps import filters as filters
from deltarule.figures.maps import receptive_field as receptive_field
from deltarule.figures.maps import saliency as saliency
from deltarule.figures.recurrent import gates as gates
from deltarule.figures.recurrent import gradient_lag as gradient_lag
from deltarule.figures.regions import decision_regions as decision_regions
from deltarule.figures.saving import save as save
from deltarule.figures.surface import loss_surface as loss_surface
from deltarule.glass import evaluation as _evaluation
from deltarule.glass import style as _style
from deltarule.glass.curves import learning_curves as learning_curves

calibration = _evaluation.calibration_figure
confusion = _evaluation.confusion_figure
precision_recall = _evaluation.precision_recall_figure
roc = _evaluation.roc_figure
panels = _style.figure
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = _style.COLOURS[:7]
