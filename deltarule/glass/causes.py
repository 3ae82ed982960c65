"""What is wrong around the network: rules over inputs, targets, loss, learning rate, and what training left. Each returns its findings."""

from collections.abc import Iterator, Sequence

import numpy as np

from deltarule.data.audit import IMBALANCE
from deltarule.glass.evidence import FEWEST, Evidence, listed, percent
from deltarule.glass.findings import Finding
from deltarule.losses import AbsoluteError, Huber, SquaredError, name_of

# Inputs: with mean 0 and spread 1 the first weights suit them. Ten times that saturates units and makes one rate suit no column; a
# thousand times overflows the first steps. Where all are below a tenth the units see next to nothing, and so they do of a column
# that spans a hundredth.
FAR, VERY_FAR, TINY, FAINT = 10.0, 1000.0, 0.1, 0.01
# Overfitting: the validation loss is always somewhat above the training loss. Half more, and by a tenth of what a constant answer
# costs, is a gap worth closing. The rise of a validation curve counts from a tenth above its lowest point.
GAP, GAP_AT_LEAST, RISE = 1.5, 0.1, 1.1
NO_BETTER = 0.99        # of the loss of a constant answer: what is above has learnt nothing
ENOUGH = 5              # epochs after which something should have been learnt
COLLAPSED = 0.01        # spread of the predictions over that of the targets
RANGES = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, np.inf), "softplus": (0.0, np.inf),
          "exponential": (0.0, np.inf), "elu": (-1.0, np.inf)}
MOST_CLASSES = 20       # whole numbers from 0 up to this many are taken for class numbers
# Rates: a rise by a tenth of what a constant answer costs is more than the unrest of small batches. "Far more" is a fifth of the loss
# in 20 steps; below a quarter of the constant answer's loss there is little left to win. A rate is slow where at its pace even a whole
# training would not halve the loss.
ROSE, FAR_MORE, LITTLE_LEFT, WHOLE_TRAINING = 0.1, 0.2, 0.25, 0.5


def unscaled_inputs(seen: Evidence) -> Iterator[Finding]:
    """Columns whose mean or spread is far from 0 and 1."""
    mean, spread = column_scales(seen.x)
    size = np.maximum(np.abs(mean), spread)
    large, faint = np.flatnonzero(size > FAR), faint_columns(seen.x)
    if large.size:
        worst = int(size.argmax())
        yield Finding("serious" if size[worst] > VERY_FAR and seen.struggles else "warning", "inputs", "unscaled columns",
                      f"{_columns(large, seen.x)} far from mean 0 and spread 1; "
                      f"{columns([worst], seen.x)}: mean {mean[worst]:.3g}, spread {spread[worst]:.3g}",
                      "standardize with dr.data.Preprocessor, or divide by the largest value (255 for images of bytes)")
    elif 0 < size.max() < TINY:
        yield Finding("warning", "inputs", "tiny inputs", f"no column has a mean or spread above {size.max():.2g}",
                      "standardize with dr.data.Preprocessor: the first weights suit inputs of spread 1")
    elif faint.size:
        yield Finding("note", "inputs", "faint columns",
                      f"{_columns(faint, seen.x)} within {FAINT:g} of the middle; column {faint[0]} has spread {spread[faint[0]]:.2g}",
                      "standardize with dr.data.Preprocessor, else the network hardly sees them")


def class_imbalance(seen: Evidence) -> Iterator[Finding]:
    """Classes of very different size, and classes that are never predicted."""
    if seen.classes is None or len(seen.x) < FEWEST:
        return
    true, predicted = seen.classes
    counts, answers = np.bincount(true), np.bincount(predicted, minlength=int(true.max()) + 1)
    present = np.flatnonzero(counts)
    rarest, largest = present[counts[present].argmin()], int(counts.argmax())
    forgotten = present[answers[present] == 0]
    if counts[largest] > IMBALANCE * counts[rarest]:
        never = seen.epochs > 0 and rarest in forgotten
        yield Finding("serious" if never and counts[rarest] >= FEWEST else "warning", "targets", "classes of very different size",
                      f"{counts[largest]:,} rows of class {largest}, {counts[rarest]:,} of class {rarest}, "
                      f"which is predicted {answers[rarest]:,} times",
                      "train with class_weight='balanced', and judge by the recall of each class instead of accuracy")
    elif seen.epochs > 0 and forgotten.size and len(np.unique(predicted)) > 1:
        yield Finding("warning", "output", "classes that are never predicted",
                      f"class {listed(forgotten)}: {counts[forgotten[0]]:,} rows of class {forgotten[0]} and no such answer",
                      "train longer, or look for rows of these classes that are labelled wrongly")


def nothing_learnt(seen: Evidence) -> Iterator[Finding]:
    """After five epochs or more still no better than a constant answer."""
    if seen.epochs >= ENOUGH and seen.constant is not None and not seen.trace.loss < NO_BETTER * seen.constant:
        yield Finding("serious", "training", "nothing learnt",
                      f"loss {seen.trace.loss:.3g} after {seen.epochs} epochs, where the best constant answer has {seen.constant:.3g}",
                      "mend what else is found here; deltarule.check(net, x, y) tells whether there is something to learn")


def overfitting(seen: Evidence) -> Iterator[Finding]:
    """A validation loss far above the training loss, or rising while the training loss falls."""
    loss, constant = seen.trace.loss, seen.constant
    cure = "fewer units, dropout, l2, more rows, or stop early: validation=0.2 keeps the best epoch"
    if seen.held is not None and constant is not None and not (seen.held <= GAP * loss or seen.held - loss <= GAP_AT_LEAST * constant):
        yield Finding("serious" if seen.held > constant else "warning", "training", "overfitting",
                      f"loss {loss:.3g} on these rows, {seen.held:.3g} on the validation rows (a constant answer has {constant:.3g})", cure)
    curves = seen.history.curves if seen.history is not None else {}
    train, held = curves.get("loss", []), curves.get("val_loss", [])
    if seen.history is None or not held:
        return
    best = int(np.argmin(held))
    if held[-1] > RISE * held[best] and train[-1] < train[best]:
        kept = seen.history.kept_epoch == best + 1
        yield Finding("note" if kept else "warning", "training", "the validation loss rises",
                      f"lowest, {held[best]:.3g}, in epoch {best + 1}; then up to {held[-1]:.3g} in epoch {len(held)}, "
                      f"while the training loss falls from {train[best]:.3g} to {train[-1]:.3g}",
                      f"nothing: epoch {best + 1} was kept" if kept else cure)


def collapsed_predictions(seen: Evidence) -> Iterator[Finding]:
    """The same answer for all rows, though the targets differ."""
    if seen.epochs == 0 or len(seen.x) < FEWEST:
        return
    cure = "look first at the other findings; then try another learning rate and first weights (seed)"
    if seen.classes is not None:
        true, predicted = seen.classes
        if len(np.unique(predicted)) == 1 and len(np.unique(true)) > 1:
            share = float(np.mean(true == predicted[0]))
            yield Finding("serious", "output", "collapsed predictions",
                          f"class {predicted[0]} for all {len(true):,} rows; it is right for {percent(share)}", cure)
    elif seen.y.shape == seen.trace.output.shape:
        h, y = (values.reshape(len(seen.y), -1).std(axis=0).max() for values in (seen.trace.output, seen.y))
        if y > 0 and h < COLLAPSED * y:
            yield Finding("serious", "output", "collapsed predictions", f"they have the spread {h:.2g}, the targets {y:.2g}", cure)


def unfitting_loss(seen: Evidence) -> Iterator[Finding]:
    """A loss and an output that cannot reach the targets, or that do not say what is meant."""
    y, h, name = seen.y, seen.trace.output, name_of(seen.loss)
    distance = isinstance(seen.loss, (SquaredError, AbsoluteError, Huber))
    if seen.activation in ("softmax", "log_softmax") and h.shape[-1] == 1:
        yield Finding("serious", "output", "softmax of a single unit", f"its output is {h.flat[0]:g} for every row",
                      "end the network with Dense(1, 'sigmoid'), or with one softmax unit for each class")
    elif distance and seen.activation in RANGES:
        low, high = RANGES[seen.activation]
        share = float(np.mean((y < low) | (y > high)))
        if share > 0:
            yield Finding("serious", "output", "targets out of reach",
                          f"{percent(share)} of the targets, from {y.min():.3g} to {y.max():.3g}, lie outside {low:g} to {high:g}, "
                          f"the range of {seen.activation}",
                          "end the network with a linear layer, or scale the targets into that range")
    elif distance and h.shape[1:] == (1,) and _are_class_numbers(y):
        yield Finding("warning", "output", "class numbers fitted as a quantity",
                      f"{name} on targets 0, 1, ... {y.max():g}: class {y.max():g} counts as {y.max():g} times class 1",
                      f"if they are classes, end with Dense({int(y.max()) + 1}, 'softmax') and give whole numbers (n,)")
    elif seen.activation == "sigmoid" and h.ndim == 2 and h.shape[1] > 1 and y.shape == h.shape and len(y) > 1 and _is_one_hot(y):
        yield Finding("note", "output", "sigmoid outputs for classes that exclude each other",
                      f"every one of the {len(y):,} rows has exactly one of {h.shape[1]} classes",
                      f"end with Dense({h.shape[1]}, 'softmax'): probabilities that sum to 1")


def learning_rate(seen: Evidence) -> Iterator[Finding]:
    """A rate that raises the loss where a part of it lowers it, or that is far slower than ten times as much, or more."""
    if seen.rates is None:
        return
    now, tried, scale = seen.trace.loss, seen.rates, seen.constant or abs(seen.trace.loss)
    once, steps = tried.losses[1], f"{tried.steps} steps from these weights"
    below = {factor: loss for factor, loss in tried.losses.items() if factor < 1 and loss < now}
    far_better = {factor: loss for factor, loss in tried.losses.items() if loss < (1 - FAR_MORE) * now and now > LITTLE_LEFT * scale}
    rose = not np.isfinite(once) or once > now + ROSE * scale
    if (rose and below) or (once >= now and 0.1 in far_better):
        factor = max(below)
        yield Finding("serious" if seen.struggles or not np.isfinite(once) else "warning", "learning rate", "too high",
                      f"{steps} at {tried.rate:g} take the loss from {now:.3g} to {once:.3g}, "
                      f"at {tried.rate * factor:g} to {below[factor]:.3g}",
                      f"train with a learning rate of {tried.rate * factor:g}")
        return
    slow = max(now - once, 0.0) * tried.planned / tried.steps < WHOLE_TRAINING * now     # at this pace, after a whole training
    faster = [factor for factor in far_better if factor > 1]
    if slow and faster:
        factor = min(faster)
        yield Finding("warning", "learning rate", "too low",
                      f"{steps} at {tried.rate:g} take the loss from {now:.4g} to {once:.4g}, "
                      f"at {tried.rate * factor:g} to {far_better[factor]:.4g}",
                      f"train with a learning rate of {tried.rate * factor:g}")


def column_scales(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread (standard deviation) of each column of x (n, columns), or of all values of images: (columns,) each."""
    values = x.astype(float) if x.ndim == 2 else x.reshape(-1, 1).astype(float)
    return values.mean(axis=0), values.std(axis=0)


def faint_columns(x: np.ndarray) -> np.ndarray:
    """Numbers of the columns of x (n, columns) that change in most rows, and by less than a hundredth."""
    if x.ndim != 2 or len(x) < FEWEST:
        return np.array([], int)
    away = np.abs(x - np.median(x, axis=0)[None].astype(x.dtype))
    return np.flatnonzero((np.median(away, axis=0) > 0) & (away.max(axis=0) < FAINT))


def columns(numbers: Sequence[int] | np.ndarray, x: np.ndarray) -> str:
    """Columns of x (n, columns) by their numbers, in words; of images all values are meant.

    >>> columns([1, 3], np.zeros((2, 5))), columns([0], np.zeros((2, 28, 28, 1)))
    ('columns 1, 3', 'all values')
    """
    return "all values" if x.ndim > 2 else f"{'column' if len(numbers) == 1 else 'columns'} {listed(numbers)}"


def _columns(numbers: np.ndarray, x: np.ndarray) -> str:
    return f"{columns(numbers, x)} {'lies' if len(numbers) == 1 and x.ndim == 2 else 'lie'}"


def _are_class_numbers(y: np.ndarray) -> bool:
    found = np.unique(y)
    return 3 <= len(found) <= min(MOST_CLASSES, len(y) / 3) and np.array_equal(found, np.arange(len(found)))


def _is_one_hot(y: np.ndarray) -> bool:
    return set(np.unique(y)) <= {0.0, 1.0} and bool(np.all(y.sum(axis=1) == 1))
