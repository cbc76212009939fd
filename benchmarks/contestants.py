"""The same loss in each library: what users of it would write, on the same arrays and as many threads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from expressions import HESSIANS, NUMPY, NUMPY_ROWS, Array, Function
from rows import Row

import fastloss as fl


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
    function = getattr(fl, loss)
    if loss == "linear_cross_entropy":
        return Entry(lambda y, p: function.value_and_grad(y, *p), y, p, tuple)
    if method == "value":
        return Entry(function, y, p, lambda value: (value,))
    return Entry(getattr(function, method), y, p, _parts(method))


def _parts(method: str) -> Callable[[Any], tuple[Any, ...]]:
    return (lambda grad: (grad,)) if method == "grad" else tuple


def overwriting(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry:
    """The same with out=, so that no time goes into getting memory from the system."""
    entry, out = by_fastloss(loss, method, y, p, threads), np.empty_like(p)
    return entry._replace(function=partial(entry.function, out=out))


# ---- NumPy ------------------------------------------------------------------------------------------


def by_numpy(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry | None:
    if (loss, method) in NUMPY_ROWS:
        return Entry(NUMPY_ROWS[loss, method], y, p, tuple)
    if loss not in NUMPY or (method == "grad_and_hess" and loss not in HESSIANS):
        return None
    value, grad = NUMPY[loss]
    if method == "grad_and_hess":
        return Entry(lambda y, p: (grad(y, p) / p.size, HESSIANS[loss](y, p) / p.size), y, p, tuple)
    if method == "grad":
        return Entry(lambda y, p: grad(y, p) / p.size, y, p, _parts(method))
    if method == "value":
        return Entry(lambda y, p: np.mean(value(y, p)), y, p, lambda mean: (mean,))
    return Entry(lambda y, p: (np.mean(value(y, p)), grad(y, p) / p.size), y, p, tuple)


# ---- scikit-learn -----------------------------------------------------------------------------------


def by_sklearn(loss: str, method: str, y: Array, p: Array, threads: int) -> Entry | None:
    from sklearn import metrics
    from sklearn._loss import loss as losses

    metric = {
        "squared_error": metrics.mean_squared_error,
        "absolute_error": metrics.mean_absolute_error,
        "binary_cross_entropy": metrics.log_loss,
        "cross_entropy": metrics.log_loss,
        "squared_log_error": metrics.mean_squared_log_error,
        "absolute_percentage_error": metrics.mean_absolute_percentage_error,
        "brier": metrics.brier_score_loss,
        "hinge": metrics.hinge_loss,
    }
    if method == "value" and loss in metric:
        return Entry(metric[loss], y, p, lambda value: (value,))
    make, scale = {
        "squared_error": (losses.HalfSquaredError, 2),
        "half_squared_error": (losses.HalfSquaredError, 1),
        "absolute_error": (losses.AbsoluteError, 1),
        "huber": (lambda: losses.HuberLoss(delta=1.0), 1),
        "pinball": (lambda: losses.PinballLoss(quantile=0.5), 1),
        "logistic": (losses.HalfBinomialLoss, 1),
        "exponential": (losses.ExponentialLoss, 1),
        "poisson": (losses.HalfPoissonLoss, 1),
        "gamma": (losses.HalfGammaLoss, 1),
        "tweedie": (lambda: losses.HalfTweedieLoss(power=1.5), 1),
        "softmax_cross_entropy": (lambda: losses.HalfMultinomialLoss(n_classes=p.shape[1]), 1),
    }.get(loss, (None, 1))
    if make is None:
        return None
    methods = {"value": "loss", "grad": "gradient", "value_and_grad": "loss_gradient"}
    function = getattr(make(), methods.get(method, "gradient_hessian"))

    # It returns the losses of the elements. Their mean is not timed, in favour of scikit-learn.
    def unpack(result: Any) -> tuple[Any, ...]:
        if method == "value":
            return (scale * result.mean(),)
        if method == "grad":
            return (scale * result / y.size,)
        if method == "grad_and_hess":
            return tuple(scale * part / y.size for part in result)
        return scale * result[0].mean(), scale * result[1] / y.size

    # scikit-learn takes classes as floats, too.
    return Entry(partial(function, n_threads=threads), y.astype(p.dtype, copy=False), p, unpack)


# ---- PyTorch ----------------------------------------------------------------------------------------


@cache
def torch_losses() -> dict[str, Function]:
    """Functions of predictions and labels that return the mean."""
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
        "smooth_l1": F.smooth_l1_loss,
        "log_cosh": log_cosh,
        "logistic": F.binary_cross_entropy_with_logits,
        "focal": focal,
        "poisson": F.poisson_nll_loss,
        "gamma": lambda p, y: (p + y * torch.exp(-p)).mean(),
        "binary_cross_entropy": F.binary_cross_entropy,
        "cross_entropy": lambda p, y: F.nll_loss(torch.log(p), y),
        "softmax_cross_entropy": F.cross_entropy,
        "multi_margin": F.multi_margin_loss,
        "kl_divergence": lambda p, y: F.kl_div(torch.log(p), y, reduction="batchmean"),
        "tv_distance": lambda p, y: (p - y).abs().sum() / (2 * len(y)),
        "linear_cross_entropy": lambda layer, y: F.cross_entropy(F.linear(*layer), y),
    }
    if hasattr(F, "linear_cross_entropy"):  # computed in chunks, which is not the default
        by_parts = {"options": torch.nn.LinearCrossEntropyOptions()}
        values["F.linear_cross_entropy"] = lambda layer, y: F.linear_cross_entropy(*layer, y, **by_parts)
    return values


def by_torch(loss: str, method: str, y: Array, p: Any, threads: int) -> Entry | None:
    value = torch_losses().get(loss)
    if value is None or method == "grad_and_hess":
        return None
    return torch_entry(value, method, y, p, threads)


def torch_entry(value: Function, method: str, y: Array, p: Any, threads: int) -> Entry:
    """Return a mean of predictions and labels as a contestant, which autograd differentiates."""
    import torch

    torch.set_num_threads(threads)
    labels = torch.from_numpy(y)
    inputs = tuple(map(torch.from_numpy, p)) if isinstance(p, tuple) else torch.from_numpy(p)
    if method == "value":  # no tensor requires a gradient, so autograd records nothing
        return Entry(lambda y, p: value(p, y), labels, inputs, lambda mean: (mean.item(),))
    for tensor in inputs if isinstance(p, tuple) else (inputs,):
        tensor.requires_grad_()

    def forward_and_backward(y: Any, p: Any) -> tuple[Any, ...]:
        mean = value(p, y)
        return mean, *torch.autograd.grad(mean, p)

    def unpack(result: tuple[Any, ...]) -> tuple[Any, ...]:
        if method == "grad":
            return (result[1].numpy(),)
        return result[0].item(), *(grad.numpy() for grad in result[1:])

    return Entry(forward_and_backward, labels, inputs, unpack)


def fused_by_torch(loss: str, method: str, y: Array, p: Any, threads: int) -> Entry | None:
    return by_torch("F.linear_cross_entropy", method, y, p, threads)


# ---- JAX --------------------------------------------------------------------------------------------


def by_jax(loss: str, method: str, y: Array, p: Any, threads: int) -> Entry | None:
    import jax
    import optax
    from jax import numpy as jnp

    if method not in ("value", "value_and_grad"):
        return None
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    jax.config.update("jax_enable_x64", True)
    values: dict[str, Function] = {
        "squared_error": lambda y, p: optax.squared_error(p, y),
        "absolute_error": lambda y, p: jnp.abs(p - y),
        "huber": lambda y, p: optax.huber_loss(p, y, delta=1.0),
        "log_cosh": lambda y, p: optax.log_cosh(p, y),
        "logistic": lambda y, p: optax.sigmoid_binary_cross_entropy(p, y),
        "focal": lambda y, p: optax.sigmoid_focal_loss(p, y, gamma=2.0),
        "poisson": lambda y, p: jnp.exp(p) - y * p,
        "gamma": lambda y, p: p + y * jnp.exp(-p),
        "binary_cross_entropy": lambda y, p: -(y * jnp.log(p) + (1 - y) * jnp.log1p(-p)),
        "cross_entropy": lambda y, p: -jnp.log(p[jnp.arange(y.size), y]),
        "softmax_cross_entropy": lambda y, p: cross_entropy(p, y),
        "linear_cross_entropy": lambda y, layer: cross_entropy(layer[0] @ layer[1].T, y),
    }
    if loss not in values:
        return None

    def mean(y: Any, p: Any) -> Any:
        return jnp.mean(values[loss](y, p))

    compiled = jax.jit(mean if method == "value" else jax.value_and_grad(mean, argnums=1))
    return Entry(
        lambda y, p: jax.block_until_ready(compiled(y, p)),
        jnp.asarray(y),
        jax.tree.map(jnp.asarray, p),
        lambda result: tuple(map(np.asarray, jax.tree.leaves(result))),
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


AGAINST = {"exp + log1p": ("NumPy", exp_and_log1p), "F.linear_cross_entropy": ("PyTorch", fused_by_torch)}


def prepare(row: Row, y: Array, p: Any, names: Collection[str] = tuple(LIBRARIES)) -> dict[str, Entry]:
    """Return the installed contestants of these names that have the loss."""
    libraries = LIBRARIES
    if row.against:
        name, make = AGAINST[row.against]
        libraries = {"fastloss": by_fastloss, name: make}
    if row.out:
        libraries = {**libraries, "fastloss": overwriting}
    entries = {
        name: make(row.loss, row.method, y, p, row.threads)
        for name, make in libraries.items()
        if name in names and name in installed()
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def check(entries: dict[str, Entry], dtype: str) -> None:
    """Raise DisagreementError unless all results are fastloss's."""
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    results = {name: entry.unpack(entry.function(entry.y, entry.p)) for name, entry in entries.items()}
    for name, result in results.items():
        for i, (ours, theirs) in enumerate(zip(results["fastloss"], result, strict=name != "NumPy")):
            # Errors are summed, since each library may choose another subgradient at a kink.
            error = np.sum(np.abs(ours - theirs)) / np.sum(np.abs(ours))
            if not error <= tolerance:
                raise DisagreementError(
                    f"{name}'s result {i} differs from fastloss's by {error:.1e} (relative)"
                )
