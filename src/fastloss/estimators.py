"""Linear models as estimators of scikit-learn: every pointwise loss, and the softmax cross-entropy."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss._checks import finite, nonnegative
from fastloss._core import Loss, RowLoss
from fastloss.linear import Objective
from fastloss.registry import get, losses

try:
    from scipy.optimize import minimize  # type: ignore[import-untyped]
    from scipy.sparse import issparse  # type: ignore[import-untyped]
    from scipy.special import log_expit, log_softmax, logsumexp  # type: ignore[import-untyped]
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # type: ignore[import-untyped]
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]
    from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]
    from sklearn.utils.multiclass import check_classification_targets  # type: ignore[import-untyped]
    from sklearn.utils.validation import (  # type: ignore[import-untyped]
        _check_sample_weight,
        check_is_fitted,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        f'fastloss.estimators needs scikit-learn 1.6 or later, and SciPy: pip install "fastloss[sklearn]" ({error})'
    ) from error

from fastloss._display import LossCurveDisplay

__all__ = ["LinearClassifier", "LinearRegressor", "LossCurveDisplay"]

Array = NDArray[Any]
Evaluation = Callable[[Array], tuple[float, Array]]

DTYPES = [np.float64, np.float32]
# An iteration that gains less, relatively, is led by rounding errors.
GAIN = {"float64": 1.4e-14, "float32": 1.5e-8}
ON_PROBABILITIES = {"binary_cross_entropy": "logistic", "brier": "logistic"}
# Losses with kinks, at which a line search gets stuck, and their smooth relatives.
SMOOTH = {
    "absolute_error": "pseudo_huber",
    "absolute_percentage_error": "pseudo_huber",
    "epsilon_insensitive": "squared_epsilon_insensitive",
    "hinge": "squared_hinge",
    "pinball": "expectile",
}
# The log odds are this multiple of the optimal score: Friedman, Hastie and Tibshirani (2000) for `exponential`.
LOG_ODDS = {"logistic": 1, "exponential": 2}


def _pointwise(loss: Loss[...] | str) -> Loss[...]:
    found = get(loss) if isinstance(loss, str) else loss
    if not isinstance(found, Loss):
        raise TypeError(f"loss must be a loss of fastloss or its name, got {found!r}")
    if found.name in ON_PROBABILITIES:
        raise ValueError(
            f"{found.name} takes probabilities, but a linear model has raw scores; "
            f"use loss={ON_PROBABILITIES[found.name]!r}"
        )
    if isinstance(found, RowLoss) and found.name != "softmax_cross_entropy":
        raise ValueError(
            f"{found.name} is a loss of rows; linear models take pointwise losses and softmax_cross_entropy"
        )
    return found


def _sparse_softmax(
    loss: Loss[...], X: Any, y: Array, weight: Array | None, l2: float, fit_intercept: bool
) -> Evaluation:
    """As `Objective`, which takes dense rows alone for this loss."""
    columns = X.shape[1]

    def value_and_grad(w: Array) -> tuple[float, Array]:
        classes = len(w) // (columns + fit_intercept)
        coef, intercept = np.split(w, [classes * columns])
        coef = coef.reshape(classes, columns)
        scores = X @ coef.T.astype(X.dtype)
        if fit_intercept:
            scores += intercept.astype(X.dtype)
        value, grad = loss.value_and_grad(y, scores, sample_weight=weight, out=scores)
        products = (X.T @ grad).T + l2 * coef
        sums = grad.sum(axis=0, dtype=np.float64)
        gradient = np.concatenate([products.ravel(), sums]) if fit_intercept else products.ravel()
        return value + l2 / 2 * float(np.vdot(coef, coef)), gradient

    return value_and_grad


class _LinearModel(BaseEstimator):  # type: ignore[misc]
    """What regression and classification share: the checks of the data, and the optimisation."""

    loss: Loss[...] | str
    l2: float
    fit_intercept: bool
    solver: str
    max_iter: int
    tol: float
    warm_start: bool
    coef_: Array
    intercept_: Any
    n_iter_: int
    loss_curve_: NDArray[np.float64]

    def _check_parameters(self) -> None:
        if self.solver not in ("auto", "lbfgs"):
            raise ValueError(f"solver must be 'auto' or 'lbfgs', got {self.solver!r}")
        nonnegative(l2=self.l2)
        nonnegative(tol=self.tol)
        if finite(max_iter=self.max_iter) < 1 or self.max_iter != int(self.max_iter):
            raise ValueError(f"max_iter must be a whole number > 0, got {self.max_iter!r}")

    def _check_data(
        self, X: Any, y: Any, sample_weight: Any, **options: Any
    ) -> tuple[Any, Array, Array | None]:
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=DTYPES, **options)
        if sample_weight is None:
            return X, y, None
        weight: Array = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight.min() < 0:
            raise ValueError("sample_weight must be >= 0; leave out the rows of negative weight")
        if not weight.any():
            raise ValueError("sample_weight is 0 for all rows; at least one must count")
        return X, y, weight

    def _start(self, rows: int, columns: int, intercept: float = 0.0) -> tuple[Array, Array]:
        """Coefficients and intercepts to begin with, a row for each score."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return np.zeros((rows, columns)), np.full(rows, intercept if self.fit_intercept else 0.0)
        coef, offset = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        if rows == 2:  # of the softmax: what is kept is the difference
            coef, offset = np.vstack([-coef, coef]) / 2, np.concatenate([-offset, offset]) / 2
        if coef.shape != (rows, columns):
            raise ValueError(
                f"warm_start=True continues with coef_ of shape {coef.shape}, but these data need {(rows, columns)}; "
                "set warm_start=False"
            )
        return coef, offset

    def _solve(
        self, loss: Loss[...], X: Any, y: Array, weight: Array | None, coef: Array, intercept: Array
    ) -> tuple[Array, Array, list[float]]:
        """The best coefficients and intercepts, and the objective from the start on, after each iteration."""
        data = loss, X, y
        curve: list[float] = []
        objective: Evaluation
        if isinstance(loss, RowLoss) and issparse(X):
            objective = _sparse_softmax(*data, weight, self.l2, self.fit_intercept)
        else:
            objective = Objective(*data, sample_weight=weight, l2=self.l2, fit_intercept=self.fit_intercept)

        def evaluate(w: Array) -> tuple[float, Array]:
            value, grad = objective(w)
            if not curve:
                curve.append(value)
            return value, grad

        def record(intermediate_result: Any) -> None:  # SciPy goes by the argument's name
            curve.append(float(intermediate_result.fun))

        found = minimize(
            evaluate,
            np.concatenate([coef.ravel(), intercept]) if self.fit_intercept else coef.ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=record,
            options={
                "maxiter": int(self.max_iter),
                "maxls": 50,
                "maxfun": 52 * int(self.max_iter),
                "gtol": self.tol,
                "ftol": GAIN[X.dtype.name],
            },
        )
        if not (np.isfinite(found.x).all() and np.isfinite(found.fun)):
            raise ValueError(
                f"{loss.name} overflows on these data; scale X, as with StandardScaler, or raise l2"
            )
        if not found.success:
            self._advise(loss, found)
        coef, intercept = np.split(found.x, [coef.size])
        return coef.reshape(-1, X.shape[1]), intercept, curve

    def _advise(self, loss: Loss[...], found: Any) -> None:
        if loss.name in SMOOTH:
            advice = f"{loss.name} has kinks, where this solver may get stuck: {SMOOTH[loss.name]} has none"
        else:
            advice = "scale the columns of X, as with sklearn.preprocessing.StandardScaler, or raise max_iter or tol"
        warnings.warn(
            f"{type(self).__name__} has not converged after {found.nit} iterations: the largest derivative is "
            f"{np.abs(found.jac).max():.2g}, tol={self.tol:.2g}; {advice}",
            ConvergenceWarning,
            stacklevel=4,
        )

    def _keep(self, dtype: Any, solutions: list[tuple[Array, Array, list[float]]]) -> tuple[Array, Array]:
        """Set what all models have; return coefficients and intercepts, a row for each score."""
        coefs, intercepts, curves = zip(*solutions, strict=True)
        length = max(map(len, curves))
        self.n_iter_ = length - 1
        padded = [np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves]
        self.loss_curve_ = np.mean(padded, axis=0)
        coef = np.vstack(coefs).astype(dtype)
        return coef, np.concatenate(intercepts).astype(dtype) if self.fit_intercept else np.zeros(
            len(coef), dtype
        )

    def _scores(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=DTYPES, reset=False)
        return X @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _weighted_median(y: Array, weight: Array | None) -> float:
    """Of weights that are repetitions, the median of the repeated elements."""
    order = np.argsort(y)
    sums = np.arange(1, len(y) + 1) if weight is None else np.cumsum(weight[order])
    return float(y[order[np.searchsorted(sums, sums[-1] / 2)]])


class LinearRegressor(RegressorMixin, _LinearModel):  # type: ignore[misc]
    """Linear regression with any pointwise loss and an L2 penalty, by L-BFGS on one pass over the data.

    It minimises, the mean being weighted by `sample_weight`::

        mean(loss(y, X @ coef + intercept)) + l2 / 2 * ||coef||^2

    Losses of counts (`poisson`, `gamma`, `tweedie`, `negative_binomial`) have a log link: the score is the logarithm
    of the predicted mean.

    Parameters
    ----------
    loss : str or Loss, default 'squared_error'
        The name of a loss for regression or counts, or the loss with parameters, as in ``fl.huber.bind(delta=2.0)``.
    l2 : float, default 1e-4
        The factor of the penalty; >= 0. It is the `alpha` of ``PoissonRegressor`` and ``SGDRegressor``;
        ``Ridge(alpha)`` has ``2 * alpha / n`` with `squared_error`, n being the sum of the weights.
    fit_intercept : bool, default True
        Whether there is an intercept; it is not penalised.
    solver : {'auto', 'lbfgs'}
        'lbfgs' is SciPy's L-BFGS-B.
    max_iter : int, default 1000
    tol : float, default 1e-4
        The optimisation ends where no derivative of the objective exceeds it.
    warm_start : bool, default False
        Whether `fit` begins with the coefficients of the fit before.

    Attributes
    ----------
    coef_ : ndarray, shape (d,)
        float32 if `X` is.
    intercept_ : float
    n_iter_ : int
    loss_curve_ : ndarray, shape (n_iter_ + 1,)
        The objective at the start and after each iteration.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where `X` has names of columns.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` does not suffice, or the solver gets stuck.

    Notes
    -----
    The fit begins with coefficients 0, and the median of `y` as the intercept, or the logarithm of its mean. Of a loss
    that is not convex (`cauchy`, `welsch`, `geman_mcclure`, `tukey_biweight`) it finds the optimum near them, so their
    scale should be that of the data; a fit of `huber` to begin with comes by ``warm_start=True`` and ``set_params``.

    References
    ----------
    Liu, D. C. and Nocedal, J. (1989). On the limited memory BFGS method for large scale optimization. Math. Program.
    45, 503-528.

    Examples
    --------
    >>> import numpy as np
    >>> from fastloss.estimators import LinearRegressor
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([4.0, 7.0, 10.0, 100.0])
    >>> model = LinearRegressor("pseudo_huber", l2=0, tol=1e-6).fit(X[:3], y[:3])
    >>> model.coef_.round(3), round(float(model.intercept_), 3)
    (array([3.]), 4.0)
    """

    def __init__(
        self,
        loss: Loss[...] | str = "squared_error",
        *,
        l2: float = 1e-4,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
    ) -> None:
        self.loss = loss
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)
            float32 is computed as it is, all else as float64; sparse in CSR format.
        y : array_like, shape (n,)
        sample_weight : array_like, shape (n,), optional
            Numbers >= 0; a weight of 2 is the same as the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, a value of `y` lies outside of the loss's domain, or the data are not
            finite; also if the optimisation leaves the scores above -1 that `squared_log_error` needs: then fit
            `squared_error` to ``np.log1p(y)``.
        """
        loss = _pointwise(self.loss)
        if loss.family not in ("regression", "count"):
            raise ValueError(f"{loss.name} is a loss of classes; use LinearClassifier")
        self._check_parameters()
        X, y, weight = self._check_data(X, y, sample_weight, y_numeric=True)
        if loss.family == "count":
            mean = np.average(y, weights=weight)
            middle = float(np.log(mean)) if mean > 0 else 0.0
        else:
            middle = _weighted_median(y, weight)
        solution = self._solve(loss, X, y, weight, *self._start(1, X.shape[1], middle))
        (self.coef_,), (self.intercept_,) = self._keep(X.dtype, [solution])
        return self

    def predict(self, X: Any) -> Array:
        """Predict: the score, and with losses of counts its exponential, the mean.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)

        Returns
        -------
        ndarray, shape (n,)
        """
        scores: Array = self._scores(X)
        return np.exp(scores) if _pointwise(self.loss).family == "count" else scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = getattr(self.loss, "name", self.loss) in losses()["count"]
        return tags


def _has_probabilities(model: LinearClassifier) -> bool:
    name = _pointwise(model.loss).name
    if name in LOG_ODDS or name == "softmax_cross_entropy":
        return True
    raise AttributeError(f"{name} has no probabilities; logistic, exponential and softmax_cross_entropy have")


class LinearClassifier(ClassifierMixin, _LinearModel):  # type: ignore[misc]
    """Linear classification with any pointwise loss, or the softmax, and an L2 penalty, by L-BFGS.

    It minimises, the mean being weighted by `sample_weight` and `class_weight`::

        mean(loss(y, X @ coef + intercept)) + l2 / 2 * ||coef||^2

    with y = 1 for the second of two classes and 0 for the first (-1 in losses for regression). Of more classes each
    has its coefficients: those of the softmax cross-entropy together, or those of each class against the rest.

    Parameters
    ----------
    loss : str or Loss, default 'logistic'
        The name of a loss on raw scores, or the loss with parameters, as in ``fl.focal.bind(gamma=1.0)``:
        'logistic', 'softmax_cross_entropy', 'squared_hinge', 'modified_huber', ..., also those for regression.
    l2 : float, default 1e-4
        The factor of the penalty; >= 0. It is the `alpha` of ``SGDClassifier``; ``LogisticRegression(C=C)`` has
        ``1 / (C * n)``, n being the sum of the weights.
    fit_intercept : bool, default True
        Whether there are intercepts; they are not penalised.
    multi_class : {'auto', 'multinomial', 'ovr'}
        With more than two classes: 'multinomial', for 'logistic' without parameters, is the softmax cross-entropy;
        'ovr' is each class against the rest. 'auto' takes the first where it can.
    class_weight : dict or 'balanced', optional
        A factor for each class, 1 where a dict has none. 'balanced' makes the classes' weights add up to the same.
    solver : {'auto', 'lbfgs'}
        'lbfgs' is SciPy's L-BFGS-B.
    max_iter : int, default 1000
    tol : float, default 1e-4
        The optimisation ends where no derivative of the objective exceeds it.
    warm_start : bool, default False
        Whether `fit` begins with the coefficients of the fit before.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
    coef_ : ndarray, shape (1, d) for two classes, else (K, d)
        float32 if `X` is. Of two classes by the softmax, the difference.
    intercept_ : ndarray, shape (1,) or (K,)
    n_iter_ : int
        The largest number of iterations, of several classes each against the rest.
    loss_curve_ : ndarray, shape (n_iter_ + 1,)
        The objective at the start and after each iteration; the mean of several classes each against the rest.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where `X` has names of columns.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` does not suffice, or the solver gets stuck.

    References
    ----------
    Liu, D. C. and Nocedal, J. (1989). On the limited memory BFGS method for large scale optimization. Math. Program.
    45, 503-528.

    Examples
    --------
    >>> import numpy as np
    >>> from fastloss.estimators import LinearClassifier
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = LinearClassifier(l2=0.1).fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[0.5], [2.5]])
    array(['no', 'yes'], dtype='<U3')
    >>> model.predict_proba([[1.5]]).round(3)
    array([[0.5, 0.5]])
    """

    def __init__(
        self,
        loss: Loss[...] | str = "logistic",
        *,
        l2: float = 1e-4,
        fit_intercept: bool = True,
        multi_class: str = "auto",
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
    ) -> None:
        self.loss = loss
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.multi_class = multi_class
        self.class_weight = class_weight
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)
            float32 is computed as it is, all else as float64; sparse in CSR format.
        y : array_like, shape (n,)
            Labels of any kind.
        sample_weight : array_like, shape (n,), optional
            Numbers >= 0; a weight of 2 is the same as the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, there is one class alone, or the data are not finite.
        """
        loss = _pointwise(self.loss)
        if loss.family == "count":
            raise ValueError(f"{loss.name} is a loss of counts; use LinearRegressor")
        if loss.name == "perceptron":
            raise ValueError(
                "perceptron is 0 with coefficients 0, and never lower; use loss='hinge' or 'squared_hinge'"
            )
        self._check_parameters()
        X, y, weight = self._check_data(X, y, sample_weight)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y has one class alone, {classes[0]!r}; a classifier needs at least two classes"
            )
        weight = self._weigh(classes, codes, weight)
        rows = len(classes)
        softmax = self._softmax(loss, rows)
        if softmax is not None:
            solutions = [self._solve(softmax, X, codes, weight, *self._start(rows, X.shape[1]))]
        else:
            which = range(rows) if rows > 2 else [1]
            start = self._start(len(which), X.shape[1])
            other = -1 if loss.family == "regression" else 0
            solutions = [
                self._solve(
                    loss, X, np.where(codes == k, 1, other), weight, *(part[i : i + 1] for part in start)
                )
                for i, k in enumerate(which)
            ]
        coef, intercept = self._keep(X.dtype, solutions)
        if len(coef) == 2:
            coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        self.classes_, self.coef_, self.intercept_ = classes, coef, intercept
        return self

    def _softmax(self, loss: Loss[...], classes: int) -> Loss[...] | None:
        """The loss of all classes together, or None where each is fitted by itself."""
        if self.multi_class not in ("auto", "multinomial", "ovr"):
            raise ValueError(f"multi_class must be 'auto', 'multinomial' or 'ovr', got {self.multi_class!r}")
        together = isinstance(loss, RowLoss)
        if self.multi_class == "ovr":
            if together:
                raise ValueError(
                    f"{loss.name} is of all classes together; multi_class='ovr' needs loss='logistic'"
                )
            return None
        if together:
            return loss
        plain = loss == get("logistic")
        if self.multi_class == "multinomial" and not plain:
            raise ValueError(f"multi_class='multinomial' needs loss='logistic', got {loss!r}; use 'ovr'")
        return get("softmax_cross_entropy") if plain and classes > 2 else None

    def _weigh(self, classes: Array, codes: Array, weight: Array | None) -> Array | None:
        """The weights of the rows, those of their classes included."""
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            sums = np.bincount(codes, weight)
            factors = sums.sum() / (len(classes) * np.where(sums > 0, sums, np.inf))
        else:
            factors = compute_class_weight(self.class_weight, classes=classes, y=classes[codes])
        return np.asarray(factors[codes] if weight is None else weight * factors[codes])

    def decision_function(self, X: Any) -> Array:
        """The scores.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)

        Returns
        -------
        ndarray, shape (n,) for two classes, else (n, K)
            Of two classes, positive for ``classes_[1]``.
        """
        scores: Array = self._scores(X)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> Array:
        """Predict the class of each row.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)

        Returns
        -------
        ndarray, shape (n,)
        """
        scores = self.decision_function(X)
        which = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
        return np.asarray(self.classes_[which])

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`, exact where those would round to 0 or 1.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)

        Returns
        -------
        ndarray, shape (n, K)
        """
        scores, loss = self.decision_function(X), _pointwise(self.loss)
        scores = scores * LOG_ODDS.get(loss.name, 1)
        if scores.ndim == 1:
            return np.stack([log_expit(-scores), log_expit(scores)], axis=1)
        if self._softmax(loss, len(self.classes_)) is not None:
            return np.asarray(log_softmax(scores, axis=1))
        logs = log_expit(scores)
        return np.asarray(logs - logsumexp(logs, axis=1, keepdims=True))

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, in the order of `classes_`.

        Of several classes each against the rest, they are made to add up to 1.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)

        Returns
        -------
        ndarray, shape (n, K)

        Raises
        ------
        AttributeError
            If the loss has no probabilities: all but `logistic`, `exponential` and `softmax_cross_entropy`.
        """
        probability: Array = np.exp(self.predict_log_proba(X))
        return probability
