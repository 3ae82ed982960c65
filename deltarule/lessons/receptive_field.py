"""Receptive fields: how much of the image does a unit see?

A unit of a dense layer sees everything, a unit of a convolutional layer only the window beneath its kernel. But its neighbours in the layer
before have windows of their own, so that the region of the image on which it depends grows with every layer; a stride or a pooling layer
multiplies the growth of all that follow, and a dilated kernel, with gaps between its values, reaches farther with no more weights.
The size follows from the layers, and can be measured: it is where the gradient of the unit is not zero.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, equals, near

ROWS = (31,)
EQUATIONS = ("size:    r_l = r_(l-1) + (D_l (k_l - 1)) j_(l-1),   r_0 = 1",
             "stride:  j_l = j_(l-1) S_l,   j_0 = 1      how far the field moves from one unit to the next",
             "middle:  c_l = c_(l-1) + (D_l (k_l - 1) / 2 - P_l) j_(l-1),   c_0 = 0",
             "measured:  { i : da[unit] / dx[i] != 0 }  for weights with which nothing cancels")
PARTS = ("dr.Network.receptive_field", "dr.figures.receptive_field", "dr.Network.summary", "dr.Conv2D", "dr.MaxPool2D")

NETWORKS: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "two convolutions 3 x 3": ([dr.Conv2D(4, 3, "relu"), dr.Conv2D(4, 3, "relu")], (16, 16, 1)),
    "stride 2": ([dr.Conv2D(4, 3, "relu", stride=2), dr.Conv2D(4, 3, "relu")], (16, 16, 1)),
    "max pooling": ([dr.Conv2D(4, 5, "relu"), dr.MaxPool2D(2), dr.Conv2D(4, 3)], (20, 20, 1)),
    "padding": ([dr.Conv2D(4, 5, "relu", padding="same"), dr.Conv2D(4, (1, 3), padding="same")], (14, 14, 1)),
    "dilation 1, 2, 4": ([dr.Conv2D(4, 3, "tanh", dilation=D) for D in (1, 2, 4)], (20, 20, 1)),
    "residual": ([dr.Conv2D(4, 3), dr.Residual(dr.Sequential((dr.Conv2D(4, 3, "relu", padding="same"),) * 2))], (14, 14, 1)),
    "up again": ([dr.Conv2D(4, 3, stride=2), dr.ConvTranspose2D(2, 3, stride=2), dr.Conv2D(1, 3)], (15, 15, 1)),
    "sequence": ([dr.Conv1D(4, 3, "relu")] * 3, (31, 1)),
    "volume": ([dr.Conv3D(2, 3, "relu"), dr.AveragePool3D(2)], (8, 8, 8, 1)),
    "dense": ([dr.Conv2D(2, 3), dr.Flatten(), dr.Dense(3)], (8, 8, 1))}


def teach(board: Board) -> None:
    """The field by the formula and by the gradient, how it grows, what dilation does, and that it is not used evenly."""
    _equal(board)
    _growth(board)
    _dilation(board)
    _effective(board)


def _equal(board: Board) -> None:
    board.say("The field of a unit of the last layer, worked out from the layers, and measured: for random positive weights, the pixels at "
              "which the gradient of the unit is not zero. Three units of each network are tried, two of them at the border.")
    rows, equal = [], []
    for name, (layers, shape) in NETWORKS.items():
        field = dr.Network(layers, shape).receptive_field("")
        units = {tuple(0 for _ in field.units), field.unit(), tuple(n - 1 for n in field.units)}
        measured = {unit: field.measured(unit) for unit in units}
        equal.append(all(np.array_equal(field.pixels(unit), seen) for unit, seen in measured.items()))
        pixels = int(measured[field.unit()].sum())
        rows.append([name, *(" x ".join(f"{v:g}" for v in values) for values in (field.size, field.stride, field.start)), pixels])
    board.table(["network", "size", "stride", "middle of the first", "pixels measured, unit in the middle"], rows)
    board.number("analytic and measured field are equal, pixel for pixel", equal, equals([True] * len(NETWORKS)))
    field = dr.Network([dr.Conv1D(1, 3)] * 3, (31, 1)).receptive_field("conv1d_3")
    board.number("the lecture's three layers with kernel 3 see", field.size[0], equals(7))


def _growth(board: Board) -> None:
    layers: list[Any] = [dr.Conv2D(4, 3, padding="same")] * 5
    plain = dr.Network(layers, (64, 64, 1))
    pooled = dr.Network([layer for conv in layers for layer in (conv, dr.MaxPool2D(2))], (64, 64, 1))
    sizes = [[net.receptive_field(f"conv2d_{l}").size[0] for l in range(1, 6)] for net in (plain, pooled)]
    board.say("Five convolutions of 3 x 3, alone and with pooling between them: the size grows by 2 a layer, or its growth doubles each "
              "time.")
    board.table(["convolution", "alone", "with pooling"], [[l + 1, *both] for l, both in enumerate(zip(*sizes, strict=True))])
    board.number("sizes alone", sizes[0], equals([3, 5, 7, 9, 11]))
    board.number("sizes with pooling", sizes[1], equals([3, 8, 18, 38, 78]))


def _dilation(board: Board) -> None:
    nets = {name: dr.Network([dr.Conv2D(1, 3, dilation=D) for D in dilations], (31, 31, 1))
            for name, dilations in {"1, 1, 1": (1, 1, 1), "1, 2, 4": (1, 2, 4), "2, 4, 8": (2, 4, 8), "4, 4, 4": (4, 4, 4)}.items()}
    rows = []
    for name, net in nets.items():
        field = net.receptive_field("conv2d_3")
        rows.append([name, net.summary().parameters, field.size[0], int(field.measured().sum()), field.size[0] ** 2])
    board.say("Three layers with as many weights and other dilations. A dilated kernel reaches farther for nothing; but where all "
              "dilations share a divisor there are pixels between those that are seen, which the unit never looks at.")
    board.table(["dilations", "parameters", "size", "pixels seen", "pixels in the box"], rows)
    board.number("size of the field by dilations", [row[2] for row in rows], equals([7, 15, 29, 25]))
    board.number("pixels that are seen", [row[3] for row in rows], equals([49, 225, 225, 49]))
    board.number("the numbers of parameters are equal", len({row[1] for row in rows}), equals(1))
    board.figure("dilation", _dilated(nets), "pixels that one unit sees through three layers, for dilations 1, 2, 4 and 2, 4, 8: the box "
                 "is larger, and every second row and column is missing")


def _effective(board: Board) -> None:
    board.say("Not all of the field counts alike: many ways lead from the middle to the unit, and only one from a corner. The gradient, "
              "averaged over random networks, falls off from the middle like a Gaussian (Luo et al. 2016), whose width grows "
              "only as the square root of the depth.")
    x, powers = np.zeros((1, 33, 33, 1)), []
    for depth in (4, 8):
        layers = [dr.Conv2D(8, 3, padding="same")] * depth
        fields = [dr.Network(layers, (33, 33, 1), seed=seed).receptive_field(f"conv2d_{depth}") for seed in range(16)]
        powers.append(np.mean([field.effective(x) ** 2 for field in fields], axis=0))
    widths = [float(np.sqrt(np.sum(power * (np.mgrid[:33, :33][0] - 16) ** 2) / power.sum())) for power in powers]
    board.say("For random weights the squares of the gradient spread like a walk with steps of -1, 0 and 1: their variance is 2/3 a layer.")
    board.table(["layers", "size of the field", "width of the Gaussian", "sqrt(2/3 layers)"],
                [[depth, 2 * depth + 1, width, np.sqrt(2 / 3 * depth)] for depth, width in zip((4, 8), widths, strict=True)])
    for depth, width in zip((4, 8), widths, strict=True):
        board.number(f"width after {depth} layers", width, near(round(float(np.sqrt(2 / 3 * depth)), 3), 0.25))
    board.number("width, 8 layers over 4, while the size grows by 1.89", widths[1] / widths[0], near(round(np.sqrt(2), 3), 0.15))
    board.number("the middle 3 x 3 pixels hold, over what they would evenly", powers[1][15:18, 15:18].sum() / powers[1].sum() / (9 / 289),
                 at_least(2))
    board.figure("effective", _gaussians(powers), "the gradient of one unit, root mean square over 16 random networks, four and eight "
                 "layers up: within its field, the frame, the middle counts most")


def _gaussians(powers: list[np.ndarray]) -> Any:
    from matplotlib.patches import Rectangle

    fig, axes = dr.figures.panels(columns=2, width=4.0, height=3.2)
    for ax, power, depth in zip(axes, powers, (4, 8), strict=True):
        ax.grid(visible=False)
        drawn = ax.imshow(np.sqrt(power / power.max()), cmap="viridis", vmin=0, vmax=1)
        ax.add_patch(Rectangle((15.5 - depth, 15.5 - depth), 2 * depth + 1, 2 * depth + 1, fill=False, edgecolor=dr.figures.RED,
                               linewidth=1.6))
        ax.set_title(f"{depth} layers of 3 x 3", fontsize=10)
        ax.set_xlabel("pixel across")
        ax.set_ylabel("pixel down")
    fig.colorbar(drawn, ax=axes).set_label("gradient, largest = 1", fontsize=9)
    return fig


def _dilated(nets: dict[str, dr.Network]) -> Any:
    fig, axes = dr.figures.panels(columns=2, width=3.6, height=3.4)
    for ax, name in zip(axes, ("1, 2, 4", "2, 4, 8"), strict=True):
        dr.figures.receptive_field(nets[name].receptive_field("conv2d_3"), ax=ax)
        ax.set_title(f"dilations {name}", fontsize=10)
    return fig
