"""The estimators with solver="sgd": scikit-learn's checks, the optimum of L-BFGS, partial_fit, histories, errors."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import pickle

import matplotlib
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastloss as fl
from fastloss.estimators import LinearClassifier, LinearRegressor, LossCurveDisplay

REGRESSOR = LinearRegressor(solver="sgd", random_state=0)
CLASSIFIER = LinearClassifier(solver="sgd", multi_class="ovr", random_state=0)
SOFTMAX = LinearClassifier("softmax_cross_entropy", solver="sgd", random_state=0)
REACH_NO_OTHER_CODE = pytest.mark.not_sanitized("minutes in code that the other tests reach")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # 12 rows may take long
@parametrize_with_checks([LinearRegressor(solver="sgd"), LinearClassifier(solver="sgd")])
@REACH_NO_OTHER_CODE
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        LinearRegressor("poisson", solver="sgd"),
        LinearRegressor(fl.huber.bind(delta=2.0), l1=1e-4),
        LinearClassifier(solver="sgd", multi_class="ovr"),
        LinearClassifier("hinge", solver="sgd", momentum=0.9, average=True),
    ]
)
@REACH_NO_OTHER_CODE
def test_the_checks_of_scikit_learn_with_other_options(estimator, check):
    check(estimator)


def problem(classes=2, rows=300, columns=5):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns))
    scores = X @ rng.normal(size=(columns, classes)) + rng.normal(size=(rows, classes))
    return X, scores.argmax(axis=1), rng.uniform(0.5, 2, rows)


def blocks(n, *arrays):
    return zip(*(np.array_split(a, n) for a in arrays), strict=True)


# ---- what is found --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "squared_hinge", "squared_error"])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"schedule": "cosine", "max_iter": 100, "tol": 0}]
)
def test_it_comes_near_the_optimum(loss, options):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = LinearClassifier(loss, l2=1e-2, solver="sgd", random_state=0, **options).fit(X, y)
    exact = LinearClassifier(loss, l2=1e-2, tol=1e-8).fit(X, y)
    labels = np.where(y, 1, -1 if loss == "squared_error" else 0)
    values = [
        fl.linear.value_and_grad(loss, X, labels, m.coef_[0], m.intercept_[0], l2=1e-2)[0]
        for m in (model, exact)
    ]
    assert values[0] < 1.1 * values[1]  # columns nearly depend on one another
    assert model.score(X, y) > 0.94


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_learning_rate_fits_scales(scale):
    X, y = load_diabetes(return_X_y=True)
    X = scale * StandardScaler().fit_transform(X)
    y = y - y.mean()  # an intercept would have a scale of its own
    model = clone(REGRESSOR).set_params(l2=0, fit_intercept=False).fit(X, y)
    assert model.score(X, y) > np.linalg.lstsq(X, y)[1][0] * -1.02 / (y @ y) + 1


def test_parameters_are_those_of_sgd():
    X, y, weight = problem()
    options = {"l2": 0.01, "l1": 0.001, "batch_size": 20, "shuffle": "blocks", "momentum": 0.5, "average": 7}
    model = LinearClassifier(
        solver="sgd", learning_rate=0.1, schedule="invscaling", random_state=3, max_iter=9, tol=0, **options
    )
    with pytest.warns(
        ConvergenceWarning, match=r"^LinearClassifier has not converged after 9 epochs.*raise max_iter"
    ):
        model.fit(X, y, weight)
    coef, intercept = np.zeros(5), np.zeros(1)
    seed = np.random.RandomState(3).randint(2**31)
    history = fl.linear.sgd(
        "logistic", X, y, coef, intercept, lr=0.1, schedule="invscaling", seed=seed, epochs=9, sample_weight=weight,
        tol=None, **options,
    )  # fmt: skip
    np.testing.assert_array_equal(model.coef_[0], coef)
    np.testing.assert_array_equal(model.intercept_, intercept)
    assert model.history_.loss == history.loss == model.loss_curve_.tolist()
    assert model.n_iter_ == 9


def test_l1_makes_zeros_and_chooses_the_solver():
    X, y, _ = problem()
    X[:, 3:] = np.random.default_rng(5).normal(size=(300, 2))
    model = LinearClassifier(l1=0.05, batch_size=300, random_state=0).fit(X, y)
    assert (model.coef_[0, 3:] == 0).all()
    assert (model.coef_[0, :3] != 0).any()
    assert hasattr(model, "history_")
    assert not hasattr(LinearClassifier().fit(X, y), "history_")


def test_each_class_against_the_rest():
    X, y, weight = problem(3)
    labels = np.array(["red", "green", "blue"])[y]
    model = clone(CLASSIFIER).fit(X, labels, weight)
    for k, name in enumerate(model.classes_):
        one = clone(CLASSIFIER).fit(X, labels == name, weight)
        np.testing.assert_array_equal(model.coef_[k], one.coef_[0])
    assert [len(history.loss) for history in model.history_] == [
        len(history.loss) for history in model.history_
    ]
    assert model.n_iter_ == max(len(history.loss) for history in model.history_)
    assert model.predict_proba(X).shape == (300, 3)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_all_classes_together(classes, fit_intercept):
    X, y, weight = problem(classes)
    labels = np.array(["red", "green", "blue"])[y]
    options = {"fit_intercept": fit_intercept, "l2": 0.01, "tol": 1e-8}
    model = clone(SOFTMAX).set_params(batch_size=300, **options).fit(X, labels, weight)
    exact = LinearClassifier("softmax_cross_entropy", **options).fit(X, labels, weight)
    assert model.coef_.shape == exact.coef_.shape
    np.testing.assert_allclose(model.predict_proba(X), exact.predict_proba(X), atol=1e-3)
    assert model.history_.loss == model.loss_curve_.tolist()


@pytest.mark.parametrize("model", [CLASSIFIER, SOFTMAX])
def test_sparse_and_float32(model):
    X, y, weight = problem(3)
    X *= np.random.default_rng(2).random(X.shape) < 0.4
    dense = clone(model).fit(X, y, weight)
    np.testing.assert_allclose(clone(model).fit(csr_array(X), y, weight).coef_, dense.coef_, atol=1e-9)
    single = clone(model).fit(X.astype(np.float32), y, weight)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, dense.coef_, atol=0.01)


def test_random_state():
    X, y, _ = problem()
    first, same, other = (
        clone(CLASSIFIER).set_params(random_state=seed).fit(X, y).coef_ for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_row_that_the_trials_have_not_seen():
    """Every second row is tried; another one makes the rate diverge, and is tried as well."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    X[101] *= 1e6
    y = X @ [1.0, 2, 3] + rng.normal(size=3000)
    with pytest.raises(fl.linear.DivergenceError):
        fl.linear.sgd("squared_error", X, y, np.zeros(3), lr="auto")
    model = clone(REGRESSOR).set_params(fit_intercept=False, max_iter=20).fit(X, y)
    assert np.isfinite(model.coef_).all()
    with pytest.raises(fl.linear.DivergenceError, match="lower it"):
        clone(REGRESSOR).set_params(learning_rate=1.0).fit(X, y)


# ---- further rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("average", [False, True])
def test_partial_fit_is_a_stream(average):
    X, y, weight = problem(rows=320)
    options = {"batch_size": 20, "shuffle": None, "momentum": 0.9, "l2": 0.01, "average": average}
    model = LinearClassifier(solver="sgd", learning_rate=0.02, schedule="constant", **options)
    for part in blocks(4, X, y, weight):
        model.partial_fit(*part[:2], [0, 1], part[2])
        model = pickle.loads(pickle.dumps(model))
    coef, intercept = np.zeros(5), np.zeros(1)
    stream = list(blocks(4, X, y, weight))
    history = fl.linear.sgd("logistic", stream, None, coef, intercept, lr=0.02, epochs=1, tol=None, **options)
    np.testing.assert_array_equal(model.coef_[0], coef)
    np.testing.assert_array_equal(model.intercept_, intercept)
    assert len(model.loss_curve_) == model.n_iter_ == 4
    assert model.history_.steps == history.steps == 16
    assert model.loss_curve_ @ weight.reshape(4, 80).sum(axis=1) == pytest.approx(
        history.loss[0] * weight.sum()
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", [CLASSIFIER, SOFTMAX])
def test_partial_fit_learns(classes, model):
    X, y, _ = problem(classes, 3000)
    labels = np.array(["red", "green", "blue"])[y]
    order = np.argsort(labels[:600], kind="stable")
    model = clone(model)
    with pytest.raises(ValueError, match="the first call of partial_fit needs classes="):
        model.partial_fit(X, labels)
    model.partial_fit(
        X[order[:50]], labels[order[:50]], ["red", "green", "blue"][:classes]
    )  # of one class alone
    for part in blocks(10, X, labels):
        model.partial_fit(*part)
    exact = LinearClassifier().fit(X, labels)
    assert model.score(X, labels) > exact.score(X, labels) - 0.02
    rate = np.atleast_1d(model.history_)[0].learning_rate
    assert (np.diff(rate) < 0).all()
    with pytest.raises(ValueError, match="y has 'white', which is not in classes"):
        model.partial_fit(X[:2], ["red", "white"])
    with pytest.raises(ValueError, match="are not those of the calls before"):
        model.partial_fit(X[:2], labels[:2], ["red", "white"])


def test_partial_fit_of_numbers_and_behind_a_fit():
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = clone(REGRESSOR)
    for _ in range(20):
        for part in blocks(3, X, y):
            model.partial_fit(*part)
    exact = LinearRegressor().fit(X, y)
    assert model.score(X, y) > exact.score(X, y) - 0.01
    fitted = clone(REGRESSOR).fit(X, y)
    assert fitted.partial_fit(X, y).n_iter_ == len(fitted.loss_curve_)
    assert fitted.history_.steps > fitted.n_iter_
    continued = exact.set_params(solver="sgd", learning_rate=0.0).partial_fit(X, y)
    np.testing.assert_array_equal(continued.coef_, LinearRegressor().fit(X, y).coef_)


def test_a_failed_partial_fit_keeps_the_model():
    X, y, _ = problem(3)
    model = clone(CLASSIFIER).partial_fit(X, y, [0, 1, 2])
    before = pickle.dumps(model)
    infinite = np.tile(1e308 * np.sign(model.coef_[0]), (300, 1))  # scores of the first class
    for bad in ((X[:, :4], y), (infinite, y), (X, y + 1)):
        with pytest.raises((ValueError, FloatingPointError)):
            model.partial_fit(*bad)
        assert pickle.dumps(model) == before


def test_partial_fit_needs_sgd():
    assert not hasattr(LinearClassifier(), "partial_fit")
    assert hasattr(LinearClassifier(l1=0.1), "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit"):
        LinearRegressor().partial_fit  # noqa: B018


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_stopping": True}, "early_stopping=True needs several epochs"),
        ({"schedule": "cosine"}, "schedule='cosine' needs several epochs"),
        ({"class_weight": "balanced"}, "class_weight='balanced' needs all labels.*pass a dict"),
        ({"learning_rate": "fast"}, "lr must be a number, a function of the step or 'auto'"),
        ({"batch_size": 0}, "batch_size must be >= 1"),
        ({"l1": -1.0}, "l1 must be >= 0"),
    ],
)
def test_parameters_that_are_refused(options, message):
    X, y, _ = problem(3)
    model = clone(CLASSIFIER).set_params(**options)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, y, [0, 1, 2])
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "classes_")


def test_weights_of_classes():
    X, y, _ = problem(rows=64)
    factors = {0: 3.0, 1: 0.5}
    model = clone(CLASSIFIER).set_params(class_weight=factors).partial_fit(X, y, [0, 1])
    other = clone(CLASSIFIER).partial_fit(X, y, [0, 1], np.where(y, 0.5, 3.0))
    np.testing.assert_array_equal(model.coef_, other.coef_)


# ---- its course -----------------------------------------------------------------------------------------


def test_early_stopping():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 60)), rng.integers(0, 2, 100)
    model = clone(CLASSIFIER).set_params(early_stopping=True, validation_fraction=0.3, l2=0.0).fit(X, y)
    assert model.validation_loss_curve_.tolist() == model.history_.validation_loss
    assert model.history_.best_epoch == model.validation_loss_curve_.argmin()
    late = clone(CLASSIFIER).set_params(l2=0.0).fit(X, y)
    assert model.history_.best_epoch < model.n_iter_ - 1
    assert not hasattr(late, "validation_loss_curve_")
    assert not hasattr(model.set_params(early_stopping=False).fit(X, y), "validation_loss_curve_")


def test_a_warm_start_continues():
    X, y, _ = problem()
    model = clone(CLASSIFIER).set_params(warm_start=True).fit(X, y)
    first = model.loss_curve_
    assert model.fit(X, y).loss_curve_[0] < (first[0] + first[-1]) / 2


def test_verbose(capfd):
    pytest.importorskip("rich")
    X, y, _ = problem()
    model = clone(CLASSIFIER).set_params(verbose=True).fit(X, y)
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{model.n_iter_}/1000 epochs" in err


def test_ctrl_c_keeps_the_model_before(monkeypatch):
    X, y, _ = problem()
    model = clone(CLASSIFIER).fit(X, y)
    before = model.coef_

    def interrupted(*_, **__):
        return fl.linear.History(stopped="interrupted")

    monkeypatch.setattr("fastloss.linear._solve.descend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.coef_ is before


def test_the_display_has_both_curves():
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    X, y, _ = problem()
    model = make_pipeline(StandardScaler(), clone(CLASSIFIER).set_params(early_stopping=True)).fit(X, y)
    display = LossCurveDisplay.from_estimator(model, color="red")
    np.testing.assert_array_equal(display.line_.get_ydata(), model[-1].loss_curve_)
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), model[-1].validation_loss_curve_)
    assert display.line_.get_xdata()[0] == 1
    assert (display.validation_line_.get_color(), display.validation_line_.get_linestyle()) == ("red", "--")
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Epoch", "Loss")
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["LinearClassifier", "LinearClassifier, validation"]
    pyplot.close("all")
    matplotlib.use(before)
