"""Linear classification as an estimator of scikit-learn."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin  # type: ignore[import-untyped]
from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]
from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]
from sklearn.utils.multiclass import check_classification_targets  # type: ignore[import-untyped]

from fastloss._checks.arrays import Array
from fastloss._core import Loss, RowLoss
from fastloss._prediction import (
    has_probabilities,
    log_probabilities,
    losses_with_probabilities,
    predicted_class,
    probabilities,
)
from fastloss.estimators._base import LinearEstimator, can_continue, linear_loss
from fastloss.registry import get


def _model_has_probabilities(model: LinearClassifier) -> bool:
    loss = linear_loss(model.loss)
    if has_probabilities(loss):
        return True
    raise AttributeError(f"{loss.name} has no probabilities; {losses_with_probabilities()} have")


def _encoded(y: Array, classes: Array | None) -> tuple[Array, Array]:
    """Return the classes, those of `y` where None are given, and the position of each label among them."""
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
    return classes, codes


class LinearClassifier(ClassifierMixin, LinearEstimator):  # type: ignore[misc]
    """Linear classification with any pointwise loss, or the softmax, and an L2 penalty, by L-BFGS or SGD.

    It minimises, the mean being weighted by `sample_weight` and `class_weight`::

        mean(loss(y, X @ coef + intercept)) + l2 / 2 * ||coef||^2

    with y = 1 for the second of two classes and 0 for the first (-1 in losses for regression). Of more than two
    classes, each has its coefficients. They are those of one softmax cross-entropy, or of a fit of each class against
    the rest.

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
        float32 if `X` has it. With two classes and the softmax, the difference of the two rows.
    intercept_ : ndarray, shape (1,) or (K,)
    n_iter_ : int
        Of several fits, each class against the rest, the largest number of iterations.
    loss_curve_ : ndarray, shape (n_iter_ + 1,)
        The objective at the start and after each iteration; with 'sgd', of shape (n_iter_,), the mean loss of each
        epoch.
        Of several fits, each class against the rest, the mean.
    validation_loss_curve_ : ndarray, shape (n_iter_,)
        With `early_stopping`, the mean loss of the rows held out.
    history_ : fastloss.linear.History
        Only with 'sgd'; a list of several fits, each class against the rest.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        The names of the columns, where `X` has them.

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

    __module__ = "fastloss.estimators"  # where pickles look for the class

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
            float32 is computed as it is, all else as float64. Sparse matrices are taken in CSR format.
        y : array_like, shape (n,)
            Labels of any kind.
        sample_weight : array_like, shape (n,), optional
            Numbers >= 0; a weight of 2 counts as the row twice.

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

    @available_if(can_continue)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Take one epoch of steps on further rows, from where the last call has ended; for ``solver='sgd'``.

        Learning rate, momentum and average continue. With ``schedule='auto'`` the schedule is 'invscaling' with
        ``power_t=0.25``; with ``learning_rate='auto'`` the first call finds the rate by trial on its rows.

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
        """Fit by all iterations or epochs; or, where the classes are given, by one epoch that continues."""
        loss = linear_loss(self.loss)
        if loss.traits.link == "log":
            raise ValueError(f"{loss.name} is a loss of counts; use LinearRegressor")
        self._check_parameters()
        continues = classes is not None
        begun = continues and hasattr(self, "coef_")
        X, y, weight = self._check_data(X, y, sample_weight, reset=not begun)
        check_classification_targets(y)
        classes, codes = _encoded(y, classes)
        weight = self._weight_of_rows(classes, codes, weight)
        softmax = self._softmax(loss, len(classes))
        if softmax is not None:
            targets, scores = [codes], len(classes)
        else:
            each = range(len(classes)) if len(classes) > 2 else [1]
            other = -1 if loss.traits.takes == "values" else 0
            targets, scores = [np.where(codes == k, 1, other) for k in each], len(each)
        start = self._start(scores, X.shape[1], continues=continues)
        problems = self._problems(softmax or loss, X, targets, weight, start)
        coef, intercept = self._keep(X.dtype, self._solve(problems, continues))
        if len(coef) == 2:
            coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        self.classes_, self.coef_, self.intercept_ = classes, coef, intercept
        return self

    def _softmax(self, loss: Loss[...], classes: int) -> Loss[...] | None:
        """Return the loss of all classes together, or None where each class gets a model of its own."""
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
        several = loss.traits.several_classes
        if self.multi_class == "multinomial" and several is None:
            raise ValueError(f"multi_class='multinomial' needs loss='logistic', got {loss!r}; use 'ovr'")
        return None if several is None or classes == 2 else get(several)

    def _weight_of_rows(self, classes: Array, codes: Array, weight: Array | None) -> Array | None:
        """Return the weight of each row times that of its class."""
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            sums = np.bincount(codes, weight)
            factors = sums.sum() / (len(classes) * np.where(sums > 0, sums, np.inf))
        else:
            factors = compute_class_weight(self.class_weight, classes=classes, y=classes[codes])
        return np.asarray(factors[codes] if weight is None else weight * factors[codes])

    def decision_function(self, X: Any) -> Array:
        """The scores of the rows.

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
        return np.asarray(self.classes_[predicted_class(scores)])

    @available_if(_model_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`, exact also where probabilities would round to 0 or 1.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)

        Returns
        -------
        ndarray, shape (n, K)
        """
        scores, loss = self.decision_function(X), linear_loss(self.loss)
        one_against_rest = self._softmax(loss, len(self.classes_)) is None
        return log_probabilities(loss, scores, one_against_rest)

    @available_if(_model_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, in the order of `classes_`.

        Those of several fits, each class against the rest, are divided by their sum.

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
        scores, loss = self.decision_function(X), linear_loss(self.loss)
        one_against_rest = self._softmax(loss, len(self.classes_)) is None
        return probabilities(loss, scores, one_against_rest)
