"""A figure as a file: SVG or PNG, the same bytes every time."""

import io
from pathlib import Path
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.figures.frame import check_whole
from deltarule.files import StrPath, shown, write_atomically

NOTHING = {"png": ("Software",), "svg": ("Date", "Creator", "Format", "Type")}      # what files say of their making, left out


def save(figure: Any, path: StrPath, dpi: int = 120) -> None:
    """Write a matplotlib figure to `path`, as SVG or PNG by its suffix, whole or not at all.

    The file holds no date and no random names: the same figure gives the same bytes. `dpi` is the number of dots per inch of a PNG.
    Raises DeltaruleError for another suffix, for something that is no figure, and where the file cannot be written.

    >>> import tempfile
    >>> from deltarule.figures import neuron
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(neuron(), f"{folder}/neuron.svg")
    ...     save(neuron(), f"{folder}/neuron.pdf")
    Traceback (most recent call last):
        ...
    deltarule.errors.DeltaruleError: figures are saved as .svg or .png, received ...neuron.pdf; choose one of these suffixes
    """
    import matplotlib
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise DeltaruleError(f"save expected a matplotlib figure, received {type(figure).__name__}; figures come first: save(figure, path)")
    kind = Path(shown(path)).suffix.lower().removeprefix(".")
    if kind not in NOTHING:
        raise DeltaruleError(f"figures are saved as .svg or .png, received {shown(path)}; choose one of these suffixes")
    check_whole("dpi", dpi, 1)
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "deltarule"}):
        figure.savefig(content, format=kind, dpi=dpi, metadata=dict.fromkeys(NOTHING[kind]))
    write_atomically(path, content.getvalue())
