"""From pixels to edges, to motifs, to objects: each layer makes something more abstract of what the layer before has found.

A deep network learns several levels of representation. In images these are typically the values of pixels, edges at places and in
directions, motifs made of a few edges, and objects made of motifs (LeCun, Bengio and Hinton 2015). Nobody tells a layer what to find.
What it has found is seen in the input that excites a unit most, in the patches of the data that do, and in how much a layer's units
know about the objects.
"""

import itertools
from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (34,)
EQUATIONS = ("x* = argmax a[unit](x)  with |x| = rho      by gradient ascent on the input (Erhan et al. 2009)",
             "selectivity of a unit = variance of the classes' means / variance of all its answers")
PARTS = ("dr.maximize", "dr.top_patches", "dr.saliency", "dr.figures.filters", "dr.figures.feature_maps", "dr.Network.receptive_field",
         "dr.figures.image_grid")

SIDE, NOISE, ANGLES = 24, 0.1, 12
_TURN = [(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 13)]
OBJECTS: dict[str, list[list[tuple[float, float]]]] = {       # strokes, in units of the object's size: across, down
    "square": [[(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]], "triangle": [[(0, -1), (1, 1), (-1, 1), (0, -1)]],
    "circle": [_TURN], "plus": [[(-1, 0), (1, 0)], [(0, -1), (0, 1)]], "T": [[(-1, -1), (1, -1)], [(0, -1), (0, 1)]],
    "L": [[(-0.7, -1), (-0.7, 1), (0.8, 1)]], "Z": [[(-1, -1), (1, -1), (-1, 1), (1, 1)]],
    "Y": [[(-1, -1), (0, 0), (1, -1)], [(0, 0), (0, 1)]]}
LAYERS = [dr.Conv2D(8, 5, "relu"), dr.MaxPool2D(2), dr.Conv2D(16, 3, "relu"), dr.MaxPool2D(2), dr.Conv2D(32, 3, "relu"),
          dr.Flatten(), dr.Dense(32, "relu"), dr.Dense(len(OBJECTS), "softmax")]
LEVELS = ("conv2d_1", "conv2d_2", "conv2d_3", "dense_1")


def teach(board: Board) -> None:
    """Train on drawn objects; then fields, directions of the first filters, what each layer knows of the classes, and the pictures."""
    x, y = scenes(2400, seed=0)
    test = scenes(600, seed=1)
    board.say(f"The objects: {', '.join(OBJECTS)}, drawn with strokes on {SIDE} x {SIDE} pixels, each shifted, turned, larger or smaller, "
              "under noise. The strokes are edges and lines; where they meet there are motifs: corners, crossings, ends; and motifs "
              "at the right places make an object. The network has three convolutions with pooling between them, and two dense layers.")
    net = dr.Network(LAYERS, (SIDE, SIDE, 1), seed=0)
    net.fit(x, y, optimizer=dr.Adam(0.003), epochs=12, batch_size=50, l2=1e-3, progress=False)
    board.number("accuracy on new drawings", net.evaluate(*test)["accuracy"], at_least(0.95))
    _fields(board, net)
    _edges(board, net)
    _classes(board, net, (x, y), test)
    _pictures(board, net, test[0])


def _fields(board: Board, net: dr.Network) -> None:
    fields = [net.receptive_field(path) for path in LEVELS]
    board.say("The farther up, the more of the image a unit sees:")
    board.table(["layer", "maps or units", "receptive field"],
                [[path, net.trace(np.zeros((1, SIDE, SIDE, 1)))[path].activation.shape[-1], " x ".join(map(str, field.size))]
                 for path, field in zip(LEVELS, fields, strict=True)])
    board.number("side of the receptive field, layer by layer", [field.size[0] for field in fields], equals([5, 10, 20, 24]))


def _edges(board: Board, net: dr.Network) -> None:
    A = answers(net)
    ratio = A.max(axis=0) / A.min(axis=0)
    board.say("Edges: gratings of all directions are shown to the first filters. Most of them have a direction that they prefer, as the "
              "simple cells of the visual cortex do. (So has many a random filter; the lesson visual-cortex shows what training adds.)")
    board.table(["filter", *map(str, range(8))], [["best direction (degrees)", *(180 * A.argmax(axis=0) // ANGLES)],
                                                  ["answer to it, over that to the worst", *(f"{value:.1f}" for value in ratio)]])
    board.number("filters that answer to their best direction more than twice as strongly as to their worst", int(np.sum(ratio > 2)),
                 at_least(4))


def _classes(board: Board, net: dr.Network, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> None:
    board.say("What does each layer know about the objects, wherever they are? Of every map the largest value is taken. The selectivity "
              "tells how much of a unit's answer is due to the class. The accuracy is that of a linear classifier, fitted by least squares "
              "to these few numbers; for the first row it gets every pixel of the drawing.")
    here, there = level_features(net, train[0]), level_features(net, test[0])
    found = {path: (features.shape[1], selectivity(there[path], test[1]), linear(features, train[1], there[path], test[1]))
             for path, features in here.items()}
    board.table(["from", "numbers", "mean selectivity", "accuracy"], [[path, *values] for path, values in found.items()])
    selective, accurate = ([found[path][k] for path in LEVELS] for k in (1, 2))
    board.number("accuracy from the pixels", found["pixels"][2], at_most(0.85))
    board.number("the accuracy rises from convolution to convolution", bool(np.all(np.diff(accurate[:3]) > 0)), equals(True))
    board.number("accuracy from the last hidden layer", accurate[-1], at_least(0.95))
    board.number("selectivity of a pixel", found["pixels"][1], at_most(0.15))
    board.number("selectivity of the last hidden layer, over that of the first", selective[-1] / selective[0], at_least(1.05))


def _pictures(board: Board, net: dr.Network, x: np.ndarray) -> None:
    best = {path: dr.maximize(net, path, list(range(8)), smooth=0.05, seed=1)[..., 0] for path in (*LEVELS, "dense_2")}
    cut = [image / np.abs(image).max() for images in best.values() for image in images]
    titles = [f"{path}, {m}" for path in LEVELS for m in range(8)] + list(OBJECTS)
    board.figure("maximal", dr.figures.image_grid(np.stack(cut), titles, columns=8, size=1.0, label="ink, largest = 1"),
                 "the inputs that excite a unit most, a row for each layer: edges, then motifs of a few edges, then whole objects or what "
                 "makes the difference between them; blue is ink, red is paper that must stay blank")
    rows = []
    for path in LEVELS[:3]:
        for m in (0, 1, 2, 3):
            rows += [_framed(patch[..., 0]) for patch in dr.top_patches(net, path, m, x, 6).images]
    board.figure("patches", _sheet(rows), "what excites four maps of each convolution most among new drawings, six patches for each map, "
                 "cut out by the receptive field: strokes of one direction, then corners and crossings, then parts of objects")
    board.figure("maps", dr.figures.feature_maps(net.trace(x[:1]), "conv2d_1"), "the feature maps of the first layer for one drawing: each "
                 "finds strokes of its own direction, everywhere")
    methods = {"gradient": None, "integrated_gradients": None, "grad_cam": "conv2d_2", "occlusion": None}
    shown = x[:6]
    titles = [list(OBJECTS)[k] for k in net.predict(shown).argmax(axis=1)]
    maps = {name: dr.saliency(net, shown, method=name, layer=layer) for name, layer in methods.items()}
    board.figure("saliency", dr.figures.saliency(shown, maps, titles, size=1.1),
                 "which pixels spoke for the class that the network names, by four methods: integrated gradients and occlusion agree on "
                 "the strokes that tell the objects apart, Grad-CAM is coarser, the gradient noisier")


def scenes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawings (n, SIDE, SIDE, 1) and the numbers of their objects (n,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(OBJECTS), n)
    places = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1) - (SIDE - 1) / 2           # (down, across, 2)
    x = NOISE * rng.normal(size=(n, SIDE, SIDE))
    for image, strokes in zip(x, (list(OBJECTS.values())[k] for k in y), strict=True):
        angle, size = np.radians(rng.uniform(-15, 15)), rng.uniform(5, 7.5, 2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        shift = rng.uniform(-3, 3, 2)
        ink = np.zeros((SIDE, SIDE))
        for stroke in strokes:
            points = np.array(stroke) * size @ turn + shift
            for a, b in itertools.pairwise(points):
                ink = np.maximum(ink, np.clip(1.4 - distance(places, a, b), 0, 1))
        image += ink
    return x[..., None].astype("float32"), y


def distance(places: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far each place is from the line between a and b."""
    along = np.clip((places - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(places - a - along[..., None] * (b - a), axis=-1)


def answers(net: dr.Network) -> np.ndarray:
    """The mean activation of each first filter for gratings of each direction, over wave lengths and phases: (ANGLES, 8)."""
    angles = np.pi * np.arange(ANGLES) / ANGLES
    down, across = np.mgrid[:SIDE, :SIDE]
    along = across[None] * np.cos(angles)[:, None, None] + down[None] * np.sin(angles)[:, None, None]
    gratings = [0.5 + 0.5 * np.cos(2 * np.pi * along / length + phase) for length in (5, 7, 9) for phase in np.arange(4) * np.pi / 2]
    return np.mean([net.trace(grating[..., None])["conv2d_1"].preactivation.std(axis=(1, 2)) for grating in gratings], axis=0)


def selectivity(h: np.ndarray, y: np.ndarray) -> float:
    """The share of the variance of each column of h (n, units) that lies between the classes y (n,), averaged over the units that vary."""
    h = h[:, h.std(axis=0) > 0]
    means = np.stack([h[y == k].mean(axis=0) for k in range(len(OBJECTS))])[y]
    return float(np.mean(means.var(axis=0) / h.var(axis=0)))


def linear(h: np.ndarray, y: np.ndarray, new: np.ndarray, truth: np.ndarray) -> float:
    """The accuracy on new rows of the linear classifier that fits one-hot classes best in the sense of least squares."""
    A, B = (np.column_stack([rows, np.ones(len(rows))]).astype(float) for rows in (h, new))
    W = np.linalg.lstsq(A, np.eye(len(OBJECTS))[y], rcond=None)[0]
    return float(np.mean((B @ W).argmax(axis=1) == truth))


def level_features(net: dr.Network, x: np.ndarray) -> dict[str, np.ndarray]:
    """The pixels (n, SIDE^2), and for each level the largest value of each map (n, maps)."""
    trace = net.trace(x)
    found = {"pixels": x.reshape(len(x), -1)}
    for path in LEVELS:
        h = trace[path].activation
        found[path] = h.reshape(len(h), -1, h.shape[-1]).max(axis=1) if h.ndim > 2 else h
    return found


def _framed(patch: np.ndarray) -> np.ndarray:
    """A patch in the middle of a square of the largest size, on mid-grey paper."""
    wide = np.full((20, 20), 0.25)
    top, left = (20 - patch.shape[0]) // 2, (20 - patch.shape[1]) // 2
    wide[top:top + patch.shape[0], left:left + patch.shape[1]] = np.clip(patch, 0, 1)
    return wide


def _sheet(patches: list[np.ndarray]) -> Any:
    """Twelve maps in rows of two, six patches each."""
    titles = [f"{path}, {m}" if k == 0 else "" for path in LEVELS[:3] for m in range(4) for k in range(6)]
    return dr.figures.image_grid(np.stack(patches), titles, columns=12, size=0.68, label="ink")
