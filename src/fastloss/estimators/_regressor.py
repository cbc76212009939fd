"""Linear regression as an estimator of scikit-learn."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin  # type: ignore[import-untyped]
from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]

from fastloss._checks.arrays import Array
from fastloss._core import Loss
from fastloss._prediction import predicted_number, predicts_numbers
from fastloss.estimators._base import LinearEstimator, can_continue, linear_loss
from fastloss.linear import first_intercept
from fastloss.registry import registered


class LinearRegressor(RegressorMixin, LinearEstimator):  # type: ignore[misc]
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
        The largest number of iterations, or of epochs.
    tol : float, default 1e-4
        'lbfgs' ends where no derivative of the objective exceeds `tol`; 'sgd' where `n_iter_no_change` epochs have not
        brought the mean loss down by `tol`, and an adaptive schedule has reached its lowest learning rate.
    warm_start : bool, default False
        Whether `fit` begins with the coefficients of the fit before.
    l1 : float, default 0
        The factor of a second penalty, ``||coef||_1``, which makes coefficients exactly 0. This parameter and all that
        follow are for 'sgd'.
    learning_rate : float or 'auto', default 'auto'
        'auto' finds a rate by trial, as ``fastloss.linear.sgd(lr='auto')`` does.
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
        Decides about the order of the rows, and which are held out.
    verbose : bool, default False
        Whether `fit` shows a progress bar on stderr; needs rich.

    Attributes
    ----------
    coef_ : ndarray, shape (d,)
        float32 if `X` has it.
    intercept_ : float
    n_iter_ : int
    loss_curve_ : ndarray, shape (n_iter_ + 1,)
        The objective at the start and after each iteration; with 'sgd', of shape (n_iter_,), the mean loss of each
        epoch.
    validation_loss_curve_ : ndarray, shape (n_iter_,)
        With `early_stopping`, the mean loss of the rows held out.
    history_ : fastloss.linear.History
        Only with 'sgd'.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        The names of the columns, where `X` has them.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` does not suffice, or the solver gets stuck.

    Notes
    -----
    The fit starts from coefficients 0 and an intercept that is the weighted median of `y`, or with a log link the
    logarithm of its mean. With a loss that is not convex (`cauchy`, `welsch`, `geman_mcclure`, `tukey_biweight`) it
    finds the optimum near this start, so the loss's scale should be that of the data. To start from a fit of `huber`,
    take ``warm_start=True`` and ``set_params``.

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

    __module__ = "fastloss.estimators"  # where pickles look for the class

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
            float32 is computed as it is, all else as float64. Sparse matrices are taken in CSR format.
        y : array_like, shape (n,)
        sample_weight : array_like, shape (n,), optional
            Numbers >= 0; a weight of 2 counts as the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, a value of `y` lies outside of the loss's domain, or the data are not
            finite; also if a step of 'sgd' leads to scores of -1 or below, which `squared_log_error` does not take: then
            fit `squared_error` to ``np.log1p(y)``.
        fastloss.linear.DivergenceError
            With 'sgd', if `learning_rate` is too large.

        Notes
        -----
        Ctrl-C raises KeyboardInterrupt; the model is then as it was before.
        """
        return self._fit(X, y, sample_weight)

    @available_if(can_continue)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Take one epoch of steps on further rows, from where the last call has ended; for ``solver='sgd'``.

        Learning rate, momentum and average continue. With ``schedule='auto'`` the schedule is 'invscaling' with
        ``power_t=0.25``; with ``learning_rate='auto'`` the first call finds the rate by trial on its rows.

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
        return self._fit(X, y, sample_weight, continues=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, continues: bool = False) -> Self:
        """Fit by all iterations or epochs; or by one epoch that continues from the last call."""
        loss = linear_loss(self.loss)
        if not predicts_numbers(loss):
            raise ValueError(f"{loss.name} is a loss of classes; use LinearClassifier")
        self._check_parameters()
        first = not (continues and hasattr(self, "coef_"))
        X, y, weight = self._check_data(X, y, sample_weight, y_numeric=True, reset=first)
        start = self._start(1, X.shape[1], first_intercept(loss, y, weight), continues)
        problems = self._problems(loss, X, [y], weight, start)
        (self.coef_,), (self.intercept_,) = self._keep(X.dtype, self._solve(problems, continues))
        return self

    def predict(self, X: Any) -> Array:
        """Predict: the score, or with losses of counts its exponential, which is the mean.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)

        Returns
        -------
        ndarray, shape (n,)
        """
        return predicted_number(linear_loss(self.loss), self._scores(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        loss = registered.get(self.loss) if isinstance(self.loss, str) else self.loss
        tags.target_tags.positive_only = isinstance(loss, Loss) and loss.traits.link == "log"
        return tags
