"""The biological neuron: action potential, threshold and firing rate, as the leaky integrate-and-fire model (lecture row 9)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DeltaruleError
from deltarule.textbook.arrays import Array, expect_above_zero, floats


@dataclass(frozen=True)
class SpikingNeuron:
    """tau dV/dt = -(V - V_rest) + R I; at V_th a spike, then V = V_reset for the refractory time (Lapicque 1907; Basics, row 9).

    Units: ms, mV, megaohm, nA (so that R I is in mV). The values are typical of a cortical neuron (Gerstner et al. 2014, chapter 1).
    Raises DeltaruleError unless tau and R are above 0, the refractory time at least 0 and V_th above V_rest and V_reset.

    >>> SpikingNeuron().rheobase
    1.5
    """

    tau: float = 10.0
    R: float = 10.0
    V_rest: float = -65.0
    V_th: float = -50.0
    V_reset: float = -65.0
    refractory: float = 2.0

    def __post_init__(self) -> None:
        expect_above_zero("tau", self.tau)
        expect_above_zero("R", self.R)
        if not self.refractory >= 0:
            raise DeltaruleError(f"refractory expected a time of at least 0 ms, received {self.refractory!r}")
        if not self.V_th > max(self.V_rest, self.V_reset):
            raise DeltaruleError(f"V_th expected a potential above V_rest and V_reset, received {self.V_th!r}; raise the threshold")

    @property
    def rheobase(self) -> float:
        """The current, in nA, that just holds V at the threshold: below it the neuron never fires."""
        return (self.V_th - self.V_rest) / self.R


@dataclass(frozen=True)
class Spikes:
    """A simulated course: times `t` (steps,) in ms, potential `V` (steps,) in mV, times of the `spikes` (number,) in ms."""

    t: Array
    V: Array
    spikes: Array


def simulate(neuron: SpikingNeuron, I: ArrayLike, duration: float, dt: float = 0.01) -> Spikes:
    """Euler steps V <- V + dt/tau (-(V - V_rest) + R I), with spike, reset and refractory time.

    `I` in nA: a number, or one for each step (steps,), steps = round(duration / dt); `duration` and `dt` in ms.
    Raises DeltaruleError unless duration and dt are above 0 and dt below tau, ShapeError for another number of currents.

    >>> simulate(SpikingNeuron(), I=2.0, duration=50.0).spikes.round(1)
    array([13.9, 29.7, 45.6])
    """
    expect_above_zero("duration", duration)
    expect_above_zero("dt", dt)
    if dt >= neuron.tau:
        raise DeltaruleError(f"dt expected a step well below tau = {neuron.tau:g} ms, received {dt!r}")
    steps = round(duration / dt)
    current = floats("I", I) if np.ndim(I) else np.full(steps, float(np.asarray(I)))
    if current.shape != (steps,):
        raise DeltaruleError(f"I expected a number or {steps} currents, one for each step, received the shape {current.shape}")
    V, threshold = neuron.V_rest, neuron.V_th
    course, spikes = np.empty(steps), []
    free_at = 0.0                                                       # when the refractory time is over
    for k in range(steps):
        t = (k + 1) * dt
        if t > free_at:
            V = V + dt / neuron.tau * (-(V - neuron.V_rest) + neuron.R * current[k])
        if threshold <= V:
            spikes.append(t)
            V = neuron.V_reset
            free_at = t + neuron.refractory
        course[k] = V
    return Spikes(dt * np.arange(1.0, steps + 1), course, np.array(spikes))


def firing_rate(neuron: SpikingNeuron, I: float) -> float:
    """f(I) = 1 / (t_ref + tau ln((R I + V_rest - V_reset) / (R I + V_rest - V_th))) in Hz, 0 up to the rheobase (I in nA).

    The time between two spikes is the refractory time and the climb from V_reset to V_th, solved from the equation of the model.

    >>> round(firing_rate(SpikingNeuron(), I=2.0), 2), firing_rate(SpikingNeuron(), I=1.5)
    (63.04, 0.0)
    """
    V_end = neuron.V_rest + neuron.R * I                                # where V would settle without a threshold
    if V_end <= neuron.V_th:
        return 0.0
    climb = neuron.tau * math.log((V_end - neuron.V_reset) / (V_end - neuron.V_th))
    return 1000 / (neuron.refractory + climb)                           # 1000 ms in a second
