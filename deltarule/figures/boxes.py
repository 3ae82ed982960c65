"""The diagram of any network: a box for each layer, what leaves it, and the ways between them."""

from typing import Any

from deltarule.figures.frame import SMALL, join
from deltarule.glass.evaluation import plain
from deltarule.layers import Parallel, Residual, Sequential, Skip
from deltarule.layers.layer import Layer, child_names
from deltarule.layers.scope import Visit
from deltarule.network import Network

BOX, GAP, ROW = 1.5, 0.5, 1.25      # inches: width of a box, of the arrow before it, height of a row
MERGE = 0.9                         # width of a node where ways meet
INK = "0.25"


def boxes(net: Network) -> Any:
    """Layers as boxes from left to right: `Parallel` as rows that meet again, `Residual` with the way around its body.

    Each box tells the layer's name, its class and the shape of one row that leaves it. Layers of one's own are single boxes.
    Returns a matplotlib figure.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Residual(dr.Dense(3))], input_shape=(3,))
    >>> len(boxes(net).axes[0].patches) > 2
    True
    """
    from matplotlib.figure import Figure

    visits = {visit.path: visit for visit in net.plan.visits}
    width, above, below = _size(net.layer)
    fig = Figure(figsize=(width + GAP + BOX + 0.8, above + below + 0.1), layout="constrained")
    ax = fig.add_subplot()
    ax.set_xlim(-0.1, width + GAP + BOX + 0.7)
    ax.set_ylim(-below - 0.05, above + 0.05)
    ax.set_aspect("equal")
    ax.set_axis_off()
    _box(ax, 0.0, 0.0, ("input", str(net.input_shape)), "0.95")
    _way(ax, [(BOX, 0.0), (BOX + GAP / 2, 0.0)])
    _draw(ax, net.layer, "", BOX + GAP / 2, 0.0, visits)
    _way(ax, [(BOX + GAP / 2 + width, 0.0), (BOX + GAP + width, 0.0)], True)
    ax.text(BOX + GAP + width + 0.05, 0.0, "output", ha="left", va="center", fontsize=9, weight="bold")
    return fig


def _parts(layer: Layer, path: str) -> list[tuple[str, Layer]]:
    """The layers inside a composite, with their paths."""
    if isinstance(layer, Sequential):
        return [(join(path, name), child) for name, child in layer.children.items()]
    if isinstance(layer, (Residual, Skip)):
        shortcut = layer.shortcut if isinstance(layer, Residual) else None
        return [*([] if shortcut is None else [(join(path, "shortcut"), shortcut)]), (join(path, "body"), layer.body)]
    if isinstance(layer, Parallel):
        return [(join(path, name), branch) for name, branch in zip(child_names(layer.branches), layer.branches, strict=True)]
    return []


def _goes_around(layer: Layer) -> bool:
    """Whether the input itself goes around the body."""
    return isinstance(layer, Skip) or (isinstance(layer, Residual) and layer.shortcut is None)


def _sign(layer: Layer) -> str:
    """How the ways meet: added or side by side."""
    return "||" if isinstance(layer, Skip) or (isinstance(layer, Parallel) and layer.merge == "concatenate") else "+"


def _size(layer: Layer) -> tuple[float, float, float]:
    """Width of a layer's drawing, and its height above and below the way that enters it."""
    sizes = [_size(part) for _, part in _parts(layer, "")]
    if isinstance(layer, Sequential):
        return sum(width for width, _, _ in sizes), max(above for _, above, _ in sizes), max(below for _, _, below in sizes)
    if _goes_around(layer):
        return sizes[0][0] + GAP + MERGE, sizes[0][1] + 0.35, sizes[0][2]
    if isinstance(layer, (Parallel, Residual)):
        half = sum(above + below for _, above, below in sizes) / 2
        return max(width for width, _, _ in sizes) + GAP + MERGE, half, half
    return BOX + GAP, ROW / 2, ROW / 2


def _draw(ax: Any, layer: Layer, path: str, x: float, y: float, visits: dict[str, Visit]) -> None:
    """Draw a layer between x and x + its width, where ways enter and leave at height y."""
    width, above, _ = _size(layer)
    end = x + width
    if isinstance(layer, Sequential):
        for inner, part in _parts(layer, path):
            _draw(ax, part, inner, x, y, visits)
            x += _size(part)[0]
    elif _goes_around(layer):
        (inner, body), = _parts(layer, path)
        _way(ax, [(x, y), (x + GAP / 2, y)])
        _draw(ax, body, inner, x + GAP / 2, y, visits)
        start, top, node = x + GAP / 2, y + above - 0.15, end - MERGE / 2
        _way(ax, [(start, y), (start, top), (node, top), (node, y + 0.17)], True)
        _place(ax, start, top - 0.05, path)
        _merge(ax, start + _size(body)[0], end, y, _sign(layer))
    elif isinstance(layer, (Parallel, Residual)):
        _place(ax, x + GAP / 2, y + above, path)
        top, inside = y + above, x + GAP / 2 + max(_size(part)[0] for _, part in _parts(layer, path))
        for inner, part in _parts(layer, path):
            wide, up, down = _size(part)
            height = top - up
            _way(ax, [(x, y), (x + GAP / 2, y), (x + GAP / 2, height)])
            _draw(ax, part, inner, x + GAP / 2, height, visits)
            _way(ax, [(x + GAP / 2 + wide, height), (inside, height), (inside, y)])
            top -= up + down
        _merge(ax, inside, end, y, _sign(layer))
    else:
        visit = visits[path]
        _way(ax, [(x, y), (x + GAP / 2, y)], True)
        _box(ax, x + GAP / 2, y, (path.rpartition("/")[2] or "network", _kind(layer), str(visit.output_shape[1:])))
        _way(ax, [(end - GAP / 2, y), (end, y)])


def _kind(layer: Layer) -> str:
    """The class of a layer, with its activation where it has one by name."""
    activation = getattr(layer, "activation", None)
    return type(layer).__name__ + (f", {activation}" if isinstance(activation, str) and activation != "linear" else "")


def _box(ax: Any, x: float, y: float, texts: tuple[str, ...], face: str = "#DCEBF5") -> None:
    """A box from x on, centred on height y: name, class, and the shape that leaves it."""
    from matplotlib.patches import FancyBboxPatch

    ax.add_patch(FancyBboxPatch((x + 0.06, y - 0.36), BOX - 0.12, 0.72, boxstyle="round,pad=0.06", facecolor=face, edgecolor=INK))
    for k, text in enumerate(texts):
        ax.text(x + BOX / 2, y + 0.12 * (len(texts) - 1) - 0.24 * k, plain(text, 20), ha="center", va="center",
                fontsize=9 if k == 0 else SMALL, weight="bold" if k == 0 else None)


def _merge(ax: Any, x: float, end: float, y: float, sign: str) -> None:
    """The node between x and end in which ways meet."""
    from matplotlib.patches import Circle

    _way(ax, [(x, y), (end - MERGE / 2 - 0.17, y)], True)
    ax.add_patch(Circle((end - MERGE / 2, y), 0.17, facecolor="white", edgecolor=INK, zorder=3))
    ax.text(end - MERGE / 2, y, sign, ha="center", va="center", fontsize=10, zorder=4)
    ax.text(end - MERGE / 2 + 0.05, y - 0.24, "concatenate" if sign == "||" else "", ha="center", va="top", fontsize=SMALL)
    _way(ax, [(end - MERGE / 2 + 0.17, y), (end, y)])


def _place(ax: Any, x: float, y: float, path: str) -> None:
    """The path of a layer made of layers, beneath the top of its drawing."""
    ax.text(x + 0.08, y, plain(path), ha="left", va="top", fontsize=SMALL, color="0.4")


def _way(ax: Any, places: list[tuple[float, float]], arrow: bool = False) -> None:
    """A line through the places, with a head at its end where it is an arrow."""
    ax.plot(*zip(*(places[:-1] if arrow else places), strict=True), color=INK, linewidth=1.2, snap=False)
    if arrow:
        head = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", places[-1], places[-2], arrowprops=head)
