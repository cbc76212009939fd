"""What each loss says of itself, against what its values and derivatives show."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from references import REFERENCES
from row_references import ALL_ROW_REFERENCES as ROW_REFERENCES

import fastloss as fl
from fastloss._core import RowLoss
from fastloss.traits import Traits

FAR = 20.0
LABELS = {
    "real": [0.0, 1.5, -2.25],
    "above_minus_one": [0.0, 3.0, -0.5],
    "nonnegative": [0.0, 1.0, 4.5],
    "positive": [0.5, 1.0, 4.5],
    "binary": [0.0, 1.0, -1.0],
    "probability": [0.0, 1.0, 0.25],
}
# Parameters beside those of the references, where a trait changes.
MORE = {
    "poly1": [{"epsilon": 1.0}, {"epsilon": -1.0}, {"epsilon": 1.5}, {"epsilon": -1.5}],
    "multi_margin": [{"p": 2}],
    "barron": [{"alpha": 0.9}],
}


def variants(names):
    for name in names:
        given = (REFERENCES.get(name) or ROW_REFERENCES[name]).params
        for params in [*given, *MORE.get(name, ())]:
            yield pytest.param(fl.get(name, **params), id=f"{name}-{params}")


@pytest.fixture(params=variants([*REFERENCES, *ROW_REFERENCES]))
def loss(request):
    """Every loss with every set of parameters."""
    return request.param


@pytest.fixture(params=variants(REFERENCES))
def pointwise(request):
    return request.param


@pytest.fixture(params=variants(ROW_REFERENCES))
def rowwise(request):
    return request.param


def labels_of(loss):
    return LABELS[loss.traits.labels]


def ends(loss):
    """The range of y_pred to look at."""
    if loss.traits.takes == "probabilities":
        return 0.01, 0.99
    return (-0.9, FAR) if loss.traits.labels == "above_minus_one" else (-FAR, FAR)


def slope_along(loss, label, start, direction):
    """The derivative along a line through a row of y_pred, as a function of the place on it."""

    def slope(t):
        points = start + np.multiply.outer(t, direction)
        labels = np.broadcast_to(label, points.shape if np.ndim(label) else points.shape[:-1])
        return loss.grad(labels, points, reduction="none") @ direction

    return slope


def lines(loss):
    """Slopes along lines through the domain, as functions of one number, with the ends of the line."""
    if not isinstance(loss, RowLoss):
        for y in labels_of(loss):
            yield lambda p, y=y: loss.grad(np.full_like(p, y), p, reduction="none"), *ends(loss)
        return
    rng = np.random.default_rng(0)
    distributions = loss.traits.labels == "distribution"
    for _ in range(40):
        label = rng.dirichlet(np.ones(4)) if distributions else np.int64(rng.integers(4))
        if loss.traits.takes == "probabilities":
            a, b = rng.dirichlet(np.ones(4), 2)
            yield slope_along(loss, label, a, b - a), 0.01, 0.99
        else:
            start = rng.normal(size=4) * 3 + rng.choice([-200.0, 0.0, 0.0])
            yield slope_along(loss, label, start, rng.normal(size=4)), -10.0, 10.0


# ---- what the values are --------------------------------------------------------------------------------


def test_values_are_those_that_the_types_name(loss):
    for name, kind in get_type_hints(Traits).items():
        value, options = getattr(loss.traits, name), get_args(kind) or (kind,)
        literals = [
            x for option in (kind, *options) if get_origin(option) is Literal for x in get_args(option)
        ]
        types = tuple(option for option in options if isinstance(option, type))
        assert value in literals or isinstance(value, types), name


def test_traits_are_fixed_and_picklable(loss):
    traits = loss.traits
    with pytest.raises(FrozenInstanceError):
        traits.smooth = False
    assert pickle.loads(pickle.dumps(traits)) == traits == loss.bind().traits


def test_they_are_those_of_the_present_parameters():
    assert fl.barron.traits.convex
    assert not fl.barron.bind(alpha=0.5).traits.convex
    assert fl.barron.traits.hessian == "majorize"
    assert fl.barron.bind(alpha=2.0).traits.hessian == "exact"
    assert fl.smooth_l1.traits.smooth_relative is None
    assert fl.smooth_l1.bind(beta=0).traits.smooth_relative == "pseudo_huber"
    assert fl.logistic.bind(pos_weight=2.0).traits.several_classes is None


def test_an_unknown_trait_is_refused():
    from fastloss.traits import Declared

    with pytest.raises(TypeError):
        Declared(convecks=True)
    with pytest.raises(TypeError):
        Declared(convecks=lambda params: True)


# ---- what it takes ----------------------------------------------------------------------------------------


REFUSED = {
    "real": [],
    "above_minus_one": [-1.0],
    "nonnegative": [-0.5],
    "positive": [0.0, -0.5],
    "binary": [0.5, 2.0],
    "probability": [-1.0, 1.5],
}


def test_labels_and_domain(pointwise):
    p = np.full(1, 0.5)
    for y in labels_of(pointwise):
        assert np.isfinite(pointwise([y], p))
    for y in REFUSED[pointwise.traits.labels]:
        with pytest.raises(ValueError, match="y_true ") as refusal:
            pointwise([y], p)
        assert pointwise.traits.domain
        assert pointwise.traits.domain in str(refusal.value)
    for y in LABELS[pointwise.traits.labels]:
        if pointwise.traits.takes == "probabilities":
            with pytest.raises(ValueError, match="probabilities"):
                pointwise([y], [1.5])
        elif pointwise.traits.takes == "scores":
            assert np.isfinite(pointwise([y, y], [-30.0, 30.0]))


def test_labels_and_domain_of_rows(rowwise):
    rows = np.array([[0.25, 0.5, 0.25]])
    if rowwise.traits.labels == "class":
        assert np.isfinite(rowwise([1], rows))
    else:
        assert np.isfinite(rowwise(rows, rows))
        with pytest.raises(ValueError, match="y_true"):
            rowwise([1], rows)
    y = rows if rowwise.traits.labels == "distribution" else [1]
    if rowwise.traits.takes == "probabilities":
        with pytest.raises(ValueError, match="probabilities") as refusal:
            rowwise(y, 3 * rows)
        assert rowwise.traits.domain in str(refusal.value)
    else:
        assert np.isfinite(rowwise(y, 30 * rows - 20))


# ---- predictions ------------------------------------------------------------------------------------------


def test_link(pointwise):
    """The best y_pred for a label, found on a grid, is the link of the label."""
    link, step = pointwise.traits.link, 0.0078125
    low, high = ends(pointwise)
    grid = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    for y in labels_of(pointwise):
        values = pointwise(np.full_like(grid, y), grid, reduction="none")
        best = grid[values.argmin()]
        if link == "identity":
            want = min(max(y, grid[0]), grid[-1])
            tube = pointwise.params.get("epsilon") or 0  # no value in it is better than another
            assert values[np.abs(grid - want) < step].min() == values.min()
            assert abs(best - want) <= tube + step
        elif link == "log" and y > 0:
            assert abs(best - np.log(y)) <= step
        elif link == "logit" and y in (0, 1):  # infinite: the surer, the better
            assert (np.diff(values) * (1 - 2 * y) > 0).all()
        elif link is None:
            assert values[values.argmin()] == 0  # reached at a finite score: no probability is 1 there


def test_link_of_rows(rowwise):
    """A softmax does not change when all scores of a row do alike."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    if rowwise.traits.link == "softmax" and not rowwise.params.get("z_loss"):
        values, moved = (rowwise(labels, scores + c, reduction="none") for c in (0, 1.5))
        np.testing.assert_allclose(values, moved, rtol=1e-12)
    elif rowwise.traits.link == "identity" and rowwise.traits.takes == "scores":
        assert rowwise(labels, np.eye(4)[labels]) == 0
    elif rowwise.traits.link is None:
        assert rowwise(labels, 9 * np.eye(4)[labels] - 4) == 0


def test_log_odds(pointwise):
    """The best score for rows of which a part is positive, found on a grid, against the log odds of the part."""
    if pointwise.traits.takes != "scores" or pointwise.traits.labels not in ("binary", "probability"):
        assert pointwise.traits.log_odds is None
        return
    if pointwise.params.get("pos_weight", 1) != 1:
        return
    grid = np.arange(-8, 8, 1e-4)
    parts = np.array([0.1, 0.3, 0.6, 0.99])
    positive, negative = (pointwise(np.full_like(grid, y), grid, reduction="none") for y in (1, 0))
    best = np.array([grid[(part * positive + (1 - part) * negative).argmin()] for part in parts])
    with np.errstate(divide="ignore"):
        multiples = np.log(parts / (1 - parts)) / best
    if pointwise.traits.log_odds is not None:
        np.testing.assert_allclose(multiples, pointwise.traits.log_odds, rtol=1e-3)
    elif pointwise.params.get("gamma") != 0:  # the focal loss that is logistic
        assert np.ptp(multiples) > 0.003 * abs(multiples).max()


def test_log_odds_of_rows(rowwise):
    """With the scores log(part) / log_odds of each class the gradient of the expected loss is 0."""
    if rowwise.traits.takes != "scores" or rowwise.traits.link != "softmax":
        assert rowwise.traits.log_odds is None
        return
    if rowwise.params.get("label_smoothing") or rowwise.params.get("z_loss"):
        return
    parts = np.array([0.1, 0.2, 0.3, 0.4])

    def slope(multiple):
        scores = np.tile(np.log(parts) / multiple, (4, 1))
        return np.abs(parts @ rowwise.grad(np.arange(4), scores, reduction="none")).max()

    found = [m for m in np.arange(1, 17) / 4 if slope(m) < 1e-12]
    plain = {"gamma": 0, "epsilon": 0, "q": 0}  # parameters that make it the cross-entropy
    if rowwise.traits.log_odds is not None:
        assert found == [rowwise.traits.log_odds]
    elif not any(rowwise.params.get(name) == value for name, value in plain.items()):
        assert not found


def test_losses_of_two_classes_and_of_several():
    scores, labels = np.linspace(-9, 9, 50), np.arange(50) % 2
    pairs = np.stack([-scores / 2, scores / 2], axis=1)
    named = [name for name in REFERENCES if fl.get(name).traits.several_classes]
    assert named == ["logistic"]
    for name in named:
        other = fl.get(fl.get(name).traits.several_classes)
        np.testing.assert_allclose(
            fl.get(name)(labels, scores, reduction="none"), other(labels, pairs, reduction="none"), rtol=1e-12
        )


def test_relatives(loss):
    traits = loss.traits
    assert (traits.smooth_relative is None) == traits.smooth
    assert (traits.of_scores is not None) == (traits.takes == "probabilities")
    if traits.smooth_relative:
        other = fl.get(traits.smooth_relative).traits
        assert other.smooth
        assert (other.takes, other.labels) == (traits.takes, traits.labels)
    if traits.of_scores:
        other = fl.get(traits.of_scores)
        assert other.traits.takes == "scores"
        assert other.family == loss.family


def test_linear(loss):
    """A linear model is fitted by pointwise losses of scores and the cross-entropy, unless 0 is their minimum."""
    traits = loss.traits
    can = traits.takes != "probabilities" and (
        not isinstance(loss, RowLoss) or loss.name == "softmax_cross_entropy"
    )
    if can and traits.labels == "binary":
        can = loss([0, 1], [0.0, 0.0]) > 0
    assert traits.linear == can == (not traits.not_linear)


# ---- shape ------------------------------------------------------------------------------------------------


def largest_jump(slope, low, high):
    """How much of the slope's change remains on the interval where it changes most, halved again and again."""
    grid = np.linspace(low, high, 4001)
    with np.errstate(all="ignore"):
        at = int(np.abs(np.diff(slope(grid))).argmax())
    a, b = grid[at], grid[at + 1]
    for _ in range(45):
        middle = (a + b) / 2
        left, center, right = slope(np.array([a, middle, b]))
        a, b = (a, middle) if abs(center - left) >= abs(right - center) else (middle, b)
    first, last = slope(np.array([a, b]))
    return abs(last - first) / (1 + abs(first))


def test_smooth(loss):
    jump = max(largest_jump(*line) for line in lines(loss))
    assert (jump < 1e-6) == loss.traits.smooth, jump


def test_convex(loss):
    """Along every line the slope never falls; along some line it does where the loss is not convex."""
    falls = 0.0
    for slope, low, high in lines(loss):
        slopes = slope(np.linspace(low, high, 2001))
        rounding = 1e-11 * np.abs(slopes[1:]) + 1e-13
        falls = max(falls, (-np.diff(slopes) / rounding).max())
    assert (falls <= 1) == loss.traits.convex, falls


def second_derivatives(loss):
    """Those on a grid, and for losses of residuals their ratio to that at the label."""
    if isinstance(loss, RowLoss):
        rng = np.random.default_rng(0)
        if loss.traits.takes == "probabilities":
            p, y = rng.dirichlet(np.ones(4), (2, 100))
            labels = np.eye(4)[rng.integers(0, 4, 100)] if loss.traits.labels == "distribution" else None
            return loss.grad_and_hess(y.argmax(1) if labels is None else labels, p, reduction="none")[1]
        scores = rng.normal(size=(400, 4)) * rng.choice([1, 6], (400, 1)) + rng.choice([-40, 0], (400, 1))
        return loss.grad_and_hess(rng.integers(0, 4, 400), scores, reduction="none")[1]
    found = []
    for y in labels_of(loss):
        low, high = ends(loss)
        if loss.traits.takes == "values":
            low, high = max(50 * low, -0.9 if loss.traits.labels == "above_minus_one" else -1e3), 50 * high
        grid = np.linspace(low, high, 2000)  # of an even number, so that it leaves out the kinks
        hessian = loss.grad_and_hess(np.full_like(grid, y), grid, reduction="none")[1]
        if loss.traits.takes == "values":
            center = loss.grad_and_hess([y], [y + 1e-3], reduction="none")[1]
            hessian = np.where(hessian < 0.1 * center, np.minimum(hessian, 0), hessian)
        found.append(hessian)
    return np.concatenate(found)


def test_hessian(loss):
    """'exact' has a second derivative above 0 and not far below that at the label, and the others have not."""
    hessian, kind = second_derivatives(loss), loss.traits.hessian
    curved = bool((hessian > 0).all())
    assert (kind == "exact") == (loss.traits.smooth and loss.traits.convex and curved)
    assert (kind == "unit") == (not loss.traits.smooth)
    if kind == "unit":
        assert not hessian.any()


def test_majorizing_parabolas(pointwise):
    """Through a point, with its slope, and level where the gradient is 0: above the loss everywhere."""
    unbounded = ("squared_log_error", "tweedie")  # no parabola is above them near -1, or far out
    if pointwise.traits.hessian != "majorize" or pointwise.traits.link == "logit":
        return
    low, high = ends(pointwise)
    grid = np.linspace(low, high, 1601)
    for y in labels_of(pointwise):
        if pointwise.traits.link == "log" and y <= 0:
            continue
        value, slope = pointwise.value_and_grad(np.full_like(grid, y), grid, reduction="none")
        if pointwise.traits.link is None:
            flat = grid[slope == 0]
        elif pointwise.traits.link == "log":
            flat = [np.log(y)]
        else:
            tube = pointwise.params.get("epsilon", 0)
            flat = [y - tube, y + tube]
        for i in range(0, grid.size, 40):
            nearest = min(flat, key=lambda c: abs(c - grid[i]))
            if abs(slope[i]) < 1e-200 or abs(grid[i] - nearest) < 0.02:
                continue
            curvature = slope[i] / (grid[i] - nearest)
            assert curvature > 0
            if pointwise.name not in unbounded:
                parabola = value[i] + curvature / 2 * ((grid - nearest) ** 2 - (grid[i] - nearest) ** 2)
                assert (parabola >= value - 1e-9 * (1 + np.abs(value))).all()
