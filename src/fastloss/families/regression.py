"""Regression losses. ``r = y_pred - y_true`` throughout."""

from __future__ import annotations

import math

import numpy as np

from fastloss._checks.parameters import fraction, nonnegative, positive, real
from fastloss.registry import Constants, pointwise


@pointwise()
def squared_error() -> Constants:
    """Squared error: ``r^2``.

    The mean is the mean squared error (MSE), the sum the sum of squared errors (SSE). Gradient ``2 r``,
    second derivative 2.

    See Also
    --------
    fastloss.half_squared_error : with the factor 1/2.

    References
    ----------
    Gauss, C. F. (1809). Theoria motus corporum coelestium.

    Examples
    --------
    >>> import fastloss as fl
    >>> y_true, y_pred = [3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]
    >>> fl.squared_error(y_true, y_pred)
    0.375
    >>> fl.squared_error(y_true, y_pred, reduction="sum")
    1.5
    >>> fl.squared_error.grad(y_true, y_pred, reduction="sum")
    array([-1.,  1.,  0.,  2.])
    """
    return ()


@pointwise()
def half_squared_error() -> Constants:
    """Half the squared error: ``r^2 / 2``.

    Gradient ``r``, second derivative 1: the negative log-likelihood of a normal distribution of variance
    1, up to a constant.

    References
    ----------
    Gauss, C. F. (1809). Theoria motus corporum coelestium.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.half_squared_error([0.0, 0.0], [1.0, 3.0])
    2.5
    """
    return ()


@pointwise(smooth=False, smooth_relative="pseudo_huber")
def absolute_error() -> Constants:
    """Absolute error: ``|r|``. Its minimum over a constant is the median.

    Gradient ``sign(r)``, and 0 at the kink ``r = 0``; second derivative 0.

    References
    ----------
    Laplace, P.-S. (1818). Deuxième supplément à la théorie analytique des probabilités.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.absolute_error([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0])
    0.5
    """
    return ()


@pointwise(hessian="majorize")
def huber(*, delta: float = 1.0) -> Constants:
    """Huber loss: ``r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``.

    Gradient ``clip(r, -delta, delta)``; second derivative 1 where ``|r| <= delta``, else 0.

    Parameters
    ----------
    delta : float
        Where the parabola turns into its tangent; > 0, in the units of `y_true`.

    References
    ----------
    Huber, P. J. (1964). Robust estimation of a location parameter. Ann. Math. Statist. 35, 73-101.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.huber([0.0, 0.0], [0.5, 3.0], reduction="none")
    array([0.125, 2.5  ])
    >>> fl.huber.grad([0.0, 0.0], [0.5, 3.0], delta=2.0, reduction="none")
    array([0.5, 2. ])
    """
    return (positive(delta=delta),)


@pointwise(
    smooth=lambda params: params["beta"] > 0,
    smooth_relative=lambda params: None if params["beta"] > 0 else "pseudo_huber",
    hessian=lambda params: "majorize" if params["beta"] > 0 else "unit",
)
def smooth_l1(*, beta: float = 1.0) -> Constants:
    """Smooth L1 loss: the Huber loss of ``delta = beta``, divided by `beta`.

    ``r^2 / (2 beta)`` where ``|r| <= beta``, else ``|r| - beta / 2``. Gradient ``clip(r / beta, -1, 1)``;
    second derivative ``1 / beta`` inside, 0 outside.

    Parameters
    ----------
    beta : float
        Where the parabola turns into its tangent; >= 0. With 0 it is the absolute error.

    References
    ----------
    Girshick, R. (2015). Fast R-CNN. ICCV.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.smooth_l1([0.0, 0.0], [1.0, 3.0], beta=2.0, reduction="none")
    array([0.25, 2.  ])
    """
    return (nonnegative(beta=beta),)


@pointwise(hessian="majorize")
def pseudo_huber(*, delta: float = 1.0) -> Constants:
    """Pseudo-Huber loss: ``delta^2 (sqrt(1 + (r / delta)^2) - 1)``, smooth everywhere.

    Gradient ``r / sqrt(1 + (r / delta)^2)``; second derivative ``(1 + (r / delta)^2)^(-3/2)``.

    Parameters
    ----------
    delta : float
        The slope of the tails, and where they begin; > 0.

    References
    ----------
    Charbonnier, P. et al. (1997). Deterministic edge-preserving regularization in computed imaging.
    IEEE Trans. Image Process. 6, 298-311.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.pseudo_huber([0.0], [0.75])
    0.25
    """
    return (positive(delta=delta),)


@pointwise(hessian="majorize")
def log_cosh() -> Constants:
    """Logarithm of the hyperbolic cosine: ``log(cosh(r))``.

    Near ``r^2 / 2`` for small errors and ``|r| - log(2)`` for large ones. Gradient ``tanh(r)``, second
    derivative ``1 - tanh(r)^2``.

    References
    ----------
    Green, P. J. (1990). Bayesian reconstructions from emission tomography data using a modified EM
    algorithm. IEEE Trans. Med. Imaging 9, 84-93.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.log_cosh([0.0], [1.0]), 6)
    0.433781
    """
    return ()


@pointwise(smooth=False, smooth_relative="expectile")
def pinball(*, quantile: float = 0.5) -> Constants:
    """Pinball (quantile) loss: ``max(q u, (q - 1) u)`` with ``u = y_true - y_pred`` and q the quantile.

    Gradient ``-q`` where ``u > 0``, ``1 - q`` where ``u < 0``, and 0 at ``u = 0``; second derivative 0.

    Parameters
    ----------
    quantile : float
        The quantile that the minimum estimates; strictly between 0 and 1.

    References
    ----------
    Koenker, R. and Bassett, G. (1978). Regression quantiles. Econometrica 46, 33-50.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.pinball([10.0, 10.0], [8.0, 14.0], quantile=0.75, reduction="none")
    array([1.5, 1. ])
    """
    q = fraction(quantile=quantile)
    return q, 1 - q


@pointwise()
def expectile(*, level: float = 0.5) -> Constants:
    """Expectile loss: ``w r^2 / 2`` with ``w = level`` where ``y_true >= y_pred``, else ``1 - level``.

    Gradient ``w r``, second derivative ``w``.

    Parameters
    ----------
    level : float
        The weight of targets above the prediction; strictly between 0 and 1.

    References
    ----------
    Newey, W. K. and Powell, J. L. (1987). Asymmetric least squares estimation and testing. Econometrica
    55, 819-847.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.expectile([10.0, 10.0], [8.0, 14.0], level=0.75, reduction="none")
    array([1.5, 2. ])
    """
    t = fraction(level=level)
    return t, 1 - t


@pointwise(smooth=False, smooth_relative="squared_epsilon_insensitive")
def epsilon_insensitive(*, epsilon: float = 0.1) -> Constants:
    """Epsilon-insensitive loss: ``max(|r| - epsilon, 0)``.

    Gradient ``sign(r)`` outside of the tube, 0 inside and on its edge; second derivative 0.

    Parameters
    ----------
    epsilon : float
        Half the width of the tube in which errors cost nothing; >= 0.

    References
    ----------
    Vapnik, V. (1995). The Nature of Statistical Learning Theory. Springer.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.epsilon_insensitive([0.0, 0.0], [0.25, 2.0], epsilon=0.5, reduction="none")
    array([0. , 1.5])
    """
    return (nonnegative(epsilon=epsilon),)


@pointwise(hessian=lambda params: "majorize" if params["epsilon"] > 0 else "exact")
def squared_epsilon_insensitive(*, epsilon: float = 0.1) -> Constants:
    """Squared epsilon-insensitive loss: ``max(|r| - epsilon, 0)^2``.

    Gradient ``2 sign(r) max(|r| - epsilon, 0)``; second derivative 2 outside of the tube and on its edge,
    else 0.

    Parameters
    ----------
    epsilon : float
        Half the width of the tube in which errors cost nothing; >= 0.

    References
    ----------
    Vapnik, V. (1995). The Nature of Statistical Learning Theory. Springer.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.squared_epsilon_insensitive([0.0, 0.0], [0.25, 2.0], epsilon=0.5, reduction="none")
    array([0.  , 2.25])
    """
    return (nonnegative(epsilon=epsilon),)


@pointwise(labels="above_minus_one", convex=False)
def squared_log_error() -> Constants:
    """Squared logarithmic error: ``d^2`` with ``d = log1p(y_pred) - log1p(y_true)``.

    `y_true` and `y_pred` must be > -1. Gradient ``2 d / (1 + y_pred)``, second derivative
    ``2 (1 - d) / (1 + y_pred)^2``.

    References
    ----------
    Tofallis, C. (2015). A better measure of relative prediction accuracy. J. Oper. Res. Soc. 66,
    1352-1362.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.squared_log_error([3.0, 5.0, 2.5, 7.0], [2.5, 5.0, 4.0, 8.0]), 6)
    0.03973
    """
    return ()


@pointwise(smooth=False, smooth_relative="pseudo_huber")
def absolute_percentage_error(*, epsilon: float | None = None) -> Constants:
    """Absolute error relative to the target: ``|r| / max(|y_true|, epsilon)``; a fraction, not percent.

    Gradient ``sign(r) / max(|y_true|, epsilon)``, second derivative 0.

    Parameters
    ----------
    epsilon : float, optional
        The least denominator; > 0. The machine epsilon of float64 by default, as in scikit-learn.

    References
    ----------
    Makridakis, S. (1993). Accuracy measures: theoretical and practical concerns. Int. J. Forecast. 9,
    527-529.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.absolute_percentage_error([2.0, 4.0], [3.0, 3.0])
    0.375
    """
    return (positive(epsilon=np.finfo(np.float64).eps if epsilon is None else epsilon),)


@pointwise(hessian="majorize")
def fair(*, c: float = 1.0) -> Constants:
    """Fair loss: ``c^2 (x - log1p(x))`` with ``x = |r| / c``.

    Gradient ``r / (1 + x)``, second derivative ``1 / (1 + x)^2``.

    Parameters
    ----------
    c : float
        The scale at which the loss turns from quadratic to linear; > 0.

    References
    ----------
    Fair, R. C. (1974). On the robust estimation of econometric models. Ann. Econ. Soc. Meas. 3, 667-677.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.fair([0.0], [1.0]), 6)
    0.306853
    """
    return (positive(c=c),)


@pointwise(convex=False)
def cauchy(*, c: float = 1.0) -> Constants:
    """Cauchy (Lorentzian) loss: ``c^2 / 2 log1p((r / c)^2)``. Not convex.

    Gradient ``r / (1 + x^2)`` with ``x = r / c``, second derivative ``(1 - x^2) / (1 + x^2)^2``.

    Parameters
    ----------
    c : float
        The scale of the errors taken for good; > 0.

    References
    ----------
    Black, M. J. and Anandan, P. (1996). The robust estimation of multiple motions. Comput. Vis. Image
    Underst. 63, 75-104.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.cauchy([0.0], [1.0]), 6)
    0.346574
    """
    return (positive(c=c),)


@pointwise(convex=False)
def welsch(*, c: float = 1.0) -> Constants:
    """Welsch (Leclerc) loss: ``c^2 / 2 (1 - exp(-(r / c)^2))``. Not convex, bounded by ``c^2 / 2``.

    Gradient ``r exp(-x^2)`` with ``x = r / c``, second derivative ``(1 - 2 x^2) exp(-x^2)``.

    Parameters
    ----------
    c : float
        The scale of the errors taken for good; > 0.

    References
    ----------
    Dennis, J. E. and Welsch, R. E. (1978). Techniques for nonlinear least squares and robust regression.
    Commun. Stat. Simul. Comput. 7, 345-359.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.welsch([0.0], [1.0]), 6)
    0.31606
    """
    return (positive(c=c),)


@pointwise(convex=False)
def geman_mcclure(*, c: float = 1.0) -> Constants:
    """Geman-McClure loss: ``r^2 / 2 / (1 + (r / c)^2)``. Not convex, bounded by ``c^2 / 2``.

    Gradient ``r / (1 + x^2)^2`` with ``x = r / c``, second derivative ``(1 - 3 x^2) / (1 + x^2)^3``.

    Parameters
    ----------
    c : float
        The scale of the errors taken for good; > 0.

    References
    ----------
    Geman, S. and McClure, D. E. (1987). Statistical methods for tomographic image reconstruction. Bull.
    Int. Stat. Inst. 52, 5-21.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.geman_mcclure([0.0], [1.0])
    0.25
    """
    return (positive(c=c),)


@pointwise(convex=False)
def tukey_biweight(*, c: float = 4.685) -> Constants:
    """Tukey's biweight: ``c^2 / 6 (1 - (1 - (r / c)^2)^3)`` within ``|r| <= c``, else ``c^2 / 6``.

    Not convex; errors beyond `c` have no influence at all. Gradient ``r (1 - x^2)^2`` with ``x = r / c``,
    second derivative ``(1 - x^2) (1 - 5 x^2)``, both 0 outside.

    Parameters
    ----------
    c : float
        The error beyond which the loss is flat; > 0. 4.685 standard deviations give 95 % of the
        efficiency of least squares on normal errors.

    References
    ----------
    Beaton, A. E. and Tukey, J. W. (1974). The fitting of power series, meaning polynomials, illustrated
    on band-spectroscopic data. Technometrics 16, 147-185.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.tukey_biweight([0.0, 0.0], [3.0, 100.0], c=3.0, reduction="none")
    array([1.5, 1.5])
    """
    return (positive(c=c),)


@pointwise(
    convex=lambda params: params["alpha"] >= 1,
    hessian=lambda params: "exact" if params["alpha"] >= 2 else "majorize",
)
def barron(*, alpha: float = 1.0, c: float = 1.0) -> Constants:
    """Barron's general robust loss: ``b / alpha ((x^2 / b + 1)^(alpha / 2) - 1)``.

    Here ``x = r / c`` and ``b = |alpha - 2|``. One family holds, at alpha = 2, 1, 0, -2 and -inf, the
    squared, the pseudo-Huber, the Cauchy, the Geman-McClure and the Welsch loss (up to scale); 2, 0 and
    -inf are limits. Gradient ``r / c^2 (x^2 / b + 1)^(alpha / 2 - 1)``.

    Parameters
    ----------
    alpha : float
        The shape: a real number, or -inf. Convex for alpha >= 1.
    c : float
        The scale of the quadratic bowl; > 0.

    References
    ----------
    Barron, J. T. (2019). A general and adaptive robust loss function. CVPR.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.barron([0.0], [3.0], alpha=2.0)
    4.5
    >>> round(fl.barron([0.0], [3.0], alpha=float("-inf")), 6)
    0.988891
    """
    a = real(alpha=alpha)
    if a == math.inf:
        raise ValueError("alpha must be a real number or -inf, got inf")
    if abs(a) < 1e-30:
        a = 0.0  # b / alpha would overflow in float32, and the limit differs by less than any rounding
    b = abs(a - 2)
    return a, b, positive(c=c), math.log(b) if b else -math.inf
