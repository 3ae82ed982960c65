"""The loss as a landscape over the parameters, and the path of descent through it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.arguments import pair, valid_seed
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.figures.frame import SMALL, UNSIGNED, check_whole, limits, panel
from deltarule.glass.style import RED
from deltarule.layers.forward import forward
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Tree, flatten, unflatten
from deltarule.losses import Loss
from deltarule.losses import loss as resolve_loss
from deltarule.network import LITTLE_WORK, Network
from deltarule.ops.compiling import compiled
from deltarule.spec import from_json
from deltarule.training import prepare

LARGE_RANGE = 30.0      # highest loss over lowest beyond which the colours are logarithmic


class Plane(NamedTuple):
    """A plane through the space of parameters: theta = origin + s directions[0] + t directions[1]."""

    origin: np.ndarray          # (P,)
    directions: np.ndarray      # (2, P)
    centre: np.ndarray          # (2,): s and t of the network
    names: list[str]            # what is written at the axes


def loss_surface(net: Network, x: Any, y: Any = None, *, loss: str | Loss = "auto", path: Sequence[Tree] | None = None,
                 span: float = 1.0, steps: int = 41, seed: int = 0, ax: Any = None) -> Any:
    """The mean loss on x (n, ...) and y over a plane through the network's parameters, with the descent `path` where one is given.

    A network of two parameters shows its whole surface. Of a larger one the plane is spanned by the two first principal components
    of the path, a sequence of nested dicts like `net.params`, and goes through its last point; or, without a path, by two
    random directions through the network's parameters, in which each unit's weights are as long as the network's own and the biases
    stay (Li et al. 2018, "Visualizing the loss landscape of neural nets"). `span`: half the width shown around the network; around a path
    the margin is 0.2 span of its extent. `steps`: points in each direction. The loss is that of `evaluate`, in predict
    mode; every point runs all rows, so hand over a few hundred. The network is not changed.
    Returns a matplotlib figure. Raises DeltaruleError or ShapeError for data, loss or path that do not fit the network.

    >>> import deltarule as dr
    >>> net = dr.Network(dr.Dense(1), input_shape=(1,))
    >>> loss_surface(net, [[1.0], [2.0]], [[2.0], [4.0]], steps=5).axes[0].get_xlabel()
    'weights'
    """
    if not isinstance(net, Network):
        raise DeltaruleError(f"loss_surface draws a Network, received {type(net).__name__}")
    check_whole("steps", steps, 3)
    if not isinstance(span, (int, float)) or not 0 < span < np.inf:
        raise DeltaruleError(f"span expected a number above 0, received {span!r}")
    x, y = pair(x, y)
    resolved = resolve_loss(from_json(net.training["loss"]) if loss == "auto" and net.training else loss, net.output.activation)
    rows = prepare.inputs(x, net.input_shape, net.dtype, parts=net.parts)
    targets = prepare.targets(y, resolved, net.output, len(rows), net.dtype)
    points = None if path is None else _vectors(net, path)
    plane = _plane(net, points, valid_seed(seed))
    if points is None:
        trail, ranges = None, [(middle - span, middle + span) for middle in plane.centre]
    else:
        trail = (points - plane.origin[None]) @ plane.directions.T                              # (points of the path, 2)
        ranges = [limits(column, 0.2 * span) for column in trail.T]
    across, up = (np.linspace(*ends, steps) for ends in ranges)
    z = _values(net, resolved, rows, targets, plane, across, up)
    return _drawn(panel(ax, 4.9, 3.8), across, up, z, plane, trail)


def _plane(net: Network, points: np.ndarray | None, seed: int) -> Plane:
    """The plane to show."""
    flat = _flat(net)
    here = _vector(flat)
    if here.size < 2:
        raise DeltaruleError(f"loss_surface needs a network of at least two parameters, this one has {here.size}")
    if here.size == 2:
        names = [f"{path}[{', '.join(map(str, index))}]" if np.size(value) > 1 else path
                 for path, value in flat.items() for index in np.ndindex(np.shape(value))]
        return Plane(np.zeros(2), np.eye(2), here, names)
    if points is None:
        rng = np.random.default_rng(seed)
        directions = np.stack([_vector({path: _like_filters(rng, np.asarray(value, float)) for path, value in flat.items()})
                               for _ in range(2)])
        return Plane(here, directions, np.zeros(2), [f"random direction {i}, filter-normalised" for i in (1, 2)])
    if len(points) < 3:
        raise DeltaruleError("path expected at least 3 sets of parameters for the plane of its principal components, "
                             f"received {len(points)}")
    _, sizes, directions = np.linalg.svd(points - points.mean(axis=0)[None], full_matrices=False)
    shares = sizes**2 / max(float(np.sum(sizes**2)), 1e-300)
    return Plane(points[-1], directions[:2], np.zeros(2),
                 [f"principal component {i + 1} of the path\n({shares[i]:.1%} of its variance)" for i in range(2)])


def _like_filters(rng: np.random.Generator, W: np.ndarray) -> np.ndarray:
    """A random array whose part for each unit (last axis) is as long as the same part of W; zeros for biases and other vectors."""
    if W.ndim < 2:
        return np.zeros_like(W)
    d = rng.standard_normal(W.shape)
    axes = tuple(range(W.ndim - 1))
    lengths = [np.sqrt(np.sum(value**2, axis=axes, keepdims=True)) for value in (W, d)]
    return d * np.broadcast_to(lengths[0] / lengths[1], d.shape)


def _flat(net: Network) -> dict[str, Array]:
    """The parameters by path, in the order in which the network asks for them."""
    flat = flatten(net.params)
    return {path: flat[path] for path in net.plan.params}


def _vector(flat: dict[str, Array]) -> np.ndarray:
    """All parameters as one vector (P,)."""
    return np.concatenate([np.asarray(value, float).reshape(-1) for value in flat.values()])


def _vectors(net: Network, path: Sequence[Tree]) -> np.ndarray:
    """The points of a path as rows (points, P), each in the order of the network's own parameters."""
    if not isinstance(path, Sequence):
        raise DeltaruleError(f"path expected a list of parameters such as net.params, received {type(path).__name__}")
    expected = {name: np.shape(value) for name, value in _flat(net).items()}
    trees = [flatten(tree) if isinstance(tree, dict) else {} for tree in path]
    for i, flat in enumerate(trees):
        if {name: np.shape(value) for name, value in flat.items()} != expected:
            raise ShapeError(f"path holds parameters that do not fit the network (point {i}); record copies of net.params while training")
    if len(trees) < 2:
        raise DeltaruleError(f"path expected at least 2 sets of parameters, received {len(trees)}")
    return np.stack([_vector({name: flat[name] for name in expected}) for flat in trees])


def _tree(net: Network, vector: np.ndarray) -> Tree:
    """The inverse of `_vector`, in the network's dtype."""
    parts, begin = {}, 0
    for name, value in _flat(net).items():
        parts[name] = vector[begin:begin + np.size(value)].reshape(np.shape(value)).astype(net.dtype)
        begin += np.size(value)
    return unflatten(parts)


def _values(net: Network, loss: Loss, x: np.ndarray, y: np.ndarray, plane: Plane, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The mean loss at every point of the plane: (len(up), len(across))."""
    places = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(net.dtype)
    trees = [_tree(net, vector) for vector in (plane.origin, *plane.directions)]
    quick = len(x) * len(places) * net.summary().multiply_adds <= LITTLE_WORK
    with jax.enable_x64(net.dtype == "float64"):
        z = _losses(net.layer, loss, net.dtype, *trees, net.state, x, y, places, quick=quick)
    return np.asarray(z, float).reshape(len(up), len(across))


@compiled("layer", "loss", "dtype")
def _losses(layer: Layer, loss: Loss, dtype: str, origin: Tree, first: Tree, second: Tree, state: Tree, x: Array, y: Array,
            places: Array) -> Array:
    """L(origin + s first + t second) at the places (s, t): (m, 2) to (m,)."""
    def at(place: Array) -> Array:
        theta = jax.tree.map(lambda o, d, e: o + place[0] * d + place[1] * e, origin, first, second)
        output, _ = forward(layer, theta, state, x, dtype=dtype)
        return jnp.mean(loss.rows(output, y))

    return lax.map(at, places)


def _drawn(ax: Any, across: np.ndarray, up: np.ndarray, z: np.ndarray, plane: Plane, trail: np.ndarray | None) -> Any:
    """The landscape as colours and contour lines, the network or the path on it."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import LogLocator

    low, high = float(np.nanmin(z[np.isfinite(z)])), float(np.nanmax(z[np.isfinite(z)]))
    logarithmic = 0 < low < high / LARGE_RANGE
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    steps = (across[1] - across[0]) / 2, (up[1] - up[0]) / 2
    image = ax.imshow(np.where(np.isfinite(z), z, np.nan), origin="lower", aspect="auto", interpolation="bilinear", cmap=UNSIGNED,
                      norm=norm, extent=(across[0] - steps[0], across[-1] + steps[0], up[0] - steps[1], up[-1] + steps[1]))
    if high > low:
        levels = (np.geomspace if logarithmic else np.linspace)(low, high, 16)[1:-1]
        ax.contour(across, up, z, levels=levels, colors="white", linewidths=0.5, alpha=0.7)
    bar = ax.figure.colorbar(image, ax=ax, format="%.3g", ticks=LogLocator(subs=(1, 2, 5)) if logarithmic else None)
    bar.minorticks_off()
    bar.set_label("mean loss, logarithmic colours" if logarithmic else "mean loss", fontsize=9)
    bar.ax.tick_params(labelsize=SMALL)
    if trail is None:
        ax.plot(*plane.centre, marker="x", color="white", markersize=8, markeredgewidth=2, linestyle="", label="the network")
    else:
        ax.plot(*trail.T, color=RED, linewidth=1.6, marker="." if len(trail) <= 60 else None, markersize=5, label="path")
        ax.plot(*trail[0], marker="o", color="white", markeredgecolor=RED, markersize=8, linestyle="", label="start")
        ax.plot(*trail[-1], marker="*", color="white", markeredgecolor=RED, markersize=13, linestyle="", label="end")
    ax.set_xlim(across[0], across[-1])
    ax.set_ylim(up[0], up[-1])
    ax.grid(visible=False)
    ax.set_xlabel(plane.names[0])
    ax.set_ylabel(plane.names[1])
    ax.legend(fontsize=SMALL, loc="best", facecolor="0.35", labelcolor="white", edgecolor="0.6", framealpha=0.8)
    return ax.figure
