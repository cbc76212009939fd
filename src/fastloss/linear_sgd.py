"""Stochastic gradient descent on linear models, in place."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss import linear
from fastloss._arguments import Array, refuse_weight
from fastloss._checks import fraction, nonnegative, positive
from fastloss._core import Descent, Loss
from fastloss._schedules import Rates, rates
from fastloss.sgd import updatable

MOST_ROWS_HOGWILD = 64  # of a batch: many rows share columns
SMALLEST_RATE = 1e-6  # to which "adaptive" divides; as in scikit-learn


@dataclass(repr=False)
class History:
    """What `sgd` saw, a number per complete epoch in each list.

    Attributes
    ----------
    learning_rate : list of float
        Of the epoch's last step.
    loss : list of float
        The weighted mean of the rows' losses, without penalty, each before the step that it led to.
    validation_loss : list of float
        The mean loss of the validation rows behind the epoch; empty without such rows.
    grad_norm, largest_grad : list of float
        The norm of the last batch's gradient, before clipping; the largest component of any batch's, in magnitude.
    nonfinite : list of int
        Components of a gradient, losses or parameters that were not finite: 0, but where `DivergenceError` was raised.
    seconds : list of float
        The time that the epoch took, with its validation.
    steps : int
        All steps.
    best_epoch : int or None
        The epoch, counted from 0, whose parameters `early_stopping` has restored.
    stopped : str
        Why the end came: 'epochs', 'tol', 'callback', 'interrupted' or 'diverged'.
    """

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
    """What a callback gets behind each epoch: the parameters, up to date, and the history so far."""

    epoch: int
    coef: NDArray[Any]
    intercept: NDArray[Any] | None
    history: History


class DivergenceError(FloatingPointError):
    """The loss, its gradient or the parameters were about to leave the finite numbers.

    Attributes
    ----------
    history : History
        Of the epochs before, and of the one that ended so.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> Any:
        return type(self), (*self.args, self.history)


def sgd(
    loss: Loss[...] | str,
    X: ArrayLike,
    y: ArrayLike,
    coef: NDArray[Any],
    intercept: NDArray[Any] | None = None,
    *,
    lr: float | Callable[[int], float] = 0.01,
    schedule: Literal["constant", "invscaling", "optimal", "adaptive", "cosine"] = "constant",
    power_t: float = 0.5,
    warmup_steps: int = 0,
    epochs: int = 100,
    batch_size: int = 32,
    shuffle: Literal["blocks", "rows"] | None = "blocks",
    seed: Any = 0,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
    l2: float = 0.0,
    l1: float = 0.0,
    momentum: float = 0.0,
    nesterov: bool = False,
    average: bool | int = False,
    clip_norm: float | None = None,
    intercept_lr: float = 1.0,
    tol: float | None = 1e-4,
    n_iter_no_change: int = 5,
    validation: tuple[ArrayLike, ...] | None = None,
    validation_fraction: float | None = None,
    early_stopping: bool = False,
    hogwild: bool = False,
    callback: Callable[[State], Any] | None = None,
) -> History:
    """Fit a linear model by stochastic gradient descent; `coef` and `intercept` are updated in place.

    A step is, with g the gradient of the mean loss of a batch of rows::

        d        = g * min(1, clip_norm / ||g||) + l2 * coef
        velocity = momentum * velocity + d
        coef    -= lr * (d + momentum * velocity if nesterov else velocity)
        coef     = sign(coef) * max(0, |coef| - lr * l1)

    The intercept moves likewise, by ``intercept_lr * lr`` and without the penalties. The objective is ``mean(loss) +
    l2 / 2 * ||coef||^2 + l1 * ||coef||_1``, as in `value_and_grad`; with both penalties it is the elastic net, and
    coefficients become exactly 0.

    Parameters
    ----------
    loss, X, y
        As in `value_and_grad`; no loss of rows. `X` is not copied, however it is shuffled. Scale its columns: steps
        are as long in one direction as in the other.
    coef : ndarray of float32 or float64, shape (d,)
        Where to start, and where the result goes. Steps are computed in float64, from scores in the dtype of `X`.
    intercept : ndarray of float32 or float64, shape () or (1,), optional
        Likewise. None: there is no intercept.
    lr : float or callable, default 0.01
        The learning rate, or a function of the number of the step (0, 1, ...) that returns it.
    schedule : {'constant', 'invscaling', 'optimal', 'adaptive', 'cosine'}
        Of step t: ``lr``; ``lr / (t + 1)**power_t``; ``1 / ((l1 + l2) * (t0 + t))``, with t0 by Bottou's heuristic,
        as in scikit-learn; ``lr``, divided by 5 where the loss does not decrease (see `tol`); ``lr / 2 * (1 +
        cos(pi * t / T))``, where T is the number of steps of all epochs.
    power_t : float, default 0.5
    warmup_steps : int, default 0
        So many steps at first have their rate multiplied by ``(t + 1) / warmup_steps``.
    epochs : int, default 100
        At most so many passes over the data.
    batch_size : int, default 32
        The rows of a step; the last one of an epoch may have fewer.
    shuffle : {'blocks', 'rows', None}
        'rows' draws a new order of all rows for each epoch. 'blocks' draws the order of blocks of ``batch_size // 4``
        rows, at least 8, which lie together, and below 32 rows a batch also an order within the blocks: up to twice as
        fast, because the rows are read where they lie, but the rows of a block always meet in the same batch. Take
        'rows' where neighbours are alike, as in data that are sorted by label. None takes the rows as they lie.
    seed : int or numpy.random.Generator, default 0
        Of the order, and of the validation rows.
    sample_weight : array_like, shape (n,), optional
        Finite numbers with a positive sum; only their ratios count.
    class_weight : dict or 'balanced', optional
        A factor for each label, 1 for those left out; 'balanced' is ``n / (classes * count)``.
    l2, l1 : float, default 0
        The penalties; >= 0.
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        Look ahead along the velocity; needs momentum.
    average : bool or int, default False
        Return the mean of the parameters behind all steps (Polyak and Ruppert), or behind all but so many.
    clip_norm : float, optional
        Longer gradients are shortened to this norm, the penalties' share not included.
    intercept_lr : float, default 1
        By what the learning rates of the intercept are multiplied. It moves in every step, the columns of sparse rows
        seldom, so that its noise outweighs theirs: 0.01 is what scikit-learn takes there.
    tol : float or None, default 1e-4
        The end comes where `n_iter_no_change` epochs in a row have not brought the loss below its lowest value by
        `tol`: the validation loss with `early_stopping`, else that of training, without penalties. A training loss of
        more than twice the first epoch's is no end: it goes on to diverge. None: never.
    n_iter_no_change : int, default 5
    validation : tuple (X, y) or (X, y, sample_weight), optional
        Data for the validation loss.
    validation_fraction : float, optional
        Or so large a part of the rows, drawn by `seed`, copied, and not used for training.
    early_stopping : bool, default False
        Watch the validation loss, and restore the parameters with the lowest.
    hogwild : bool, default False
        All threads take steps at once, on the same parameters and without locks. **The result differs from run to
        run**: a thread reads what others are about to change, and may write over it; that does little harm where rows
        seldom share columns. For sparse rows, batches of up to 64, and no `l1`, `momentum` or `average`.
    callback : callable, optional
        Called with a `State` behind each epoch; if it returns True, the work ends. An exception of its own passes.

    Returns
    -------
    History

    Raises
    ------
    DivergenceError
        A FloatingPointError: a loss, gradient or parameter was about to be inf or NaN. `coef` and `intercept` are as
        before that step.
    TypeError, ValueError
        As `value_and_grad`; or if `coef` or `intercept` cannot be updated in place, or a parameter is out of range.
        Both are then as they were.

    Notes
    -----
    Ctrl-C does not raise: it ends the work, between two steps, and what has been learned is kept;
    ``history.interrupted`` says so.

    A call runs on one thread but for the validation loss and `hogwild`. Without the latter its bits depend on neither the number of threads nor, among
    SIMD levels with fused multiply-add, the level.

    A step on sparse rows costs their elements, not d: what the penalties and the average do to the other columns is
    caught up on when they are next read, at the latest behind the epoch. That has no short form, and costs d a step,
    with momentum, with `average` and `l1` together, and where ``lr * l2 >= 1``; and is not worth it where a batch has
    as many elements as there are columns. The steps are the same either way, to rounding.

    References
    ----------
    Bottou, L., Curtis, F. E. & Nocedal, J. (2018). Optimization methods for large-scale machine learning. SIAM
    Review 60. Langford, J., Li, L. & Zhang, T. (2009). Sparse online learning via truncated gradient. JMLR 10. Niu, F.,
    Recht, B., Re, C. & Wright, S. J. (2011). Hogwild: a lock-free approach to parallelizing stochastic gradient
    descent. NIPS 24. Polyak, B. T. & Juditsky, A. B. (1992). Acceleration of stochastic approximation by averaging. SIAM J.
    Control Optim. 30.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([4.0, 7.0, 10.0])
    >>> coef, intercept = np.zeros(1), np.zeros(1)
    >>> history = fl.linear.sgd("squared_error", X, y, coef, intercept, lr=0.1, batch_size=3, epochs=500, tol=None)
    >>> coef.round(6), intercept.round(6)
    (array([3.]), array([4.]))
    >>> len(history.loss)
    500
    """
    model = linear._Model(loss, X, y, sample_weight, 0.0, "mean")
    _check_updatable(model, coef, intercept)
    if tol is not None:
        tol = nonnegative(tol=tol)
    if not 0 <= nonnegative(momentum=momentum) < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum!r}")
    if nesterov and not momentum:
        raise ValueError("nesterov needs momentum > 0")
    if early_stopping and validation is None and validation_fraction is None:
        raise ValueError("early_stopping needs validation= or validation_fraction=")
    if schedule == "adaptive" and tol is None:
        raise ValueError("schedule='adaptive' needs tol, by which it knows that the loss does not decrease")
    l1, l2 = nonnegative(l1=l1), nonnegative(l2=l2)
    epochs, batch = _whole("epochs", epochs), _whole("batch_size", batch_size)
    if hogwild:
        _check_hogwild(model, batch, l1=l1, momentum=momentum, average=average)
    rng = np.random.default_rng(seed)

    weight = _weights(model, class_weight)
    rows, held_out = _held_out(model, X, weight, validation, validation_fraction, rng)
    used = model.rows if rows is None else len(rows)
    orders = _Orders(shuffle, rows, used, batch, rng)
    rate = rates(
        lr,
        schedule,
        power_t=power_t,
        warmup_steps=_whole("warmup_steps", warmup_steps, 0),
        steps=epochs * -(-used // batch),
        loss=model.loss,
        penalty=l1 + l2,
    )
    start = np.hstack([coef, 0.0 if intercept is None else intercept]).astype(np.float64)
    descent = Descent(
        model.loss,
        model.X,
        np.require(model.y, model.dtype, ["C", "A"]),
        None if weight is None else _normalised(weight, rows).astype(model.dtype),
        start,
        model.working(coef),
        batch_size=min(batch, used),
        fit_intercept=intercept is not None,
        l2=l2,
        l1=l1,
        momentum=float(momentum),
        nesterov=bool(nesterov),
        clip_norm=np.inf if clip_norm is None else positive(clip_norm=clip_norm),
        intercept_rate=nonnegative(intercept_lr=intercept_lr),
        hogwild=bool(hogwild),
        average_from=None if average is False else 0 if average is True else _whole("average", average, 0),
        limit=_limit(model.dtype, coef, intercept),
    )
    training = _Training(model, descent, start, coef, intercept, held_out, early_stopping)
    plateau = _Plateau(
        tol, _whole("n_iter_no_change", n_iter_no_change), schedule == "adaptive", early_stopping
    )
    try:
        for epoch in range(epochs):
            rows_of_steps = orders.draw()
            training.run_epoch(rows_of_steps, used, rate, plateau.factor)
            if callback is not None:
                training.publish()
                if callback(State(epoch, coef, intercept, training.history)):
                    training.history.stopped = "callback"
                    break
            if plateau.is_over(training.watched, training.history.learning_rate[-1]):
                training.history.stopped = "tol"
                break
    except KeyboardInterrupt:
        training.history.stopped = "interrupted"
    finally:
        training.publish()
    return training.history


class _Training:
    """The epochs, what is written down of them, and what the caller's arrays get."""

    def __init__(
        self,
        model: linear._Model,
        descent: Descent,
        start: Array,
        coef: Array,
        intercept: Array | None,
        held_out: linear._Model | None,
        early_stopping: bool,
    ) -> None:
        self.model, self.descent, self.start, self.held_out = model, descent, start, held_out
        self.coef, self.intercept, self.early_stopping = coef, intercept, early_stopping
        self.history = History()
        self.watched = self.lowest = np.inf
        self.kept: Array | None = None  # instead of where the last step led

    @property
    def parameters(self) -> Array:
        return self.descent.coef if self.descent.average is None else self.descent.average

    def publish(self) -> None:
        found = self.parameters if self.kept is None else self.kept
        self.coef[...] = found[:-1]
        if self.intercept is not None:
            self.intercept[...] = found[-1]
        self.history.steps = self.descent.steps

    def run_epoch(self, order: Array | None, used: int, rate: Rates, factor: float) -> None:
        began, first, batch = time.perf_counter(), self.descent.steps, self.descent.batch_size
        lrs = factor * rate(np.arange(first, first - (-used // batch), dtype=np.float64))
        try:
            outcome = self.descent.epoch(order, used, lrs)
            if outcome == "violated":
                self.model._sums(self.descent.coef[:-1], self.descent.coef[-1])  # which says where
                raise ValueError(f"{self.model.loss.name}: y or a score lies outside of the loss's domain")
            if outcome == "diverged":
                self._diverge(lrs[self.descent.steps - first], time.perf_counter() - began)
            if self.held_out is not None:
                found = self.held_out._sums(self.parameters[:-1], self.parameters[-1])[0]
                self.history.validation_loss.append(found)
        except (ValueError, MemoryError):
            self.kept = self.start
            raise
        loss = self.descent.loss / used
        self.watched = self.history.validation_loss[-1] if self.early_stopping else loss
        if self.early_stopping and self.watched < self.lowest:
            self.lowest, self.kept = self.watched, self.parameters.copy()
            self.history.best_epoch = len(self.history.loss)
        self._write_down(float(lrs[-1]), loss, time.perf_counter() - began)

    def _write_down(self, lr: float, loss: float, seconds: float) -> None:
        history, descent = self.history, self.descent
        history.learning_rate.append(lr)
        history.loss.append(loss)
        history.grad_norm.append(descent.norm)
        history.largest_grad.append(descent.largest)
        history.nonfinite.append(descent.odd)
        history.seconds.append(seconds)

    def _diverge(self, lr: float, seconds: float) -> None:
        step, self.history.stopped = self.descent.steps, "diverged"
        self._write_down(float(lr), np.nan, seconds)
        advice = (
            f"lr was {lr:.3g}: lower it, scale the columns of X, or pass clip_norm="
            if step
            else "that was the first step: look for inf, NaN and huge numbers in X and y, or lower lr"
        )
        raise DivergenceError(
            f"step {step} would have led to a loss, gradient or parameters that are not finite "
            f"({self.descent.odd} numbers), and was not taken; {advice}",
            self.history,
        )


class _Plateau:
    """Whether the loss has stopped to decrease, and by what the learning rate has been divided so far."""

    def __init__(self, tol: float | None, patience: int, divides: bool, may_rise: bool) -> None:
        self.tol, self.patience, self.divides, self.may_rise = tol, patience, divides, may_rise
        self.factor, self.lowest, self.idle = 1.0, np.inf, 0
        self.first: float | None = None

    def is_over(self, loss: float, lr: float) -> bool:
        if self.tol is None:
            return False
        self.first = loss if self.first is None else self.first
        self.idle = 0 if loss < self.lowest - self.tol else self.idle + 1
        self.lowest = min(self.lowest, loss)
        if self.idle < self.patience:
            return False
        if self.divides and lr > SMALLEST_RATE:
            self.factor, self.idle = self.factor / 5, 0
            return False
        return self.may_rise or loss <= self.first + abs(self.first)  # else it diverges: nothing is found yet


class _Orders:
    """The order of the rows in each epoch."""

    def __init__(self, shuffle: str | None, rows: Array | None, used: int, batch: int, rng: Any) -> None:
        if shuffle not in ("blocks", "rows", None):
            raise ValueError(f"shuffle must be 'blocks', 'rows' or None, got {shuffle!r}")
        self.shuffle, self.rows, self.used, self.rng = shuffle, rows, used, rng
        self.block, self.within = max(8, batch // 4), batch < 32

    def draw(self) -> Array | None:
        """Return int64 indices of rows, or None for all as they lie."""
        if self.shuffle is None:
            return self.rows
        if self.shuffle == "rows":
            order: Array = self.rng.permutation(self.used)
        else:
            starts = self.rng.permutation(-(-self.used // self.block)) * self.block
            within = self.rng.permutation(self.block) if self.within else np.arange(self.block)
            order = np.add.outer(starts, within).ravel()
            order = order if self.used % self.block == 0 else order[order < self.used]
        chosen: Array = order if self.rows is None else self.rows[order]
        return chosen


# ---- arguments ------------------------------------------------------------------------------------------


def _whole(name: str, value: Any, least: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be >= {least}, got {value!r}")
    return number


def _check_hogwild(model: linear._Model, batch: int, **absent: Any) -> None:
    if not isinstance(model.X, tuple):
        raise TypeError("hogwild needs sparse rows; pass a CSR matrix, or leave hogwild out")
    if batch > MOST_ROWS_HOGWILD:
        raise ValueError(f"hogwild needs batch_size <= {MOST_ROWS_HOGWILD}, got {batch}")
    for name, value in absent.items():
        if value is not False and (name == "average" or value):
            raise ValueError(f"hogwild goes without {name}; leave one of them out")


def _limit(dtype: np.dtype[Any], *arrays: Array | None) -> float:
    """The largest number that scores and results can have."""
    dtypes = [dtype, *(array.dtype for array in arrays if array is not None)]
    return min(float(np.finfo(dtype).max) for dtype in dtypes)


def _check_updatable(model: linear._Model, coef: Any, intercept: Any) -> None:
    if updatable("coef", coef).shape != (model.columns,):
        raise ValueError(
            f"coef has shape {coef.shape}, but X has {model.columns} columns; pass shape ({model.columns},)"
        )
    if intercept is not None and updatable("intercept", intercept).shape not in ((), (1,)):
        raise ValueError(f"intercept has shape {intercept.shape}; pass an array of shape (1,)")
    inputs = model.X if isinstance(model.X, tuple) else (model.X,)
    for name, array in (("coef", coef), ("intercept", intercept)):
        if array is None:
            continue
        if not (np.abs(array.astype(np.float64)) <= _limit(model.dtype)).all():
            raise ValueError(f"{name} must be finite in {model.dtype}, the dtype of the scores")
        if any(np.may_share_memory(array, other) for other in (*inputs, model.y)):
            raise ValueError(f"{name} shares memory with X or y; pass a copy")
    if intercept is not None and np.shares_memory(coef, intercept):
        raise ValueError("coef and intercept share memory; pass separate arrays")


def _weights(model: linear._Model, class_weight: Any) -> Array | None:
    """What each row counts; also put into the model, which says where a row lies outside of the domain."""
    weight = model.weight
    if weight is not None and not np.isfinite(weight).all():
        refuse_weight(weight)
    if class_weight is not None:
        labels, which, counts = np.unique(model.y, return_inverse=True, return_counts=True)
        if isinstance(class_weight, str) and class_weight == "balanced":
            factors = model.rows / (len(labels) * counts)
        elif isinstance(class_weight, Mapping):
            unknown = [label for label in class_weight if label not in labels]
            if unknown:
                raise ValueError(f"class_weight has {unknown[0]!r}, which is no label in y")
            factors = np.array([nonnegative(class_weight=class_weight.get(x, 1.0)) for x in labels.tolist()])
        else:
            raise TypeError(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
        weight = factors[which] if weight is None else weight * factors[which]
    model.weight = weight
    return weight


def _normalised(weight: Array, rows: Array | None) -> Array:
    """The weights, of mean 1 over the rows."""
    weight = weight / max(np.abs(weight).max(), np.finfo(np.float64).tiny)
    mean = float((weight if rows is None else weight[rows]).mean())
    if not mean > 0:
        raise ValueError("sample_weight and class_weight must have a positive sum over the rows for training")
    weight /= mean
    return weight


def _held_out(
    model: linear._Model, X: Any, weight: Array | None, validation: Any, part: float | None, rng: Any
) -> tuple[Array | None, linear._Model | None]:
    """The rows for training, None for all, and the model of the others or of the given ones."""
    if validation is None and part is None:
        return None, None
    if part is None:
        if not isinstance(validation, tuple) or len(validation) not in (2, 3):
            raise TypeError("validation must be a tuple (X, y) or (X, y, sample_weight)")
        held_X, held_y, held_weight = (*validation, None)[:3]
        other = linear._Model(model.loss, held_X, held_y, held_weight, 0.0, "mean")
        if other.columns != model.columns:
            raise ValueError(f"validation has {other.columns} columns, but X has {model.columns}")
        return None, other
    if validation is not None:
        raise ValueError("pass either validation or validation_fraction")
    count = round(fraction(validation_fraction=part) * model.rows)
    if not 0 < count < model.rows:
        raise ValueError(f"validation_fraction={part} of {model.rows} rows leaves no rows on one side")
    chosen = np.zeros(model.rows, bool)
    chosen[rng.permutation(model.rows)[:count]] = True
    held, rows = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    X = X.tocsr()[held] if isinstance(model.X, tuple) else model.X[held]
    w = None if weight is None else weight[held]
    return rows, linear._Model(model.loss, X, model.y[held], w, 0.0, "mean")
