"""The first neural network that classified galaxies: its printed tables (lecture row 36, Poleski)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASSES = ("E", "S0", "Sa+Sb", "Sc+Sd", "Irr")


class GalaxyTables(NamedTuple):
    """Two confusion tables (5, 5) of the same galaxies, rows by eye, columns assigned: by the network, and by ESO's automatic way."""

    class_names: tuple[str, ...]
    network: NDArray[np.int64]
    automatic: NDArray[np.int64]
    source: str


def storrie_lombardi() -> GalaxyTables:
    """Table 2 of Storrie-Lombardi, Lahav, Sodre and Storrie-Lombardi (1992): 3,517 galaxies of the ESO-LV catalogue, classified twice.

    The rows are the classes that were given by eye, the columns those assigned: by a neural network on 13 measured numbers, and by the
    automatic classification of the ESO-LV catalogue. `dr.metrics.table_report` works out what they are worth.

    >>> tables = storrie_lombardi()
    >>> int(tables.network.trace()), int(tables.automatic.trace()), int(tables.network.sum())
    (2254, 1981, 3517)
    """
    network = np.array([[203, 77, 25, 1, 5], [109, 229, 240, 7, 2], [12, 85, 1281, 218, 15], [1, 4, 304, 415, 36], [0, 0, 53, 69, 126]])
    automatic = np.array([[197, 87, 17, 5, 5], [184, 218, 155, 28, 2], [106, 12, 791, 664, 38], [22, 11, 24, 631, 72],
                          [22, 9, 31, 42, 144]])
    return GalaxyTables(CLASSES, network, automatic,
                        "Storrie-Lombardi, Lahav, Sodre and Storrie-Lombardi 1992, MNRAS 259, 8P, table 2")
