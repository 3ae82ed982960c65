"""HTML that cannot be injected into: text is escaped unless it is markup already."""

import html
import re
from collections.abc import Sequence


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
VOID = {"meta", "br", "img"}


def escaped(text: str) -> Html:
    """Text as HTML shows it; characters that HTML cannot hold become the replacement character. Markup stays as it is.

    >>> escaped("a < b")
    'a &lt; b'
    """
    return text if isinstance(text, Html) else Html(html.escape(UNPRINTABLE.sub("\ufffd", text)))


def tag(name: str, /, *content: str, **attributes: str) -> Html:
    """An element with content and attributes, both escaped; a trailing underscore (`class_`) is dropped, inner ones become hyphens.

    >>> tag("p", "1 < 2, ", tag("b", "surely"), class_="note")
    '<p class="note">1 &lt; 2, <b>surely</b></p>'
    """
    inside = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{inside}>")
    return Html(f"<{name}{inside}>{join(*content)}</{name}>")


def join(*content: str) -> Html:
    """Pieces of text and markup as one piece of markup.

    >>> join("&", tag("br"))
    '&amp;<br>'
    """
    return Html("".join(map(escaped, content)))


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], numeric: int = 99, **attributes: str) -> Html:
    """A table; from column `numeric` on, cells hold numbers and are set to the right.

    >>> table(("x",), [("1",)], numeric=0)
    '<div class="scroll"><table><thead><tr><th class="n">x</th></tr></thead><tbody><tr><td class="n">1</td></tr></tbody></table></div>'
    """
    def line(kind: str, cells: tuple[str, ...]) -> Html:
        return tag("tr", *(tag(kind, cell, class_="n") if i >= numeric else tag(kind, cell) for i, cell in enumerate(cells)))

    return tag("div", tag("table", tag("thead", line("th", header)), tag("tbody", *(line("td", row) for row in rows)), **attributes),
               class_="scroll")
