"""What a linear model predicts, from its scores: the mean, a class, the probabilities of the classes."""

from __future__ import annotations

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._core import Loss
from fastloss.registry import registered


def predicts_numbers(loss: Loss[...]) -> bool:
    """Whether a model with this loss predicts numbers, and not classes."""
    return loss.traits.takes == "values" or loss.traits.link == "log"


def predicted_number(loss: Loss[...], scores: Array) -> Array:
    """Return the prediction of a number: the score, or with a log link its exponential, which is the mean."""
    if loss.traits.link != "log":
        return scores
    with np.errstate(over="ignore", under="ignore"):
        mean: Array = np.exp(scores)
    return mean


def predicted_class(scores: Array) -> Array:
    """Return the position of each row's class: of two classes by the sign of the score, of more by the largest score."""
    return scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(np.intp)


def has_probabilities(loss: Loss[...]) -> bool:
    """Whether a model's scores lead to probabilities of the classes."""
    return loss.traits.log_odds is not None


def losses_with_probabilities() -> str:
    """Return their names, for an error's advice."""
    found = (loss for loss in registered.values() if loss.traits.linear and has_probabilities(loss))
    return ", ".join(loss.name for loss in found)


def log_probabilities(loss: Loss[...], scores: Array, one_against_rest: bool = False) -> Array:
    """Return the logarithms of the probabilities of the classes, of shape (n, K).

    They keep their relative precision where the probabilities round to 0 or 1.

    Parameters
    ----------
    loss : Loss
        One that `has_probabilities`.
    scores : ndarray, shape (n,) for two classes, or (n, K)
    one_against_rest : bool
        Whether each column is of a model of its class against the rest; their probabilities are then made to add up
        to 1. Otherwise they are the softmax.
    """
    factor = loss.traits.log_odds
    assert factor is not None
    log_odds = factor * scores
    if log_odds.ndim == 1:
        return np.stack([_log_expit(-log_odds), _log_expit(log_odds)], axis=1)
    return _log_softmax(_log_expit(log_odds) if one_against_rest else log_odds)


def probabilities(loss: Loss[...], scores: Array, one_against_rest: bool = False) -> Array:
    """Return the probabilities of the classes, as `log_probabilities`."""
    with np.errstate(under="ignore"):
        result: Array = np.exp(log_probabilities(loss, scores, one_against_rest))
    return result


def _log_expit(x: Array) -> Array:
    with np.errstate(under="ignore"):
        result: Array = -np.logaddexp(0, -x)
    return result


def _log_softmax(scores: Array) -> Array:
    """Return each score, less the logarithm of the sum of all exponentials of its row.

    The sum leaves out the largest score, whose exponential is 1, and log1p adds it. So a logarithm near 0 keeps its
    digits, too.
    """
    largest = scores.argmax(axis=1)[:, None]
    shifted = scores - np.take_along_axis(scores, largest, axis=1)
    with np.errstate(under="ignore"):
        others = np.exp(shifted)
        np.put_along_axis(others, largest, 0, axis=1)
        result: Array = shifted - np.log1p(others.sum(axis=1, keepdims=True))
    return result
