"""The estimators: scikit-learn's checks; the optima of its models and of SciPy; what they take, refuse and draw."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import pickle
import sys

import matplotlib
import numpy as np
import pytest
from processes import run
from scipy.optimize import least_squares
from scipy.sparse import csr_array, csr_matrix
from sklearn import linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastloss as fl
from fastloss.estimators import LinearClassifier, LinearRegressor, LossCurveDisplay

EXACT = {"tol": 1e-11}
REACH_NO_OTHER_CODE = pytest.mark.not_sanitized("minutes in code that the other tests reach")


@parametrize_with_checks([LinearRegressor(), LinearClassifier()])
@REACH_NO_OTHER_CODE
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.exhaustive
@parametrize_with_checks(
    [
        LinearRegressor(fl.huber.bind(delta=2.0)),
        LinearRegressor("poisson"),
        LinearClassifier(multi_class="ovr"),
        LinearClassifier("softmax_cross_entropy", class_weight="balanced"),
    ]
)
@REACH_NO_OTHER_CODE
def test_the_checks_of_scikit_learn_with_other_options(estimator, check):
    check(estimator)


def problem(classes=2, rows=300, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns))
    scores = X @ rng.normal(size=(columns, classes)) + rng.normal(size=(rows, classes))
    return X, scores.argmax(axis=1), rng.uniform(0.5, 2, rows)


def numbers(loss="squared_error", rows=300, columns=5):
    """A problem of regression, inside of the loss's domain."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, columns))
    scores = X @ (rng.normal(size=columns) / 4) + 0.5
    if fl.get(loss).family == "count":
        return X, rng.poisson(np.exp(scores)) + (0.5 if loss == "gamma" else 0.0), rng.uniform(0.5, 2, rows)
    return X, scores + rng.standard_t(3, rows) / 4 + 5, rng.uniform(0.5, 2, rows)


# ---- optima: the values are those of expressions of their own, in extended precision --------------------

VALUES = {
    "logistic": lambda y, s: np.logaddexp(0, s) - y * s,
    "squared_error": lambda y, s: (s - y) ** 2,
    "squared_hinge": lambda y, s: np.maximum(0, 1 - (2 * y - 1) * s) ** 2,
    "poisson": lambda y, s: np.exp(s) - y * s,
    "gamma": lambda y, s: s + y * np.exp(-s),
    "tweedie": lambda y, s: 2 * np.exp(s / 2) + 2 * y * np.exp(-s / 2),
    "softmax": lambda y, s: np.log(np.exp(s).sum(axis=1)) - np.take_along_axis(s, y[:, None], 1)[:, 0],
}


def objective(name, model, X, y, weight, l2):
    coef = np.asarray(model.coef_, np.longdouble)
    scores = X.astype(np.longdouble) @ coef.T + np.asarray(model.intercept_, np.longdouble)
    if name != "softmax":
        scores = scores.reshape(len(X))
    return np.average(VALUES[name](y, scores), weights=weight) + l2 / 2 * (coef**2).sum()


def check_optimum(name, model, other, X, y, weight, l2):
    model.set_params(l2=l2, **EXACT).fit(X, y, weight)
    other.fit(X, y, sample_weight=weight)
    ours, theirs = (objective(name, m, X, y, weight, l2) for m in (model, other))
    assert abs(ours - theirs) <= 1e-9 * abs(theirs)
    np.testing.assert_allclose(model.coef_, other.coef_, atol=2e-5)
    np.testing.assert_allclose(model.intercept_, other.intercept_, atol=2e-5)


@pytest.mark.parametrize(("name", "classes"), [("logistic", 2), ("softmax", 3)])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("balanced", [None, "balanced"])
def test_logistic_regression(name, classes, fit_intercept, balanced):
    X, y, weight = problem(classes)
    counts = np.bincount(y, weight)
    each = weight * (weight.sum() / (classes * counts[y]) if balanced else 1)
    options = {"fit_intercept": fit_intercept, "class_weight": balanced}
    ours = LinearClassifier(l2=10 / each.sum(), **options, **EXACT).fit(X, y, weight)
    theirs = linear_model.LogisticRegression(C=0.1, tol=1e-10, fit_intercept=fit_intercept).fit(X, y, each)
    values = [objective(name, model, X, y, each, 10 / each.sum()) for model in (ours, theirs)]
    assert abs(values[0] - values[1]) <= 1e-9 * values[1]
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-5)


def test_ridge():
    X, y, weight = numbers()
    check_optimum(
        "squared_error", LinearRegressor(), linear_model.Ridge(7.0), X, y, weight, 14 / weight.sum()
    )


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("poisson", linear_model.PoissonRegressor(alpha=0.3, tol=1e-10)),
        ("gamma", linear_model.GammaRegressor(alpha=0.3, tol=1e-10)),
        ("tweedie", linear_model.TweedieRegressor(power=1.5, alpha=0.3, tol=1e-10, link="log")),
    ],
)
def test_losses_of_counts_have_a_log_link(name, other):
    X, y, weight = numbers(name)
    model = LinearRegressor(name)
    check_optimum(name, model, other, X, y, weight, 0.3)
    np.testing.assert_allclose(model.predict(X), other.predict(X), rtol=1e-5)


def test_linear_svc():
    X, y, weight = problem()
    other = LinearSVC(C=0.1, dual=False, fit_intercept=False, tol=1e-10)
    model = LinearClassifier("squared_hinge", fit_intercept=False)
    check_optimum("squared_hinge", model, other, X, y, weight, 10 / weight.sum())


def test_losses_for_regression_take_the_classes_as_one_and_minus_one():
    X, y, weight = problem()
    l2 = 6 / weight.sum()
    model = LinearClassifier("squared_error", l2=l2, **EXACT).fit(X, y, weight)
    other = linear_model.RidgeClassifier(alpha=3.0).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_[0], np.ravel(other.coef_), atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "name"),
    [(fl.huber.bind(delta=0.3), "huber"), (fl.pseudo_huber.bind(delta=0.3), "soft_l1")],
)
def test_losses_with_parameters(loss, name):
    X, y, _ = numbers()
    design = np.column_stack([X, np.ones(len(X))])
    found = least_squares(
        lambda w: design @ w - y, np.zeros(6), loss=name, f_scale=0.3, xtol=1e-15, ftol=1e-15, gtol=1e-12
    )
    model = LinearRegressor(loss, l2=0, **EXACT).fit(X, y)
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), found.x, atol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", [*fl.losses()["regression"], *fl.losses()["count"]])
def test_every_loss_for_regression(name):
    X, y, _ = numbers(name)
    model = LinearRegressor(name).fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    value, grad, grad_intercept = fl.linear.value_and_grad(name, X, y, model.coef_, model.intercept_, l2=1e-4)
    assert value == pytest.approx(model.loss_curve_[-1], rel=1e-12)
    assert not fl.get(name).traits.smooth or max(np.abs(grad).max(), abs(grad_intercept)) <= 1e-4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "name", sorted({*fl.losses()["binary"]} - {"brier", "binary_cross_entropy", "perceptron"})
)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_loss_for_classes(name, classes):
    X, y, weight = problem(classes)
    labels = np.array(["red", "green", "blue"])[y]
    model = LinearClassifier(name).fit(X, labels, weight)
    assert model.score(X, labels) > 0.7
    assert model.coef_.shape == (1 if classes == 2 else 3, 5)
    assert not fl.get(name).traits.smooth or model.n_iter_ < 200


def test_each_class_against_the_rest():
    X, y, weight = problem(3)
    model = LinearClassifier("squared_hinge", **EXACT).fit(X, y, weight)
    for k in range(3):
        one = LinearClassifier("squared_hinge", **EXACT).fit(X, y == k, weight)
        np.testing.assert_array_equal(model.coef_[k], one.coef_[0])
        np.testing.assert_allclose(model.decision_function(X)[:, k], one.decision_function(X), atol=1e-12)
    logistic = LinearClassifier(multi_class="ovr").fit(X, y)
    odds = 1 / (1 + np.exp(-logistic.decision_function(X)))
    np.testing.assert_allclose(logistic.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), rtol=1e-12)


def test_two_classes_by_the_softmax():
    """Each of two rows of coefficients has a quarter of the squared norm of their difference."""
    X, y, _ = problem()
    softmax = LinearClassifier("softmax_cross_entropy", l2=0.2, **EXACT).fit(X, y)
    logistic = LinearClassifier(l2=0.1, **EXACT).fit(X, y)
    assert softmax.coef_.shape == (1, 5)
    np.testing.assert_allclose(softmax.coef_, logistic.coef_, atol=1e-7)
    np.testing.assert_allclose(softmax.predict_proba(X), logistic.predict_proba(X), atol=1e-7)
    assert softmax.set_params(warm_start=True).fit(X, y).n_iter_ <= 1


# ---- data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", [csr_array, csr_matrix])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["regressor", "binary", "multinomial", "ovr"])
def test_sparse_equals_dense(kind, matrix, fit_intercept):
    X, y, weight = problem(2 if kind in ("regressor", "binary") else 3)
    X *= np.random.default_rng(2).random(X.shape) < 0.4
    model = LinearRegressor("huber") if kind == "regressor" else LinearClassifier()
    if kind == "ovr":
        model.set_params(multi_class="ovr")
    model.set_params(l2=0.01, fit_intercept=fit_intercept, **EXACT)
    dense, sparse = (clone(model).fit(data, y, weight) for data in (X, matrix(X)))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-8)
    np.testing.assert_allclose(sparse.intercept_, dense.intercept_, atol=1e-8)
    np.testing.assert_allclose(sparse.predict(matrix(X)), dense.predict(X), atol=1e-8)
    assert sparse.loss_curve_[-1] == pytest.approx(dense.loss_curve_[-1], rel=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "welsch", "poisson"])
def test_weights_are_repetitions(loss):
    X, y, _ = numbers("poisson")
    weight = np.arange(300) % 4
    weighted = LinearRegressor(loss, **EXACT).fit(X, y, weight)
    repeated = LinearRegressor(loss, **EXACT).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert weighted.loss_curve_[0] == pytest.approx(repeated.loss_curve_[0], rel=1e-13)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-7)


def test_weights_of_classes_are_weights_of_rows():
    X, y, weight = problem(3)
    factors = {0: 2.0, 2: 0.5}
    model = LinearClassifier(class_weight=factors, **EXACT).fit(X, y, weight)
    other = LinearClassifier(**EXACT).fit(X, y, weight * np.array([2, 1, 0.5])[y])
    np.testing.assert_array_equal(model.coef_, other.coef_)


@pytest.mark.parametrize("model", [LinearRegressor("huber"), LinearClassifier()])
def test_float32_stays(model):
    X, y, _ = problem()
    wanted = model.fit(X, y).coef_
    model = clone(model).fit(X.astype(np.float32), y)
    assert model.coef_.dtype == np.float32
    np.testing.assert_allclose(model.coef_, wanted, atol=1e-3)


def test_probabilities_keep_their_tails():
    X, y = np.array([[-1.0], [1.0]]), [0, 1]
    model = LinearClassifier().fit(X, y)
    model.coef_ = np.array([[800.0]])
    np.testing.assert_array_equal(model.predict_log_proba(X), [[0, -800], [-800, 0]])
    exponential = LinearClassifier("exponential").fit(X, y)
    odds = np.diff(exponential.predict_log_proba(X), axis=1)[:, 0]
    np.testing.assert_allclose(odds, 2 * exponential.decision_function(X), rtol=1e-12)


def test_losses_without_probabilities():
    X, y, _ = problem()
    model = LinearClassifier("squared_hinge").fit(X, y)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "predict_log_proba")
    assert hasattr(LinearClassifier(), "predict_proba")


# ---- the course of a fit --------------------------------------------------------------------------------


def test_the_curve():
    X, y, weight = problem()
    model = LinearClassifier(l2=0.1).fit(X, y, weight)
    assert model.loss_curve_.shape == (model.n_iter_ + 1,)
    assert model.loss_curve_[0] == pytest.approx(np.log(2), rel=1e-12)
    assert (np.diff(model.loss_curve_) < 0).all()
    assert model.loss_curve_[-1] == pytest.approx(
        float(objective("logistic", model, X, y, weight, 0.1)), rel=1e-12
    )


def test_too_few_iterations():
    X, y, _ = problem()
    model = LinearClassifier(max_iter=2)
    with pytest.warns(
        ConvergenceWarning, match=r"^LinearClassifier has not converged after 2 iterations.*scale"
    ):
        model.fit(X, y)
    assert model.n_iter_ == 2


def test_kinks_are_named():
    X, y, _ = problem()
    with pytest.warns(ConvergenceWarning, match="hinge has kinks.*squared_hinge has none"):
        LinearClassifier("hinge", max_iter=3).fit(X, y)


@pytest.mark.parametrize(
    "model", [LinearRegressor("huber"), LinearClassifier(), LinearClassifier("squared_hinge")]
)
def test_a_warm_start_continues(model):
    X, y, _ = problem(3)
    model = clone(model).set_params(warm_start=True).fit(X, y)
    before = model.n_iter_
    assert model.fit(X, y).n_iter_ == 0 < before
    with pytest.raises(ValueError, match="set warm_start=False"):
        model.fit(X[:, :3], y)


def test_a_failed_fit_keeps_the_model():
    X, y, _ = problem()
    model = LinearRegressor("poisson").fit(X, y)
    coef = model.coef_
    with pytest.raises(ValueError, match="poisson: y_true must be >= 0.*at index 0"):
        model.fit(X, y - 1.0 * (np.arange(300) == 0) * (y + 1))
    assert model.coef_ is coef


@pytest.mark.parametrize("seed", range(5))
def test_a_line_search_comes_back_into_the_domain(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(300, 3))
    y = np.exp(0.3 * X @ [1, -1, 0.5] + 0.1 * rng.normal(size=300))
    model = LinearRegressor("squared_log_error", l2=0, tol=1e-6).fit(X, y)
    score = X @ model.coef_ + model.intercept_
    slope = 2 * (np.log1p(score) - np.log1p(y)) / (1 + score)
    assert score.min() > -1
    np.testing.assert_allclose(slope @ np.column_stack([X, np.ones(300)]) / 300, 0, atol=2e-6)


def test_one_class_alone():
    with pytest.raises(ValueError, match="y has one class alone, 1.0; a classifier needs at least two"):
        LinearClassifier().fit(np.ones((3, 1)), np.ones(3))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (LinearRegressor("huberr"), ValueError, "did you mean 'huber'"),
        (LinearRegressor(3), TypeError, "loss must be a loss of fastloss or its name, got 3"),
        (LinearRegressor("hinge"), ValueError, "hinge is a loss of classes; use LinearClassifier"),
        (LinearClassifier("poisson"), ValueError, "poisson is a loss of counts; use LinearRegressor"),
        (LinearClassifier("brier"), ValueError, "brier takes probabilities.*use loss='logistic'"),
        (
            LinearClassifier("perceptron"),
            ValueError,
            "perceptron is 0 with coefficients 0.*use loss='squared_hinge'",
        ),
        (LinearClassifier("softmax_focal"), ValueError, "softmax_focal is a loss of rows"),
        (LinearClassifier(solver="adam"), ValueError, "solver must be 'auto', 'lbfgs' or 'sgd', got 'adam'"),
        (LinearClassifier(solver="lbfgs", l1=1), ValueError, "solver='lbfgs' has no l1.*pass solver='sgd'"),
        (LinearClassifier(l2=-1), ValueError, "l2 must be >= 0, got -1"),
        (LinearClassifier(tol=None), TypeError, "tol must be a real number"),
        (LinearClassifier(max_iter=0), ValueError, "max_iter must be a whole number > 0, got 0"),
        (LinearClassifier(max_iter=np.inf), ValueError, "max_iter must be finite"),
        (LinearClassifier(max_iter=1.5), ValueError, "max_iter must be a whole number > 0, got 1.5"),
        (
            LinearClassifier(multi_class="all"),
            ValueError,
            "multi_class must be 'auto', 'multinomial' or 'ovr'",
        ),
        (
            LinearClassifier("hinge", multi_class="multinomial"),
            ValueError,
            "needs loss='logistic'.*use 'ovr'",
        ),
        (LinearClassifier("softmax_cross_entropy", multi_class="ovr"), ValueError, "needs loss='logistic'"),
        (LinearClassifier(class_weight="equal"), ValueError, "class_weight"),
    ],
)
def test_parameters_that_are_refused(model, error, message):
    X, y, _ = problem()
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize(
    ("weight", "message"),
    [(-1.0, "must be >= 0"), (0.0, "(is 0 for all rows|must contain at least one non-zero)")],
)
def test_weights_that_are_refused(weight, message):
    X, y, _ = problem()
    with pytest.raises(ValueError, match=f"(?i)^sample.weights? {message}"):
        LinearClassifier().fit(X, y, np.full(300, weight))


# ---- with the rest of scikit-learn ----------------------------------------------------------------------


def test_pipeline_grid_search_pickle():
    X, y, _ = numbers()
    grid = {
        "linearregressor__loss": ["squared_error", fl.huber.bind(delta=0.1)],
        "linearregressor__l2": [0, 1],
    }
    search = GridSearchCV(make_pipeline(StandardScaler(), LinearRegressor()), grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.5
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert clone(search.best_estimator_[-1]).loss == search.best_params_["linearregressor__loss"]


def test_scikit_learn_is_imported_for_the_estimators_alone():
    assert run("import sys, fastloss\nprint({'sklearn', 'scipy'} & set(sys.modules))") == "set()\n"


@pytest.mark.parametrize("missing", ["sklearn", "scipy"])
def test_without_scikit_learn(missing):
    code = f"import sys\nsys.modules[{missing!r}] = None\n"
    code += "try:\n    import fastloss.estimators\nexcept ImportError as error:\n    print(error)"
    assert 'pip install "fastloss[sklearn]"' in run(code)


@pytest.fixture
def pyplot():
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
    matplotlib.use(before)


def test_the_display(pyplot):
    X, y, _ = problem()
    model = make_pipeline(StandardScaler(), LinearClassifier()).fit(X, y)
    display = LossCurveDisplay.from_estimator(model, color="red")
    np.testing.assert_array_equal(display.line_.get_ydata(), model[-1].loss_curve_)
    assert (display.line_.get_label(), display.line_.get_color()) == ("LinearClassifier", "red")
    other = LossCurveDisplay.from_estimator(model[-1], ax=display.ax_, name="again")
    assert other.ax_ is display.ax_
    assert other.figure_ is display.figure_
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["LinearClassifier", "again"]
    assert LossCurveDisplay([3.0, 2.0]).plot().ax_.get_legend() is None
    with pytest.raises(AttributeError, match="LinearClassifier has no loss_curve_; fit it first"):
        LossCurveDisplay.from_estimator(LinearClassifier())


def test_the_display_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        LossCurveDisplay([1.0]).plot()
