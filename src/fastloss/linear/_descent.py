"""Stochastic gradient descent on linear models, in place."""

# ruff: noqa: N803 - X is the field's name

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss import linear
from fastloss._checks.arrays import Array
from fastloss._checks.parameters import nonnegative, positive
from fastloss._core import Descent, Loss, RowLoss
from fastloss.linear._automatic_rate import ROWS, automatic_rate
from fastloss.linear._epochs import Plateau, Training
from fastloss.linear._history import Checkpoint, DivergenceError, History, State
from fastloss.linear._progress import progress_bar
from fastloss.linear._rows import Memory, given_validation
from fastloss.linear._schedules import rates
from fastloss.linear._stream import Blocks, Stream
from fastloss.sgd import updatable

MOST_ROWS_HOGWILD = 64  # of a batch: many rows share columns
LARGEST_AVERAGED = 2.0**960  # the sums of as many steps as there can be are finite

__all__ = ["Checkpoint", "DivergenceError", "History", "State", "sgd"]


def sgd(
    loss: Loss[...] | str,
    X: ArrayLike | Blocks,
    y: ArrayLike | None,
    coef: NDArray[Any],
    intercept: NDArray[Any] | None = None,
    *,
    lr: float | Callable[[int], float] | Literal["auto"] = 0.01,
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
    importance_aware: bool = False,
    intercept_lr: float = 1.0,
    tol: float | None = 1e-4,
    n_iter_no_change: int = 5,
    validation: tuple[ArrayLike, ...] | None = None,
    validation_fraction: float | None = None,
    early_stopping: bool = False,
    hogwild: bool = False,
    callback: Callable[[State], Any] | None = None,
    resume: Checkpoint | None = None,
    progress: bool = False,
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
        As in `value_and_grad`, but with `softmax_cross_entropy` the labels are classes from 0 to K - 1. `X` is not
        copied, however it is shuffled. Scale its columns: steps are as long in one direction as in the other. Where
        `y` is None, `X` is a stream: see the notes.
    coef : ndarray of float32 or float64, shape (d,), or (K, d) with `softmax_cross_entropy`
        Where to start, and where the result goes. Steps are computed in float64, from scores in the dtype of `X`.
    intercept : ndarray of float32 or float64, shape () or (1,), or (K,), optional
        Likewise. None: there is no intercept.
    lr : float, callable or 'auto', default 0.01
        The learning rate, or a function of the number of the step (0, 1, ...) that returns it. 'auto' tries powers of 2
        for 32 steps or an epoch on about 1000 rows, of a stream on rows of its first block, and takes half of the one
        that leads to the lowest objective, on as many others. The trials cost some epochs of these rows.
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
        Finite numbers with a positive sum; only their ratios count, but in a stream.
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
    importance_aware : bool, default False
        A step on a row of weight h is as h times many steps as short as you like: it ends where ``ds/dt = -lr * (||x||^2
        + intercept_lr) * dloss/ds`` leads the row's score in the time h. So it passes no minimum of the row's loss, however large
        `lr` and h are. For pointwise losses, one row a step (`batch_size=1`) and weights >= 0; without `momentum`, which
        would pass the minimum all the same.
    intercept_lr : float, default 1
        By what the learning rates of the intercept are multiplied. It moves in every step, the columns of sparse rows
        seldom, so that its noise outweighs theirs: 0.01 is what scikit-learn takes there.
    tol : float or None, default 1e-4
        The end comes where `n_iter_no_change` epochs in a row have not brought the loss below its lowest value by
        `tol`: the validation loss with `early_stopping`, else that of training, with the penalties. A training loss of
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
        Called with a `State` behind each epoch; if it returns True, the work ends. An exception of its own passes;
        `coef` and `intercept` are then those that it was given.
    resume : Checkpoint, optional
        ``history.checkpoint`` of a call before, which this one continues, on the same rows or others: parameters,
        velocity, average, number of the step and random generator are those that it had at the end. `coef` and
        `intercept` are then only where the result goes. With the same `seed`, an integer, the rows of
        `validation_fraction` are the same.
    progress : bool, default False
        Show epochs, loss and rows per second on stderr; needs rich.

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
    Two calls of 5 epochs, of which the second resumes, are one call of 10; but `early_stopping` knows the epochs of
    its own call alone, and of 'cosine' T is the number of all steps at the end of a call.

    A stream is a list, or a function that returns an iterator for each epoch, or for one epoch an iterator itself,
    of blocks ``(X, y)`` or ``(X, y, sample_weight)`` with any number of rows. One of them is held at a time, beside
    the rows that did not fill a batch, which begin the next one: without `shuffle`, how the rows are cut into blocks
    changes no bit of the parameters (of sparse rows the last bits alone). Rows are shuffled within their block. Weights
    are taken as they are, since their mean is not known before: twice the weight is twice the gradient. Not possible
    are ``class_weight='balanced'``, `validation_fraction` and, unless it is a list or its `rows` says how many there
    are, ``schedule='cosine'``.

    Ctrl-C does not raise: it ends the work, between two steps, and what has been learned is kept;
    ``history.interrupted`` says so. Before the first step, while the data are checked or ``lr='auto'`` is tried, it
    does raise, and nothing has changed.

    Threads share the rows of a batch where these take more than some 32 kB: 256 rows of 100 columns, not 32. Sparse rows
    stay on one thread, but for `hogwild`. Without it the bits depend on neither the number of threads nor, among SIMD
    levels with fused multiply-add, the level.

    A step on sparse rows costs their elements, K times with K classes, not d: what the penalties and the average do to
    the other columns is caught up on when they are next read, at the latest behind the epoch or the block of a stream.
    That has no short form, and costs d a step, with `momentum`, with `average` and `l1` together, and where
    ``lr * l2 >= 1``; and is not worth it with more rows in a batch than a 16th of the columns. The steps are the same
    either way, to rounding.

    References
    ----------
    Bottou, L., Curtis, F. E. & Nocedal, J. (2018). Optimization methods for large-scale machine learning. SIAM
    Review 60. Langford, J., Li, L. & Zhang, T. (2009). Sparse online learning via truncated gradient. JMLR 10. Niu, F.,
    Recht, B., Re, C. & Wright, S. J. (2011). Hogwild: a lock-free approach to parallelizing stochastic gradient
    descent. NIPS 24. Polyak, B. T. & Juditsky, A. B. (1992). Acceleration of stochastic approximation by averaging. SIAM J.
    Control Optim. 30. Karampatziakis, N. & Langford, J. (2011). Online importance weight aware updates. UAI.

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
    if not 0 <= nonnegative(momentum=momentum) < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum!r}")
    if nesterov and not momentum:
        raise ValueError("nesterov needs momentum > 0")
    if early_stopping and validation is None and validation_fraction is None:
        raise ValueError("early_stopping needs validation= or validation_fraction=")
    if validation is not None and validation_fraction is not None:
        raise ValueError("pass either validation or validation_fraction")
    if schedule == "adaptive" and tol is None:
        raise ValueError("schedule='adaptive' needs tol, by which it knows that the loss does not decrease")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of a State, got {callback!r}")
    l1, l2 = nonnegative(l1=l1), nonnegative(l2=l2)
    epochs, batch = _whole("epochs", epochs), min(_whole("batch_size", batch_size), sys.maxsize // 2)
    average_from = None if average is False else 0 if average is True else _whole("average", average, 0)
    plateau = Plateau(
        None if tol is None else nonnegative(tol=tol),
        _whole("n_iter_no_change", n_iter_no_change),
        schedule == "adaptive",
        early_stopping,
    )

    if importance_aware and (batch != 1 or momentum):
        raise ValueError("importance_aware needs batch_size=1 and no momentum")

    if hogwild:
        _check_hogwild(batch, l1=l1, momentum=momentum, average=average_from is not None)
    updatable("coef", coef)
    if intercept is not None:
        updatable("intercept", intercept)
    check = partial(_check_model, coef, intercept, importance_aware, hogwild)
    here = _checkpoint(resume, coef, intercept, seed).resumed(momentum > 0, average_from is not None)
    data: Memory | Stream
    if y is None:
        if sample_weight is not None or validation_fraction is not None:
            raise ValueError(
                "of a stream, sample_weight is the third part of a block, and validation= has rows for validation"
            )
        data = Stream(loss, X, batch, shuffle, class_weight, epochs, check)
    else:
        model = linear._kind(loss)(loss, cast(ArrayLike, X), y, sample_weight, 0.0, "mean")
        check(model)
        of_validation = here.rng if resume is None else np.random.default_rng(seed)  # the same rows as before
        data = Memory(model, batch, shuffle, class_weight, validation_fraction, of_validation)
    model = data.model
    held_out = data.held_out
    if validation is not None:
        held_out = given_validation(validation, model.loss, model.columns)
    begin = partial(
        _descent,
        model,
        average_from=average_from or 0,
        batch_size=batch,
        fit_intercept=intercept is not None,
        l2=l2,
        l1=l1,
        momentum=float(momentum),
        nesterov=bool(nesterov),
        importance_aware=bool(importance_aware),
        hogwild=bool(hogwild),
        clip_norm=np.inf if clip_norm is None else positive(clip_norm=clip_norm),
        intercept_rate=nonnegative(intercept_lr=intercept_lr),
        limit=min(_limit(model.dtype, coef, intercept), np.inf if average_from is None else LARGEST_AVERAGED),
    )
    penalty = partial(_penalty, model, l2, l1)
    if isinstance(lr, str):
        if lr != "auto":
            raise ValueError(f"lr must be a number, a function of the step or 'auto', got {lr!r}")
        if here.lr is None:
            here.lr = automatic_rate(begin, here, data.sample(ROWS), penalty)
        lr = here.lr
    rate = rates(
        lr,
        schedule,
        power_t=power_t,
        warmup_steps=_whole("warmup_steps", warmup_steps, 0),
        steps=None if data.steps is None else here.steps + epochs * data.steps,
        loss=model.loss,
        penalty=l1 + l2,
    )
    with progress_bar(progress, epochs) as report:
        training = Training(begin(here), here, coef, intercept, held_out, early_stopping, penalty, report)
        history = training.history
        try:
            for epoch in range(epochs):
                training.run_epoch(data.pieces(here.rng), rate)
                if callback is not None:
                    training.publish()
                    if callback(State(epoch, coef, intercept, history)):
                        history.stopped = "callback"
                        break
                if plateau.is_reached(here, training.watched, history.learning_rate[-1]):
                    history.stopped = "tol"
                    break
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        finally:
            training.publish()
    return history


def _descent(model: linear._Model, here: Checkpoint, **options: Any) -> Descent:
    coef, _ = model.split("parameters", here.parameters, True)
    return Descent(
        model.loss,
        here.parameters,
        np.stack([model.working(row) for row in np.atleast_2d(coef)]),
        velocity=here.velocity,
        average=here.average,
        steps=here.steps,
        **options,
    )


def _penalty(model: linear._Model, l2: float, l1: float, parameters: Array) -> float:
    coef, _ = model.split("parameters", parameters, True)
    with np.errstate(all="ignore"):
        return l2 / 2 * float(np.vdot(coef, coef)) + l1 * float(np.abs(coef).sum())


def _whole(name: str, value: Any, least: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be >= {least}, got {value!r}")
    return number


def _limit(dtype: np.dtype[Any], *arrays: Array | None) -> float:
    """The largest number that scores and results can have."""
    dtypes = [dtype, *(array.dtype for array in arrays if array is not None)]
    return min(float(np.finfo(dtype).max) for dtype in dtypes)


def _check_hogwild(batch: int, **absent: Any) -> None:
    if batch > MOST_ROWS_HOGWILD:
        raise ValueError(f"hogwild needs batch_size <= {MOST_ROWS_HOGWILD}, got {batch}")
    for name, value in absent.items():
        if value:
            raise ValueError(f"hogwild goes without {name}; leave one of them out")


def _check_model(
    coef: Any, intercept: Any, importance_aware: bool, hogwild: bool, model: linear._Model
) -> None:
    model.check_start(coef, intercept)
    if hogwild and not isinstance(model.X, tuple):
        raise TypeError("hogwild needs sparse rows; pass a CSR matrix, or leave hogwild out")
    if importance_aware and isinstance(model.loss, RowLoss):
        raise ValueError(
            f"importance_aware is for pointwise losses; {model.loss.name} has several scores a row"
        )
    if importance_aware and model.weight is not None and (model.weight < 0).any():
        raise ValueError("importance_aware needs a sample_weight >= 0")
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


def _checkpoint(resume: Checkpoint | None, coef: Array, intercept: Array | None, seed: Any) -> Checkpoint:
    """Where the descent begins."""
    if resume is None:
        behind = np.zeros(np.shape(coef)[:-1]) if intercept is None else intercept
        start = np.concatenate((coef, behind), axis=None).astype(np.float64)
        return Checkpoint(start, None, None, np.random.default_rng(seed))
    if not isinstance(resume, Checkpoint):
        raise TypeError(f"resume must be the checkpoint of a History, got {resume!r}")
    scores, size = math.prod(np.shape(coef)[:-1]), np.size(coef)
    shape = (size + scores,)
    if np.shape(resume.parameters) != shape:
        raise ValueError(f"resume has {np.size(resume.parameters) - scores} coefficients, but coef {size}")
    for name in ("parameters", "velocity", "average"):
        array = getattr(resume, name)
        plain = isinstance(array, np.ndarray) and array.dtype == np.float64 and array.shape == shape
        if not (plain or (array is None and name != "parameters")):
            raise ValueError(
                f"resume.{name} must be float64, of shape {shape}; pass history.checkpoint as it is"
            )
    if intercept is None and resume.parameters[size:].any():
        raise ValueError("resume has an intercept, so pass intercept= as well")
    return resume
