"""One training step: forward, loss, backward, update. The whole of learning is in this file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from deltarule.augment import Augmentation, Examples
from deltarule.augment import augmented as augmented_examples
from deltarule.checks import absent
from deltarule.layers.forward import as_floats, forward
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Tree, flatten
from deltarule.lazy import Lazy
from deltarule.losses import Loss
from deltarule.optimizers import Optimizer
from deltarule.training.recording import Record

if TYPE_CHECKING:
    import optax
else:
    optax = Lazy("optax")


@dataclass(frozen=True)
class Learner:
    """What is to be minimised and how: everything about a training run that is fixed when it is compiled."""

    layer: Layer
    loss: Loss
    optimizer: Optimizer
    metrics: tuple[str, ...] = ()
    l1: float = 0.0
    l2: float = 0.0
    dtype: str = "float32"
    batch_size: int = 32
    steps: int = 1              # in an epoch
    epochs: int = 1             # planned, for schedules
    random: bool = False        # does a layer or an augmentation draw random numbers?
    quick: bool = False         # so little to do that compiling fast pays more than running fast
    lean: bool = False          # the kernels have most of the work, loops over weights are short: compiling in little memory and time pays
    record: Record | None = None    # what is recorded of every k-th step
    augment: tuple[Augmentation, ...] = ()      # how the examples of every batch are changed at random
    masks: bool = False         # do targets belong to places of the inputs, and move with them?

    def transform(self) -> optax.GradientTransformationExtraArgs:
        """The optimizer as a pair of pure functions."""
        return self.optimizer.build(self.steps, self.epochs)


class Batch(NamedTuple):
    """Rows x (batch, ...), targets y (batch, ...), weights (batch,): zero for rows that only fill the batch up."""

    x: Array
    y: Array
    weights: Array | None
    present: Array | float      # how many rows are really there

    @property
    def counted(self) -> Array | None:
        """(batch,), False for rows of weight zero; None where all rows count."""
        return None if self.weights is None else self.weights > 0


def augmented(learner: Learner, batch: Batch, key: Array | None) -> Batch:
    """The batch as it is learnt from: every example a little changed, where the learner augments. Never used for measuring."""
    if not learner.augment or key is None:
        return batch
    x, y, *_ = augmented_examples(learner.augment, Examples(as_floats(batch.x, learner.dtype), batch.y, batch.present, learner.masks), key)
    return batch._replace(x=x, y=y)


def objective(learner: Learner, params: Tree, state: Tree, batch: Batch, key: Array | None) -> tuple[Array, Tree]:
    """L(params) = 1/n sum_i w_i loss_i + penalties, and the state that the forward pass leaves behind."""
    output, state = forward(learner.layer, params, state, batch.x, dtype=learner.dtype, key=key, training=True,
                            counted=batch.counted)
    rows = learner.loss.rows(output, batch.y)
    mean = jnp.mean(rows) if batch.weights is None else jnp.sum(rows * batch.weights) / batch.present
    return mean + penalty(learner, params), state


def penalty(learner: Learner, params: Tree) -> Array | float:
    """l1 sum |W| + l2/2 sum W^2 over all weights (not biases): L1 and L2 regularisation (lecture row 23)."""
    total: Array | float = 0.0
    for path, W in flatten(params).items():
        if path.rpartition("/")[2] == "weights":
            if not absent(learner.l1):
                total += learner.l1 * jnp.sum(jnp.abs(W))
            if not absent(learner.l2):
                total += learner.l2 / 2 * jnp.sum(W * W)
    return total


def step(learner: Learner, params: Tree, memory: Any, state: Tree, batch: Batch, key: Array | None) -> tuple[Tree, Any, Tree, Array]:
    """theta <- theta - update(dL/dtheta): one step of gradient descent on one batch.

    `memory` is what the optimizer remembers (momentum, averages). Returns the new params, memory, state, and the loss before the step.
    """
    def of_params(theta: Tree) -> tuple[Array, Tree]:
        return objective(learner, theta, state, batch, key)

    (value, new_state), gradient = jax.value_and_grad(of_params, has_aux=True)(params)
    update, memory = learner.transform().update(gradient, memory, params, value=value, grad=gradient,
                                                value_fn=lambda theta: of_params(theta)[0])
    return optax.apply_updates(params, update), memory, new_state, value
