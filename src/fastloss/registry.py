"""The losses by name, and the decorators that enter one: `pointwise` and `rowwise`, which ``families`` uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec

from numpy.typing import ArrayLike

from fastloss._core import Loss, RowLoss
from fastloss._other_names import advice
from fastloss.traits import Declared

P = ParamSpec("P")
Constants = tuple[float, ...]

registered: dict[str, Loss[...]] = {}
NEEDS_PROBABILITIES = "takes probabilities, but a linear model has raw scores"
ROWS = {
    "takes": "scores",
    "labels": "class",
    "link": "softmax",
    "not_linear": "is a loss of rows; linear models take pointwise losses and softmax_cross_entropy",
}


def pointwise(**traits: Any) -> Callable[[Callable[P, Constants]], Loss[P]]:
    """Enter a pointwise loss with its traits, which `fastloss.traits.Traits` documents.

    The decorated function carries the name of the C function, the loss's parameters (keyword-only, with
    defaults) and its docstring. Its body checks the parameters and returns the constants that the C
    function reads as c.a, c.b, c.c and c.d. A trait that depends on the parameters is a function of their dict.
    """

    def enter(declaration: Callable[P, Constants]) -> Loss[P]:
        declaration.traits = Declared(**traits)  # type: ignore[attr-defined]
        loss = Loss(declaration)
        registered[loss.name] = loss
        return loss

    return enter


def rowwise(**traits: Any) -> Callable[[Callable[P, Constants]], RowLoss[P]]:
    """Enter a loss of rows, in the same way; ROWS are the defaults of its traits."""

    def enter(declaration: Callable[P, Constants]) -> RowLoss[P]:
        declaration.traits = Declared(**{**ROWS, **traits})  # type: ignore[attr-defined]
        loss = RowLoss(declaration)
        registered[loss.name] = loss
        return loss

    return enter


def losses() -> dict[str, tuple[str, ...]]:
    """Return the names of all losses, by family.

    Returns
    -------
    dict of str to tuple of str
        Names in the order of their modules.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.losses()["count"]
    ('poisson', 'gamma', 'tweedie', 'negative_binomial')
    """
    families: dict[str, tuple[str, ...]] = {}
    for loss in registered.values():
        families[loss.family] = (*families.get(loss.family, ()), loss.name)
    return families


def get(name: str, **params: ArrayLike | None) -> Loss[...]:
    """Return a loss by name.

    Parameters
    ----------
    name : str
        One of the names that `losses` lists.
    **params
        Parameters of the loss, as in `Loss.bind`.

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If there is no such loss, or a parameter is out of range.
    TypeError
        If the loss has no such parameter.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.get("huber", delta=2.0)
    fastloss.huber.bind(delta=2.0)
    """
    if not isinstance(name, str) or name not in registered:
        hint = advice(str(name), registered) or "fastloss.losses() lists the names"
        raise ValueError(f"there is no loss named {name!r}; {hint}")
    return registered[name].bind(**params) if params else registered[name]


def restore(name: str, params: dict[str, float | None]) -> Loss[...]:
    """Rebuild a loss from its pickle, which names this function: it must stay where it is."""
    loss = get(name)
    return loss if loss.params == params else loss.bind(**params)
