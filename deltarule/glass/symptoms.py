"""What is wrong inside the network: rules over the units and layers of one trace. Each returns its findings, or none."""

from collections.abc import Iterator

import numpy as np

from deltarule.glass.evidence import FEWEST, Evidence, percent, where
from deltarule.glass.findings import Finding
from deltarule.glass.through_time import factor_a_step, gradient_by_lag
from deltarule.glass.trace_table import NEAR, function_of, rms
from deltarule.layers.recurrent import Recurrent, SimpleRNN

# Saturated: half of the values of a healthy layer may well lie near the ends once it has decided; above that the layer is more of
# a switch than a function, and above four fifths hardly any delta comes through (the slope there is below 8% of its largest).
SATURATED, STUCK = 0.5, 0.8
WRONG = 0.1             # share of outputs that are both saturated and on the wrong side
# Dead: a few silent units are the price of ReLUs; two fifths are a waste, seven tenths leave too little to compute with.
DEAD, MOSTLY_DEAD = 0.4, 0.7
# Deltas: each sigmoid layer divides them by 4 or more, so that five layers are a factor of a thousand (Hochreiter 1991).
FADED, LOST = 1e-3, 1e-5
# Steps: an update of a thousandth of the weights is usual. At 30% a layer is new after three steps, below a millionth it stands still.
HASTY, IDLE = 0.3, 1e-6
BESIDE_ZEROS = 1e-3     # rms of weights below which every step is huge


def not_finite(seen: Evidence) -> Iterator[Finding]:
    """Parameters or outputs that are not finite: the first layer that shows one."""
    for layer in seen.layers:
        for name, tap in layer.taps.items():
            bad = np.flatnonzero(~np.isfinite(tap.reshape(len(tap), -1)).all(axis=1))
            if bad.size:
                yield Finding("serious", f"{where(layer.path)}/{name}", "values that are not finite",
                              f"NaN or infinite in {bad.size} of {len(tap)} rows, first in row {bad[0]}",
                              "build the network anew, scale the inputs, and train with a tenth of the learning rate")
                return


def saturated_units(seen: Evidence) -> Iterator[Finding]:
    """Hidden sigmoid and tanh layers whose values lie at their flat ends, where no delta comes through."""
    for layer, row in zip(seen.layers, seen.table, strict=True):
        if row.saturated is None or row.saturated < SATURATED or len(seen.x) < FEWEST or seen.is_output(layer):
            continue
        grave = row.saturated >= STUCK
        severity = ("serious" if grave else "warning") if seen.struggles else ("warning" if grave else "note")
        yield Finding(severity, where(row.path), f"saturated {function_of(layer)} units",
                      f"{percent(row.saturated)} of its values lie within {percent(NEAR)} of the ends; "
                      f"the rms of a is {row.preactivation or 0:.3g}",
                      "scale the inputs to mean 0 and spread 1, start with smaller weights, or take relu")


def saturated_and_wrong(seen: Evidence) -> Iterator[Finding]:
    """Output units at the flat end on the wrong side: with a squared error their delta is nearly zero, though the error is largest."""
    h = seen.trace.output
    ends = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0)}.get(seen.activation or "")
    if ends is None or seen.y.shape != h.shape or not hasattr(seen.loss, "form") or len(h) < FEWEST:
        return
    low, high = ends
    flat = (h < low + NEAR * (high - low)) | (h > high - NEAR * (high - low))
    share = float(np.mean(flat & (np.abs(h - seen.y) > (high - low) / 2)))
    if share >= WRONG:
        loss = {"sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}.get(str(seen.activation))
        yield Finding("serious", "output", f"{seen.activation} outputs stuck at the wrong end",
                      f"{percent(share)} of the outputs are within {percent(NEAR)} of an end and off by more than half of the range",
                      f"take the loss {loss!r}, whose delta is y_hat - y there too" if loss else
                      "start with smaller weights; scale the inputs")


def dead_units(seen: Evidence) -> Iterator[Finding]:
    """ReLU units that are zero for every row: neither they nor the weights into them learn."""
    for layer, row in zip(seen.layers, seen.table, strict=True):
        if row.silent is None or row.silent < DEAD or len(seen.x) < FEWEST:
            continue
        severity = "serious" if row.silent == 1 or (row.silent >= MOSTLY_DEAD and seen.struggles) else "warning"
        units = layer.activation.shape[-1]
        yield Finding(severity, where(row.path), "dead relu units",
                      f"{round(row.silent * units)} of {units} units are zero for all {len(seen.x):,} rows",
                      "train afresh with a lower learning rate, or take leaky_relu")


def deltas_by_depth(seen: Evidence) -> Iterator[Finding]:
    """Deltas that fade or grow on their way back through the layers that have weights; where they are zero other rules say why."""
    rows = [row for row in seen.table if row.delta is not None and row.weights is not None]
    if len(rows) < 2 or not rows[0].delta or not rows[-1].delta:
        return
    first, last, ratio = rows[0], rows[-1], rows[0].delta / rows[-1].delta
    severity = ("serious" if not LOST <= ratio <= 1 / LOST else "warning") if seen.struggles else "note"
    evidence = (f"rms of delta {first.delta:.2g} in {first.path}, {last.delta:.2g} in {last.path}: "
                f"a factor of {ratio:.2g} over {len(rows)} layers")
    if ratio < FADED:
        yield Finding(severity, first.path, "vanishing deltas", evidence,
                      "take relu with its own weights='auto', fewer layers, or Residual around some of them")
    elif ratio > 1 / FADED:
        yield Finding(severity, first.path, "exploding deltas", evidence,
                      "start with smaller weights (weights='auto'), and clip the gradient (clip_norm=1.0)")


def errors_through_time(seen: Evidence) -> Iterator[Finding]:
    """Errors that fade or grow on their way back through the steps of a recurrent layer (Bengio, Simard and Frasconi 1994).

    Gates can learn to hold what fades at first, so that an LSTM or GRU is only warned about when it has been trained and still struggles.
    """
    for layer in seen.layers:
        if not isinstance(layer.layer, Recurrent) or layer.deltas is None:
            continue
        norms = gradient_by_lag(layer)
        if len(norms) < 2 or not norms[0]:
            continue
        steps, ratio, factor = len(norms) - 1, norms[-1] / norms[0], factor_a_step(norms)
        plain = isinstance(layer.layer, SimpleRNN)
        evidence = (f"an error of size {norms[0]:.2g} at the last step is {norms[-1]:.2g} at the first: "
                    f"{_times(factor)} in each of {steps} steps back")
        if not np.isfinite(ratio) or ratio > 1 / FADED:
            yield Finding("serious" if seen.struggles else "warning", where(layer.path), "exploding errors through time", evidence,
                          "clip the gradient (clip_norm=1.0) and start with recurrent_weights='orthogonal'; or take LSTM or GRU")
        elif ratio < FADED:
            far = int(np.argmax(norms < FADED * norms[0]))
            graver = "warning" if plain or seen.epochs else "note"
            yield Finding(graver if seen.struggles else "note", where(layer.path), "vanishing errors through time",
                          f"{evidence}; after {far} a thousandth is left",
                          f"where what counts may lie more than {far} steps back: " + (
                              "LSTM or GRU, whose gates can learn to hold it" if plain else
                              "train longer, or begin with gates that hold (LSTM: a larger forget_bias)"))


def equal_units(seen: Evidence) -> Iterator[Finding]:
    """Units of a layer with the same weights and the same gradient: they stay one unit however long they are trained."""
    for layer in seen.layers:
        W, g = layer.parameters.get("weights"), (layer.gradients or {}).get("weights")
        if W is None or g is None or W.ndim != 2 or W.shape[1] < 2:
            continue
        if _columns_equal(W) and _columns_equal(g):
            value = f"all {W.flat[0]:.3g}" if np.ptp(W) == 0 else "equal in every unit"
            yield Finding("serious", where(layer.path), "its units are all the same",
                          f"the weights are {value}, and so are the gradients of its {W.shape[1]} units",
                          "start with random weights: weights='auto'")


def size_of_steps(seen: Evidence) -> Iterator[Finding]:
    """Updates that are huge or tiny beside the weights that they change."""
    if seen.rates is None:
        return
    moved = {path.rpartition("/")[0]: share for path, share in seen.rates.movement.items()
             if path.endswith("weights") and rms(_parameter(seen, path)) > BESIDE_ZEROS}
    if not moved:
        return
    rate, layer, largest = seen.rates.rate, max(moved, key=lambda path: moved[path]), max(moved.values())
    if not largest < HASTY:
        yield Finding("warning", where(layer), "huge steps",
                      f"at the rate {rate:g} one step changes its weights by {largest:.2g} times their size",
                      "divide the learning rate by 10, or clip the gradient (clip_norm=1.0)")
    elif largest < IDLE and seen.struggles:
        yield Finding("warning", where(layer), "tiny steps",
                      f"at the rate {rate:g} one step changes the weights by at most {largest:.1g} of their size, "
                      "near what float32 can tell",
                      "multiply the learning rate by 10; look for vanishing deltas")


def _times(factor: float) -> str:
    return f"x {factor:.2g}" if np.isfinite(factor) else "beyond all numbers"


def _columns_equal(values: np.ndarray) -> bool:
    return bool(np.all(np.abs(values - values[:, :1]) <= 1e-5 * np.abs(values[:, :1])))


def _parameter(seen: Evidence, path: str) -> np.ndarray:
    value = seen.trace.params
    for name in path.split("/"):
        value = value[name]
    return np.asarray(value)
