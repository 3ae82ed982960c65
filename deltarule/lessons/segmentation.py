"""Atoms in microscope images: a U-Net gives every pixel a class, and connected components make single atoms of it.

Semantic segmentation asks of every pixel what it shows; instance segmentation, which pixels belong to one object. An electron
microscope shows columns of atoms as bright spots, heavy ones brighter than light ones, under noise and on an uneven background.
A U-Net looks at the image at several sizes, small for what stands around a pixel and large for its exact place (Ronneberger et al. 2015).
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most

ROWS = (35,)
EQUATIONS = ("IoU = |A and B| / |A or B|,   Dice = 2 |A and B| / (|A| + |B|)      A the true region, B the predicted",
             "soft Dice loss = 1 - (2 sum p t + 1) / (sum p^2 + sum t^2 + 1),   p = sigmoid(a), t = 0 or 1",
             "loss of an image = mean over pixels of the cross-entropy + soft Dice loss")
PARTS = ("dr.models.unet", "dr.data.atoms", "dr.losses.Combined", "dr.losses.Dice", "dr.metrics.iou",
         "dr.segmentation.instances", "dr.segmentation.match")

SIZE, WITHIN, BORDER, SMALLEST = 64, 2.0, 2.0, 10       # pixels
FILTERS, HALVINGS, EPOCHS = 8, 2, 8


def teach(board: Board) -> None:
    """Train on generated images, and find the atoms of new ones; the same by a threshold, and by a filter for spots."""
    train, test = dr.data.atoms(400, size=SIZE, seed=0), dr.data.atoms(100, size=SIZE, seed=1)
    net = dr.models.unet((SIZE, SIZE, 1), classes=1, depth=HALVINGS, width=FILTERS, output="sigmoid", seed=0)
    board.say(f"{len(train)} images of {SIZE} x {SIZE} pixels to learn from, {len(test)} others with {sum(map(len, test.centres)):,} atoms "
              f"to be found; every image has a lattice, an orientation, defects and a background of its own. The U-Net halves the image "
              f"{HALVINGS} times and has {net.summary().parameters:,} weights.")
    net.fit(train.x, train.y, loss="binary_cross_entropy_dice", optimizer=dr.Adam(dr.OneCycle(0.01)), epochs=EPOCHS, batch_size=8,
            metrics="iou", progress=False)
    probability = net.predict(test.x)[..., 0]
    found = {"U-Net, components": dr.segmentation.instances(probability, "components", min_size=SMALLEST),
             "U-Net, watershed": dr.segmentation.instances(probability, "watershed", min_size=SMALLEST),
             "true masks, components": dr.segmentation.instances(test.y, "components"),
             "true masks, watershed": dr.segmentation.instances(test.y, "watershed")}
    bright = test.x[..., 0] > np.array([otsu(image) for image in test.x])[:, None, None]
    spots, (narrow, wide, least) = best_spots(train.subset(range(60)), test)
    found |= {"threshold, components": dr.segmentation.instances(bright, "components", min_size=SMALLEST), "filter for spots": spots}

    board.say("Semantic: each pixel is an atom or not. Beside the network stands the threshold that divides the grey values of an image "
              "best into two groups (Otsu 1979).")
    board.number("IoU of the threshold, all pixels of the new images together", dr.metrics.iou(test.y, bright), at_most(0.5))
    board.number("IoU of the U-Net", dr.metrics.iou(test.y, probability > 0.5), at_least(0.8))
    board.number("Dice of the U-Net", dr.metrics.dice(test.y, probability > 0.5), at_least(0.85))

    board.say(f"Instances: connected pixels are one atom, and where atoms touch the watershed of the distance to the background takes "
              f"them apart. A found atom is right if it is paired, one to one, with a true one at most {WITHIN:g} pixels away; what "
              f"lies within {BORDER:g} pixels of the edge is not counted. A stronger rival without a network is a filter that answers to "
              f"spots, the difference of two Gaussian blurs ({narrow:g} and {wide:g} pixels), and its maxima above {least:g}: of "
              "24 settings the one that does best on training images. The true masks show what the step from pixels to atoms alone costs.")
    scores = {name: match(centres, test.centres) for name, centres in found.items()}
    board.table(["method", "atoms found", "of those found, true", "mean distance (pixels)"],
                [[name, f"{score.recall:.1%}", f"{score.precision:.1%}", f"{score.mean_distance:.2f}"] for name, score in scores.items()])
    best, rival = scores["U-Net, watershed"], scores["filter for spots"]
    board.number("share of the atoms that is found", best.recall, at_least(0.98))
    board.number("share of the found that is no atom", 1 - best.precision, at_most(0.02))
    board.number("atoms found in the true masks by the watershed", scores["true masks, watershed"].recall, at_least(0.998))
    board.number("atoms lost there without it, relative to with", (1 - scores["true masks, components"].recall)
                 / (1 - scores["true masks, watershed"].recall), at_least(5))
    board.number("mean distance from the true place, in pixels", best.mean_distance, at_most(0.5))
    board.number("atoms missed by the filter for spots, relative to the U-Net", (1 - rival.recall) / (1 - best.recall), at_least(2))
    board.number("atoms missed by the threshold, relative to the U-Net", (1 - scores["threshold, components"].recall) / (1 - best.recall),
                 at_least(10))
    board.say("The filter knows what a spot is, and a person chose it. The network was shown nothing but examples; what it makes of a "
              "faint spot depends on all that stands within some twenty pixels of it. Where it fails is drawn as well.")
    objects = found["U-Net, watershed"]
    board.figure("atoms", draw(test, probability, objects, 0), "an image, its true atoms, the probability in each pixel, the atoms found")
    board.figure("failures", draw_failures(test, objects),
                 "the four images with most mistakes away from the edge: missed atoms (cross), and atoms found where none are (triangle)")


def otsu(image: np.ndarray) -> float:
    """The threshold t for which the variance between the two groups, n_0 n_1 (m_0 - m_1)^2, is largest."""
    values = np.sort(image.ravel())
    n_0 = np.arange(1, len(values))
    sums = np.cumsum(values)
    m_0, m_1 = sums[:-1] / n_0, (sums[-1] - sums[:-1]) / (len(values) - n_0)
    return float(values[np.argmax(n_0 * (len(values) - n_0) * (m_0 - m_1) ** 2)])


def filtered(images: np.ndarray, narrow: float, wide: float) -> np.ndarray:
    """The difference of two Gaussian blurs of images (n, height, width): large in the middle of bright spots."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(images, (0, narrow, narrow)) - gaussian_filter(images, (0, wide, wide)))


def maxima(answers: np.ndarray, least: float) -> list[np.ndarray]:
    """The places (m, 2) in each image (n, height, width) that are the largest of the 5 x 5 around them, and larger than `least`."""
    from scipy.ndimage import maximum_filter

    highest = (answers == maximum_filter(answers, (0, 5, 5))) & (answers > least)
    return [np.argwhere(image).astype(float) for image in highest]


def best_spots(train: Any, test: Any) -> tuple[list[np.ndarray], tuple[float, float, float]]:
    """The maxima of the filtered test images, with the settings that do best on the training images, and those settings."""
    best, settings = -1.0, (1.0, 3.0, 0.2)
    for narrow in (1.0, 1.4):
        for wide in (3.0, 4.0):
            answers = filtered(train.x[..., 0], narrow, wide)
            for least in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35):
                score = match(maxima(answers, least), train.centres)
                if min(score.recall, score.precision) > best:
                    best, settings = min(score.recall, score.precision), (narrow, wide, least)
    return maxima(filtered(test.x[..., 0], *settings[:2]), settings[2]), settings


def match(found: Any, true: Any) -> Any:
    """Pairs of found and true atoms, without those at the edge."""
    return dr.segmentation.match(found, true, WITHIN, border=BORDER, shape=(SIZE, SIZE))


def draw(test: Any, probability: np.ndarray, objects: Any, i: int) -> Any:
    """Four panels of one image."""
    from matplotlib.colors import ListedColormap

    fig, axes = dr.figures.panels(4, width=2.7, height=3.0)
    colours = ListedColormap(["white", *[dr.figures.BLUE, dr.figures.ORANGE, dr.figures.SKY, dr.figures.YELLOW, dr.figures.GREEN] * 50])
    for ax, title in zip(axes, ("image", "true atoms", "probability", "found, one colour each"), strict=True):
        ax.set_title(title, fontsize=10)
    axes[0].imshow(test.x[i, :, :, 0], cmap="gray")
    axes[1].imshow(test.y[i], cmap="Greys", vmin=0, vmax=1.6)
    image = axes[2].imshow(probability[i], cmap="viridis", vmin=0, vmax=1)
    fig.colorbar(image, ax=axes[2], orientation="horizontal", shrink=0.8, pad=0.02).ax.tick_params(labelsize=8)
    axes[3].imshow(objects[i].labels, cmap=colours, vmin=0, vmax=250, interpolation="nearest")
    for ax, centres in ((axes[1], test.centres[i]), (axes[3], objects[i].centres)):
        ax.plot(centres[:, 1], centres[:, 0], "k.", markersize=3)
    return plain(fig, axes)


def draw_failures(test: Any, objects: Any) -> Any:
    """The images with most mistakes, with the truth marked."""
    mistakes = []
    for found, true in zip(objects, test.centres, strict=True):
        score = match([found], [true])
        mistakes.append(score.found - score.right + score.true - score.seen)
    fig, axes = dr.figures.panels(4, width=2.7, height=3.1)
    for ax, i in zip(axes, np.argsort(mistakes)[::-1], strict=False):
        pairs = match([objects[i]], [test.centres[i]]).pairs[0]
        missed, wrong = (inside(np.delete(centres, paired, axis=0)) for centres, paired in
                         ((test.centres[i], pairs[:, 1]), (objects[i].centres, pairs[:, 0])))
        ax.imshow(test.x[i, :, :, 0], cmap="gray")
        ax.plot(missed[:, 1], missed[:, 0], "x", color=dr.figures.ORANGE, markersize=8, markeredgewidth=2)
        ax.plot(wrong[:, 1], wrong[:, 0], "^", color=dr.figures.SKY, markersize=8, markerfacecolor="none", markeredgewidth=2)
        ax.set_title(f"{len(inside(test.centres[i]))} atoms, {len(missed)} missed, {len(wrong)} wrong", fontsize=9)
    return plain(fig, axes)


def inside(centres: np.ndarray) -> np.ndarray:
    """The centres that are counted: those away from the edge."""
    return centres[((centres >= BORDER - 0.5) & (centres <= SIZE - 0.5 - BORDER)).all(axis=1)]


def plain(fig: Any, axes: Any) -> Any:
    """The figure without grid and ticks; an edge of 64 pixels is said once."""
    for ax in axes:
        ax.grid(visible=False)
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0].set_xlabel(f"{SIZE} pixels", fontsize=9)
    return fig
