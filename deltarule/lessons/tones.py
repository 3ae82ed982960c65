"""Tones: a network hears what sounds, and another one writes down the notes it hears, without being told when.

A sound is a sum of damped sinusoids; plucked strings, bells, drums and reeds differ in which partials there are and how fast they die.
Convolutions on the raw samples tell them apart at any pitch and loudness. For melodies the answer is a list of notes whose places nobody
has marked: connectionist temporal classification sums over all of them, and most of the time the network learns to say nothing.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most

ROWS = (40,)
EQUATIONS = ("p(t) = sum_k A_k exp(-t / tau_k) sin(2 pi f_k t + phi_k)",
             "L = -ln sum over all paths that say the notes of prod_t y_t(path_t),    dL/da = y - posterior")
PARTS = ("dr.data.damped_tones", "dr.data.melodies", "dr.Conv1D", "dr.losses.CTC", "dr.ctc_decode", "dr.metrics.label_error_rate",
         "dr.textbook.ctc")

RATE, SECONDS, LONGEST = 2000, 0.8, 4       # of the melodies: samples in a second, seconds, notes at most
COLOURS = (dr.figures.BLUE, dr.figures.ORANGE, dr.figures.GREEN, dr.figures.RED, dr.figures.PURPLE)


def teach(board: Board) -> None:
    """Four kinds of sound; then melodies, and where the network says its notes."""
    heard, unheard = dr.data.damped_tones(1500, seed=0), dr.data.damped_tones(400, seed=1)
    names = heard.class_names or ()
    board.say(f"1,500 sounds of a quarter of a second, {heard.x.shape[1]} samples each: {', '.join(names)}.")
    board.figure("sounds", draw_sounds(heard), "one sound of each kind: the first tenth of a second, and the strength of its frequencies")
    ear = dr.Network([dr.Conv1D(24, 64, "relu", stride=4), dr.MaxPool1D(4), dr.Conv1D(48, 8, "relu"), dr.GlobalAveragePool(),
                      dr.Dense(32, "relu"), dr.Dense(4, "softmax")], input_shape=heard.x.shape[1:], seed=0)
    for rate, epochs in ((3e-3, 20), (5e-4, 6)):
        ear.fit(heard.x, heard.y, optimizer=dr.Adam(rate), epochs=epochs, progress=False)
    board.number("kinds of new sounds told apart", ear.evaluate(unheard.x, unheard.y)["accuracy"], at_least(0.9))
    x, y, _ = dr.data.melodies(1500, seed=0, rate=RATE, seconds=SECONDS, longest=LONGEST)
    new, true, lengths = dr.data.melodies(300, seed=1, rate=RATE, seconds=SECONDS, longest=LONGEST)
    words = [tuple(row[:count].tolist()) for row, count in zip(true, lengths, strict=True)]
    board.say(f"1,500 melodies of one to {LONGEST} plucked notes, which go on sounding under one another. Convolutions bring "
              f"{x.shape[1]} samples down to 48 steps, a GRU reads them both ways, and in every step one of six things is said: "
              "nothing, or a note.")
    net = writer(x.shape[1:])
    for rate, epochs in ((5e-3, 20), (1e-3, 6)):
        net.fit(x, y, loss="ctc", optimizer=dr.Adam(rate), epochs=epochs, progress=False)
    p = net.predict(new)
    board.number("label error rate, always saying nothing", dr.metrics.label_error_rate([()] * len(words), words), at_least(1.0))
    board.number("label error rate on new melodies, best path", dr.metrics.label_error_rate(dr.ctc_decode(p), words), at_most(0.15))
    board.number("label error rate, beam of 8", dr.metrics.label_error_rate(dr.ctc_decode(p, beam=8), words), at_most(0.15))
    board.number("share of the steps in which nothing is the likeliest", float(np.mean(p.argmax(axis=2) == 0)), at_least(0.5))
    _by_the_textbook(board, net, new[:5], words[:5], true[:5])
    right = [i for i, said in enumerate(dr.ctc_decode(p)) if said == words[i] and len(words[i]) == LONGEST]
    if right:
        board.figure("notes", draw_notes(new[right[0]], p[right[0]], words[right[0]]),
                     "a new melody above, below what the network says in each step: short peaks where the notes begin, else nothing (grey)")


def writer(shape: tuple[int, ...]) -> dr.Network:
    """From samples to probabilities of no note and five notes, in every step."""
    return dr.Network([dr.Conv1D(32, 64, "relu", stride=16), dr.Conv1D(32, 3, "relu", stride=2),
                       dr.Bidirectional(dr.GRU(24, return_sequences=True)), dr.Dense(6, "softmax")], input_shape=shape, seed=0)


def _by_the_textbook(board: Board, net: dr.Network, x: np.ndarray, words: list[tuple[int, ...]], y: np.ndarray) -> None:
    """The mean loss of some melodies by the forward and backward passes of the paper."""
    by_hand = np.mean([dr.textbook.ctc(row, word).loss for row, word in zip(net.predict(x).astype(float), words, strict=True)])
    loss = net.evaluate(x, y, loss="ctc")["loss"]
    board.number("loss of five melodies differs from the textbook's by", abs(loss / by_hand - 1), at_most(1e-3))


def draw_sounds(data: dr.data.Dataset) -> Any:
    """Samples above, spectrum below, one column for each kind."""
    fig, axes = dr.figures.panels(columns=4, rows=2, width=2.2, height=1.9)
    for k, name in enumerate(data.class_names or ()):
        row = np.asarray(data.x)[np.flatnonzero(data.y == k)[1], :, 0]
        axes[k].plot(np.arange(400) / 4, row[:400], color=COLOURS[k], linewidth=0.8)
        axes[k].set_title(name, fontsize=10)
        axes[k].set_xlabel("milliseconds", fontsize=8)
        strength = np.abs(np.fft.rfft(row * np.hanning(len(row))))
        decibels = 20 * np.log10(strength / strength.max() + 1e-3)
        axes[k + 4].plot(np.fft.rfftfreq(len(row), 1 / 4000), decibels, color=COLOURS[k], linewidth=0.8)
        axes[k + 4].set_xlabel("frequency in Hz", fontsize=8)
        for ax in (axes[k], axes[k + 4]):
            ax.tick_params(labelsize=7)
    axes[0].set_ylabel("pressure", fontsize=8)
    axes[4].set_ylabel("strength in dB", fontsize=8)
    return fig


def draw_notes(x: np.ndarray, p: np.ndarray, word: tuple[int, ...]) -> Any:
    """The samples of a melody, and under them the probabilities of every step."""
    fig, (above, below) = dr.figures.panels(columns=1, rows=2, width=7.2, height=1.9)
    above.plot(np.arange(len(x)) / RATE, x[:, 0], color="0.4", linewidth=0.6)
    above.set_ylabel("pressure")
    above.set_title(f"notes played: {' '.join(map(str, word))}", fontsize=10)
    t = (np.arange(len(p)) + 0.5) * SECONDS / len(p)
    below.plot(t, p[:, 0], color="0.75", label="nothing")
    for k in range(1, p.shape[1]):
        below.plot(t, p[:, k], color=COLOURS[k - 1], label=f"note {k}")
    below.set_xlabel("seconds")
    below.set_ylabel("probability")
    below.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for ax in (above, below):
        ax.set_xlim(0, SECONDS)
    return fig
