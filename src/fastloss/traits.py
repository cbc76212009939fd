"""What is known about a loss: the type of `Loss.traits`, and how an entry in ``fastloss.families`` declares it.

Whoever must know a property of a loss reads it here: the linear models, the estimators, the command, the benchmarks.
None of them compares the name of a loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Traits:
    """What is known about a loss with its present parameters.

    Attributes
    ----------
    takes : {'values', 'scores', 'probabilities'}
        What `y_pred` is: numbers of the kind of `y_true`, raw scores, which may be any number, or probabilities.
    labels : {'real', 'above_minus_one', 'nonnegative', 'positive', 'binary', 'probability', 'class', 'distribution'}
        What `y_true` holds. 'binary' are 0 and 1, or -1 and +1; a 'probability' lies in [0, 1], and so may be a label
        0 or 1; a 'class' is an index in each row; a 'distribution' is a row of probabilities.
    link : {'identity', 'log', 'logit', 'softmax'}, or None
        The function that turns a prediction into a score: with 'log' the prediction is ``exp(score)``. None: the loss
        has scores and no predictions, as margin losses do.
    log_odds : float, or None
        The log odds of a class are this multiple of the score that minimises the expected loss; None: they do not
        follow from it. Weights of classes and smoothed labels shift them as they would shift the data. Friedman,
        Hastie and Tibshirani (2000) have the 2 of the exponential loss.
    smooth : bool
        Whether the first derivative by `y_pred` is continuous.
    convex : bool
        Whether the loss is a convex function of `y_pred`, of a row as a whole.
    smooth_relative : str, or None
        The name of a smooth loss that serves the same purpose, for advice where the kinks of this one stop a solver.
    of_scores : str, or None
        The name of the loss of raw scores that takes the place of one that takes probabilities.
    several_classes : str, or None
        The name of the loss of rows that takes the place of one of two classes where there are more.
    not_linear : str, or None
        Why no linear model is fitted by the loss, as what follows the loss's name in a sentence.
    hessian : {'exact', 'majorize', 'unit'}
        Which second derivative gradient boosting may divide by.

        - 'exact': that of the loss, which is convex, smooth and curved everywhere. Losses of residuals have
          it only if their curvature does not vanish far from `y_true`, since boosting begins far from it: the curvature
          of `log_cosh` is 1e-8 at a residual of 10, where a step would be 1e8. The curvature of losses of scores
          may vanish, as that of `logistic` does, where the model is sure.
        - 'majorize': the loss is smooth, but its second derivative is 0, negative, or vanishes far from `y_true`. The
          curvature of the parabola that touches the loss and lies above it takes its place, as in iteratively
          reweighted least squares: the gradient, divided by the distance to where it is 0.
        - 'unit': the loss consists of straight pieces, whose second derivative is 0. 1 takes its place.
    domain : str
        What arguments the loss requires, as its errors say; "" where it takes all numbers.
    """

    takes: Literal["values", "scores", "probabilities"] = "values"
    labels: Literal[
        "real", "above_minus_one", "nonnegative", "positive", "binary", "probability", "class", "distribution"
    ] = "real"
    link: Literal["identity", "log", "logit", "softmax"] | None = "identity"
    log_odds: float | None = None
    smooth: bool = True
    convex: bool = True
    smooth_relative: str | None = None
    of_scores: str | None = None
    several_classes: str | None = None
    not_linear: str | None = None
    hessian: Literal["exact", "majorize", "unit"] = "exact"
    domain: str = ""

    @property
    def linear(self) -> bool:
        """Whether a linear model can be fitted by the loss."""
        return self.not_linear is None


class Declared:
    """Traits as an entry declares them: values, or functions of the loss's parameters.

    What is not declared has the default of `Traits`, but for the second derivative of boosting: 'unit' where the loss
    is not smooth, 'majorize' where it is not convex, else 'exact'.
    """

    def __init__(self, **traits: Any) -> None:
        self._fixed = Traits(**{name: value for name, value in traits.items() if not callable(value)})
        self._depending = {name: value for name, value in traits.items() if callable(value)}
        self._says_hessian = "hessian" in traits
        names: dict[str, Any] = dict.fromkeys(self._depending)
        Traits(**names)  # raises for a name that is no trait

    def resolved(self, params: Mapping[str, Any], domain: str = "") -> Traits:
        """Return the traits of the loss with these parameters, and this text of its domain."""
        found = replace(self._fixed, domain=domain, **{k: f(params) for k, f in self._depending.items()})
        if self._says_hessian:
            return found
        return replace(found, hessian="unit" if not found.smooth else "exact" if found.convex else "majorize")
