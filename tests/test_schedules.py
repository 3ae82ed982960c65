"""Schedules against their formulas in NumPy float64, and at the landmarks a reader would check."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.errors import DeltaruleError
from deltarule.schedules import CosineDecay, ExponentialDecay, InverseTimeDecay, LinearDecay, OneCycle, Schedule, StepDecay, WarmupCosine
from deltarule.spec import from_json, to_json

STEPS, EPOCHS = 7, 11


def half_cosine(first, last, share):
    return last + (first - last) * (1 + np.cos(np.pi * share)) / 2


FORMULAS = {                                                    # eta(t) of t in epochs, T = 11
    StepDecay(0.3, factor=0.2, every=3): lambda t: 0.3 * 0.2 ** (t // 3),
    ExponentialDecay(0.3, decay=0.8): lambda t: 0.3 * np.exp(t * np.log(0.8)),
    InverseTimeDecay(0.3, decay=0.5): lambda t: 0.6 / (2 + t),
    LinearDecay(0.3, final=0.1): lambda t: np.interp(t, [0, 11], [0.3, 0.1]),
    CosineDecay(0.3, final=0.1): lambda t: half_cosine(0.3, 0.1, t / 11),
    WarmupCosine(0.3, warmup=2, final=0.1):
        lambda t: np.where(t < 2, np.interp(t, [0, 2], [0.03, 0.3]), half_cosine(0.3, 0.1, (t - 2) / 9)),
    OneCycle(0.3, rise=0.4, start_ratio=5.0, final_ratio=50.0):
        lambda t: np.where(t < 4.4, half_cosine(0.06, 0.3, t / 4.4), half_cosine(0.3, 0.006, (t - 4.4) / 6.6)),
}


@pytest.mark.parametrize("schedule", FORMULAS, ids=repr)
def test_every_step_follows_the_formula(schedule):
    steps = np.arange(STEPS * EPOCHS + 1)
    rates = jax.jit(schedule.build(STEPS, EPOCHS))(steps)
    assert rates.dtype == jnp.float32
    np.testing.assert_allclose(rates, FORMULAS[schedule](steps / STEPS), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(("schedule", "landmarks"), [
    (StepDecay(1.0, factor=0.1, every=5), {0: 1.0, 34: 1.0, 35: 0.1, 69: 0.1, 70: 0.01}),
    (LinearDecay(0.5), {0: 0.5, 77: 0.0, 1000: 0.0}),
    (CosineDecay(0.5, final=0.1), {0: 0.5, 77: 0.1, 1000: 0.1}),
    (WarmupCosine(0.5, warmup=3), {0: 0.05, 21: 0.5, 49: 0.25, 77: 0.0, 1000: 0.0}),
    (OneCycle(1.0, rise=4 / 11), {0: 0.04, 28: 1.0, 77: 1e-5, 1000: 1e-5}),
    (InverseTimeDecay(1.0), {0: 1.0, 7: 0.5, 21: 0.25}),
    (ExponentialDecay(1.0, decay=0.5), {0: 1.0, 7: 0.5, 21: 0.125}),
], ids=lambda value: type(value).__name__)
def test_landmarks(schedule, landmarks):
    rates = schedule.build(STEPS, EPOCHS)(np.array(list(landmarks)))
    np.testing.assert_allclose(rates, list(landmarks.values()), rtol=1e-5, atol=1e-7)


def test_step_decay_cuts_exactly_at_the_epoch():
    sizes = [(steps, every) for steps in (1, 3, 7, 41, 469, 1875, 60000) for every in (1, 3, 7, 41, 49)]

    @jax.jit
    def around_the_third_cut():
        return [StepDecay(1.0, factor=0.5, every=every).build(steps, 200)(3 * every * steps + np.array([-1, 0])) for steps, every in sizes]

    np.testing.assert_allclose(np.stack(around_the_third_cut()), np.broadcast_to([0.25, 0.125], (len(sizes), 2)), rtol=1e-6)


def test_schedules_do_not_depend_on_the_batch_size():
    for schedule in FORMULAS:
        coarse, fine = schedule.build(3, EPOCHS)(3 * np.arange(EPOCHS)), schedule.build(300, EPOCHS)(300 * np.arange(EPOCHS))
        np.testing.assert_allclose(coarse, fine, rtol=1e-6)


@pytest.mark.parametrize("schedule", FORMULAS, ids=repr)
def test_json_round_trip(schedule):
    assert isinstance(schedule, Schedule)
    assert from_json(to_json(schedule)) == schedule


@pytest.mark.parametrize(("make", "text"), [
    (lambda: StepDecay(0.0), r"^StepDecay expected rate to be a finite number above 0, received 0\.0$"),
    (lambda: StepDecay(0.1, factor=1.5), r"^StepDecay expected factor to be a finite number above 0 and at most 1, received 1\.5$"),
    (lambda: StepDecay(0.1, every=2.5), r"^StepDecay expected every to be a whole number of at least 1, received 2\.5$"),
    (lambda: ExponentialDecay(math.nan), r"^ExponentialDecay expected rate to be a finite number above 0, received nan$"),
    (lambda: ExponentialDecay(0.1, decay=-1), r"^ExponentialDecay expected decay to be a finite number above 0 and at most 1, received -1"),
    (lambda: InverseTimeDecay(0.1, decay=0), r"^InverseTimeDecay expected decay to be a finite number above 0, received 0$"),
    (lambda: LinearDecay(0.1, final=-0.1), r"^LinearDecay expected final to be a finite number of at least 0, received -0\.1$"),
    (lambda: CosineDecay("fast"), r"^CosineDecay expected rate to be a finite number above 0, received 'fast'$"),
    (lambda: WarmupCosine(0.1, warmup=0), r"^WarmupCosine expected warmup to be a finite number above 0, received 0$"),
    (lambda: OneCycle(True), r"^OneCycle expected peak to be a finite number above 0, received True$"),
    (lambda: OneCycle(0.1, rise=1.0), r"^OneCycle expected rise to be a finite number above 0 and below 1, received 1\.0$"),
    (lambda: OneCycle(0.1, start_ratio=0.5), r"^OneCycle expected start_ratio to be a finite number of at least 1, received 0\.5$"),
    (lambda: CosineDecay(0.1).build(0, 3), r"^CosineDecay expected steps_per_epoch to be a whole number of at least 1, received 0$"),
    (lambda: CosineDecay(0.1).build(3, 1.5), r"^CosineDecay expected epochs to be a whole number of at least 1, received 1\.5$"),
    (lambda: WarmupCosine(0.1, warmup=3).build(5, 3),
     r"^WarmupCosine warms up for 3 epochs but the training has 3; take a shorter warmup or more epochs$"),
])
def test_errors(make, text):
    with pytest.raises(DeltaruleError, match=text):
        make()
