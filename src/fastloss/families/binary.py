"""Losses for two classes. ``s = y_pred`` is a raw score (logit), but in `binary_cross_entropy` and `brier`.

Margin losses take ``m = s`` for positive labels and ``m = -s`` for the others; {0, 1} and {-1, +1} both work.
"""

from __future__ import annotations

import math

from fastloss._checks.parameters import finite, nonnegative
from fastloss.registry import NEEDS_PROBABILITIES, Constants, pointwise


@pointwise(
    takes="scores",
    labels="probability",
    link="logit",
    log_odds=1.0,
    several_classes=lambda params: "softmax_cross_entropy" if params["pos_weight"] == 1 else None,
)
def logistic(*, pos_weight: float = 1.0) -> Constants:
    """Logistic loss (binary cross-entropy on logits): ``(1-y) softplus(s) + w y softplus(-s)``.

    ``y = y_true`` in [0, 1] may be soft, ``s = y_pred`` is a raw score. Gradient
    ``(1-y) sigmoid(s) - w y sigmoid(-s)``; second derivative ``((1-y) + w y) sigmoid(s) sigmoid(-s)``.
    Relatively exact in both tails.

    Parameters
    ----------
    pos_weight : float
        The weight w of the positive class; >= 0.

    See Also
    --------
    fastloss.binary_cross_entropy : the same on probabilities.

    References
    ----------
    Cox, D. R. (1958). The regression analysis of binary sequences. J. R. Stat. Soc. B 20, 215-242.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.logistic([0, 1], [0.0, 0.0]), 6)
    0.693147
    >>> fl.logistic.grad([0, 1], [0.0, 0.0], reduction="none")
    array([ 0.5, -0.5])
    """
    return (nonnegative(pos_weight=pos_weight),)


@pointwise(takes="probabilities", labels="probability", of_scores="logistic", not_linear=NEEDS_PROBABILITIES)
def binary_cross_entropy(*, base: float | None = None) -> Constants:
    """Binary cross-entropy on probabilities: ``-y log(p) - (1-y) log(1-p)``, with ``0 log 0 = 0``.

    ``y = y_true`` and ``p = y_pred`` in [0, 1]; nothing is clipped, so a sure and wrong p costs inf.
    Gradient ``(p - y) / (p (1-p))``; second derivative ``y / p^2 + (1-y) / (1-p)^2``. With a base b all
    three carry ``1 / ln(b)``.

    Parameters
    ----------
    base : float, optional
        Of the logarithm: > 0 and not 1; 2 gives bits. The natural logarithm by default.

    See Also
    --------
    fastloss.logistic : the same on raw scores, and exact where p would round to 0 or 1.

    References
    ----------
    Good, I. J. (1952). Rational decisions. J. R. Stat. Soc. B 14, 107-114.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.binary_cross_entropy([0, 0, 1], [0.1, 0.2, 0.7]), 6)
    0.228393
    """
    if base is None:
        return (1.0,)
    number = finite(base=base)
    if number <= 0 or number == 1:
        raise ValueError(f"base must be > 0 and not 1, got {base!r}")
    return (1 / math.log(number),)


@pointwise(takes="scores", labels="binary", link=None, smooth=False, smooth_relative="squared_hinge")
def hinge() -> Constants:
    """Hinge loss: ``max(1 - m, 0)`` with the margin ``m = ±y_pred``.

    Gradient ``-1`` by the margin where ``m < 1``, else 0 (also at the kink); second derivative 0.

    References
    ----------
    Cortes, C. and Vapnik, V. (1995). Support-vector networks. Mach. Learn. 20, 273-297.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.hinge([-1, 1, 1], [-2.0, 0.5, -1.0], reduction="none")
    array([0. , 0.5, 2. ])
    """
    return ()


@pointwise(takes="scores", labels="binary", link=None, hessian="majorize")
def squared_hinge() -> Constants:
    """Squared hinge loss: ``max(1 - m, 0)^2`` with the margin ``m = ±y_pred``.

    Gradient ``-2 max(1 - m, 0)`` by the margin; second derivative 2 where ``m < 1``, else 0.

    References
    ----------
    Lee, Y.-J. and Mangasarian, O. L. (2001). SSVM: a smooth support vector machine. Comput. Optim. Appl.
    20, 5-22.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.squared_hinge([-1, 1, 1], [-2.0, 0.5, -1.0], reduction="none")
    array([0.  , 0.25, 4.  ])
    """
    return ()


@pointwise(takes="scores", labels="binary", link=None, hessian="majorize")
def modified_huber() -> Constants:
    """Modified Huber loss: ``max(1 - m, 0)^2`` where ``m >= -1``, else ``-4 m``; margin ``m = ±y_pred``.

    Gradient by the margin ``-2 max(1 - m, 0)``, and -4 where ``m < -1``; second derivative 2 where
    ``-1 <= m < 1``, else 0.

    References
    ----------
    Zhang, T. (2004). Solving large scale linear prediction problems using stochastic gradient descent
    algorithms. ICML.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.modified_huber([-1, 1, 1], [-2.0, 0.5, -3.0], reduction="none")
    array([ 0.  ,  0.25, 12.  ])
    """
    return ()


@pointwise(
    takes="scores",
    labels="binary",
    link=None,
    smooth=False,
    smooth_relative="squared_hinge",
    not_linear="is 0 with coefficients 0, and never lower",
)
def perceptron() -> Constants:
    """Perceptron loss: ``max(-m, 0)`` with the margin ``m = ±y_pred``.

    Gradient ``-1`` by the margin where ``m < 0``, else 0 (also at the kink); second derivative 0.

    References
    ----------
    Rosenblatt, F. (1958). The perceptron. Psychol. Rev. 65, 386-408.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.perceptron([0, 1, 1], [-2.0, 0.5, -3.0], reduction="none")
    array([0., 0., 3.])
    """
    return ()


@pointwise(takes="scores", labels="probability", link="logit", log_odds=2.0)
def exponential() -> Constants:
    """Exponential loss: ``y exp(-s) + (1-y) exp(s)``, AdaBoost's.

    ``y = y_true`` in [0, 1] may be soft, ``s = y_pred`` is a raw score. Gradient
    ``-y exp(-s) + (1-y) exp(s)``; the second derivative is the value.

    References
    ----------
    Friedman, J., Hastie, T. and Tibshirani, R. (2000). Additive logistic regression. Ann. Stat. 28,
    337-407.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.exponential([0, 1], [0.0, 0.0])
    1.0
    """
    return ()


@pointwise(takes="scores", labels="binary", link="logit", convex=lambda params: params["gamma"] == 0)
def focal(*, gamma: float = 2.0, alpha: float | None = None) -> Constants:
    """Focal loss on logits: ``(1 - sigmoid(m))^gamma softplus(-m)`` with the margin ``m = ±y_pred``.

    Elements that are already right cost less than in `logistic`, which is gamma = 0, to the bit. With p =
    sigmoid(m) and q = sigmoid(-m) the gradient by the margin is ``-q^gamma (gamma p softplus(-m) + q)``,
    the second derivative ``q^gamma p (gamma softplus(-m) (gamma p - q) + (2 gamma + 1) q)``.

    Parameters
    ----------
    gamma : float
        How much easy elements are discounted; >= 0.
    alpha : float, optional
        Weight of the positive class in [0, 1]; the negative class has ``1 - alpha``. Both 1 by default.

    References
    ----------
    Lin, T.-Y. et al. (2017). Focal loss for dense object detection. ICCV.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.focal([0, 1], [0.0, 0.0]), 6)
    0.173287
    >>> fl.focal([0, 1], [-0.3, 2.0], gamma=0) == fl.logistic([0, 1], [-0.3, 2.0])
    True
    """
    g = nonnegative(gamma=gamma)
    if alpha is None:
        return g, 1.0, 1.0
    a = finite(alpha=alpha)
    if not 0 <= a <= 1:
        raise ValueError(f"alpha must lie in [0, 1], or be None for no weights, got {alpha!r}")
    return g, a, 1 - a


@pointwise(takes="probabilities", labels="probability", of_scores="logistic", not_linear=NEEDS_PROBABILITIES)
def brier() -> Constants:
    """Brier score: ``(y_true - y_pred)^2`` on probabilities in [0, 1].

    Gradient ``2 (y_pred - y_true)``, second derivative 2.

    References
    ----------
    Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. Mon. Weather Rev. 78,
    1-3.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.brier([0, 1], [0.5, 0.75], reduction="none")
    array([0.25  , 0.0625])
    """
    return ()
