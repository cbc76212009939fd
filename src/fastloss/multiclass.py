"""Losses for many classes. ``y_pred`` is rows of raw scores (logits) along an axis; p is their softmax.

All are functions of the true class's probability p_t, or of its cost -log p_t.
"""

from __future__ import annotations

from fastloss._checks import finite, nonnegative
from fastloss.registry import Constants, rowwise


@rowwise
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


@rowwise
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


@rowwise
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


@rowwise
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
