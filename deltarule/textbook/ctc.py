"""Connectionist temporal classification as in the paper, for one sequence: plain probabilities, one equation a line (Graves et al. 2006).

Shapes: y (T, K) the softmax of every step; labels (L,); l' (S,) the labels with a blank before, between and behind, S = 2 L + 1.
"""

from typing import NamedTuple

import numpy as np

from deltarule.textbook.arrays import Array, floats


class Transcription(NamedTuple):
    """What the two passes give: loss -ln p, alpha and beta (T, S), the posterior (T, K), and dL/da (T, K) = y - posterior."""

    loss: float
    alpha: Array
    beta: Array
    posterior: Array
    delta: Array


def ctc(y: Array, labels: tuple[int, ...], blank: int = 0) -> Transcription:
    """L = -ln p(labels) by the forward and the backward pass over probabilities y (T, K), and its derivative with respect to a.

    alpha_t(s) = (alpha_t-1(s) + alpha_t-1(s-1) [+ alpha_t-1(s-2)]) y_t(l'_s), the last where l'_s is no blank and not l'_s-2 (eq. 6);
    beta_t(s) the same backwards (eq. 10), p = sum_s alpha_t(s) beta_t(s) / y_t(l'_s) in every step (eq. 14).

    >>> found = ctc(np.full((2, 3), 1 / 3), (1,))
    >>> round(float(np.exp(-found.loss)), 6)
    0.333333
    """
    y = floats("y", y, "T, K")
    extended = [blank, *(part for label in labels for part in (label, blank))]
    T, S = len(y), len(extended)
    said = y[:, extended]
    over = [s >= 2 and extended[s] != blank and extended[s] != extended[s - 2] for s in range(S)]
    alpha, beta = np.zeros((T, S)), np.zeros((T, S))
    alpha[0, :2], beta[-1, -2:] = said[0, :2], said[-1, -2:]
    for t in range(1, T):
        for s in range(S):
            come = alpha[t - 1, s] + (alpha[t - 1, s - 1] if s else 0) + (alpha[t - 1, s - 2] if over[s] else 0)
            alpha[t, s] = come * said[t, s]
    for t in range(T - 2, -1, -1):
        for s in range(S):
            go = beta[t + 1, s] + (beta[t + 1, s + 1] if s + 1 < S else 0) + (beta[t + 1, s + 2] if s + 2 < S and over[s + 2] else 0)
            beta[t, s] = go * said[t, s]
    p = alpha[-1, -2:].sum()
    posterior = np.zeros_like(y)
    for s, label in enumerate(extended):
        posterior[:, label] += alpha[:, s] * beta[:, s] / said[:, s] / p
    return Transcription(float(-np.log(p)), alpha, beta, posterior, y - posterior)
