"""What a solver of linear models gets and returns: a problem, its own settings, and a solution."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastloss._checks.arrays import Array
from fastloss._checks.parameters import nonnegative, positive
from fastloss._core import Loss
from fastloss.linear._history import Checkpoint, History, State


@dataclass(frozen=True)
class Problem:
    """The problem to minimise ``mean(loss(y, X @ coef + intercept)) + l2 / 2 * ||coef||^2 + l1 * ||coef||_1``.

    Attributes
    ----------
    loss : Loss or str
    X, y : array_like
        The rows and their labels. Where `y` is None, `X` is a stream of blocks, as `sgd` takes it.
    coef, intercept : ndarray
        The parameters that a solver starts from. If the intercept is None, the model has none.
    weight : array_like or None
        The weights of the rows.
    l2, l1 : float
        The factors of the penalties; L-BFGS takes no `l1`, which has a kink.
    validation : tuple (X, y[, sample_weight]) or None
        Rows whose loss is computed after each iteration or epoch.
    """

    loss: Loss[...] | str
    X: Any
    y: Any
    coef: Any
    intercept: Any
    weight: Any = None
    l2: float = 0.0
    l1: float = 0.0
    validation: tuple[Any, ...] | None = None

    def checked(self) -> Problem:
        """Return the problem with penalties that are floats, or say which is out of range."""
        return replace(self, l1=nonnegative(l1=self.l1), l2=nonnegative(l2=self.l2))


Watch = Callable[[list[float], list[float]], None]  # gets the losses and the validation losses so far


@dataclass(frozen=True)
class LbfgsSettings:
    """How L-BFGS works: it ends where no derivative of the objective exceeds `tol`."""

    max_iter: int = 1000
    tol: float = 1e-4
    advice: str = "scale the columns of X, or raise l2"  # where the numbers overflow


@dataclass(frozen=True)
class SgdSettings:
    """The options of `sgd` that are not the problem's; its documentation explains them."""

    lr: float | Callable[[int], float] | str = 0.01
    schedule: str = "constant"
    power_t: float = 0.5
    warmup_steps: int = 0
    epochs: int = 100
    batch_size: int = 32
    shuffle: str | None = "blocks"
    seed: Any = 0
    class_weight: Mapping[Any, float] | str | None = None
    momentum: float = 0.0
    nesterov: bool = False
    average: bool | int = False
    clip_norm: float | None = None
    importance_aware: bool = False
    intercept_lr: float = 1.0
    tol: float | None = 1e-4
    n_iter_no_change: int = 5
    validation_fraction: float | None = None
    early_stopping: bool = False
    hogwild: bool = False
    callback: Callable[[State], Any] | None = None
    resume: Checkpoint | None = None
    progress: bool = False

    @property
    def average_from(self) -> int | None:
        """The number of steps after which the average of the parameters begins; None: there is no average."""
        if self.average is False:
            return None
        return 0 if self.average is True else self.average

    def checked(self) -> SgdSettings:
        """Return the settings with numbers of the right types, or say which is out of range."""
        if not 0 <= nonnegative(momentum=self.momentum) < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum!r}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum > 0")
        if self.schedule == "adaptive" and self.tol is None:
            raise ValueError(
                "schedule='adaptive' needs tol, by which it knows that the loss does not decrease"
            )
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be a function of a State, got {self.callback!r}")
        if isinstance(self.lr, str) and self.lr != "auto":
            raise ValueError(f"lr must be a number, a function of the step or 'auto', got {self.lr!r}")
        batch_size = min(_integer("batch_size", self.batch_size), sys.maxsize // 2)
        if self.importance_aware and (batch_size != 1 or self.momentum):
            raise ValueError("importance_aware needs batch_size=1 and no momentum")
        average = self.average
        return replace(
            self,
            epochs=_integer("epochs", self.epochs),
            batch_size=batch_size,
            warmup_steps=_integer("warmup_steps", self.warmup_steps, 0),
            n_iter_no_change=_integer("n_iter_no_change", self.n_iter_no_change),
            momentum=float(self.momentum),
            average=average if isinstance(average, bool) else _integer("average", average, 0),
            clip_norm=None if self.clip_norm is None else positive(clip_norm=self.clip_norm),
            intercept_lr=nonnegative(intercept_lr=self.intercept_lr),
            tol=None if self.tol is None else nonnegative(tol=self.tol),
        )


@dataclass
class Solution:
    """What a solver found.

    Attributes
    ----------
    coef, intercept : ndarray
        The parameters that were found, in the shapes of the problem's; the intercept may be None.
    losses : list of float
        The mean loss after each iteration, or of each epoch, without the penalties.
    objective : list of float
        From L-BFGS, the minimised value at the start and after each iteration, the penalty included.
    validation_losses : list of float
        The mean loss of the validation rows after each iteration or epoch.
    history : History or None
        From SGD, its history.
    converged : bool
    reason : str
        Why the solver has not converged.
    interrupted : bool
        Whether Ctrl-C ended the work; what was found until then is in the solution.
    """

    coef: Array
    intercept: Array | None
    losses: list[float] = field(default_factory=list)
    objective: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    history: History | None = None
    converged: bool = True
    reason: str = ""
    interrupted: bool = False


def _integer(name: str, value: Any, least: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be >= {least}, got {value!r}")
    return number
