"""fl.SGD: torch.optim.SGD's trajectories, in place, all or nothing."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

import fastloss as fl

RULES = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.8, "dampening": 0.1, "weight_decay": 0.01},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
]


def reference(rule, lr, start, gradient, steps, dtype):
    """The rule as its documentation states it, in long double."""
    w, velocity = start.astype(np.longdouble), None
    trajectory = []
    for _ in range(steps):
        d = gradient(w.astype(dtype)).astype(np.longdouble) + rule.get("weight_decay", 0) * w
        momentum = rule.get("momentum", 0)
        if momentum:
            velocity = d if velocity is None else momentum * velocity + (1 - rule.get("dampening", 0)) * d
            d = d + momentum * velocity if rule.get("nesterov") else velocity
        w = w - lr * d
        trajectory.append(w.astype(dtype))
    return trajectory


def curved(w):
    return (np.sin(3 * w) + w).astype(w.dtype)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("n", [1, 7, 16, 100, 5000])
def test_trajectories_over_100_steps(rule, n, dtype):
    start = np.random.default_rng(0).normal(size=n).astype(dtype)
    w, optimizer = start.copy(), fl.SGD(lr=0.05, **rule)
    tolerance = 200 * np.finfo(dtype).eps
    for want in reference(rule, 0.05, start, curved, 100, dtype):
        optimizer.update(w, curved(w))
        np.testing.assert_allclose(w, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_trajectories_equal_pytorch(rule, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    start = np.random.default_rng(1).normal(size=501).astype(dtype)
    theirs = torch.tensor(start.copy())
    other = torch.optim.SGD([theirs], lr=0.05, **rule)
    ours, optimizer = start.copy(), fl.SGD(lr=0.05, **rule)
    tolerance = 200 * np.finfo(dtype).eps
    for _ in range(100):
        theirs.grad = torch.tensor(curved(theirs.numpy()))
        other.step()
        optimizer.update(ours, curved(ours))
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_layouts_of_parameters_and_gradients(rule, dtype):
    rng = np.random.default_rng(2)
    start, slope = rng.normal(size=(2, 40, 61)).astype(dtype)
    wanted = start.copy()
    optimizer = fl.SGD(lr=0.1, **rule)
    for _ in range(3):
        optimizer.update(wanted, slope)
    around = np.full((80, 122), 7, dtype)
    views = [
        (np.asfortranarray(start), slope),
        (around[::2, ::2], np.asfortranarray(slope)),
        (start.copy()[::-1], slope[::-1]),
        (start.astype(np.dtype(dtype).newbyteorder()), slope.astype(np.dtype(dtype).newbyteorder())),
    ]
    views[1][0][:] = start
    for param, grad in views:
        flipped = param[::-1] if grad is views[2][1] else param
        optimizer = fl.SGD(lr=0.1, **rule)
        for _ in range(3):
            optimizer.update(param, grad)
        np.testing.assert_array_equal(flipped, wanted)
    around[::2, ::2] = 7
    assert (around == 7).all()


def test_lists_and_dicts(dtype):
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in ((3,), (2, 4), ())]
    grads = [rng.normal(size=a.shape).astype(dtype) for a in arrays]
    wanted = [a.copy() for a in arrays]
    for w, g in zip(wanted, grads, strict=True):
        one = fl.SGD(lr=0.1, momentum=0.9)
        one.update(w, g)
        one.update(w, g)
    listed, named = [a.copy() for a in arrays], {str(i): a.copy() for i, a in enumerate(arrays)}
    first, second = fl.SGD(lr=0.1, momentum=0.9), fl.SGD(lr=0.1, momentum=0.9)
    for _ in range(2):
        first.update(listed, grads)
        second.update(named, {str(i): g for i, g in enumerate(grads)})
    for w, a, b in zip(wanted, listed, named.values(), strict=True):
        np.testing.assert_array_equal(a, w)
        np.testing.assert_array_equal(b, w)


def test_a_gradient_may_be_the_parameter_or_overlap_it():
    w = np.arange(1.0, 5001.0)
    fl.SGD(lr=0.5).update(w, w)
    np.testing.assert_array_equal(w, np.arange(1.0, 5001.0) / 2)
    base = np.arange(1.0, 5002.0)
    want = base[1:] - 0.5 * base[:-1]
    fl.SGD(lr=0.5).update(base[1:], base[:-1])
    np.testing.assert_array_equal(base[1:], want)


def test_the_learning_rate_can_change():
    w, optimizer = np.array([1.0]), fl.SGD(lr=0.5)
    optimizer.update(w, np.array([1.0]))
    optimizer.lr = 0.25
    optimizer.update(w, np.array([1.0]))
    assert w == [0.25]
    optimizer.lr = -1.0
    with pytest.raises(ValueError, match="lr must be >= 0"):
        optimizer.update(w, np.array([1.0]))
    assert w == [0.25]


def test_state_dict_continues_a_run(dtype):
    start = np.random.default_rng(4).normal(size=50).astype(dtype)
    w, optimizer = start.copy(), fl.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    for _ in range(3):
        optimizer.update({"w": w}, {"w": curved(w)})
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    other, again = fl.SGD(lr=9.0), w.copy()
    other.load_state_dict(state)
    for _ in range(3):
        optimizer.update({"w": w}, {"w": curved(w)})
        other.update({"w": again}, {"w": curved(again)})
    np.testing.assert_array_equal(w, again)
    assert set(state) == {"lr", "momentum", "dampening", "weight_decay", "nesterov", "velocity"}
    assert list(state["velocity"]) == ["w"]
    copied = copy.deepcopy(optimizer)
    optimizer.update({"w": w}, {"w": curved(w)})
    copied.update({"w": again}, {"w": curved(again)})
    np.testing.assert_array_equal(w, again)


def test_a_bad_state_changes_nothing():
    optimizer = fl.SGD(lr=0.1, momentum=0.5)
    optimizer.update(np.zeros(3), np.arange(3.0))
    good = fl.SGD(lr=0.2).state_dict()
    cases = [
        ({}, ValueError, "must have the entries"),
        ({**good, "extra": 1}, ValueError, "extra"),
        ({**good, "lr": -1}, ValueError, "lr must be >= 0"),
        (
            {**good, "velocity": {0: np.zeros(3, int)}},
            TypeError,
            r"state\['velocity'\]\[0\] must be a float32",
        ),
        ({**good, "velocity": [np.zeros(3)]}, TypeError, "mapping of velocities"),
        (None, TypeError, "what state_dict returned"),
    ]
    for bad, error, text in cases:
        with pytest.raises(error, match=text):
            optimizer.load_state_dict(bad)
        state = optimizer.state_dict()
        assert (state["lr"], state["momentum"], list(state["velocity"])) == (0.1, 0.5, [0])
        assert state["velocity"][0].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(["lr", "momentum", "weight_decay"], [-1, np.inf, np.nan]),
        *(("dampening", v) for v in (np.inf, np.nan)),
    ],
)
def test_hyperparameters_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        fl.SGD(**{"lr": 0.1, name: value})


def test_nesterov_needs_momentum_and_no_dampening():
    for rule in ({"nesterov": True}, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match="nesterov needs momentum > 0 and dampening == 0"):
            fl.SGD(lr=0.1, **rule)
    with pytest.raises(TypeError, match="lr must be a real number"):
        fl.SGD(lr="0.1")
    with pytest.raises(TypeError, match="nesterov must be True or False"):
        fl.SGD(lr=0.1, momentum=0.9, nesterov="false")


def test_a_learning_rate_in_an_array_is_read_at_every_update():
    lr, w = np.array(0.5), np.array([1.0])
    optimizer = fl.SGD(lr=lr)
    optimizer.update(w, np.array([1.0]))
    lr[...] = 0
    optimizer.update(w, np.array([1.0]))
    assert w == [0.5]


def read_only(n):
    a = np.ones(n)
    a.flags.writeable = False
    return a


def test_a_refused_update_leaves_everything_untouched():
    good, slope = np.ones(4), np.ones(4)
    shared = np.ones(8)
    bad_pairs = [
        ([np.ones(4, int)], [slope], TypeError, r"params\[1\] has dtype int64"),
        ([np.ones(4, np.float16)], [slope], TypeError, "float16"),
        ([[1.0] * 4], [slope], TypeError, "must be a NumPy array"),
        ([np.ma.masked_array(np.ones(4))], [slope], TypeError, "must be a NumPy array"),
        ([read_only(4)], [slope], ValueError, r"params\[1\] is read-only"),
        ([np.ones(4)], [np.ones(5)], ValueError, r"grads\[1\] has shape \(5,\), but params\[1\] has \(4,\)"),
        ([np.ones(4)], [np.ones((4, 1))], ValueError, "shape"),
        ([np.ones(4)], [1.0], ValueError, "shape"),
        ([np.ones(4)], [np.ones(4) * 1j], TypeError, r"grads\[1\] has dtype complex128"),
        ([np.ones(4)], [], ValueError, "params has 2 arrays and grads has 1"),
        ([np.lib.stride_tricks.as_strided(np.ones(4), (4,), (0,))], [slope], ValueError, "share memory"),
        ([shared[:4], shared[2:6]], [slope, slope], ValueError, r"params\[1\] and params\[2\] share memory"),
        ([good], [slope], ValueError, r"params\[0\] and params\[1\] share memory"),
        ([np.ones(4)], [good], ValueError, r"grads\[1\] shares memory with params\[0\]"),
    ]
    optimizer = fl.SGD(lr=0.1, momentum=0.9)
    for params, grads, error, text in bad_pairs:
        with pytest.raises(error, match=text):
            optimizer.update([good, *params], [slope, *grads])
        assert (good == 1).all()
        assert (shared == 1).all()
        assert optimizer.state_dict()["velocity"] == {}
    for params, grads in (
        ({"a": good}, {"b": slope}),
        ({"a": good}, [slope]),
        ([good], {"a": slope}),
        (None, good),
        ("ab", good),
    ):
        with pytest.raises((TypeError, ValueError), match="params|grads"):
            optimizer.update(params, grads)
        assert (good == 1).all()


def test_a_velocity_of_another_shape_is_refused():
    optimizer = fl.SGD(lr=0.1, momentum=0.9)
    optimizer.update(np.ones(4), np.ones(4))
    w = np.ones(5)
    with pytest.raises(ValueError, match="use a new SGD"):
        optimizer.update(w, np.ones(5))
    assert (w == 1).all()


def test_sgd_reaches_the_least_squares_line():
    rng = np.random.RandomState(0)
    x = 2 * rng.rand(100, 1)
    y = (4 + 3 * x + rng.randn(100, 1)).ravel()
    design = np.column_stack([np.ones(100), x])
    w, optimizer = np.zeros(2), fl.SGD(lr=0.1, momentum=0.9)
    for _ in range(2000):
        value, grad = fl.squared_error.value_and_grad(y, design @ w)
        optimizer.update(w, design.T @ grad)
    best, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    np.testing.assert_allclose(w, best, rtol=1e-9)
    assert value * 100 == pytest.approx(residual[0], rel=1e-12)


def test_many_parameters_of_one_buffer():
    """Views of one flat array are fine, whatever their number and order, as long as none overlaps another."""
    flat, slopes = np.ones(3000), np.ones(3000)
    views = [flat[i::1000] for i in range(1000)][::-1]
    fl.SGD(lr=0.5).update(views, [slopes[i::1000] for i in range(1000)])
    assert (flat == 0.5).all()
    with pytest.raises(ValueError, match=r"params\[0\] and params\[1000\] share memory"):
        fl.SGD(lr=0.5).update([*views, flat[999:1000]], [slopes[i::1000] for i in range(1000)] + [slopes[:1]])
    assert (flat == 0.5).all()
