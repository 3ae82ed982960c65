"""The equations of one head of attention for one step, with the numbers in them (lecture row 39)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.glass.equations import Equation, Explanation, number, signed, summed

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace


def explain_look(layer: LayerTrace, unit: Any, example: int, place: Any, step: int | None) -> Explanation:
    """Score, weight and what is taken by head `unit`, or (head, feature), at `step` (default: the last) from `place` (default: the
    one that weighs most).

    Raises DeltaruleError for heads, features, steps and places that are not there.
    """
    Q, K, V, A = (np.asarray(layer.taps[name][example], float) for name in ("queries", "keys", "values", "attention"))
    heads, T, S = A.shape
    head, feature = unit if isinstance(unit, tuple) else (unit, 0)
    t = T - 1 if step is None else step
    for what, value, known in (("heads", head, heads), ("features in a head", feature, V.shape[-1]), ("steps", t, T),
                               ("places to look at", place or 0, S)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < known:
            raise DeltaruleError(f"{layer.path} has {known} {what}, numbered from 0; received {value!r}")
    s = int(A[head, t].argmax()) if place is None else int(place)
    equations = tuple(_look(layer, Q[head, t], K[head], V[head, :, feature], A[head, t], (example, head, t, s, feature)))
    return Explanation(f"{layer.path}, head {head}, step {t} looking at {s}, example {example}", equations)


def _look(layer: LayerTrace, q: np.ndarray, K: np.ndarray, v: np.ndarray, A: np.ndarray, at: tuple[int, ...]) -> Iterator[Equation]:
    """e_ts = q_t k_s / sqrt(d_k), A_ts = exp(e_ts) / sum exp(e), o_t = sum_s A_ts v_s; and back dL/dA_ts, dL/de_ts."""
    example, head, t, s, j = at
    d = len(q)
    e = K @ q / math.sqrt(d)
    shown, latex = summed(list(zip(q.tolist(), K[s].tolist(), strict=True)), None)
    yield Equation("the score: how well the key fits the query", f"e_{t},{s}",
                   (f"sum_i q_{t},i k_{s},i / sqrt({d})", f"({shown}) / {number(math.sqrt(d))}", number(e[s])), f"e_{{{t},{s}}}",
                   (rf"\sum_i q_{{{t},i}} k_{{{s},i}} / \sqrt{{{d}}}", rf"\left( {latex} \right) / {number(math.sqrt(d))}",
                    number(e[s])), e[s])
    largest = e[A > 0].max(initial=e[s])
    Z = float(np.exp(e[A > 0] - largest).sum()) if A.any() else 1.0
    numbers = f"exp({number(e[s])} - {signed(largest)}) / {number(Z)}" if A[s] else "0, since it may not look there"
    yield Equation("its weight among all that it may look at, the largest score taken off above and below", f"A_{t},{s}",
                   (f"exp(e_{t},{s}) / sum_s exp(e_{t},s)", numbers, number(A[s])), f"A_{{{t},{s}}}",
                   (rf"\exp(e_{{{t},{s}}}) / \sum_s \exp(e_{{{t},s}})", numbers.replace("exp", r"\exp") if A[s] else "0",
                    number(A[s])), A[s])
    shown, latex = summed(list(zip(A.tolist(), v.tolist(), strict=True)), None)
    o = float(A @ v)
    yield Equation(f"what it takes, feature {j} of the head: the mean of the values, weighed", f"o_{t},{j}",
                   (f"sum_s A_{t},s v_s,{j}", shown, number(o)), f"o_{{{t},{j}}}",
                   (rf"\sum_s A_{{{t},s}} v_{{s,{j}}}", latex, number(o)), o)
    if layer.deltas is None:
        return
    dA = np.asarray(layer.deltas["attention"][example, head, t], float)
    mean = float(A @ dA)
    yield Equation("the error of the weight", f"dL/dA_{t},{s}", (number(dA[s]),), rf"\partial L / \partial A_{{{t},{s}}}",
                   (number(dA[s]),), dA[s])
    back = float(A[s] * (dA[s] - mean))
    numbers = f"{number(A[s])} * ({number(dA[s])} - {signed(mean)})"
    yield Equation("the error of the score: what it does better or worse than the others, by its weight", f"dL/de_{t},{s}",
                   (f"A_{t},{s} (dL/dA_{t},{s} - sum_s A_{t},s dL/dA_{t},s)", numbers, number(back)),
                   rf"\partial L / \partial e_{{{t},{s}}}",
                   (rf"A_{{{t},{s}}} \left( \partial L / \partial A_{{{t},{s}}} - \sum_s A_{{{t},s}} \, \partial L / \partial A_{{{t},s}} "
                    r"\right)", numbers.replace("*", r"\cdot"), number(back)), back)
