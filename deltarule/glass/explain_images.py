"""The equations of one unit of a feature map with the numbers in them: convolution, and pooling (lecture rows 28, 30)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.glass.equations import Equation, Explanation, number, signed, summed
from deltarule.glass.reach import NOWHERE, Sliding, reach
from deltarule.layers.convolution import Convolution
from deltarule.layers.pooling import WindowPool
from deltarule.ops.pooling import max_pool

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace, Trace

LETTERS = "ijk"         # of the axes of a kernel
MOST_VALUES = 9         # of a window that are written out


def explains(layer: Any) -> bool:
    """Whether the equations of this layer are written here."""
    return isinstance(layer, (Convolution, WindowPool))


def explain_place(trace: Trace, layer: LayerTrace, unit: Any, example: int, weight: Any, eta: float, activated: Any) -> Explanation:
    """The equations of one unit (place..., map) of a convolution or pooling; a map alone stands for its strongest unit.

    `activated` writes h = g(a) and returns g'(a), for a place of the layer: they are those of every layer.
    """
    place = _place(layer, unit, example)
    title = f"{layer.path}, unit ({', '.join(map(str, place))}), example {example}"
    here = layer.taps["mask"][..., None] > 0 if "mask" in layer.taps else np.array(True)
    if isinstance(layer.layer, WindowPool):
        return Explanation(title, tuple(_pooled(layer, place, example, np.broadcast_to(here, layer.input.shape)[example, ..., 0])))
    layer = dataclasses.replace(layer, input=np.where(here, layer.input, 0))
    ways: Any = reach(layer.layer, layer.input.shape[1:])
    equations = [_sum(layer, ways, place, example)]
    activation, slope = activated(layer, place, example)
    equations.append(activation)
    if layer.deltas is not None:
        equations.append(_delta(layer, place, example, slope))
        equations += _update(trace, layer, ways, place, example, weight, eta)
    return Explanation(title, tuple(equations))


def _place(layer: LayerTrace, unit: Any, example: int) -> tuple[int, ...]:
    """A unit as (place..., map)."""
    shape = layer.activation.shape[1:]
    if isinstance(unit, (int, np.integer)) and not isinstance(unit, bool) and 0 <= unit < shape[-1]:
        a = layer.taps.get("preactivation", layer.activation)[example, ..., unit]
        return (*map(int, np.unravel_index(np.abs(a).argmax(), shape[:-1])), int(unit))
    place = tuple(unit) if isinstance(unit, (tuple, list)) else (unit,)
    whole = all(isinstance(o, (int, np.integer)) and not isinstance(o, bool) for o in place)
    if not whole or len(place) != len(shape) or not all(0 <= o < n for o, n in zip(place, shape, strict=True)):
        raise DeltaruleError(f"{layer.path} has units {shape}, each numbered from 0: name a place and a map, such as "
                             f"{tuple(n // 2 for n in shape)}, or a map alone; received unit {unit!r}")
    return tuple(map(int, place))


def _sum(layer: LayerTrace, ways: Sequence[Sliding], place: tuple[int, ...], example: int) -> Equation:
    """a[o, m] = sum_k sum_c x[o S + k D - P, c] K[k, c, m] + b[m]."""
    *o, m = place
    K, x = layer.parameters["weights"][..., m], layer.input[example]
    first, C = _group(layer, m)
    seen = [way.seen(np.array([at]))[0] for way, at in zip(ways, o, strict=True)]
    terms = []
    for k in np.ndindex(*K.shape[:-1]):
        at = tuple(int(places[i]) for places, i in zip(seen, k, strict=True))
        if NOWHERE not in at:
            terms += [(float(x[(*at, first + c)]), float(K[(*k, c)])) for c in range(C)]
    b = float(layer.parameters["bias"][m]) if "bias" in layer.parameters else None
    shown, latex = summed(terms, b)
    letters = LETTERS[:len(o)]
    where = [_index(way.stride * at - way.before, way.dilation, letter) for way, at, letter in zip(ways, o, letters, strict=True)]
    channel = "c" if not first else f"{first}+c"
    inputs, kernel = ",".join([*where, channel]), ",".join([*letters, "c", str(m)])
    name, a = ",".join(map(str, place)), float(layer.preactivation[(example, *place)])
    bias, latex_bias = ("", "") if b is None else (f" + b_{m}", f" + b_{{{m}}}")
    missing = K.size - len(terms)
    padding = f", of which {missing} {'is' if missing == 1 else 'are'} padding" if missing else ""
    return Equation(f"the weighted sum of the window it sees{padding}", f"a_{name}",
                    (f"sum_{letters}c x_{inputs} W_{kernel}{bias}", shown or "0", number(a)), f"a_{{{name}}}",
                    (rf"\sum_{{{letters}c}} x_{{{inputs}}} W_{{{kernel}}}{latex_bias}", latex or "0", number(a)), a)


def _delta(layer: LayerTrace, place: tuple[int, ...], example: int, slope: float | None) -> Equation:
    """delta = g'(a) dL/dh."""
    name, at = ",".join(map(str, place)), (example, *place)
    delta, back = float(layer.delta[at]), (layer.deltas or {}).get("activation")
    symbol, latex = f"delta_{name}", rf"\delta_{{{name}}}"
    if slope is None or back is None:
        return Equation("its delta, dL/da", symbol, ("dL/da", number(delta)), latex,
                        (rf"\partial L / \partial a_{{{name}}}", number(delta)), delta)
    numbers = f"{number(slope)} * {signed(float(back[at]))}"
    return Equation("its delta, dL/da", symbol, (f"g'(a_{name}) dL/dh_{name}", numbers, number(delta)), latex,
                    (rf"g'(a_{{{name}}}) \, \partial L / \partial h_{{{name}}}", numbers.replace("*", r"\cdot"), number(delta)), delta)


def _update(trace: Trace, layer: LayerTrace, ways: Sequence[Sliding], place: tuple[int, ...], example: int, weight: Any,
            eta: float) -> list[Equation]:
    """dL/dK[k, c, m] = sum_o x[o S + k D - P, c] delta[o, m]: a shared weight hears from every place of its map."""
    m, K = place[-1], layer.parameters["weights"]
    gradients = trace.example(example)[layer.path].gradients
    dK = (gradients or {})["weights"][..., m]
    k = _weight(layer, weight, dK)
    first, _ = _group(layer, m)
    delta = layer.delta[example, ..., m]
    columns = [way.seen(np.arange(n))[:, i] for way, n, i in zip(ways, delta.shape, k[:-1], strict=True)]
    terms = []
    for o, at in zip(np.ndindex(*delta.shape), itertools.product(*columns), strict=True):
        if NOWHERE not in at and delta[o] != 0:
            terms.append((float(layer.input[(example, *map(int, at), first + k[-1])]), float(delta[o])))
    shown, latex_sum = summed(terms, None)
    slope, W, name = float(dK[k]), float(K[(*k, m)]), ",".join(map(str, (*k, m)))
    letters = "pqr"[:delta.ndim]
    where = [_index(i * way.dilation - way.before, way.stride, letter) for way, i, letter in zip(ways, k, letters, strict=False)]
    inputs = ",".join([*where, str(first + k[-1])])
    symbol, latex = f"dL/dW_{name}", rf"\frac{{\partial L}}{{\partial W_{{{name}}}}}"
    deltas = f"delta_{','.join(letters)},{m}"
    found = [Equation(f"the gradient of the weight {k} of map {m}, from every place where it is used", symbol,
                      (f"sum_{letters} x_{inputs} {deltas}", shown or "0", number(slope)), latex,
                      (rf"\sum_{{{letters}}} x_{{{inputs}}} \, \delta_{{{','.join(letters)},{m}}}", latex_sum or "0", number(slope)),
                      slope)]
    numbers, after = f"{number(W)} - {number(eta)} * {signed(slope)}", W - eta * slope
    found.append(Equation(f"its new value after one step of gradient descent on this example, eta = {number(eta)}", f"W_{name}",
                          (f"W_{name} - eta dL/dW_{name}", numbers, number(after)), f"W_{{{name}}}",
                          (rf"W_{{{name}}} - \eta {latex}", numbers.replace("*", r"\cdot"), number(after)), after))
    return found


def _weight(layer: LayerTrace, weight: Any, dK: np.ndarray) -> tuple[int, ...]:
    """The weight that is explained, (k..., c): the one given, or that of the largest gradient."""
    if weight is None:
        return tuple(map(int, np.unravel_index(np.abs(dK).argmax(), dK.shape)))
    k = tuple(weight) if isinstance(weight, (tuple, list)) else (weight,)
    if len(k) != dK.ndim or not all(isinstance(i, (int, np.integer)) and 0 <= i < n for i, n in zip(k, dK.shape, strict=True)):
        raise DeltaruleError(f"a map of {layer.path} has weights {dK.shape}, each numbered from 0: name a place of the kernel and a "
                             f"channel; received weight {weight!r}")
    return tuple(map(int, k))


def _pooled(layer: LayerTrace, place: tuple[int, ...], example: int, here: np.ndarray) -> list[Equation]:
    """h = max or mean of the window, of the places that are `here`, and where its error goes."""
    *o, c = place
    pool: Any = layer.layer
    ways: Any = reach(pool, layer.input.shape[1:])
    seen = [way.seen(np.array([at]))[0] for way, at in zip(ways, o, strict=True)]
    places = [at for at in itertools.product(*(map(int, axis) for axis in seen)) if NOWHERE not in at and here[at]]
    x = [float(layer.input[(example, *at, c)]) for at in places]
    name, h = ",".join(map(str, place)), float(layer.activation[(example, *place)])
    if not places:
        return [Equation("nothing but padding under its window", f"h_{name}", (number(h),), f"h_{{{name}}}", (number(h),), h)]
    box = ",".join([*(f"{at[0]}..{at[-1]}" for at in zip(*places, strict=True)), str(c)])
    latex_box = box.replace("..", r" \ldots ")
    values = ", ".join(map(number, x[:MOST_VALUES])) + (f", {len(x) - MOST_VALUES} more" if len(x) > MOST_VALUES else "")
    maximum = type(pool).pool is max_pool
    word, latex = ("max", r"\max") if maximum else ("mean", r"\mathrm{mean}")
    heading = f"the {'largest' if maximum else 'mean'} of the {len(x)} values under its window"
    found = [Equation(heading, f"h_{name}", (f"{word} x_{box}", f"{word}({values})", number(h)), f"h_{{{name}}}",
                      (rf"{latex}\, x_{{{latex_box}}}", rf"{latex}({values})", number(h)), h)]
    if layer.deltas is not None and "activation" in layer.deltas:
        error = float(layer.delta[(example, *place)])
        winner = ",".join(map(str, (*places[int(np.argmax(x))], c)))
        goes = f"all of it goes back to x_{winner}" if maximum else f"each of the {len(x)} values gets 1/{len(x)} of it"
        found.append(Equation(f"its error: {goes}", f"delta_{name}", (f"dL/dh_{name}", number(error)), rf"\delta_{{{name}}}",
                              (rf"\partial L / \partial h_{{{name}}}", number(error)), error))
    return found


def _group(layer: LayerTrace, m: int) -> tuple[int, int]:
    """The first input channel that map m sees, and how many."""
    conv: Any = layer.layer
    C = layer.parameters["weights"].shape[-2]
    return m // (conv.filters // conv.groups) * C, C


def _index(base: int, step: int, letter: str) -> str:
    """An index base + step letter.

    >>> _index(3, 1, "i"), _index(0, 2, "j"), _index(-1, 2, "j")
    ('3+i', '2j', '2j-1')
    """
    moving = letter if step == 1 else f"{step}{letter}"
    return moving if not base else f"{base}+{moving}" if base > 0 else f"{moving}{base}"
