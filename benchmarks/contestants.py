"""The same loss in each library: what users of it would write, on the same arrays and as many threads."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rows import Row

import fastloss as fl

Array = NDArray[Any]
Function = Callable[[Any, Any], Any]


class DisagreementError(Exception):
    """Two contestants do not compute the same function."""


class Entry(NamedTuple):
    """``function(y, p)`` is timed; ``unpack`` turns what it returns into the mean and its gradient."""

    function: Function
    y: Any
    p: Any
    unpack: Callable[[Any], tuple[Any, ...]]


def by_fastloss(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry:
    fl.set_num_threads(threads)
    if method == "value":
        return Entry(fl.get(loss), y, p, lambda value: (value,))
    return Entry(getattr(fl.get(loss), method), y, p, tuple)


# ---- NumPy ------------------------------------------------------------------------------------------


def _softplus(s: Array) -> Array:
    return np.log1p(np.exp(-np.abs(s))) + np.maximum(s, 0)


def _sigmoid(s: Array) -> Array:
    return 1 / (1 + np.exp(-s))


def _focal_grad(y: Array, p: Array) -> Array:
    sign = 2 * y - 1
    q = _sigmoid(-sign * p)
    return -sign * q**2 * (2 * (1 - q) * _softplus(-sign * p) + q)


NUMPY: dict[str, tuple[Function, Function]] = {  # value and derivative of each element
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
    "poisson": (lambda y, p: np.exp(p) - y * p, lambda y, p: np.exp(p) - y),
    "gamma": (lambda y, p: p + y * np.exp(-p), lambda y, p: 1 - y * np.exp(-p)),
}


def by_numpy(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry:
    value, grad = NUMPY[loss]
    if method == "value":
        return Entry(lambda y, p: np.mean(value(y, p)), y, p, lambda mean: (mean,))
    return Entry(lambda y, p: (np.mean(value(y, p)), grad(y, p) / p.size), y, p, tuple)


# ---- scikit-learn -----------------------------------------------------------------------------------


def by_sklearn(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry | None:
    from sklearn import metrics
    from sklearn._loss import loss as losses

    metric = {"squared_error": metrics.mean_squared_error, "absolute_error": metrics.mean_absolute_error}
    if method == "value" and loss in metric:
        return Entry(metric[loss], y, p, lambda value: (value,))
    make, scale = {
        "squared_error": (losses.HalfSquaredError, 2),
        "absolute_error": (losses.AbsoluteError, 1),
        "huber": (lambda: losses.HuberLoss(delta=1.0), 1),
        "logistic": (losses.HalfBinomialLoss, 1),
        "poisson": (losses.HalfPoissonLoss, 1),
        "gamma": (losses.HalfGammaLoss, 1),
    }.get(loss, (None, 1))
    if make is None:
        return None
    function = getattr(make(), {"value": "loss", "value_and_grad": "loss_gradient"}[method])

    # It returns the losses of the elements: the mean is left out of its time, in its favour.
    def unpack(result: Any) -> tuple[Any, ...]:
        if method == "value":
            return (scale * result.mean(),)
        return scale * result[0].mean(), scale * result[1] / result[1].size

    return Entry(lambda y, p: function(y, p, n_threads=threads), y, p, unpack)


# ---- PyTorch ----------------------------------------------------------------------------------------


def by_torch(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry:
    import torch
    from torch.nn import functional as F  # noqa: N812 - its usual name

    def focal(p: Any, y: Any) -> Any:  # torchvision's sigmoid_focal_loss
        probability = torch.sigmoid(p)
        cross_entropy = F.binary_cross_entropy_with_logits(p, y, reduction="none")
        p_t = probability * y + (1 - probability) * (1 - y)
        return (cross_entropy * (1 - p_t) ** 2).mean()

    def log_cosh(p: Any, y: Any) -> Any:
        r = p - y
        return (r + F.softplus(-2 * r) - np.log(2).item()).mean()

    values: dict[str, Function] = {
        "squared_error": F.mse_loss,
        "absolute_error": F.l1_loss,
        "huber": F.huber_loss,
        "log_cosh": log_cosh,
        "logistic": F.binary_cross_entropy_with_logits,
        "focal": focal,
        "poisson": F.poisson_nll_loss,
        "gamma": lambda p, y: (p + y * torch.exp(-p)).mean(),
    }
    value = values[loss]
    torch.set_num_threads(threads)
    tensors = torch.from_numpy(y), torch.from_numpy(p)
    if method == "value":  # no tensor requires a gradient, so autograd records nothing
        return Entry(lambda y, p: value(p, y), *tensors, lambda mean: (mean.item(),))
    tensors[1].requires_grad_()

    def forward_and_backward(y: Any, p: Any) -> tuple[Any, Any]:
        mean = value(p, y)
        return mean, torch.autograd.grad(mean, p)[0]

    return Entry(forward_and_backward, *tensors, lambda result: (result[0].item(), result[1].numpy()))


# ---- JAX --------------------------------------------------------------------------------------------


def by_jax(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry:
    import jax
    import optax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    value: Function = {
        "squared_error": lambda y, p: optax.squared_error(p, y),
        "absolute_error": lambda y, p: jnp.abs(p - y),
        "huber": lambda y, p: optax.huber_loss(p, y, delta=1.0),
        "log_cosh": lambda y, p: optax.log_cosh(p, y),
        "logistic": lambda y, p: optax.sigmoid_binary_cross_entropy(p, y),
        "focal": lambda y, p: optax.sigmoid_focal_loss(p, y, gamma=2.0),
        "poisson": lambda y, p: jnp.exp(p) - y * p,
        "gamma": lambda y, p: p + y * jnp.exp(-p),
    }[loss]

    def mean(y: Any, p: Any) -> Any:
        return jnp.mean(value(y, p))

    compiled = jax.jit(mean if method == "value" else jax.value_and_grad(mean, argnums=1))
    return Entry(
        lambda y, p: jax.block_until_ready(compiled(y, p)),
        jnp.asarray(y),
        jnp.asarray(p),
        lambda result: (result,) if method == "value" else (result[0], np.asarray(result[1])),
    )


# ---- all of them ------------------------------------------------------------------------------------

LIBRARIES: dict[str, Callable[[str, str, Array, Array, int], Entry | None]] = {
    "fastloss": by_fastloss,
    "NumPy": by_numpy,
    "scikit-learn": by_sklearn,
    "PyTorch": by_torch,
    "JAX": by_jax,
}
MODULES = {"scikit-learn": ("sklearn",), "PyTorch": ("torch",), "JAX": ("jax", "optax")}
PACKAGES = {"scikit-learn": "scikit-learn", "PyTorch": "torch", "JAX": "jax optax"}


def installed() -> list[str]:
    return [name for name in LIBRARIES if all(find_spec(module) for module in MODULES.get(name, ()))]


def exp_and_log1p(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry:
    """The two functions that logistic consists of, and nothing else."""
    return Entry(lambda y, p: (np.exp(p), np.log1p(p)), y, np.abs(p), lambda result: ())  # nothing to check


def prepare(row: Row, y: Array, p: Array) -> dict[str, Entry]:
    """Return the installed contestants that have the loss."""
    libraries = {name: LIBRARIES[name] for name in installed()}
    if row.exp_and_log1p:
        libraries = {"fastloss": by_fastloss, "NumPy": exp_and_log1p}
    entries = {name: make(row.loss, row.method, y, p, row.threads) for name, make in libraries.items()}
    return {name: entry for name, entry in entries.items() if entry is not None}


def check(entries: dict[str, Entry], dtype: str) -> None:
    """Raise DisagreementError unless all results are fastloss's."""
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    results = {name: entry.unpack(entry.function(entry.y, entry.p)) for name, entry in entries.items()}
    for name, result in results.items():
        for what, ours, theirs in zip(("value", "gradient"), results["fastloss"], result, strict=False):
            # Summed, since at a kink each library chooses another subgradient.
            error = np.sum(np.abs(ours - theirs)) / np.sum(np.abs(ours))
            if not error <= tolerance:
                raise DisagreementError(f"{name}'s {what} differs from fastloss's by {error:.1e} (relative)")
