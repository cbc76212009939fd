"""What stochastic gradient descent returns: its history, and the checkpoint from which it can continue."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Checkpoint:
    """The state of a descent: what `sgd` needs to continue as if it had not ended. It can be pickled.

    Attributes
    ----------
    parameters : ndarray of float64, shape (d + 1,)
        The parameters after the last step, the intercept last.
    velocity, average : ndarray of float64, shape (d + 1,), or None
        The velocity is None without momentum, the average without averaging.
    rng : numpy.random.Generator
        The generator that draws the order of the rows.
    steps : int
        How many steps have been taken.
    lr : float or None
        The rate that ``lr='auto'`` has found.
    factor, first, lowest, idle
        The factor by which ``schedule='adaptive'`` has multiplied the learning rate, the first and the lowest loss, and
        the number of epochs in a row that have not gained `tol`.
    """

    __module__ = "fastloss.linear"  # where pickles look for the class

    parameters: NDArray[np.float64]
    velocity: NDArray[np.float64] | None
    average: NDArray[np.float64] | None
    rng: np.random.Generator
    steps: int = 0
    lr: float | None = None
    factor: float = 1.0
    first: float | None = None
    lowest: float = np.inf
    idle: int = 0

    def resumed(self, momentum: bool, average: bool) -> Checkpoint:
        """Return a copy to continue from, with a velocity and an average where they are wanted."""
        w, v, mean = self.parameters.copy(), self.velocity, self.average
        return replace(
            self,
            parameters=w,
            velocity=None if not momentum else np.zeros_like(w) if v is None else v.copy(),
            average=None if not average else w.copy() if mean is None else mean.copy(),
            rng=deepcopy(self.rng),
        )


@dataclass(repr=False)
class History:
    """The course of `sgd`; each list has a number for each complete epoch.

    Attributes
    ----------
    learning_rate : list of float
        The rate of the epoch's last step.
    loss : list of float
        The weighted mean of the rows' losses, without penalty, each before the step that it led to.
    validation_loss : list of float
        The mean loss of the validation rows after the epoch; empty without such rows.
    grad_norm, largest_grad : list of float
        The norm of the last batch's gradient, before clipping; the largest magnitude of a derivative in any batch.
    nonfinite : list of int
        How many components of the gradient, losses or parameters were not finite: 0, unless `DivergenceError` was
        raised.
    seconds : list of float
        The time that the epoch took, with its validation.
    steps : int
        How many steps were taken, those of the calls that this one resumed included.
    best_epoch : int or None
        The epoch, counted from 0, whose parameters `early_stopping` has restored.
    stopped : str
        What ended the work: 'epochs', 'tol', 'callback', 'interrupted' or 'diverged'.
    checkpoint : Checkpoint
        For ``sgd(..., resume=history.checkpoint)``.
    """

    __module__ = "fastloss.linear"  # where pickles look for the class

    learning_rate: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    largest_grad: list[float] = field(default_factory=list)
    nonfinite: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: int = 0
    best_epoch: int | None = None
    stopped: str = "epochs"
    checkpoint: Checkpoint | None = None

    def extended(self, later: History) -> History:
        """Return the history of a call and of a later one that has resumed from it."""
        lists = {f.name for f in fields(self) if isinstance(getattr(self, f.name), list)}
        return replace(later, **{name: getattr(self, name) + getattr(later, name) for name in lists})

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the work."""
        return self.stopped == "interrupted"

    def __repr__(self) -> str:
        loss = f", loss {self.loss[0]:.6g} -> {self.loss[-1]:.6g}" if self.loss else ""
        validation = f", validation {self.validation_loss[-1]:.6g}" if self.validation_loss else ""
        return f"<History of {len(self.loss)} epochs, stopped: {self.stopped}{loss}{validation}>"


@dataclass(frozen=True)
class State:
    """What a callback gets after each epoch: the parameters, which it must not change, and the history so far."""

    __module__ = "fastloss.linear"  # where pickles look for the class

    epoch: int
    coef: NDArray[Any]
    intercept: NDArray[Any] | None
    history: History


class DivergenceError(FloatingPointError):
    """The loss, its gradient or the parameters were about to leave the finite numbers.

    Attributes
    ----------
    history : History
        The history of the epochs before, and of the one that diverged.
    """

    __module__ = "fastloss.linear"  # where pickles look for the class

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> Any:
        return type(self), (*self.args, self.history)
