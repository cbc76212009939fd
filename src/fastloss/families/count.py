"""Losses for counts and positive values with a log link: ``s = y_pred`` is the logarithm of the mean.

Terms that depend on `y_true` alone are left out, so that these are not deviances: values may be negative,
gradients are those of the deviance halved.
"""

from __future__ import annotations

from fastloss._checks.parameters import finite, positive
from fastloss.registry import Constants, pointwise


@pointwise(takes="scores", labels="nonnegative", link="log")
def poisson() -> Constants:
    """Poisson loss with log link: ``exp(s) - y_true s`` with ``s = y_pred`` the log of the mean.

    `y_true` must be >= 0. Gradient ``exp(s) - y_true``, second derivative ``exp(s)``.

    References
    ----------
    McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models. Chapman & Hall.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.poisson([2.0], [0.0])
    1.0
    """
    return ()


@pointwise(takes="scores", labels="positive", link="log")
def gamma() -> Constants:
    """Gamma loss with log link: ``s + y_true exp(-s)`` with ``s = y_pred`` the log of the mean.

    `y_true` must be > 0. Gradient ``1 - y_true exp(-s)``, second derivative ``y_true exp(-s)``.

    References
    ----------
    McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models. Chapman & Hall.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.gamma([2.0], [0.0])
    2.0
    """
    return ()


@pointwise(
    takes="scores",
    labels=lambda params: (
        "real" if params["power"] <= 0 else "nonnegative" if params["power"] < 2 else "positive"
    ),
    link="log",
    convex=lambda params: 1 <= params["power"] <= 2,
)
def tweedie(*, power: float = 1.5) -> Constants:
    """Tweedie loss with log link: ``exp((2-q) s) / (2-q) - y_true exp((1-q) s) / (1-q)``, q the power.

    ``s = y_pred`` is the log of the mean; q = 1 and q = 2 are the limits, `poisson` and `gamma`. `y_true`
    may be any number for q <= 0, must be >= 0 for 1 <= q < 2 and > 0 for q >= 2. Gradient
    ``exp((2-q) s) - y_true exp((1-q) s)``; second derivative
    ``(2-q) exp((2-q) s) - (1-q) y_true exp((1-q) s)``.

    Parameters
    ----------
    power : float
        The variance is proportional to ``mean^power``. There is no such distribution for 0 < power < 1.

    References
    ----------
    Jørgensen, B. (1987). Exponential dispersion models. J. R. Stat. Soc. B 49, 127-162.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.tweedie([2.0], [0.0])
    6.0
    >>> fl.tweedie([2.0], [0.5], power=1.0) == fl.poisson([2.0], [0.5])
    True
    """
    q = finite(power=power)
    if 0 < q < 1:
        raise ValueError(f"power must be <= 0 or >= 1 (no Tweedie distribution lies between), got {power!r}")
    return (q,)


@pointwise(takes="scores", labels="nonnegative", link="log")
def negative_binomial(*, dispersion: float = 1.0) -> Constants:
    """Negative binomial loss with log link: ``(y_true + 1/k) log1p(k exp(s)) - y_true s``.

    ``s = y_pred`` is the log of the mean m, k the dispersion: the variance is ``m + k m^2``. `y_true` must
    be >= 0. Gradient ``(exp(s) - y_true) / (1 + k exp(s))``; second derivative
    ``exp(s) (1 + k y_true) / (1 + k exp(s))^2``.

    Parameters
    ----------
    dispersion : float
        How much the variance exceeds the Poisson distribution's; > 0.

    References
    ----------
    Cameron, A. C. and Trivedi, P. K. (1986). Econometric models based on count data. J. Appl. Econom. 1,
    29-53.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.negative_binomial([2.0], [0.0]), 6)
    2.079442
    """
    return (positive(dispersion=dispersion),)
