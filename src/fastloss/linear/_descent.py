"""Stochastic gradient descent on linear models, in place."""

# ruff: noqa: N803 - X is the field's name

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss._checks.arrays import Array
from fastloss._core import Descent, Loss, RowLoss
from fastloss.linear._automatic_rate import MOST_ROWS, RateSearch
from fastloss.linear._epochs import Plateau, Training
from fastloss.linear._history import Checkpoint, History, State
from fastloss.linear._model import LinearModel
from fastloss.linear._problem import Problem, SgdSettings
from fastloss.linear._progress import progress_bar
from fastloss.linear._rows import RowsInMemory, validation_model
from fastloss.linear._schedules import rates
from fastloss.linear._softmax import model_class
from fastloss.linear._stream import Blocks, Stream
from fastloss.sgd import updatable

MOST_ROWS_HOGWILD = 64  # of a batch: the more rows, the more columns it shares with those of other threads
LARGEST_AVERAGED = 2.0**960  # of a parameter: sums over as many steps as there can be stay finite


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
        copied, however its rows are shuffled. Its columns should be of similar scale, since all coefficients have the
        same learning rate. Where `y` is None, `X` is a stream: see the notes.
    coef : ndarray of float32 or float64, shape (d,), or (K, d) with `softmax_cross_entropy`
        The start, which is overwritten by the result. Steps are computed in float64, from scores in the dtype of `X`.
    intercept : ndarray of float32 or float64, shape () or (1,), or (K,), optional
        The same of the intercept. None: there is no intercept.
    lr : float, callable or 'auto', default 0.01
        The learning rate, or a function of the number of the step (0, 1, ...) that returns it. 'auto' tries several,
        each twice the last or half of it, for 32 steps or an epoch on about 1000 rows, of a stream on rows of its first
        block. It takes half of the one that leads to the lowest objective on about 1000 other rows. The trials cost
        some epochs of these rows.
    schedule : {'constant', 'invscaling', 'optimal', 'adaptive', 'cosine'}
        The learning rate of step t: ``lr``; ``lr / (t + 1)**power_t``; ``1 / ((l1 + l2) * (t0 + t))``, with t0 by
        Bottou's heuristic, as in scikit-learn; ``lr``, divided by 5 where the loss does not decrease (see `tol`);
        ``lr / 2 * (1 + cos(pi * t / T))``, where T is the number of steps of all epochs.
    power_t : float, default 0.5
    warmup_steps : int, default 0
        The rates of the first steps, so many, are multiplied by ``(t + 1) / warmup_steps``.
    epochs : int, default 100
        The largest number of passes over the data.
    batch_size : int, default 32
        The rows of a step; the last one of an epoch may have fewer.
    shuffle : {'blocks', 'rows', None}
        'rows' draws a new order of all rows for each epoch. 'blocks' draws the order of blocks of ``batch_size // 4``
        rows, at least 8, which are neighbours in memory, and for batches of less than 32 rows also an order within the
        blocks. This is up to twice as fast, because neighbours are read one after the other, but the rows of a block
        always are in the same batch. Take 'rows' where neighbours are alike, as in data that are sorted by label. None
        takes the rows in their order in `X`.
    seed : int or numpy.random.Generator, default 0
        Decides about the order, and which rows are those for validation.
    sample_weight : array_like, shape (n,), optional
        Finite numbers with a positive sum; only their ratios matter, except in a stream.
    class_weight : dict or 'balanced', optional
        A factor for each label, 1 for labels that the dict does not have; 'balanced' is ``n / (classes * count)``.
    l2, l1 : float, default 0
        The penalties; >= 0.
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        Nesterov's momentum, as in the formula above; needs momentum.
    average : bool or int, default False
        Return the mean of the parameters after each step (Polyak and Ruppert). An integer: the first steps, so many,
        are left out of the mean.
    clip_norm : float, optional
        Longer gradients are shortened to this norm; the penalties are not part of it.
    importance_aware : bool, default False
        A step on a row of weight h has the effect of infinitely many short steps: the row's score s ends where the
        differential equation ``ds/dt = -lr * (||x||^2 + intercept_lr) * dloss/ds`` leads it in the time h. So a step
        never passes the minimum of the row's loss, however large `lr` and h are. For pointwise losses, one row a step
        (`batch_size=1`) and weights >= 0; without `momentum`, which would pass the minimum all the same.
    intercept_lr : float, default 1
        The factor of the intercept's learning rates. With sparse rows the intercept changes in every step, and a
        coefficient seldom, so that the noise of the intercept is larger: scikit-learn takes 0.01 there.
    tol : float or None, default 1e-4
        The work ends where `n_iter_no_change` epochs in a row have not brought the loss below its lowest value by
        `tol`. It is the validation loss with `early_stopping`, else that of training, with the penalties. But while
        the training loss is more than twice the first epoch's, the work does not end: the steps then diverge, and an
        error is to say so. None: it ends after `epochs`.
    n_iter_no_change : int, default 5
    validation : tuple (X, y) or (X, y, sample_weight), optional
        Data for the validation loss.
    validation_fraction : float, optional
        Instead: this part of the rows, which `seed` draws, is copied and not used for training.
    early_stopping : bool, default False
        Let the validation loss decide about the end, and return the parameters of the epoch with the lowest.
    hogwild : bool, default False
        All threads take steps at once, on the same parameters and without locks. **The result differs from run to
        run**: a thread may read a parameter just before another one changes it, and overwrite the change; that does
        little harm where rows seldom share columns. For sparse rows, batches of up to 64, and no `l1`, `momentum` or
        `average`.
    callback : callable, optional
        Called with a `State` after each epoch; if it returns True, the work ends. An exception that it raises is not
        caught; `coef` and `intercept` are then those that it was given.
    resume : Checkpoint, optional
        ``history.checkpoint`` of an earlier call, which this one continues, on the same rows or others: parameters,
        velocity, average, number of the step and random generator are those at its end. `coef` and `intercept` are
        then only overwritten by the result. With the same `seed`, an integer, the rows of `validation_fraction` are
        the same.
    progress : bool, default False
        Show epochs, loss and rows per second on stderr; needs rich.

    Returns
    -------
    History

    Raises
    ------
    DivergenceError
        A FloatingPointError: a step would have led to a loss, gradient or parameter of inf or NaN. `coef` and
        `intercept` are those before that step.
    TypeError, ValueError
        As `value_and_grad`; or if `coef` or `intercept` cannot be updated in place, or a parameter is out of range.
        `coef` and `intercept` are then as they were before the call.

    Notes
    -----
    Two calls of 5 epochs, of which the second resumes, have the result of one call of 10. But `early_stopping` knows
    the epochs of its own call alone, and T of 'cosine' is the number of all steps at the end of a call.

    A stream is a list, or a function that returns an iterator for each epoch, or for one epoch an iterator itself,
    of blocks ``(X, y)`` or ``(X, y, sample_weight)`` with any number of rows. One of them is held in memory at a time,
    with the rows of earlier ones that did not fill a batch; these are the first rows of the next batch. So without
    `shuffle`, how the rows are cut into blocks changes no bit of the parameters (with sparse rows, the last bits).
    Rows are shuffled within their block. Weights are taken as they are, since their mean is not known in advance:
    twice the weight is twice the gradient. A stream cannot have ``class_weight='balanced'``, `validation_fraction` or,
    unless it is a list or has an attribute `rows`, ``schedule='cosine'``.

    Ctrl-C does not raise: it ends the work, between two steps, and what has been learned is kept;
    ``history.interrupted`` says so. Before the first step, while the data are checked or ``lr='auto'`` is tried, it
    does raise, and nothing has changed.

    Threads share the rows of a batch that takes more than some 32 kB: 256 rows of 100 columns, not 32. Sparse rows
    have one thread, except with `hogwild`. Without it the bits depend on neither the number of threads nor, among SIMD
    levels with fused multiply-add, the level.

    The time of a step on sparse rows grows with their elements, K times with K classes, and not with d. What the
    penalties and the average change in the other columns is made up for when a column is next read, and at the latest
    at the end of the epoch, or of a stream's block. This has no short formula, and a step takes time that grows with
    d, with `momentum`, with `average` and `l1` together, and where ``lr * l2 >= 1``; nor is it done where a batch has
    more rows than a 16th of the columns, since it would not be faster. The steps are the same in both cases, up to
    rounding.

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
    problem = Problem(loss, X, y, coef, intercept, sample_weight, l2, l1, validation)
    settings = SgdSettings(
        lr=lr,
        schedule=schedule,
        power_t=power_t,
        warmup_steps=warmup_steps,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        class_weight=class_weight,
        momentum=momentum,
        nesterov=nesterov,
        average=average,
        clip_norm=clip_norm,
        importance_aware=importance_aware,
        intercept_lr=intercept_lr,
        tol=tol,
        n_iter_no_change=n_iter_no_change,
        validation_fraction=validation_fraction,
        early_stopping=early_stopping,
        hogwild=hogwild,
        callback=callback,
        resume=resume,
        progress=progress,
    )
    return descend(problem, settings)


def descend(problem: Problem, settings: SgdSettings) -> History:
    """As `sgd`: the problem's `coef` and `intercept` are updated in place."""
    problem, settings = problem.checked(), settings.checked()
    _check_validation(problem, settings)
    if settings.hogwild:
        _check_hogwild(problem, settings)
    steps = _Steps(problem, settings)
    updatable("coef", problem.coef)
    if problem.intercept is not None:
        updatable("intercept", problem.intercept)
    checkpoint = _checkpoint(problem, settings).resumed(
        settings.momentum > 0, settings.average_from is not None
    )
    data = _data(problem, settings, checkpoint.rng)
    model, held_out = data.model, data.held_out
    if problem.validation is not None:
        held_out = validation_model(problem.validation, model.loss, model.columns)
    begin, penalty = partial(steps.begin, model), partial(steps.penalty, model)
    lr: Any = settings.lr
    if isinstance(lr, str):  # 'auto'
        if checkpoint.lr is None:
            checkpoint.lr = RateSearch(begin, checkpoint, data.sample(MOST_ROWS), penalty).find()
        lr = checkpoint.lr
    rate = rates(
        settings,
        lr,
        steps=None if data.steps is None else checkpoint.steps + settings.epochs * data.steps,
        loss=model.loss,
        penalty=problem.l1 + problem.l2,
    )
    plateau = Plateau(
        settings.tol, settings.n_iter_no_change, settings.schedule == "adaptive", settings.early_stopping
    )
    with progress_bar(settings.progress, settings.epochs) as report:
        training = Training(
            descent=begin(checkpoint),
            checkpoint=checkpoint,
            coef=problem.coef,
            intercept=problem.intercept,
            held_out=held_out,
            early_stopping=settings.early_stopping,
            penalty=penalty,
            report=report,
        )
        history = training.history
        try:
            for epoch in range(settings.epochs):
                training.run_epoch(data.pieces(checkpoint.rng), rate)
                if settings.callback is not None:
                    training.publish()
                    if settings.callback(State(epoch, problem.coef, problem.intercept, history)):
                        history.stopped = "callback"
                        break
                if plateau.is_reached(checkpoint, training.watched, history.learning_rate[-1]):
                    history.stopped = "tol"
                    break
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        finally:
            training.publish()
    return history


@dataclass(frozen=True)
class _Steps:
    """The rule of the steps, without the rows that they are taken on."""

    problem: Problem
    settings: SgdSettings

    def begin(self, model: LinearModel, checkpoint: Checkpoint) -> Descent:
        """Return the descent that takes steps from a checkpoint on, and changes its arrays."""
        problem, settings = self.problem, self.settings
        coef, _ = model.split("parameters", checkpoint.parameters, True)
        return Descent(
            model.loss,
            checkpoint.parameters,
            np.stack([model.padded(row) for row in np.atleast_2d(coef)]),
            velocity=checkpoint.velocity,
            average=checkpoint.average,
            average_from=settings.average_from or 0,
            steps=checkpoint.steps,
            batch_size=settings.batch_size,
            fit_intercept=problem.intercept is not None,
            l2=problem.l2,
            l1=problem.l1,
            momentum=settings.momentum,
            nesterov=bool(settings.nesterov),
            clip_norm=np.inf if settings.clip_norm is None else settings.clip_norm,
            intercept_rate=settings.intercept_lr,
            importance_aware=bool(settings.importance_aware),
            hogwild=bool(settings.hogwild),
            limit=self._limit(model.dtype),
        )

    def penalty(self, model: LinearModel, parameters: Array) -> float:
        coef, _ = model.split("parameters", parameters, True)
        with np.errstate(all="ignore"):
            squares, magnitudes = float(np.vdot(coef, coef)), float(np.abs(coef).sum())
            return self.problem.l2 / 2 * squares + self.problem.l1 * magnitudes

    def _limit(self, dtype: np.dtype[Any]) -> float:
        """Return the largest number that scores, which have this dtype, and parameters can have."""
        arrays = [x for x in (self.problem.coef, self.problem.intercept) if x is not None]
        largest = min(float(np.finfo(x).max) for x in (dtype, *(array.dtype for array in arrays)))
        return largest if self.settings.average_from is None else min(largest, LARGEST_AVERAGED)


def _data(problem: Problem, settings: SgdSettings, rng: np.random.Generator) -> RowsInMemory | Stream:
    """Return the checked rows, in memory or as a stream."""
    check = partial(_check_model, problem, settings)
    if problem.y is None:
        if problem.weight is not None or settings.validation_fraction is not None:
            raise ValueError(
                "of a stream, sample_weight is the third part of a block, and validation= has rows for validation"
            )
        return Stream(problem, settings, check)
    model = model_class(problem.loss)(problem.loss, problem.X, problem.y, problem.weight)
    check(model)
    if settings.resume is not None:  # hold out the same rows as the call before
        rng = np.random.default_rng(settings.seed)
    return RowsInMemory(model, settings, rng)


def _check_validation(problem: Problem, settings: SgdSettings) -> None:
    fraction, rows = settings.validation_fraction, problem.validation
    if settings.early_stopping and rows is None and fraction is None:
        raise ValueError("early_stopping needs validation= or validation_fraction=")
    if rows is not None and fraction is not None:
        raise ValueError("pass either validation or validation_fraction")


def _check_hogwild(problem: Problem, settings: SgdSettings) -> None:
    if settings.batch_size > MOST_ROWS_HOGWILD:
        raise ValueError(f"hogwild needs batch_size <= {MOST_ROWS_HOGWILD}, got {settings.batch_size}")
    averages = settings.average_from is not None
    for name, value in {"l1": problem.l1, "momentum": settings.momentum, "average": averages}.items():
        if value:
            raise ValueError(f"hogwild goes without {name}; leave one of them out")


def _check_model(problem: Problem, settings: SgdSettings, model: LinearModel) -> None:
    """Refuse rows that do not go with the parameters or the settings."""
    coef, intercept = problem.coef, problem.intercept
    model.check_start(coef, intercept)
    if settings.hogwild and not model.is_sparse:
        raise TypeError("hogwild needs sparse rows; pass a CSR matrix, or leave hogwild out")
    if settings.importance_aware and isinstance(model.loss, RowLoss):
        raise ValueError(
            f"importance_aware is for pointwise losses; {model.loss.name} has several scores a row"
        )
    if settings.importance_aware and model.weight is not None and (model.weight < 0).any():
        raise ValueError("importance_aware needs a sample_weight >= 0")
    inputs = model.X if isinstance(model.X, tuple) else (model.X,)
    for name, array in (("coef", coef), ("intercept", intercept)):
        if array is None:
            continue
        if not (np.abs(array.astype(np.float64)) <= np.finfo(model.dtype).max).all():
            raise ValueError(f"{name} must be finite in {model.dtype}, the dtype of the scores")
        if any(np.may_share_memory(array, other) for other in (*inputs, model.y)):
            raise ValueError(f"{name} shares memory with X or y; pass a copy")
    if intercept is not None and np.shares_memory(coef, intercept):
        raise ValueError("coef and intercept share memory; pass separate arrays")


def _checkpoint(problem: Problem, settings: SgdSettings) -> Checkpoint:
    """Return where the descent begins: the caller's parameters, or the checkpoint that is resumed."""
    coef, intercept, resume = problem.coef, problem.intercept, settings.resume
    if resume is None:
        intercepts = np.zeros(np.shape(coef)[:-1]) if intercept is None else intercept
        start = np.concatenate((coef, intercepts), axis=None).astype(np.float64)
        return Checkpoint(start, None, None, np.random.default_rng(settings.seed))
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
