"""Linear models as estimators of scikit-learn: every pointwise loss, and the softmax cross-entropy."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastloss._core import Loss, RowLoss
from fastloss.registry import LOG_ODDS, get, losses

try:
    from scipy.special import log_expit, log_softmax, logsumexp  # type: ignore[import-untyped]
    from sklearn.base import ClassifierMixin, RegressorMixin  # type: ignore[import-untyped]
    from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]
    from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]
    from sklearn.utils.multiclass import check_classification_targets  # type: ignore[import-untyped]

    from fastloss.estimators._base import LinearModel, can_go_on
except ImportError as error:
    raise ImportError(
        f'fastloss.estimators needs scikit-learn 1.6 or later, and SciPy: pip install "fastloss[sklearn]" ({error})'
    ) from error

from fastloss._checks.arrays import Array
from fastloss.estimators._display import LossCurveDisplay

__all__ = ["LinearClassifier", "LinearRegressor", "LossCurveDisplay"]

ON_PROBABILITIES = {"binary_cross_entropy": "logistic", "brier": "logistic"}


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


def _weighted_median(y: Array, weight: Array | None) -> float:
    """Of weights that are repetitions, the median of the repeated elements."""
    order = np.argsort(y)
    sums = np.arange(1, len(y) + 1) if weight is None else np.cumsum(weight[order])
    return float(y[order[np.searchsorted(sums, sums[-1] / 2)]])


class LinearRegressor(RegressorMixin, LinearModel):  # type: ignore[misc]
    """Linear regression with any pointwise loss and an L2 penalty, by L-BFGS on one pass over the data or by SGD.

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
    solver : {'auto', 'lbfgs', 'sgd'}
        'lbfgs' is SciPy's L-BFGS-B; 'sgd' is `fastloss.linear.sgd`, for many rows. 'auto' is 'lbfgs', but with `l1`.
    max_iter : int, default 1000
        Of iterations, or epochs.
    tol : float, default 1e-4
        'lbfgs' ends where no derivative of the objective exceeds it; 'sgd' where `n_iter_no_change` epochs have not
        brought the mean loss down by it, at the lowest learning rate of an adaptive schedule.
    warm_start : bool, default False
        Whether `fit` begins with the coefficients of the fit before.
    l1 : float, default 0
        The factor of ``||coef||_1``, as a second penalty, which makes coefficients exactly 0. This and all that follows
        is for 'sgd'.
    learning_rate : float or 'auto', default 'auto'
        'auto' finds one by trial, as ``fastloss.linear.sgd(lr='auto')`` does.
    schedule : {'auto', 'constant', 'invscaling', 'optimal', 'adaptive', 'cosine'}
        How the learning rate decreases: see `fastloss.linear.sgd`. 'auto' is 'adaptive': it is divided by 5 where the
        loss no longer decreases.
    batch_size : int, default 64
    shuffle : {'rows', 'blocks', None}
    momentum : float, default 0
    average : bool or int, default False
        As in `fastloss.linear.sgd`.
    early_stopping : bool, default False
        Whether to hold out `validation_fraction` of the rows, end where the loss on them no longer decreases, and keep
        the coefficients with the lowest.
    validation_fraction : float, default 0.1
    n_iter_no_change : int, default 5
    random_state : int, RandomState or None, default None
        Of the order of the rows, and of those held out.
    verbose : bool, default False
        Whether `fit` shows a progress bar on stderr; needs rich.

    Attributes
    ----------
    coef_ : ndarray, shape (d,)
        float32 if `X` is.
    intercept_ : float
    n_iter_ : int
    loss_curve_ : ndarray, shape (n_iter_ + 1,)
        The objective at the start and after each iteration; of 'sgd', shape (n_iter_,), the mean loss of each epoch.
    validation_loss_curve_ : ndarray, shape (n_iter_,)
        With `early_stopping`, of the rows held out.
    history_ : fastloss.linear.History
        Of 'sgd'.
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
        l1: float = 0.0,
        learning_rate: float | str = "auto",
        schedule: str = "auto",
        batch_size: int = 64,
        shuffle: str | None = "rows",
        momentum: float = 0.0,
        average: bool | int = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.loss = loss
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.l1 = l1
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.momentum = momentum
        self.average = average
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.verbose = verbose

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
            finite; also if a step of 'sgd' leaves the scores above -1 that `squared_log_error` needs: then fit
            `squared_error` to ``np.log1p(y)``.
        fastloss.linear.DivergenceError
            With 'sgd', if `learning_rate` is too large.

        Notes
        -----
        Ctrl-C raises KeyboardInterrupt; the model is then as it was before.
        """
        return self._fit(X, y, sample_weight)

    @available_if(can_go_on)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Take one epoch of steps on further rows, from where the last call has ended; for ``solver='sgd'``.

        Learning rate, momentum and average continue. With ``schedule='auto'`` the rate is that of 'invscaling', with
        ``power_t=0.25``; ``learning_rate='auto'`` is found on the first rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; but weights are taken as they are, and not relative to their mean.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As in `fit`; or if a parameter needs several epochs.
        """
        return self._fit(X, y, sample_weight, going_on=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, going_on: bool = False) -> Self:
        loss = _pointwise(self.loss)
        if loss.family not in ("regression", "count"):
            raise ValueError(f"{loss.name} is a loss of classes; use LinearClassifier")
        self._check_parameters()
        first = not (going_on and hasattr(self, "coef_"))
        X, y, weight = self._check_data(X, y, sample_weight, y_numeric=True, reset=first)
        if loss.family == "count":
            mean = np.average(y, weights=weight)
            middle = float(np.log(mean)) if mean > 0 else 0.0
        else:
            middle = _weighted_median(y, weight)
        start = self._start(1, X.shape[1], middle, going_on)
        solutions = self._solve(loss, X, [y], weight, *start, going_on)
        (self.coef_,), (self.intercept_,) = self._keep(X.dtype, solutions)
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
    if name in LOG_ODDS:
        return True
    raise AttributeError(f"{name} has no probabilities; {', '.join(LOG_ODDS)} have")


class LinearClassifier(ClassifierMixin, LinearModel):  # type: ignore[misc]
    """Linear classification with any pointwise loss, or the softmax, and an L2 penalty, by L-BFGS or SGD.

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
    solver : {'auto', 'lbfgs', 'sgd'}
    max_iter : int, default 1000
    tol : float, default 1e-4
    warm_start : bool, default False
    l1, learning_rate, schedule, batch_size, shuffle, momentum, average, early_stopping, validation_fraction, \
n_iter_no_change, random_state, verbose
        As in `LinearRegressor`.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
    coef_ : ndarray, shape (1, d) for two classes, else (K, d)
        float32 if `X` is. Of two classes by the softmax, the difference.
    intercept_ : ndarray, shape (1,) or (K,)
    n_iter_ : int
        The largest number of iterations, of several classes each against the rest.
    loss_curve_ : ndarray, shape (n_iter_ + 1,)
        The objective at the start and after each iteration; of 'sgd', shape (n_iter_,), the mean loss of each epoch.
        The mean of several classes each against the rest.
    validation_loss_curve_ : ndarray, shape (n_iter_,)
        With `early_stopping`, of the rows held out.
    history_ : fastloss.linear.History
        Of 'sgd'; a list of several classes each against the rest.
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

    classes_: Array

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
        l1: float = 0.0,
        learning_rate: float | str = "auto",
        schedule: str = "auto",
        batch_size: int = 64,
        shuffle: str | None = "rows",
        momentum: float = 0.0,
        average: bool | int = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        random_state: Any = None,
        verbose: bool = False,
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
        self.l1 = l1
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.momentum = momentum
        self.average = average
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.verbose = verbose

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
        fastloss.linear.DivergenceError
            With 'sgd', if `learning_rate` is too large.

        Notes
        -----
        Ctrl-C raises KeyboardInterrupt; the model is then as it was before.
        """
        return self._fit(X, y, sample_weight)

    @available_if(can_go_on)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Take one epoch of steps on further rows, from where the last call has ended; for ``solver='sgd'``.

        Learning rate, momentum and average continue. With ``schedule='auto'`` the rate is that of 'invscaling', with
        ``power_t=0.25``; ``learning_rate='auto'`` is found on the first rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; but weights are taken as they are, and not relative to their mean.
        classes : array_like, shape (K,), optional
            All labels that will come; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As in `fit`; or if there is a label that is not in `classes`, `class_weight` is 'balanced', or a parameter
            needs several epochs.
        """
        if not hasattr(self, "coef_"):
            if classes is None:
                raise ValueError("the first call of partial_fit needs classes=, all labels that will come")
        elif classes is None:
            classes = self.classes_
        elif not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={classes!r} are not those of the calls before, {self.classes_!r}")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all labels before the first step; in partial_fit pass a dict"
            )
        return self._fit(X, y, sample_weight, np.unique(classes))

    def _fit(self, X: Any, y: Any, sample_weight: Any, classes: Array | None = None) -> Self:
        """All epochs; or given the classes, one that goes on."""
        loss = _pointwise(self.loss)
        if loss.family == "count":
            raise ValueError(f"{loss.name} is a loss of counts; use LinearRegressor")
        if loss.name == "perceptron":
            raise ValueError(
                "perceptron is 0 with coefficients 0, and never lower; use loss='hinge' or 'squared_hinge'"
            )
        self._check_parameters()
        going_on = classes is not None
        begun = going_on and hasattr(self, "coef_")
        X, y, weight = self._check_data(X, y, sample_weight, reset=not begun)
        check_classification_targets(y)
        labels, codes = np.unique(y, return_inverse=True)
        if classes is None:
            classes = labels
        else:
            unknown = labels[~np.isin(labels, classes)]
            if len(unknown):
                raise ValueError(f"y has {unknown.tolist()[0]!r}, which is not in classes={classes!r}")
            codes = np.searchsorted(classes, labels)[codes]
        if len(classes) < 2:
            raise ValueError(
                f"y has one class alone, {classes.tolist()[0]!r}; a classifier needs at least two classes"
            )
        weight = self._weigh(classes, codes, weight)
        softmax = self._softmax(loss, len(classes))
        if softmax is not None:
            targets, rows = [codes], len(classes)
        else:
            which = range(len(classes)) if len(classes) > 2 else [1]
            other = -1 if loss.family == "regression" else 0
            targets, rows = [np.where(codes == k, 1, other) for k in which], len(which)
        start = self._start(rows, X.shape[1], going_on=going_on)
        coef, intercept = self._keep(
            X.dtype, self._solve(softmax or loss, X, targets, weight, *start, going_on)
        )
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
