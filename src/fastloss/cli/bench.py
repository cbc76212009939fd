"""How fast this machine is: fastloss, NumPy and scikit-learn on the same arrays, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from statistics import median
from time import perf_counter
from timeit import timeit
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastloss as fl
from fastloss._core import RowLoss
from fastloss.cli.console import Console

Array = NDArray[Any]
Expression = Callable[[Array, Array], Any]

DEFAULT = (
    "squared_error",
    "absolute_error",
    "huber",
    "logistic",
    "poisson",
    "gamma",
    "log_cosh",
    "focal",
    "softmax_cross_entropy",
)

# The number of classes, in losses of rows.
WIDTH = 10


def _softplus(s: Array) -> Any:
    # Several times faster than np.logaddexp(0, s), and as safe.
    return np.maximum(s, 0) + np.log1p(np.exp(-np.abs(s)))


def _huber(y: Array, s: Array) -> Any:
    a = np.abs(s - y)
    return np.mean(np.where(a <= 1, 0.5 * a * a, a - 0.5))


def _log_cosh(y: Array, s: Array) -> Any:
    a = np.abs(s - y)
    return np.mean(a + np.log1p(np.exp(-2 * a)) - np.log(2))


def _focal(y: Array, s: Array) -> Any:
    m = (2 * y - 1) * s
    return np.mean(_softplus(-m) / (1 + np.exp(m)) ** 2)


def _focal_grad(y: Array, s: Array) -> Any:
    sign = 2 * y - 1
    m = sign * s
    q = 1 / (1 + np.exp(m))
    return -sign * q * q * (2 * (1 - q) * _softplus(-m) + q) / y.size


def _log_softmax(s: Array) -> Any:
    s = s - s.max(axis=1, keepdims=True)
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


def _cross_entropy_grad(y: Array, s: Array) -> Any:
    p = np.exp(_log_softmax(s))
    p[np.arange(y.size), y] -= 1
    return p / y.size


# What one would write with NumPy: the mean, and its gradient.
EXPRESSIONS: dict[str, tuple[Expression, Expression]] = {
    "squared_error": (lambda y, s: np.mean((s - y) ** 2), lambda y, s: (s - y) * (2 / y.size)),
    "absolute_error": (lambda y, s: np.mean(np.abs(s - y)), lambda y, s: np.sign(s - y) / y.size),
    "huber": (_huber, lambda y, s: np.clip(s - y, -1, 1) / y.size),
    "logistic": (
        lambda y, s: np.mean(_softplus(s) - y * s),
        lambda y, s: (1 / (1 + np.exp(-s)) - y) / y.size,
    ),
    "poisson": (lambda y, s: np.mean(np.exp(s) - y * s), lambda y, s: (np.exp(s) - y) / y.size),
    "gamma": (lambda y, s: np.mean(s + y * np.exp(-s)), lambda y, s: (1 - y * np.exp(-s)) / y.size),
    "log_cosh": (_log_cosh, lambda y, s: np.tanh(s - y) / y.size),
    "focal": (_focal, _focal_grad),
    "softmax_cross_entropy": (
        lambda y, s: -np.mean(_log_softmax(s)[np.arange(y.size), y]),
        _cross_entropy_grad,
    ),
}

# scikit-learn's counterparts, up to a constant factor: classes of sklearn._loss with their arguments, and
# functions of sklearn.metrics, which have no gradient.
CLASSES: dict[str, tuple[str, dict[str, float]]] = {
    "squared_error": ("HalfSquaredError", {}),
    "half_squared_error": ("HalfSquaredError", {}),
    "absolute_error": ("AbsoluteError", {}),
    "huber": ("HuberLoss", {"delta": 1.0}),
    "pinball": ("PinballLoss", {"quantile": 0.5}),
    "logistic": ("HalfBinomialLoss", {}),
    "exponential": ("ExponentialLoss", {}),
    "poisson": ("HalfPoissonLoss", {}),
    "gamma": ("HalfGammaLoss", {}),
    "tweedie": ("HalfTweedieLoss", {"power": 1.5}),
    "softmax_cross_entropy": ("HalfMultinomialLoss", {"n_classes": WIDTH}),
}
METRICS = {
    "squared_log_error": "mean_squared_log_error",
    "absolute_percentage_error": "mean_absolute_percentage_error",
    "binary_cross_entropy": "log_loss",
    "brier": "brier_score_loss",
    "hinge": "hinge_loss",
}


class Timing(NamedTuple):
    """Seconds of one call by library; None where it has no such function."""

    fastloss: float
    numpy: float | None
    sklearn: float | None


def sample(name: str, n: int, dtype: str) -> tuple[Array, Array]:
    """Random y_true and y_pred in the domain of a loss; of classes, rows of WIDTH scores."""
    rng, loss = np.random.default_rng(0), fl.get(name)
    takes, kind = loss.traits.takes, loss.traits.labels
    if isinstance(loss, RowLoss):
        rows = max(1, n // WIDTH)
        distributions = rng.dirichlet(np.ones(WIDTH), (2, rows)).astype(dtype)
        classes, scores = rng.integers(0, WIDTH, rows), rng.standard_normal((rows, WIDTH)).astype(dtype)
        labels = distributions[0] if kind == "distribution" else classes
        return labels, distributions[1] if takes == "probabilities" else scores
    draw: dict[str, Callable[[], Array]] = {
        "real": lambda: rng.standard_normal(n),
        "above_minus_one": lambda: np.abs(rng.standard_normal(n)),
        "nonnegative": lambda: 1.0 + rng.poisson(2, n),
        "positive": lambda: 1.0 + rng.poisson(2, n),
        "binary": lambda: rng.integers(0, 2, n),
        "probability": lambda: rng.integers(0, 2, n),
    }
    y = draw[kind]()
    if takes == "values":
        return y.astype(dtype), draw[kind]().astype(dtype)
    s = rng.uniform(0.01, 0.99, n) if takes == "probabilities" else rng.standard_normal(n)
    return y.astype(dtype), s.astype(dtype)


def sklearn_functions(name: str) -> tuple[Expression | None, Expression | None]:
    """Value and gradient of scikit-learn; None where it, or the whole package, is missing."""
    try:
        if name in CLASSES:
            cls, arguments = CLASSES[name]
            loss = getattr(import_module("sklearn._loss.loss"), cls)(**arguments)
            threads = fl.get_num_threads()
            return (  # scikit-learn takes classes as floats
                lambda y, s: loss(y.astype(s.dtype, copy=False), s, n_threads=threads),
                lambda y, s: loss.gradient(y.astype(s.dtype, copy=False), s, n_threads=threads),
            )
        if name in METRICS:
            return getattr(import_module("sklearn.metrics"), METRICS[name]), None
    except (ImportError, AttributeError):  # sklearn._loss is private and may change
        pass
    return None, None


def measure(name: str, n: int, dtype: str, seconds: float = 0.4) -> dict[str, Timing]:
    """Time the value and the gradient of a loss, each for about `seconds`."""
    y, s = sample(name, n, dtype)
    loss = fl.get(name)
    numpy = EXPRESSIONS.get(name, (None, None))
    sklearn = sklearn_functions(name)
    return {
        "value": _medians(loss, (numpy[0], sklearn[0]), y, s, seconds),
        "grad": _medians(loss.grad, (numpy[1], sklearn[1]), y, s, seconds),
    }


def _medians(
    ours: Expression, others: Sequence[Expression | None], y: Array, s: Array, seconds: float
) -> Timing:
    """Return the seconds of one call of each. They take turns, so that a busy moment of the machine slows down all."""
    calls = [partial(f, y, s) for f in (ours, *others) if f]
    # A sample lasts at least a millisecond, for which the clock is exact enough.
    loops = [max(1, int(1e-3 / max(timeit(call, number=2) / 2, 1e-7))) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    end = perf_counter() + seconds
    while len(samples[0]) < 5 or perf_counter() < end:
        for call, number, mine in zip(calls, loops, samples, strict=True):
            call()  # brings the arrays back into the cache
            mine.append(timeit(call, number=number) / number)
    times = iter(map(median, samples))
    return Timing(next(times), *(next(times) if f else None for f in others))


def report(console: Console, names: Sequence[str], n: int, dtype: str, *, seconds: float = 0.4) -> None:
    """Measure losses and print the table."""
    rows = []
    with console.progress("Timing", len(names)) as step:
        for name in names:
            for what, t in measure(name, n, dtype, seconds).items():
                times = [_time(t.fastloss), _time(t.numpy), _time(t.sklearn)]
                rows.append([name, what, *times, _ratio(t.numpy, t.fastloss), _ratio(t.sklearn, t.fastloss)])
            step(f"{len(rows) // 2} of {len(names)} losses")
    header = ["loss", "", "fastloss", "NumPy", "sklearn", "vs NumPy", "vs sklearn"]
    console.table(header, rows, text_columns=2)
    console.line(
        f"{n:,} elements, {dtype}; threads: {fl.get_num_threads()} (NumPy: 1). Medians of interleaved\n"
        "rounds; 'vs' is how many times faster fastloss is. scikit-learn's losses may\n"
        "lack a constant factor, and its gradients the 1/n of the mean."
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def _ratio(theirs: float | None, ours: float) -> str:
    if theirs is None:
        return "-"
    ratio = theirs / ours
    return f"{ratio:.1f}x" if ratio >= 0.1 else f"{ratio:.1g}x"
