"""Losses for many classes: rows of numbers along an axis.

``s = y_pred`` are raw scores (logits) and p their softmax, p_t that of the true class; but in `cross_entropy`,
`kl_divergence`, `js_divergence` and `tv_distance` ``p = y_pred`` are probabilities.
"""

from __future__ import annotations

import math

from fastloss._checks.parameters import finite, nonnegative, positive
from fastloss.registry import NEEDS_PROBABILITIES, Constants, rowwise


@rowwise(log_odds=1.0, convex=lambda params: params["z_loss"] == 0, not_linear=None)
def softmax_cross_entropy(*, label_smoothing: float = 0.0, z_loss: float = 0.0) -> Constants:
    """Softmax cross-entropy on raw scores: ``-log p_t = log(sum_k exp(s_k)) - s_t``.

    ``y_true`` are class indices, or rows of probabilities of the shape of ``y_pred``: then ``-sum_k y_k log
    p_k``. Gradient ``p - y``, diagonal of the second derivative ``p (1 - p)``, both exact where p is close to
    0 or 1.

    Parameters
    ----------
    label_smoothing : float
        The share e of every label that is spread evenly: ``(1-e) y + e/K``; in [0, 1].
    z_loss : float
        The weight of ``log(sum_k exp(s_k))^2``, which keeps scores from drifting; >= 0.

    References
    ----------
    Bridle, J. S. (1990). Probabilistic interpretation of feedforward classification network outputs.
    Neurocomputing, 227-236. Label smoothing: Szegedy, C. et al. (2016), CVPR.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.softmax_cross_entropy([2, 0], [[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), 6)
    0.54943
    """
    e = finite(label_smoothing=label_smoothing)
    if not 0 <= e <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing!r}")
    return e, nonnegative(z_loss=z_loss)


@rowwise(convex=lambda params: params["gamma"] == 0)
def softmax_focal(*, gamma: float = 2.0) -> Constants:
    """Focal loss of rows of scores: ``-(1 - p_t)^gamma log p_t``.

    Parameters
    ----------
    gamma : float
        How much rows that are already right are discounted; >= 0. 0 is softmax_cross_entropy.

    References
    ----------
    Lin, T.-Y. et al. (2017). Focal loss for dense object detection. ICCV.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.softmax_focal([2], [[0.0, 0.0, 0.0]]), 6)
    0.488272
    """
    return (nonnegative(gamma=gamma),)


@rowwise(convex=lambda params: abs(params["epsilon"]) <= 1)
def poly1(*, epsilon: float = 1.0) -> Constants:
    """Poly-1 loss: ``-log p_t + epsilon (1 - p_t)``.

    Parameters
    ----------
    epsilon : float
        The weight of the first term of the cross-entropy's series.

    References
    ----------
    Leng, Z. et al. (2022). PolyLoss: a polynomial expansion perspective of classification loss functions. ICLR.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.poly1([2], [[0.0, 0.0, 0.0]]), 6)
    1.765279
    """
    return (finite(epsilon=epsilon),)


@rowwise(convex=lambda params: params["q"] == 0)
def generalized_cross_entropy(*, q: float = 0.7) -> Constants:
    """Generalized cross-entropy: ``(1 - p_t^q) / q``, less moved by wrong labels than the cross-entropy.

    Parameters
    ----------
    q : float
        From 0, the cross-entropy, to 1, half of the absolute error of the probabilities.

    References
    ----------
    Zhang, Z. and Sabuncu, M. R. (2018). Generalized cross entropy loss for training deep neural networks with
    noisy labels. NeurIPS.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.generalized_cross_entropy([2], [[0.0, 0.0, 0.0]], q=1.0), 6)
    0.666667
    """
    exponent = finite(q=q)
    if not 0 <= exponent <= 1:
        raise ValueError(f"q must lie in [0, 1], got {q!r}")
    return (exponent,)


@rowwise(convex=False)
def expectation_l1() -> Constants:
    """Absolute error of the softmax: ``sum_k |p_k - y_k| = 2 (1 - p_t)``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.expectation_l1([1], [[0.0, 0.0]])
    1.0
    """
    return ()


@rowwise(convex=False)
def chebyshev() -> Constants:
    """Largest error of the softmax: ``max_k |p_k - y_k| = 1 - p_t``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.chebyshev([1], [[0.0, 0.0]])
    0.5
    """
    return ()


@rowwise()
def squared_log() -> Constants:
    """Squared log loss: ``(log p_t)^2``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.squared_log([1], [[0.0, 0.0]]), 6)
    0.480453
    """
    return ()


@rowwise(log_odds=1.0, convex=False)
def expectation_l2() -> Constants:
    """Squared error of the softmax: ``V = sum_k (p_k - y_k)^2``, the Brier score of many classes; from 0 to 2.

    With ``Q = sum_k p_k^2`` it is ``1 - 2 p_t + Q``. Gradient ``-2 p_t V`` for the true class and ``2 p_k (p_t + p_k -
    Q)`` for another; second derivative ``2 p_t (3 p_t - 1) V`` for the true class.

    See Also
    --------
    fastloss.brier : the same for two classes, of probabilities and without the factor 2.

    References
    ----------
    Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. Monthly Weather Review 78, 1-3.
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.expectation_l2([1], [[0.0, 0.0]])
    0.5
    """
    return ()


@rowwise(convex=False)
def tanimoto() -> Constants:
    """Tanimoto loss of the softmax: ``-<p, y> / (|p|^2 + |y|^2 - <p, y>)``, from -1, of a sure and right row, to 0.

    Of a class index it is ``-p_t / D``, ``D = 1 - p_t + Q`` with ``Q = sum_k p_k^2``. The sign is the paper's, and no
    constant is added: 1 more is the Jaccard distance of p and y. Gradient ``-p_t (1 + p_t) (D - p_t) / D^2`` for the
    true class and ``p_t p_k (1 - Q + 2 p_k) / D^2`` for another.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.tanimoto([1], [[0.0, 0.0]])
    -0.5
    """
    return ()


@rowwise(log_odds=2.0)
def cauchy_schwarz() -> Constants:
    """Cauchy-Schwarz divergence of the softmax: ``-log(<p, y> / (|p| |y|))``, from 0 to inf.

    Of a class index it is ``-log(p_t / sqrt(sum_k p_k^2))``: half of `softmax_cross_entropy` of ``2 y_pred``. Gradient
    ``r - y`` and second derivative ``2 r (1 - r)``, r being the softmax of ``2 y_pred``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.cauchy_schwarz([1], [[0.0, 0.0]]), 6)
    0.346574
    """
    return ()


@rowwise(link="identity", smooth=False, smooth_relative="one_hot_l2")
def one_hot_l1() -> Constants:
    """Absolute error of the scores against one-hot rows: ``sum_k |s_k - y_k|``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.one_hot_l1([1], [[0.5, 0.0]])
    1.5
    """
    return ()


@rowwise(link="identity")
def one_hot_l2() -> Constants:
    """Squared error of the scores against one-hot rows: ``sum_k (s_k - y_k)^2``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.one_hot_l2([1], [[0.5, 0.0]])
    1.25
    """
    return ()


@rowwise(link=None, smooth=False, smooth_relative="one_hot_squared_hinge")
def one_hot_hinge() -> Constants:
    """Hinge loss of every class against the rest: ``sum_k max(0, 1/2 - (2 y_k - 1) s_k)``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.one_hot_hinge([1], [[0.25, 0.0]])
    1.25
    """
    return ()


@rowwise(link=None, hessian="majorize")
def one_hot_squared_hinge() -> Constants:
    """Squared hinge loss of every class against the rest: ``sum_k max(0, 1/2 - (2 y_k - 1) s_k)^2``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.one_hot_squared_hinge([1], [[0.25, 0.0]])
    0.8125
    """
    return ()


@rowwise(link=None, hessian="majorize")
def one_hot_cubed_hinge() -> Constants:
    """Cubed hinge loss of every class against the rest: ``sum_k max(0, 1/2 - (2 y_k - 1) s_k)^3``.

    References
    ----------
    Janocha, K. and Czarnecki, W. M. (2017). On loss functions for deep neural networks in classification. Schedae
    Informaticae 25, 49-59.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.one_hot_cubed_hinge([1], [[0.5, 0.0]])
    1.125
    """
    return ()


@rowwise(link=None, smooth=False, smooth_relative="softmax_cross_entropy")
def multiclass_hinge() -> Constants:
    """Hinge loss against the strongest rival: ``max(0, 1 + max_{k != t} s_k - s_t)``.

    Gradient 1 for the first of the strongest rivals and -1 for the true class where the loss is above 0.

    References
    ----------
    Crammer, K. and Singer, Y. (2001). On the algorithmic implementation of multiclass kernel-based vector machines.
    J. Mach. Learn. Res. 2, 265-292.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.multiclass_hinge([2], [[0.0, 1.5, 1.0]])
    1.5
    """
    return ()


@rowwise(
    link=None,
    smooth=lambda params: params["p"] == 2,
    smooth_relative=lambda params: None if params["p"] == 2 else "softmax_cross_entropy",
    hessian=lambda params: "majorize" if params["p"] == 2 else "unit",
)
def multi_margin(*, p: int = 1, margin: float = 1.0) -> Constants:
    """Margin loss against all other classes: ``sum_{k != t} max(0, margin - s_t + s_k)^p / K``.

    Parameters
    ----------
    p : {1, 2}
        The power.
    margin : float
        By how much the true class's score is to exceed each of the others; > 0.

    References
    ----------
    Weston, J. and Watkins, C. (1999). Support vector machines for multi-class pattern recognition. ESANN.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.multi_margin([2], [[0.0, 1.5, 1.0]]), 6)
    0.5
    """
    power = finite(p=p)
    if power not in (1, 2):
        raise ValueError(f"p must be 1 or 2, got {p!r}")
    return positive(margin=margin), power - 1


@rowwise(
    takes="probabilities",
    link="identity",
    of_scores="softmax_cross_entropy",
    not_linear=NEEDS_PROBABILITIES,
    hessian="majorize",
)
def cross_entropy(*, base: float | None = None) -> Constants:
    """Cross-entropy of rows of probabilities: ``-sum_k y_k log p_k``, with ``0 log 0 = 0``.

    ``y_true`` are class indices or rows of probabilities. Nothing is clipped: a sure and wrong row costs inf. Gradient
    ``-y / p``, second derivative ``y / p^2``; with a base b all three carry ``1 / ln(b)``. Rows of ``y_pred`` must
    add up to 1, to within 0.05.

    Parameters
    ----------
    base : float, optional
        Of the logarithm: > 0 and not 1; 2 gives bits. The natural logarithm by default.

    See Also
    --------
    fastloss.softmax_cross_entropy : the same on raw scores.

    References
    ----------
    Good, I. J. (1952). Rational decisions. J. R. Stat. Soc. B 14, 107-114.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.cross_entropy([[0, 0, 1]], [[0.1, 0.2, 0.7]], base=2), 5)
    0.51457
    """
    if base is None:
        return (1.0,)
    number = finite(base=base)
    if number <= 0 or number == 1:
        raise ValueError(f"base must be > 0 and not 1, got {base!r}")
    return (1 / math.log(number),)


@rowwise(
    takes="probabilities",
    labels="distribution",
    link="identity",
    of_scores="softmax_cross_entropy",
    not_linear=NEEDS_PROBABILITIES,
    hessian="majorize",
)
def kl_divergence() -> Constants:
    """Kullback-Leibler divergence of rows of probabilities: ``sum_k y_k log(y_k / p_k)``.

    Gradient by p ``-y / p``, second derivative ``y / p^2``. Rows must add up to 1, to within 0.05.

    References
    ----------
    Kullback, S. and Leibler, R. A. (1951). On information and sufficiency. Ann. Math. Stat. 22, 79-86.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]), 6)
    0.143841
    """
    return ()


@rowwise(
    takes="probabilities",
    labels="distribution",
    link="identity",
    of_scores="softmax_cross_entropy",
    not_linear=NEEDS_PROBABILITIES,
    hessian="majorize",
)
def js_divergence() -> Constants:
    """Jensen-Shannon divergence of rows of probabilities: ``sum_k (y_k log(y_k/m_k) + p_k log(p_k/m_k)) / 2``.

    m is the mean of y and p. Gradient by p ``log(p/m) / 2``, second derivative ``y / (2 p (y + p))``. Rows must add
    up to 1, to within 0.05.

    References
    ----------
    Lin, J. (1991). Divergence measures based on the Shannon entropy. IEEE Trans. Inf. Theory 37, 145-151.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.js_divergence([[0.5, 0.5]], [[0.25, 0.75]]), 6)
    0.033822
    """
    return ()


@rowwise(
    takes="probabilities",
    labels="distribution",
    link="identity",
    smooth=False,
    smooth_relative="js_divergence",
    of_scores="softmax_cross_entropy",
    not_linear=NEEDS_PROBABILITIES,
)
def tv_distance() -> Constants:
    """Total variation distance of rows of probabilities: ``sum_k |y_k - p_k| / 2``.

    Gradient by p ``sign(p - y) / 2``, 0 at the kink. Rows must add up to 1, to within 0.05.

    References
    ----------
    Levin, D. A., Peres, Y. and Wilmer, E. L. (2009). Markov chains and mixing times. AMS, chapter 4.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.tv_distance([[0.5, 0.5]], [[0.25, 0.75]])
    0.25
    """
    return ()
