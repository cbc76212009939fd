"""The loss of a linear layer: mpmath and PyTorch as references, blocks of any size, memory, and errors."""

# ruff: noqa: N803, N806 - X and W are the field's names

from __future__ import annotations

import pickle
import tracemalloc

import mpmath as mp
import numpy as np
import pytest

import fastloss as fl

loss = fl.linear_cross_entropy
OPTIONS = [
    {},
    {"reduction": "sum"},
    {"ignore_index": 2},
    {"label_smoothing": 0.2},
    {"z_loss": 0.3},
    {"softcap": 1.5},
    {"class_weight": [0.5, 2.0, 1.0, 0.0]},
    {"sample_weight": [1.0, 0.5, 0.0, 3.0, 2.0, -0.5]},
    {
        "sample_weight": [1.0, 0.5, 0.0, 3.0, 2.0, 0.25],
        "class_weight": [0.5, 2.0, 1.0, 3.0],
        "ignore_index": 0,
        "label_smoothing": 0.1,
        "softcap": 2.0,
        "z_loss": 0.01,
    },
]


def problem(rows, d, classes, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in ((rows, d), (classes, d), (classes,))]
    return rng.integers(0, classes, rows), *arrays


def reference(y, X, W, bias, *, sample_weight=None, reduction="mean", ignore_index=None, label_smoothing=0.0,
              class_weight=None, softcap=None, z_loss=0.0):  # fmt: skip
    """The formulas of the documentation in mpmath, on lists of mpf."""
    total = divisor = mp.mpf(0)
    for i, (k, x) in enumerate(zip(y, X, strict=True)):
        if k == ignore_index:
            continue
        weight = mp.mpf(1 if sample_weight is None else sample_weight[i])
        weight *= 1 if class_weight is None else class_weight[k]
        scores = [mp.fdot(x, row) + b for row, b in zip(W, bias, strict=True)]
        if softcap is not None:
            scores = [softcap * mp.tanh(s / softcap) for s in scores]
        lse = mp.log(mp.fsum(map(mp.exp, scores)))
        costs = [lse - s for s in scores]
        e = mp.mpf(label_smoothing)
        value = (1 - e) * costs[k] + e / len(costs) * mp.fsum(costs) + z_loss * lse**2
        total, divisor = total + weight * value, divisor + weight
    return total / (divisor if reduction == "mean" else 1)


def derivatives(y, arrays, options):
    """Central differences in 60 digits."""
    step, results = mp.mpf(10) ** -20, []
    for array in arrays:
        result = np.empty(array.shape)
        for index in np.ndindex(array.shape):
            sides = []
            for sign in (1, -1):
                moved = [np.vectorize(mp.mpf, otypes=[object])(a) for a in arrays]
                moved[[a is array for a in arrays].index(True)][index] += sign * step
                sides.append(reference(y, *(a.tolist() for a in moved), **options))
            result[index] = (sides[0] - sides[1]) / (2 * step)
        results.append(result)
    return results


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(o) or "defaults")
@pytest.mark.parametrize("block_bytes", [1, 300, 2**26])
def test_value_and_gradients(options, block_bytes):
    y, *arrays = problem(6, 3, 4)
    with mp.workdps(60):
        expected = float(reference(y, *(a.tolist() for a in arrays), **options))
        gradients = derivatives(y, arrays, options)
    value, *grads = loss.value_and_grad(y, *arrays, block_bytes=block_bytes, **options)
    assert value == pytest.approx(expected, rel=1e-14)
    assert loss(y, *arrays, block_bytes=block_bytes, **options) == value
    for grad, gradient in zip(grads, gradients, strict=True):
        np.testing.assert_allclose(grad, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block_bytes", [50_000, 2**26])
def test_as_pytorch(dtype, block_bytes):
    torch = pytest.importorskip("torch")
    y, X, W, bias = problem(300, 24, 500, dtype)
    y[::7] = -100
    tensors = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in (X, W, bias)]
    expected = torch.nn.functional.cross_entropy(
        tensors[0] @ tensors[1].T + tensors[2], torch.tensor(y), ignore_index=-100
    )
    expected.backward()
    value, *grads = loss.value_and_grad(y, X, W, bias, ignore_index=-100, block_bytes=block_bytes)
    tolerance = 2e-6 if dtype == np.float32 else 1e-14
    assert value == pytest.approx(expected.item(), rel=tolerance)
    for grad, tensor in zip(grads, tensors, strict=True):
        assert grad.dtype == dtype
        gradient = tensor.grad.numpy()
        assert np.abs(grad - gradient).max() <= tolerance * np.abs(gradient).max()


def test_as_softmax_cross_entropy_on_all_scores():
    y, X, W, _ = problem(40, 5, 9)
    keywords = {"label_smoothing": 0.1, "z_loss": 0.2, "class_weight": np.arange(1, 10), "ignore_index": 3}
    expected, s = fl.softmax_cross_entropy.value_and_grad(y, X @ W.T, **keywords)
    value, grad_X, grad_W = loss.value_and_grad(y, X, W, **keywords)
    assert value == pytest.approx(expected, rel=1e-15)
    np.testing.assert_allclose(grad_X, s @ W, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(grad_W, s.T @ X, rtol=1e-12, atol=1e-16)


def test_a_saturated_cap_keeps_its_derivative():
    X, W = np.array([[20.0]], np.float32), np.array([[1.0], [0.5]], np.float32)
    gradient = loss.value_and_grad([1], X, W, softcap=2.0)[2]
    with mp.workdps(40):
        s = [2 * mp.tanh(mp.mpf(v) / 2) for v in (20, 10)]
        p = mp.exp(s[0]) / (mp.exp(s[0]) + mp.exp(s[1]))
        expected = [float(20 * p * mp.sech(10) ** 2), float(-20 * p * mp.sech(5) ** 2)]
    np.testing.assert_allclose(gradient[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">i4", "i8", "u8", "?"])
def test_labels_of_any_integer_dtype(dtype):
    y, X, W, _ = problem(20, 4, 6)
    y %= 2
    value, *grads = loss.value_and_grad(y, X, W)
    other, *others = loss.value_and_grad(y.astype(dtype), X, W)
    assert value == other
    assert all(map(np.array_equal, grads, others))


def test_inputs_of_any_layout_stay_as_they_are():
    y, X, W, bias = problem(30, 8, 12)
    expected = loss.value_and_grad(y, X, W, bias, block_bytes=2000)
    wide = np.zeros((60, 24)), np.zeros((24, 24)), np.zeros(24)
    views = [a[::2, ::3] if a.ndim == 2 else a[::2] for a in wide]
    for others in (
        [np.asfortranarray(a) for a in (X, W, bias)],
        [a.astype(">f8") for a in (X, W, bias)],
        [a[::-1].copy()[::-1] for a in (X, W, bias)],
        views,
    ):
        for view, a in zip(others, (X, W, bias), strict=True):
            view[...] = a
            view.flags.writeable = False
        for result, right in zip(loss.value_and_grad(y, *others, block_bytes=2000), expected, strict=True):
            np.testing.assert_allclose(result, right, rtol=1e-12, atol=1e-16)
        assert all(np.array_equal(view, a) for view, a in zip(others, (X, W, bias), strict=True))


def test_dtypes():
    y, X, W, bias = problem(5, 3, 4)
    for types, result in (
        ("eee", "f4"),
        ("eff", "f4"),
        ("fff", "f4"),
        ("ffd", "f8"),
        ("lfl", "f8"),
        ("ddd", "f8"),
    ):
        arrays = [a.astype(t) for a, t in zip((X, W, bias), types, strict=True)]
        assert [g.dtype for g in loss.value_and_grad(y, *arrays)[1:]] == [result] * 3


def test_absent_rows_may_be_anything():
    y, X, W, bias = problem(9, 3, 4)
    expected = loss.value_and_grad(y[::2], X[::2], W, bias)
    X[1::2] = [np.nan, np.inf, -np.inf]
    y[1::2] = -7
    for keywords in ({"ignore_index": -7}, {"sample_weight": np.arange(9) % 2 == 0}):
        value, grad_X, grad_W, grad_bias = loss.value_and_grad(y, X, W, bias, **keywords)
        assert value == pytest.approx(expected[0], rel=1e-15)
        assert not grad_X[1::2].any()
        np.testing.assert_allclose(grad_X[::2], expected[1], rtol=1e-13)
        np.testing.assert_allclose(grad_W, expected[2], rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(grad_bias, expected[3], rtol=1e-12, atol=1e-16)
    value, *grads = loss.value_and_grad(y, X, W, bias, sample_weight=0)
    assert value == 0
    assert not any(g.any() for g in grads)


def test_nothing():
    y, X, W, bias = problem(0, 3, 4)
    value, *grads = loss.value_and_grad(y, X, W, bias, reduction="sum")
    assert (value, [g.shape for g in grads]) == (0.0, [(0, 3), (4, 3), (4,)])
    assert not any(g.any() for g in grads)
    with pytest.raises(ValueError, match="X has no rows"):
        loss(y, X, W)
    value = loss.value_and_grad([1], np.empty((1, 0)), np.empty((4, 0)))[0]
    assert value == pytest.approx(np.log(4), rel=1e-15)


def test_weights_at_the_ends_of_the_range():
    y, X, W, bias = problem(8, 3, 4, np.float32)
    expected = loss.value_and_grad(y, X, W, bias)
    for weight in (2.0**1000, 2.0**-1000, 2.0**-140):
        result = loss.value_and_grad(y, X, W, bias, sample_weight=weight)
        assert all(map(np.array_equal, result, expected))


@pytest.mark.parametrize("options", [{}, {"softcap": 30.0}, {"sample_weight": np.arange(4000) % 3}], ids=str)
def test_peak_memory_is_one_block(options):
    y, X, W, bias = problem(4000, 16, 3000, np.float32)  # 48 MB of scores
    block = 2**22
    for call, results in ((loss, 0), (loss.value_and_grad, X.nbytes + W.nbytes + bias.nbytes)):
        call(y[:9], X[:9], W, bias)
        tracemalloc.start()
        try:
            call(y, X, W, bias, block_bytes=block, **options)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        rows = 200_000  # weights, their copies and indices: what there is one of per row or class
        assert peak - results <= block + rows, peak
        assert peak - results > block / 2  # the block is made use of, and tracemalloc sees it


def test_threads_and_repetition_change_no_bit(team):
    y, X, W, bias = problem(500, 8, 700, np.float32)
    expected = loss.value_and_grad(y, X, W, bias, block_bytes=200_000)
    for threads in (1, 2, 3):
        with fl.threads(threads):
            result = loss.value_and_grad(y, X, W, bias, block_bytes=200_000)
        assert all(map(np.array_equal, result, expected))


ONE = np.ones
ERRORS = [
    (
        ([0, 4], ONE((2, 3)), ONE((4, 3))),
        {},
        ValueError,
        r"y must lie in \[0, 4\), the rows of W; got 4 at index 1",
    ),
    (([0, -1], ONE((2, 3)), ONE((4, 3))), {}, ValueError, "got -1 at index 1"),
    (
        (np.array([0, 2**63], "u8"), ONE((2, 3)), ONE((4, 3))),
        {},
        ValueError,
        "got 9223372036854775808 at index 1",
    ),
    (
        ([0.0, 1.0], ONE((2, 3)), ONE((4, 3))),
        {},
        TypeError,
        "y must be class indices, of integers, got float64",
    ),
    (([0], ONE((2, 3)), ONE((4, 3))), {}, ValueError, "y has shape .* but X has 2 rows"),
    (([[0], [1]], ONE((2, 3)), ONE((4, 3))), {}, ValueError, "pass y.ravel"),
    (([0], ONE((1, 1, 3)), ONE((4, 3))), {}, ValueError, r"X must have 2 dimensions.*X.reshape\(-1"),
    (([0], ONE((1, 3)), ONE(3)), {}, ValueError, "W must have 2 dimensions"),
    (([0], ONE((1, 3)), ONE((3, 4))), {}, ValueError, "pass W.T"),
    (([0], ONE((1, 3)), ONE((0, 3))), {}, ValueError, "1 to 2.*28 classes"),
    (([0], ONE((1, 3)), ONE((4, 3)), ONE(3)), {}, ValueError, "bias has shape .* but W has 4 classes"),
    (([0], ONE((1, 3)) * 1j, ONE((4, 3))), {}, TypeError, "X has dtype complex128"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"reduction": "none"}, ValueError, "reduction must be 'mean' or 'sum'"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"softcap": 0}, ValueError, "softcap must be > 0"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"label_smoothing": 2}, ValueError, "label_smoothing must lie in"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"z_loss": -1}, ValueError, "z_loss must be >= 0"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"ignore_index": 0.5}, TypeError, "ignore_index must be an integer"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"class_weight": [1, 2]}, ValueError, "class_weight has 2 numbers"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"sample_weight": [1, 2]}, ValueError, "sample_weight has shape"),
    (
        ([0], ONE((1, 3)), ONE((4, 3))),
        {"sample_weight": [np.nan]},
        ValueError,
        "sample_weight must be finite",
    ),
    (([0, 1], ONE((2, 3)), ONE((4, 3))), {"sample_weight": [1, -1]}, ValueError, "sums to 0"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"block_bytes": 0}, ValueError, "block_bytes must be >= 1"),
    (([0], ONE((1, 3)), ONE((4, 3))), {"block_bytes": 1.5}, TypeError, "block_bytes must be an integer"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), ERRORS, ids=[e[3] for e in ERRORS])
def test_errors_say_what_to_do(arguments, options, error, message):
    for call in (loss, loss.value_and_grad):
        with pytest.raises(error, match=message):
            call(*arguments, **options)


def test_infinite_and_missing_numbers_propagate_without_warnings():
    y, X, W, bias = problem(4, 3, 4)
    X[0, 0] = np.nan
    assert np.isnan(loss(y, X, W))
    X[0, 0], bias[...] = 0, [-np.inf, 0, 0, 0]
    value, _, grad_W, grad_bias = loss.value_and_grad([1, 2, 3, 1], X, W, bias)
    assert np.isfinite(value)
    assert not grad_W[0].any()  # a masked class
    assert not grad_bias[0]


def test_the_object():
    assert repr(loss) == "fastloss.linear_cross_entropy"
    assert pickle.loads(pickle.dumps(loss)) is loss
