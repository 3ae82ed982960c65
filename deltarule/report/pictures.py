"""Examples among the test images: what was named wrongly, the surest errors first, and what was named rightly, class by class."""

import base64
import io
from typing import Any

import numpy as np

from deltarule.data.dataset import Dataset
from deltarule.examination import Examination
from deltarule.report.markup import Html, join, tag

MOST_WRONG, MOST_RIGHT = 24, 12
WIDEST = 128        # pixels of an image in the page


def pictures(exam: Examination, test: Dataset) -> Html:
    """Images of the test part with their true class, the class that the network named and its probability."""
    wrong, right = examples(exam.y, exam.outputs)
    total_wrong, total_right = int((exam.outputs.argmax(axis=1) != exam.y).sum()), int((exam.outputs.argmax(axis=1) == exam.y).sum())
    bounded = bool(test.x.min() >= 0 and test.x.max() <= 1)
    shown = join(*(_group(f"{kind}: {len(rows)} of {total:,}", comment, rows, exam, test, bounded) for kind, comment, rows, total in (
        ("Wrong", "the surest error first", wrong, total_wrong), ("Right", "the surest of each class in turn", right, total_right))))
    told = [] if total_wrong else [tag("p", "No test image was named wrongly.")]
    scale = "" if bounded else " Brightness runs from the 1st to the 99th percentile of each image."
    return tag("section", tag("h2", "Examples"), *told, shown,
               tag("p", f"Of the test images, never seen in training.{scale} The file is named below each image.", class_="caption"))


def examples(y: np.ndarray, outputs: np.ndarray) -> tuple[list[int], list[int]]:
    """Rows to show, from class indices y (n,) and probabilities (n, classes): wrong ones by falling probability, right ones by class.

    >>> examples(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]))
    ([1, 2], [0, 3])
    """
    named, sure = outputs.argmax(axis=1), outputs.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    wrong = [int(i) for i in order if named[i] != y[i]][:MOST_WRONG]
    turns = {k: [int(i) for i in order if named[i] == y[i] == k] for k in np.unique(y)}
    in_turn = sorted((turn, k, i) for k, rows in turns.items() for turn, i in enumerate(rows))
    return wrong, [i for _, _, i in in_turn[:MOST_RIGHT]]


def _group(title: str, comment: str, rows: list[int], exam: Examination, test: Dataset, bounded: bool) -> Html:
    if not rows:
        return Html("")
    cards = [_card(np.asarray(test.x[i]), test.files[i], exam, i, bounded) for i in rows]
    return join(tag("h3", title, tag("span", f", {comment}", class_="caption")), tag("div", *cards, class_="cards"))


def _card(image: np.ndarray, file: str, exam: Examination, i: int, bounded: bool) -> Html:
    """One image, framed blue where it was named rightly and orange where not."""
    names = exam.classes or ()
    true, named = names[exam.y[i]], names[int(exam.outputs[i].argmax())]
    sure = f"{exam.outputs[i].max():.1%}"
    if true == named:
        words = [tag("b", named), f" {sure}"]
    else:
        words = [tag("b", named), f" {sure}", tag("br"), f"true: {true}, {exam.outputs[i][exam.y[i]]:.1%}"]
    crisp = " crisp" if max(image.shape[:2]) < WIDEST / 2 else ""
    alt = f"{file}: named {named} with {sure}, true class {true}"
    return tag("figure", tag("img", src=data_uri(image, bounded), alt=alt, title=alt, class_="picture" + crisp), tag("figcaption", *words),
               tag("p", file, class_="file"), class_="card " + ("hit" if true == named else "miss"))


def data_uri(image: np.ndarray, bounded: bool) -> str:
    """The image (height, width, channels) as a PNG inside the page; values in 0 ... 1, or stretched where they are not `bounded`.

    >>> data_uri(np.zeros((2, 3, 1), np.float32), bounded=True)[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    values: Any = image if image.shape[-1] in (1, 3) else image.mean(axis=-1, keepdims=True)
    if not bounded:
        low, high = np.percentile(values, (1, 99))
        values = (values - low) / (high - low if high > low else 1.0)
    pixels = np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((WIDEST, WIDEST))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")
