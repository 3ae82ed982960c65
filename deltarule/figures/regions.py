"""Decision regions: what a network of two inputs answers everywhere in the plane, and the line of each of its first units."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.data.arrays import as_features
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.figures.frame import SMALL, UNSEEN, UNSIGNED, as_classes, colour, join, limits, named, panel, rows_of, scatter_classes
from deltarule.glass.evaluation import plain
from deltarule.layers import Dense
from deltarule.layers.scope import get
from deltarule.network import Network

STEPS = 201                 # points of the plane in each direction at which the model is asked
NUMBERED = 16               # so many lines still have their numbers
UNSURE, SURE = 0.08, 0.5    # how strong a region's colour is at the least and at the largest probability


def decision_regions(net: Any, x: Any, y: Any, *, lines: bool = True, names: Sequence[str] | None = None,
                     features: Sequence[str] | None = None, ax: Any = None, title: str | None = None) -> Any:
    """The plane of two inputs as `net` divides it: regions in the classes' colours, the surer the stronger, with the points x and y.

    x (n, 2); y (n,) class numbers, 0 and 1, or -1 and 1, or (n, K) with one column for each class. `net` is a `Network` or anything
    with `predict_proba` or `predict`, such as `dr.Classifier`. The black contour is the decision: equal probabilities, or for one
    output the middle between the two target values. `lines` draws, dashed and with its number (from 0), where the pre-activation of each
    unit of the first layer is zero: x W + b = 0 (lecture rows 6, 22). Where y holds measured numbers the prediction
    is drawn as filled contours with a colour bar. `names` are of the classes, `features` of the two inputs.
    Returns a matplotlib figure. Raises DeltaruleError or ShapeError for other inputs, targets of another length, or names that do not fit.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1, "sigmoid")], input_shape=(2,))
    >>> decision_regions(net, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]).axes[0].get_xlabel()
    'x[0]'
    """
    if not isinstance(net, Network) and not hasattr(net, "predict"):
        raise DeltaruleError(f"decision_regions expected a Network or an object with predict, received {type(net).__name__}")
    points = rows_of(net, x, 2, "decision_regions") if isinstance(net, Network) else as_features(x, "float64")
    if points.shape[1:] != (2,):
        raise ShapeError(f"decision_regions draws two inputs, x of shape (n, 2); received {points.shape}")
    features = named(features, ("x[0]", "x[1]"), "features")
    classes = as_classes(y, len(points), _known(net))
    ax = panel(ax, width=4.6, height=3.8)
    wide, high = limits(points[:, 0], 0.12), limits(points[:, 1], 0.12)
    across, up = np.linspace(*wide, STEPS), np.linspace(*high, STEPS)
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(points.dtype)      # (STEPS^2, 2), up the slow axis
    if classes is None:
        _numbers(ax, net, points, np.asarray(y, float).reshape(-1), plane, across, up)
    else:
        _classes(ax, net, points, *classes, names, plane, across, up)
    if lines and isinstance(net, Network):
        _unit_lines(ax, net, wide, high, "0.9" if classes is None else "0.25")
    ax.grid(visible=False)
    ax.set_xlim(*wide)
    ax.set_ylim(*high)
    ax.set_xlabel(plain(features[0]))
    ax.set_ylabel(plain(features[1]))
    if title is not None:
        ax.set_title(plain(title, 60), fontsize=10)
    return ax.figure


def _classes(ax: Any, net: Any, points: np.ndarray, numbers: np.ndarray, known: list[Any], names: Sequence[str] | None,
             plane: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    from matplotlib.colors import to_rgb

    if len(known) < 2 or (len(known) > 2 and isinstance(net, Network) and net.output_shape == (1,)):
        raise DeltaruleError(f"one output tells two classes apart; y holds {len(known)}, give 0 and 1 or -1 and 1")
    labels = [plain(name) for name in named(names, known)]
    scores, sure = _decide(net, plane, known)
    K = scores.shape[1]
    hue = np.array([to_rgb(colour(k)) for k in range(K)])[scores.argmax(axis=1)]
    strength = UNSURE + (SURE - UNSURE) * np.clip((sure - 1 / K) / (1 - 1 / K), 0, 1)[:, None]
    image = (1 - strength) + strength * hue
    ax.imshow(image.reshape(STEPS, STEPS, 3), origin="lower", extent=(across[0], across[-1], up[0], up[-1]), aspect="auto",
              interpolation="bilinear", zorder=0)
    for k in range(K if K > 2 else 1):
        margin = scores[:, k] - np.delete(scores, k, axis=1).max(axis=1)
        if margin.min() < 0 < margin.max():
            ax.contour(across, up, margin.reshape(STEPS, STEPS), levels=[0.0], colors="0.15", linewidths=1.4, zorder=2)
    scatter_classes(ax, points, numbers, labels)
    ax.legend(fontsize=SMALL, loc="best", framealpha=0.9, edgecolor="0.85", handletextpad=0.2, borderpad=0.3)


def _numbers(ax: Any, net: Any, points: np.ndarray, y: np.ndarray, plane: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    """A regression: the prediction over the plane, the targets as points on the same colour scale."""
    from matplotlib.ticker import MaxNLocator

    if not np.isfinite(y).all():
        raise DataError("y holds values that are not finite; remove those rows")
    z = np.asarray(net.predict(plane), float)
    if z.size != len(plane):
        raise ShapeError(f"decision_regions draws one number for each row where y holds measured numbers; the model gives {z.shape[1:]}")
    levels = MaxNLocator(14).tick_values(min(z.min(), y.min()), max(z.max(), y.max()))
    filled = ax.contourf(across, up, z.reshape(STEPS, STEPS), levels=levels, cmap=UNSIGNED)
    ax.scatter(*points.T, c=y, s=18, cmap=UNSIGNED, norm=filled.norm, edgecolors="white", linewidths=0.6, zorder=4)
    bar = ax.figure.colorbar(filled, ax=ax, format="%.3g")
    bar.set_label("prediction (points: target y)")


def _known(net: Any) -> list[Any] | None:
    """The classes that a model tells apart, None where only the targets can tell."""
    if not isinstance(net, Network):
        return None if getattr(net, "classes_", None) is None else np.asarray(net.classes_).tolist()
    if len(net.output_shape) != 1:
        raise ShapeError(f"decision_regions needs one row of outputs for each point, this network gives {net.output_shape}")
    return None if net.output_shape == (1,) else list(range(net.output_shape[0]))


def _decide(net: Any, plane: np.ndarray, known: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """For each point of the plane: scores (m, K), of which the largest decides, and how sure the answer is (m,), from 1/K to 1."""
    certain = np.full(len(plane), 0.9)
    if not isinstance(net, Network):
        if hasattr(net, "predict_proba"):
            p = np.asarray(net.predict_proba(plane), float)
            if p.shape != (len(plane), len(known)):
                raise ShapeError(f"predict_proba gave shape {p.shape} for {len(plane)} points and {len(known)} classes; "
                                 "give the model an attribute classes_")
            return p, p.max(axis=1)
        answers = np.asarray(net.predict(plane)).reshape(-1)
        scores = (answers[:, None].astype(str) == np.array(known).astype(str)[None]).astype(float)
        return scores, certain
    h, activation = np.asarray(net.predict(plane), float), net.output.activation
    if h.shape[1] == 1:
        middle = 0.5 if activation == "sigmoid" else float(np.mean(known))
        scores = np.concatenate([middle - h, h - middle], axis=1)
        return scores, 0.5 + np.abs(h[:, 0] - 0.5) if activation == "sigmoid" else certain
    if activation == "log_softmax":
        return h, np.exp(h.max(axis=1))
    return h, h.max(axis=1) if activation in ("softmax", "sigmoid") else certain


def _unit_lines(ax: Any, net: Network, wide: tuple[float, float], high: tuple[float, float], ink: str) -> None:
    """The line x W + b = 0 of each unit of the first layer, with its number where it enters or leaves the panel."""
    path = _first_dense(net)
    if path is None:
        return
    W = np.asarray(get(net.params, join(path, "weights")), float)                               # (2, units)
    first = get(net.params, path) if path else net.params
    b = np.asarray(first.get("bias", np.zeros(W.shape[1])), float)
    taken: list[np.ndarray] = []
    for j in range(W.shape[1]):
        ends = _ends(W[:, j], b[j], wide, high)
        if ends is None:
            continue
        ax.plot(*ends.T, color=ink, linewidth=0.8, linestyle=(0, (5, 3)), zorder=3, gid=f"unit {j}")
        if W.shape[1] > NUMBERED:
            continue
        place = _free_place(ends, taken, np.array([wide[1] - wide[0], high[1] - high[0]]))
        taken.append(place)
        ax.text(*place, str(j), fontsize=SMALL, ha="center", va="center", zorder=5,
                bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "0.25", "linewidth": 0.6})


def _first_dense(net: Network) -> str | None:
    """The path of the first layer where it is dense and sees the inputs as they are; None for other networks and for a lone softmax."""
    for visit in net.plan.visits:
        if isinstance(visit.layer, Dense):
            return None if visit.layer.activation in ("softmax", "log_softmax") else visit.path
        if not isinstance(visit.layer, UNSEEN):
            return None
    return None


def _ends(w: np.ndarray, b: float, wide: tuple[float, float], high: tuple[float, float]) -> np.ndarray | None:
    """Where the line w x + b = 0 crosses the border of the panel, (2, 2), or None where it does not pass through it."""
    found = []
    for i, other, (low, top) in ((0, 1, high), (1, 0, wide)):
        bounds = wide if i == 0 else high
        for edge in bounds:
            if w[other] != 0:
                place = -(w[i] * edge + b) / w[other]
                if low <= place <= top:
                    found.append((edge, place) if i == 0 else (place, edge))
    ends = np.unique(np.array(found).reshape(-1, 2), axis=0)
    return ends[[0, -1]] if len(ends) > 1 else None


def _free_place(ends: np.ndarray, taken: list[np.ndarray], size: np.ndarray) -> np.ndarray:
    """The place on a line, near one of its ends, that is farthest from the numbers already there."""
    places = np.array([ends[0] + share * (ends[1] - ends[0]) for share in (0.06, 0.94, 0.16, 0.84)])
    room = [min((float(np.hypot(*((place - other) / size))) for other in taken), default=1.0) for place in places]
    return places[int(np.argmax(room))] if max(room[:2]) < 0.06 else places[int(np.argmax(room[:2]))]
