"""scikit-learn's MLPClassifier and MLPRegressor: chains of dense layers. They draw their own first weights, so no losses are compared."""

import time
import warnings

import networks as n
import numpy as np

from peers.ours import Side as Ours

ENVIRONMENT: dict[str, str] = {}


def settings(workload):
    """Dense layers with one activation for all that are hidden."""
    dense = all(isinstance(part, n.Dense) for part in workload.network)
    return [None] if dense and len({part.activation for part in workload.network[:-1]}) == 1 else []


class Side:
    """scikit-learn's side."""

    def __init__(self, workload, setting):
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        hidden, activation = [part.units for part in workload.network[:-1]], workload.network[0].activation
        activation = {"sigmoid": "logistic"}.get(activation, activation)
        self.x, self.y = workload.data()
        if workload.quadratic:
            self.y = np.eye(workload.classes)[self.y]

        def made(epochs):
            kind = MLPRegressor if workload.quadratic else MLPClassifier
            rate = workload.rate if workload.optimizer == "adam" else 0.01
            return kind(hidden_layer_sizes=hidden, activation=activation, solver=workload.optimizer, alpha=0.0, momentum=0.0, tol=0.0,
                        batch_size=workload.batch, learning_rate_init=rate, max_iter=epochs, n_iter_no_change=10**6, random_state=0)

        self.made = made

    def losses(self, steps):
        """None: its first weights are its own."""

    def train(self, epochs):
        """As deltarule's; no curves are measured but the running loss."""
        net = self.made(epochs)
        clock = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # it has not converged, and says so
            net.fit(self.x, self.y)
        return time.perf_counter() - clock

    memory = Ours.memory
