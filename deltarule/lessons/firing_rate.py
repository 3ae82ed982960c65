"""A biological neuron fires when its potential reaches a threshold, and faster the stronger the current.

The membrane of a neuron is a leaky capacitor. A current charges it; at the threshold the neuron sends an action potential, is reset,
and rests for a moment. How often that happens in a second is its firing rate. Below a certain current it stays silent, above it the
rate rises: this curve is what the activation function of an artificial neuron stands for.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals, near

ROWS = (9,)
EQUATIONS = ("tau dV/dt = -(V - V_rest) + R I", "V >= V_th: a spike, then V = V_reset for the refractory time t_ref",
             "rate f(I) = 1 / (t_ref + tau ln(R I / (R I - (V_th - V_rest))))    with V_reset = V_rest")
PARTS = ("dr.textbook.SpikingNeuron", "dr.textbook.simulate", "dr.textbook.firing_rate")

SILENT, FIRING = (0.5, 1.0, 1.4), (1.55, 1.7, 2.0, 2.5, 3.0, 4.0, 5.0)      # currents in nA, below and above the rheobase
DURATION = 400.0                                                            # ms


def teach(board: Board) -> None:
    """The potential under one current, then the firing rate over many, beside the closed form."""
    neuron = dr.textbook.SpikingNeuron()
    board.say(f"The neuron rests at {neuron.V_rest:g} mV and fires at {neuron.V_th:g} mV; tau = {neuron.tau:g} ms, R = "
              f"{neuron.R:g} megaohm, t_ref = {neuron.refractory:g} ms. The least current that makes it fire, the rheobase, "
              "is (V_th - V_rest) / R.")
    board.number("rheobase in nA", neuron.rheobase, near(15 / 10, 1e-12))
    board.say(f"The equation is followed in steps of 0.01 ms for {DURATION:g} ms. The rate is 1000 ms over the mean time "
              "between spikes.")
    spikes = {I: dr.textbook.simulate(neuron, I, DURATION).spikes for I in SILENT + FIRING}
    measured = {I: 1000 / float(np.diff(times).mean()) if len(times) > 1 else 0.0 for I, times in spikes.items()}
    exact = {I: closed_form(neuron, I) for I in SILENT + FIRING}
    board.table(["current I (nA)", "measured rate (Hz)", "closed form (Hz)"],
                [[f"{I:g}", measured[I], exact[I]] for I in measured])
    board.number("spikes below the rheobase", sum(len(spikes[I]) for I in SILENT), equals(0))
    board.number("largest relative difference from the closed form", max(abs(measured[I] / exact[I] - 1) for I in FIRING), at_most(0.01))
    same = max(abs(dr.textbook.firing_rate(neuron, I) - exact[I]) for I in measured)
    board.number("dr.textbook.firing_rate differs from the formula by", same, at_most(1e-9))
    board.say("Silent up to a threshold, rising above it: an artificial neuron keeps just that, with a ReLU as the curve, "
              "the bias as the threshold and its output as the rate. The refractory time bounds the rate, here by 1000 / "
              "t_ref = 500 Hz, as a sigmoid is bounded.")
    board.figure("rate", draw(neuron, measured), "left: V climbs to the threshold, spikes, and is reset; "
                 "right: the firing rate against the current, measured and in closed form")


def closed_form(neuron: Any, I: float) -> float:
    """The equation solved from V_rest to V_th, as written above."""
    drive = neuron.R * I
    gap = neuron.V_th - neuron.V_rest
    return 1000 / (neuron.refractory + neuron.tau * float(np.log(drive / (drive - gap)))) if drive > gap else 0.0


def draw(neuron: Any, measured: dict[float, float]) -> Any:
    """The potential over time for I = 2 nA, and the rates over the currents."""
    fig, (left, right) = dr.figures.panels(columns=2, width=4.4, height=3.3)
    run = dr.textbook.simulate(neuron, 2.0, 80.0)
    left.plot(run.t, run.V, color=dr.figures.BLUE, linewidth=1.4)
    left.vlines(run.spikes, neuron.V_th, 20, color=dr.figures.BLUE, linewidth=1.4)
    left.axhline(neuron.V_th, color="0.4", linestyle="--", linewidth=1)
    left.text(np.mean(run.spikes[1:3]), neuron.V_th + 1.5, "threshold", ha="center", fontsize=9, color="0.3")
    left.text(np.mean(run.spikes[:2]), 8, "action\npotential", ha="center", fontsize=9, color="0.3")
    left.set_xlabel("time (ms)")
    left.set_ylabel("potential V (mV)")
    left.set_title("I = 2 nA", fontsize=10)
    currents = np.linspace(0, 5.2, 521)
    right.plot(currents, [closed_form(neuron, I) for I in currents], color="0.35", linewidth=1.4, label="closed form")
    right.plot(list(measured), list(measured.values()), "o", color=dr.figures.RED, markersize=5.5, label="measured")
    right.axvline(neuron.rheobase, color="0.4", linestyle=":", linewidth=1)
    right.text(neuron.rheobase - 0.05, 120, "rheobase", rotation=90, ha="right", fontsize=9, color="0.3")
    right.set_xlabel("current I (nA)")
    right.set_ylabel("firing rate (Hz)")
    right.set_title("silent below, faster above", fontsize=10)
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return fig
