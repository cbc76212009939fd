"""Losses as one writes them in NumPy: values and gradients, with the default parameters and with some others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[..., Any]


def _softplus(s: Array) -> Array:
    return np.log1p(np.exp(-np.abs(s))) + np.maximum(s, 0)


def _sigmoid(s: Array) -> Array:
    return 1 / (1 + np.exp(-s))


def _focal_grad(y: Array, p: Array) -> Array:
    sign = 2 * y - 1
    q = _sigmoid(-sign * p)
    return -sign * q**2 * (2 * (1 - q) * _softplus(-sign * p) + q)


def _of_residual(value: Function, grad: Function) -> tuple[Function, Function]:
    return lambda y, p: value(p - y), lambda y, p: grad(p - y)


def _of_margin(value: Function, grad: Function) -> tuple[Function, Function]:
    return lambda y, p: value((2 * y - 1) * p), lambda y, p: (2 * y - 1) * grad((2 * y - 1) * p)


NUMPY: dict[str, tuple[Function, Function]] = {  # the value and the derivative of each element
    "squared_error": (lambda y, p: (p - y) ** 2, lambda y, p: 2 * (p - y)),
    "absolute_error": (lambda y, p: np.abs(p - y), lambda y, p: np.sign(p - y)),
    "huber": (
        lambda y, p: np.where(np.abs(p - y) <= 1, (p - y) ** 2 / 2, np.abs(p - y) - 0.5),
        lambda y, p: np.clip(p - y, -1, 1),
    ),
    "log_cosh": (
        lambda y, p: np.abs(p - y) + np.log1p(np.exp(-2 * np.abs(p - y))) - np.log(2).astype(p.dtype),
        lambda y, p: np.tanh(p - y),
    ),
    "logistic": (lambda y, p: _softplus(p) - y * p, lambda y, p: _sigmoid(p) - y),
    "focal": (
        lambda y, p: _sigmoid((1 - 2 * y) * p) ** 2 * _softplus((1 - 2 * y) * p),
        _focal_grad,
    ),
    "binary_cross_entropy": (
        lambda y, p: -(y * np.log(p) + (1 - y) * np.log1p(-p)),
        lambda y, p: (p - y) / (p * (1 - p)),
    ),
    "poisson": (lambda y, p: np.exp(p) - y * p, lambda y, p: np.exp(p) - y),
    "gamma": (lambda y, p: p + y * np.exp(-p), lambda y, p: 1 - y * np.exp(-p)),
    "half_squared_error": (lambda y, p: (p - y) ** 2 / 2, lambda y, p: p - y),
    "smooth_l1": _of_residual(
        lambda r: np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5), lambda r: np.clip(r, -1, 1)
    ),
    "pseudo_huber": _of_residual(lambda r: np.sqrt(1 + r**2) - 1, lambda r: r / np.sqrt(1 + r**2)),
    "pinball": _of_residual(lambda r: np.maximum(-r, r) / 2, lambda r: np.sign(r) / 2),
    "expectile": _of_residual(lambda r: np.where(r > 0, 0.25, 0.25) * r**2, lambda r: r / 2),
    "epsilon_insensitive": _of_residual(
        lambda r: np.maximum(np.abs(r) - 0.1, 0), lambda r: np.sign(r) * (np.abs(r) > 0.1)
    ),
    "squared_epsilon_insensitive": _of_residual(
        lambda r: np.maximum(np.abs(r) - 0.1, 0) ** 2,
        lambda r: 2 * np.sign(r) * np.maximum(np.abs(r) - 0.1, 0),
    ),
    "squared_log_error": (
        lambda y, p: (np.log1p(p) - np.log1p(y)) ** 2,
        lambda y, p: 2 * (np.log1p(p) - np.log1p(y)) / (1 + p),
    ),
    "absolute_percentage_error": (
        lambda y, p: np.abs(p - y) / np.maximum(np.abs(y), np.finfo(p.dtype).eps),
        lambda y, p: np.sign(p - y) / np.maximum(np.abs(y), np.finfo(p.dtype).eps),
    ),
    "fair": _of_residual(lambda r: np.abs(r) - np.log1p(np.abs(r)), lambda r: r / (1 + np.abs(r))),
    "cauchy": _of_residual(lambda r: np.log1p(r**2) / 2, lambda r: r / (1 + r**2)),
    "welsch": _of_residual(lambda r: (1 - np.exp(-(r**2))) / 2, lambda r: r * np.exp(-(r**2))),
    "geman_mcclure": _of_residual(lambda r: r**2 / 2 / (1 + r**2), lambda r: r / (1 + r**2) ** 2),
    "tukey_biweight": _of_residual(
        lambda r: 4.685**2 / 6 * (1 - np.maximum(1 - (r / 4.685) ** 2, 0) ** 3),
        lambda r: r * np.maximum(1 - (r / 4.685) ** 2, 0) ** 2,
    ),
    "barron": _of_residual(lambda r: np.sqrt(1 + r**2) - 1, lambda r: r / np.sqrt(1 + r**2)),
    "hinge": _of_margin(lambda m: np.maximum(1 - m, 0), lambda m: np.where(m < 1, -1, 0)),
    "squared_hinge": _of_margin(lambda m: np.maximum(1 - m, 0) ** 2, lambda m: -2 * np.maximum(1 - m, 0)),
    "modified_huber": _of_margin(
        lambda m: np.where(m >= -1, np.maximum(1 - m, 0) ** 2, -4 * m),
        lambda m: np.where(m >= -1, -2 * np.maximum(1 - m, 0), -4),
    ),
    "perceptron": _of_margin(lambda m: np.maximum(-m, 0), lambda m: np.where(m < 0, -1, 0)),
    "exponential": _of_margin(lambda m: np.exp(-m), lambda m: -np.exp(-m)),
    "brier": (lambda y, p: (p - y) ** 2, lambda y, p: 2 * (p - y)),
    "tweedie": (
        lambda y, p: 2 * (np.exp(p / 2) + y * np.exp(-p / 2)),
        lambda y, p: np.exp(p / 2) - y * np.exp(-p / 2),
    ),
    "negative_binomial": (
        lambda y, p: (y + 1) * np.log1p(np.exp(p)) - y * p,
        lambda y, p: (np.exp(p) - y) / (1 + np.exp(p)),
    ),
}


def softmax(s: Array) -> tuple[Array, Array]:
    """Return the softmax of each row, and the logarithm."""
    log_p = s - s.max(axis=1, keepdims=True)
    p = np.exp(log_p)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    log_p -= np.log(total)
    return p, log_p


def _softmax_value(y: Array, s: Array) -> tuple[float]:
    shifted = s - s.max(axis=1, keepdims=True)
    return (np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(y.size), y]),)


def _softmax_value_and_grad(y: Array, s: Array) -> tuple[float, Array]:
    rows = np.arange(y.size)
    p, log_p = softmax(s)
    p[rows, y] -= 1
    p /= y.size
    return -np.mean(log_p[rows, y]), p


def _softmax_grad_and_hess(y: Array, s: Array) -> tuple[Array, Array]:
    p, _ = softmax(s)
    hess = p * (1 - p) / y.size
    p[np.arange(y.size), y] -= 1
    return p / y.size, hess


def _linear_value_and_grad(y: Array, layer: tuple[Array, Array]) -> tuple[Any, ...]:
    x, w = layer
    value, g = _softmax_value_and_grad(y, x @ w.T)
    return value, g @ w, g.T @ x


def _of_true_class(value: Function, derivative: Function) -> Function:
    """Value and gradient of a function of the probability of the true class, by the chain rule."""

    def value_and_grad(y: Array, s: Array) -> tuple[float, Array]:
        rows = np.arange(y.size)
        p, _ = softmax(s)
        of_true = p[rows, y]
        factor = derivative(of_true) * of_true / y.size
        grad = p * -factor[:, None]
        grad[rows, y] += factor
        return np.mean(value(of_true)), grad

    return value_and_grad


def _of_each_class(value: Function, grad: Function) -> Function:
    """Value and gradient of a sum over the classes, by the numbers of a row and labels, which may be one-hot."""

    def value_and_grad(y: Array, s: Array) -> tuple[float, Array]:
        labels = one_hot(y, s) if y.ndim == 1 else y
        return value(labels, s).sum() / len(y), grad(labels, s) / len(y)

    return value_and_grad


def _of_softmax(value: Function, derivative: Function) -> Function:
    """The same by the softmax of the scores; `value` may be that of a row."""

    def value_and_grad(y: Array, s: Array) -> tuple[float, Array]:
        labels, (p, _) = one_hot(y, s), softmax(s)
        slope = derivative(labels, p)
        return value(labels, p).sum() / y.size, p * (slope - _row_sum(p * slope)) / y.size

    return value_and_grad


def one_hot(y: Array, s: Array) -> Array:
    labels = np.zeros_like(s)
    labels[np.arange(y.size), y] = 1
    return labels


def _row_sum(terms: Array) -> Array:
    return terms.sum(axis=1, keepdims=True)


def _tanimoto_parts(y: Array, p: Array) -> tuple[Array, Array]:
    common = _row_sum(p * y)
    return common, _row_sum(p * p) + 1 - common


def _tanimoto(y: Array, p: Array) -> Array:
    common, rest = _tanimoto_parts(y, p)
    return -common / rest


def _tanimoto_slope(y: Array, p: Array) -> Array:
    common, rest = _tanimoto_parts(y, p)
    return (common * (2 * p - y) - y * rest) / rest**2


def _cauchy_schwarz(y: Array, s: Array) -> tuple[float, Array]:
    value, grad = _softmax_value_and_grad(y, 2 * s)
    return value / 2, grad


def _multiclass_hinge(y: Array, s: Array) -> tuple[float, Array]:
    rows, rivals, grad = np.arange(y.size), s.copy(), np.zeros_like(s)
    rivals[rows, y] = -np.inf
    strongest = rivals.argmax(axis=1)
    loss = np.maximum(1 + s[rows, strongest] - s[rows, y], 0)
    grad[rows, strongest] = (loss > 0) / y.size
    grad[rows, y] = -grad[rows, strongest]
    return loss.mean(), grad


def _cross_entropy(y: Array, p: Array) -> tuple[float, Array]:
    rows, grad = np.arange(y.size), np.zeros_like(p)
    grad[rows, y] = -1 / (p[rows, y] * y.size)
    return -np.mean(np.log(p[rows, y])), grad


def _hinge_of_each_class(power: int) -> Function:
    return _of_each_class(
        lambda y, s: np.maximum(0.5 - (2 * y - 1) * s, 0) ** power,
        lambda y, s: (
            (1 - 2 * y) * power * np.maximum(0.5 - (2 * y - 1) * s, 0) ** (power - 1)
            if power > 1
            else (1 - 2 * y) * ((2 * y - 1) * s < 0.5)
        ),
    )


TRUE_CLASS: dict[
    str, tuple[Function, Function]
] = {  # by the probability of the true class, and the derivative
    "softmax_focal": (
        lambda p: -((1 - p) ** 2) * np.log(p),
        lambda p: 2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p,
    ),
    "poly1": (lambda p: 1 - p - np.log(p), lambda p: -1 - 1 / p),
    "generalized_cross_entropy": (lambda p: (1 - p**0.7) / 0.7, lambda p: -(p**-0.3)),
    "expectation_l1": (lambda p: 2 * (1 - p), lambda p: np.full_like(p, -2)),
    "chebyshev": (lambda p: 1 - p, lambda p: np.full_like(p, -1)),
    "squared_log": (lambda p: np.log(p) ** 2, lambda p: 2 * np.log(p) / p),
}
NUMPY_ROWS: dict[tuple[str, str], Function] = {  # what the method returns, all of it
    ("softmax_cross_entropy", "value_and_grad"): _softmax_value_and_grad,
    ("softmax_cross_entropy", "grad_and_hess"): _softmax_grad_and_hess,
    ("linear_cross_entropy", "value_and_grad"): _linear_value_and_grad,
    ("softmax_cross_entropy", "value"): _softmax_value,
    ("softmax_cross_entropy", "grad"): lambda y, s: _softmax_value_and_grad(y, s)[1:],
    ("cauchy_schwarz", "value_and_grad"): _cauchy_schwarz,
    ("multiclass_hinge", "value_and_grad"): _multiclass_hinge,
    ("expectation_l2", "value_and_grad"): _of_softmax(*NUMPY["squared_error"]),
    ("tanimoto", "value_and_grad"): _of_softmax(_tanimoto, _tanimoto_slope),
    ("kl_divergence", "value_and_grad"): _of_each_class(
        lambda y, p: y * (np.log(y) - np.log(p)), lambda y, p: -y / p
    ),
    ("js_divergence", "value_and_grad"): _of_each_class(
        lambda y, p: (y * np.log(2 * y / (y + p)) + p * np.log(2 * p / (y + p))) / 2,
        lambda y, p: np.log(2 * p / (y + p)) / 2,
    ),
    ("tv_distance", "value_and_grad"): _of_each_class(
        lambda y, p: np.abs(p - y) / 2, lambda y, p: np.sign(p - y) / 2
    ),
    ("cross_entropy", "value_and_grad"): _cross_entropy,
    ("cross_entropy", "value"): lambda y, p: (-np.mean(np.log(p[np.arange(y.size), y])),),
}
NUMPY_ROWS |= {(name, "value_and_grad"): _of_true_class(*pair) for name, pair in TRUE_CLASS.items()}
NUMPY_ROWS |= {
    (f"one_hot_{name}hinge", "value_and_grad"): _hinge_of_each_class(power)
    for name, power in (("", 1), ("squared_", 2), ("cubed_", 3))
}
for _name, _of_residuals in (("one_hot_l1", "absolute_error"), ("one_hot_l2", "squared_error")):
    NUMPY_ROWS[_name, "value_and_grad"] = _of_each_class(*NUMPY[_of_residuals])

HESSIANS: dict[str, Function] = {  # the second derivative of each element
    "squared_error": lambda y, p: np.full_like(p, 2),
    "logistic": lambda y, p: _sigmoid(p) * _sigmoid(-p),
}


# ---- with another parameter ------------------------------------------------------------------------


def _huber_of_half(y: Array, p: Array) -> tuple[float, Array]:
    r = p - y
    value = np.where(np.abs(r) <= 0.5, r**2 / 2, (np.abs(r) - 0.25) / 2)
    return np.mean(value), np.clip(r, -0.5, 0.5) / r.size


def _logistic_of_two(y: Array, p: Array) -> tuple[float, Array]:
    value = (1 - y) * _softplus(p) + 2 * y * _softplus(-p)
    return np.mean(value), ((1 - y) * _sigmoid(p) - 2 * y * _sigmoid(-p)) / p.size


def _smoothed_softmax(y: Array, s: Array) -> tuple[float, Array]:
    rows, (p, log_p) = np.arange(y.size), softmax(s)
    value = -np.mean(0.9 * log_p[rows, y] + 0.1 * log_p.mean(axis=1))
    p -= 0.1 / s.shape[1]
    p[rows, y] -= 0.9
    return value, p / y.size


WITH_KEYWORDS: dict[
    str, tuple[dict[str, float], Function]
] = {  # the keywords, and the value and the gradient
    "huber": ({"delta": 0.5}, _huber_of_half),
    "logistic": ({"pos_weight": 2.0}, _logistic_of_two),
    "softmax_cross_entropy": ({"label_smoothing": 0.1}, _smoothed_softmax),
}
