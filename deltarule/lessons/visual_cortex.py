"""Oriented filters, as in the visual cortex, appear by themselves in the first layer of a trained network.

Simple cells in V1, the first area of the visual cortex, answer to edges and bars of one orientation at one place (Hubel and Wiesel
1959). Their receptive fields are well described by Gabor functions, a wave under a Gaussian (Jones and Palmer 1987). A convolutional
network that learns to tell orientations starts from random weights, and nobody tells it what a filter should look like.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (9,)
EQUATIONS = ("a[p, q, c] = sum_ij W[i, j, c] x[p + i, q + j] + b[c],   h = relu(a)      one filter, every place",
             "Gabor: A exp(-u^2 / (2 s_u^2) - v^2 / (2 s_v^2)) cos(2 pi f u + phi),   u and v along and across the wave")
PARTS = ("dr.Conv2D", "dr.GlobalAveragePool", "dr.Network.fit", "dr.Network.trace", "dr.figures.image_grid")

SIZE, FILTERS, SIDE, ORIENTATIONS, NOISE = 7, 8, 13, 8, 0.5
STARTS = [(width, phase) for width in (1.5, 3.0) for phase in (0.0, np.pi / 2)]     # from which a Gabor function is fitted


def teach(board: Board) -> None:
    """Train on edges and bars, then describe the filters by Gabor functions and by their answers to gratings."""
    x, y = scenes(1200, seed=0)
    board.say(f"The task: images of {SIDE} x {SIDE} pixels hold an edge or a bar, dark or bright, somewhere, under noise; "
              f"which of {ORIENTATIONS} orientations has it? The network: {FILTERS} filters of {SIZE} x {SIZE}, slid over "
              "the image, ReLU, the mean over all places, and a softmax.")
    layers = [dr.Conv2D(FILTERS, SIZE, "relu", weights=dr.initializers.Normal(1 / SIZE)), dr.GlobalAveragePool(),
              dr.Dense(ORIENTATIONS, "softmax")]
    net = dr.Network(layers, input_shape=(SIDE, SIDE, 1), seed=0)
    before = images(net)
    net.fit(x, y, optimizer=dr.Adam(0.005), epochs=20, batch_size=50, l2=0.003, progress=False)
    board.number("accuracy on new images", net.evaluate(*scenes(500, seed=1))["accuracy"], at_least(0.85))
    after = images(net)

    board.say("To each filter a Gabor function is fitted by least squares, in the same way to the trained filters and to "
              "the random ones before training. The share explained is 1 - (sum of squared errors) / (sum of squared "
              "weights). A Gabor function has 8 numbers, a filter 49: it explains something even of noise.")
    trained, random = [fit_gabor(W) for W in after], [fit_gabor(W) for W in before]
    shares = {"trained": np.array([share for share, _ in trained]), "random": np.array([share for share, _ in random])}
    board.table(["share explained", *(f"{c}" for c in range(FILTERS)), "mean"],
                [[name, *(f"{value:.2f}" for value in values), f"{values.mean():.2f}"] for name, values in shares.items()])
    board.number("explained by Gabor functions, mean of the random filters", shares["random"].mean(), at_most(0.5))
    board.number("the same for the trained filters", shares["trained"].mean(), at_least(2 * float(shares["random"].mean())))
    good = np.flatnonzero(shares["trained"] > 0.9)
    board.number("trained filters of which more than 90% is explained, of 8", len(good), at_least(4))
    board.number("random filters of which more than 90% is explained, of 8", int(np.sum(shares["random"] > 0.9)), equals(0))

    board.say("As in the laboratory, gratings of all directions are shown to the network; the direction across the stripes "
              "that excites a filter most is its preferred one. It should be that of the wave in the filter's Gabor "
              "function.")
    angles, curves = tuning(net)
    fitted = np.array([np.degrees(parameters[3]) % 180 for _, parameters in trained])
    preferred = angles[curves.argmax(axis=0)]
    apart = np.abs((preferred - fitted + 90) % 180 - 90)
    board.table(["filter", "preferred (degrees)", "of its Gabor function"],
                [[str(c), float(preferred[c]), round(float(fitted[c]), 1)] for c in good])
    board.number("they differ by at most, in degrees", float(apart[good].max()), at_most(15))
    board.say("The others found patterns of their own, which no Gabor function describes so well. Nothing but the task, "
              "telling orientations apart, has made the filters what they are.")
    board.figure("filters", draw_filters(before, after, trained),
                 "filters before training, after it, and the Gabor functions fitted to those")
    board.figure("tuning", draw_tuning(angles, curves, good),
                 "how strongly each filter answers to a grating, over the grating's direction")


def scenes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges and bars (n, SIDE, SIDE, 1) and the number of their orientation (n,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, ORIENTATIONS, n)
    distance = across(np.pi * y / ORIENTATIONS, SIDE) - rng.uniform(-3, 3, n)[:, None, None]
    bar = rng.uniform(size=n)[:, None, None] < 0.5
    shape = np.where(bar, np.abs(distance) < 1, (distance > 0) - 0.5)
    return (shape * rng.choice([-1, 1], n)[:, None, None] + NOISE * rng.normal(size=distance.shape))[..., None], y


def across(angles: np.ndarray, side: int) -> np.ndarray:
    """For each angle the distance of every pixel from the line through the middle whose normal has this angle: (n, side, side)."""
    places = np.arange(side) - side // 2
    return places[None, None, :] * np.cos(angles)[:, None, None] + places[None, :, None] * np.sin(angles)[:, None, None]


def images(net: dr.Network) -> np.ndarray:
    """The filters as small images (FILTERS, SIZE, SIZE), each scaled to the largest weight 1."""
    W = np.moveaxis(np.asarray(net.params["conv2d_1"]["weights"], float)[:, :, 0], -1, 0)
    return W / np.abs(W).max(axis=(1, 2), keepdims=True)


def gabor(A: float, x_0: float, y_0: float, angle: float, s_u: float, s_v: float, f: float, phi: float) -> np.ndarray:
    """The Gabor function of the equation above, with its middle at x_0, y_0, on SIZE x SIZE pixels."""
    places = np.arange(SIZE) - SIZE // 2
    X, Y = places[None, :] - x_0, places[:, None] - y_0
    u, v = X * np.cos(angle) + Y * np.sin(angle), Y * np.cos(angle) - X * np.sin(angle)
    return A * np.exp(-u ** 2 / (2 * s_u ** 2) - v ** 2 / (2 * s_v ** 2)) * np.cos(2 * np.pi * f * u + phi)


def fit_gabor(W: np.ndarray) -> tuple[float, np.ndarray]:
    """The share of sum W^2 that the best Gabor function explains, and its parameters; the search starts at the peak of the spectrum."""
    from scipy.optimize import least_squares

    spectrum = np.abs(np.fft.fft2(W, (32, 32)))
    spectrum[:, 17:] = 0                                                                # the mirrored half
    i, j = np.unravel_index(spectrum.argmax(), spectrum.shape)
    f_y, f_x = np.fft.fftfreq(32)[[i, j]]
    low, high = [0, -3, -3, -9, 0.7, 0.7, 0.03, -9], [9, 3, 3, 9, 6, 6, 0.75, 9]
    starts = [[1, 0, 0, np.arctan2(f_y, f_x), width, width, max(np.hypot(f_x, f_y), 0.06), phase] for width, phase in STARTS]
    found = [least_squares(lambda p: (gabor(*p) - W).ravel(), start, bounds=(low, high), max_nfev=60) for start in starts]
    best = min(found, key=lambda run: run.cost)
    return float(1 - 2 * best.cost / np.sum(W ** 2)), best.x


def tuning(net: dr.Network) -> tuple[np.ndarray, np.ndarray]:
    """Angles in degrees (36,), and the mean answer of every filter to gratings of each (36, FILTERS), over wave lengths and phases."""
    angles = np.arange(0, 180, 5)
    distance = across(np.radians(angles), SIDE)
    total = np.zeros((len(angles), FILTERS))
    for wavelength in (6, 9, 12):
        for phase in np.arange(4) * np.pi / 2:
            gratings = np.cos(2 * np.pi * distance / wavelength + phase)
            total += net.trace(gratings[..., None])["conv2d_1"].activation.mean(axis=(1, 2))
    return angles, total / total.max(axis=0)


def draw_filters(before: np.ndarray, after: np.ndarray, trained: list[tuple[float, np.ndarray]]) -> Any:
    """Three rows of small images."""
    fits = np.array([gabor(*parameters) for _, parameters in trained])
    titles = [f"{when} {c}" for when in ("random", "trained") for c in range(FILTERS)] + [f"Gabor, {share:.0%}" for share, _ in trained]
    return dr.figures.image_grid(np.concatenate([before, after, fits]), titles, columns=FILTERS, size=0.95, label="weight")


def draw_tuning(angles: np.ndarray, curves: np.ndarray, good: np.ndarray) -> Any:
    """Tuning curves of the filters that are Gabor functions."""
    from matplotlib import colormaps

    fig, (ax,) = dr.figures.panels(width=6.4, height=3.4)
    for order, c in enumerate(sorted(good, key=lambda c: curves[:, c].argmax())):
        ax.plot(angles, curves[:, c], color=colormaps["viridis"](0.9 * order / len(good)), linewidth=1.8, label=f"filter {c}")
    ax.set_xlabel("direction across the stripes of the grating (degrees)")
    ax.set_ylabel("mean answer, largest = 1")
    ax.set_xticks(range(0, 181, 45))
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig
