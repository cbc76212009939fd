"""Log loss, perplexity and accuracy of data that come in batches, as if it were one call."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastloss._checks.arrays import Array
from fastloss._checks.rows import check_class_weight, mixed_weights, row_weights
from fastloss._core import as_array
from fastloss.families.multiclass import softmax_cross_entropy


def perplexity(y_true: ArrayLike, y_pred: ArrayLike, **keywords: Any) -> float:
    """Perplexity: the exponential of the mean softmax cross-entropy.

    Parameters
    ----------
    y_true, y_pred, **keywords
        As in `softmax_cross_entropy`: sample_weight, class_weight, ignore_index, axis, label_smoothing, z_loss.

    Returns
    -------
    float
        1 where every row gives its true class the probability 1; K where every row gives K classes equal
        probabilities. inf where the exponential is beyond float64.

    Raises
    ------
    TypeError, ValueError
        As `softmax_cross_entropy`.

    See Also
    --------
    evaluate : for data that come in batches.

    References
    ----------
    Jelinek, F. et al. (1977). Perplexity - a measure of the difficulty of speech recognition tasks. JASA 62.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.perplexity([0, 3], [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]), 6)
    4.0
    """
    for key in ("reduction", "out", "return_lse", "return_correct"):
        if key in keywords:
            raise TypeError(f"perplexity has no keyword {key!r}; softmax_cross_entropy has")
    return _exp(softmax_cross_entropy(y_true, y_pred, **keywords))


def _exp(x: float) -> float:
    """Return the exponential, inf where it is beyond float64."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns: exact sums, which ``+`` merges, and the figures that follow from them.

    Attributes
    ----------
    loss : Fraction, or float
        The weighted sum of the rows' cross-entropy; a float where it is not finite.
    weight : Fraction
        The sum of the weights.
    correct, rows : int
        The number of rows whose highest score (the first of equal ones) is the true class's, and the number of all
        rows. Rows of weight 0 count in neither.
    log_loss : float
        The mean cross-entropy, ``loss / weight``; 0.0 where nothing has a weight.
    perplexity : float
        Its exponential.
    accuracy : float
        ``correct / rows``; 0.0 where there are none. Weights do not matter to it, unless they are 0.

    Examples
    --------
    >>> import fastloss as fl
    >>> parts = [fl.evaluate([([0], [[0.0, 0.0]])]), fl.evaluate([([1, 1], [[0.0, 5.0], [0.0, 9.0]])])]
    >>> sum(parts, fl.Evaluation()).rows
    3
    """

    loss: Fraction | float = Fraction(0)
    weight: Fraction = Fraction(0)
    correct: int = 0
    rows: int = 0

    def __add__(self, other: Evaluation) -> Evaluation:
        if not isinstance(other, Evaluation):
            return NotImplemented
        return Evaluation(
            self.loss + other.loss,
            self.weight + other.weight,
            self.correct + other.correct,
            self.rows + other.rows,
        )

    @property
    def log_loss(self) -> float:
        if not self.rows:
            return 0.0
        if not self.weight:
            raise ValueError("sample_weight sums to 0, so the weighted mean is undefined")
        try:
            return float(self.loss / self.weight)
        except OverflowError:
            return math.inf if (self.loss > 0) == (self.weight > 0) else -math.inf

    @property
    def perplexity(self) -> float:
        return _exp(self.log_loss)

    @property
    def accuracy(self) -> float:
        return self.correct / self.rows if self.rows else 0.0


def evaluate(batches: Iterable[tuple[ArrayLike, ...]], **keywords: Any) -> Evaluation:
    """Log loss, perplexity and accuracy of batches of rows of raw scores, of which one at a time is held.

    The sums have twice the precision of a float and are divided once: no average of averages. So neither the
    order of the batches nor where the data are cut matters, and the result is that of one call on all rows.

    Parameters
    ----------
    batches : iterable of (y_true, y_pred) or (y_true, y_pred, sample_weight)
        Arrays as `softmax_cross_entropy` takes them. A generator may read or compute them as it goes.
    **keywords
        As in `softmax_cross_entropy`: class_weight, ignore_index, axis, label_smoothing, z_loss.

    Returns
    -------
    Evaluation
        The log_loss, perplexity and accuracy. Evaluations of parts, as from a pool of threads, add up by ``+``.

    Raises
    ------
    TypeError, ValueError
        As `softmax_cross_entropy`, with a note of the batch; or if there are no batches.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> rng = np.random.default_rng(0)
    >>> y_true, y_pred = rng.integers(0, 10, 1000), rng.normal(size=(1000, 10))
    >>> result = fl.evaluate((y_true[i : i + 300], y_pred[i : i + 300]) for i in range(0, 1000, 300))
    >>> round(result.log_loss - fl.softmax_cross_entropy(y_true, y_pred), 12)
    0.0
    """
    for key in ("sample_weight", "reduction", "out", "return_lse", "return_correct"):
        if key in keywords:
            advice = "; a batch may have it as its third array" if key == "sample_weight" else ""
            raise TypeError(f"evaluate has no keyword {key!r}{advice}")
    total, i = Evaluation(), -1
    for i, batch in enumerate(batches):
        try:
            total += _evaluate_batch(batch, keywords)
        except (TypeError, ValueError) as error:
            error.add_note(f"in batch {i}")
            raise
    if i < 0:
        raise ValueError("there are no batches; an iterator is used up by its first pass")
    return total


def _evaluate_batch(batch: tuple[ArrayLike, ...], keywords: dict[str, Any]) -> Evaluation:
    """Evaluate one batch."""
    if len(batch) not in (2, 3):
        raise ValueError(
            f"a batch must be (y_true, y_pred) or (y_true, y_pred, sample_weight), got {len(batch)} parts"
        )
    y_true, y_pred, *rest = batch
    y, p = as_array("y_true", y_true), as_array("y_pred", y_pred)
    weight = as_array("sample_weight", rest[0]) if rest and rest[0] is not None else None
    given = y.shape == p.shape
    result: Any = softmax_cross_entropy(
        y, p, sample_weight=weight, reduction="none", return_correct=not given, **keywords
    )
    # The call has checked all arguments, so that what follows may rely on them.
    axis = keywords.get("axis", -1)
    if given:
        return _evaluate_mixed(result, np.moveaxis(y, axis, -1), np.moveaxis(p, axis, -1), weight, keywords)
    values, correct = result
    class_weight, ignore_index = keywords.get("class_weight"), keywords.get("ignore_index")
    if weight is None and class_weight is None and ignore_index is None:
        return Evaluation(exact_sum(values), Fraction(values.size), correct, values.size)
    classes = p.shape[axis]
    counted = row_weights(
        y,
        False,
        None if weight is None else np.broadcast_to(weight, values.shape),
        None if class_weight is None else check_class_weight(class_weight, classes),
        ignore_index,
        classes,
    )[1]
    return Evaluation(
        exact_sum(values), Fraction(exact_sum(counted)), correct, int(np.count_nonzero(counted))
    )


def _evaluate_mixed(
    values: Array, y: Array, p: Array, weight: Array | None, keywords: dict[str, Any]
) -> Evaluation:
    """Evaluate labels that are rows of probabilities, whose likeliest class is the true one; the classes lie last."""
    classes, given = p.shape[-1], keywords.get("class_weight")
    factors = np.ones(classes) if given is None else check_class_weight(given, classes)
    rows = np.ones(values.shape) if weight is None else np.broadcast_to(weight, values.shape)
    counted = mixed_weights(y, rows, factors, False)[2] if given is not None else rows
    hit = (y.argmax(-1) == p.argmax(-1)) & ~np.isnan(p).any(-1) & (rows != 0)
    return Evaluation(
        exact_sum(values),
        Fraction(exact_sum(counted)),
        int(np.count_nonzero(hit)),
        int(np.count_nonzero(rows)),
    )


def exact_sum(values: Array) -> Fraction | float:
    """Return the sum to twice the precision of a float, or a float if it is not finite."""
    a, low = values.astype(np.float64).ravel(), 0.0
    with np.errstate(all="ignore"):
        while a.size > 1:
            x, y = np.pad(a, (0, a.size % 2)).reshape(2, -1)
            a = x + y
            rounded = a - x
            # The exact rounding error of each sum, by Knuth's two-sum.
            low += float(((x - (a - rounded)) + (y - rounded)).sum())
    total = float(a.sum())
    return Fraction(total) + Fraction(low) if math.isfinite(total) and math.isfinite(low) else total
