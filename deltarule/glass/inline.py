"""A matplotlib figure as SVG inside a page: text stays text, neutral colours follow the page, nothing is loaded from anywhere."""

import io
import re
import warnings
from typing import Any

from deltarule.glass.style import BLUE, GREEN, ORANGE

# What the page's style sheet decides, so that a figure is readable on a light and on a dark page.
COLOURS = {"#000000": "var(--ink)", "#ebebeb": "var(--line)", "#808080": "var(--muted)", "#595959": "var(--muted)",
           BLUE.lower(): "var(--blue)", ORANGE.lower(): "var(--orange)", GREEN.lower(): "var(--green)"}
MARGINS = {"right": 0.97, "bottom": 0.17, "top": 0.94}


def inline_svg(fig: Any, name: str, label: str) -> str:
    """The figure as an <svg> element for HTML; `name` makes its ids unique on the page, `label` is read to those who cannot see it.

    >>> from deltarule.glass.style import figure
    >>> inline_svg(figure()[0], "empty", "an empty frame")[:38]
    '<svg role="img" aria-label="an empty f'
    """
    from html import escape

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    fig.set_layout_engine(None)         # fixed margins: measuring every text first takes as long as drawing
    fig.subplots_adjust(left=max(map(_left, fig.axes)) / (72 * fig.get_figwidth()), **MARGINS)
    for patch in (fig.patch, *(ax.patch for ax in fig.axes)):
        patch.set_visible(False)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")      # the browser has the letters that matplotlib's font lacks
        FigureCanvasSVG(fig).print_svg(text, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = re.sub(r".*?(<svg )", r"\1", text.getvalue(), count=1, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| width="[\d.]+pt"| height="[\d.]+pt"', "", svg, count=4)
    svg = re.sub(r"font(-family)?: [^;\"]*?'DejaVu Sans'[^;\"]*;?", _size_only, svg)
    svg = re.sub(r"#[0-9a-f]{6}", lambda found: COLOURS.get(found[0], found[0]), svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1).strip()


def _left(ax: Any) -> float:
    """The points that tick labels and axis label need at the left, judged by the number of letters."""
    labels = ax.yaxis.get_major_formatter().format_ticks(ax.get_yticks())
    return 27.0 + 6.4 * max((len(label) for label in labels), default=0)


def _size_only(found: re.Match[str]) -> str:
    """Of a font its size: the family is the page's."""
    size = re.search(r"[\d.]+px", found[0])
    return f"font-size: {size[0]};" if size else ""
