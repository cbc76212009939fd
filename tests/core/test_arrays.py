"""Every layout, dtype and byte order gives the bits of contiguous arrays; what cannot be is refused."""

from __future__ import annotations

import contextlib
import decimal
import threading
import warnings

import numpy as np
import pytest

import fastloss as fl

N = 2 * 2048 + 37


def strided(a):
    wide = np.full(3 * a.size, 99, a.dtype)
    wide[::3] = a
    return wide[::3]


def reverse(a):
    return a[::-1].copy()[::-1]


def swapped(a):
    return a.astype(a.dtype.newbyteorder())


def unaligned(a):
    buffer = np.empty(a.nbytes + 1, np.uint8)
    view = buffer[1:].view(a.dtype)
    view[:] = a
    return view


def read_only(a):
    b = a.copy()
    b.flags.writeable = False
    return b


LAYOUTS = [strided, reverse, swapped, unaligned, read_only]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_give_the_same_bits(loss, dtype, layout, sample):
    y, p = sample(loss, N, dtype)
    w = np.linspace(0.5, 2, N).astype(dtype)
    plain = loss(y, p, sample_weight=w), *loss.grad_and_hess(y, p, sample_weight=w)
    y, p, w = layout(y), layout(p), layout(w)
    other = loss(y, p, sample_weight=w), *loss.grad_and_hess(y, p, sample_weight=w)
    assert plain[0] == other[0]
    np.testing.assert_array_equal(plain[1:], other[1:])


@pytest.mark.parametrize("shape", [(N,), (41, 101), (3, 7, 11, 5), (1, N), (N, 1)])
def test_shapes_and_orders(dtype, shape):
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=(2, *shape)).astype(dtype)
    value, grad = fl.huber.value_and_grad(y, p)
    assert grad.shape == shape
    for order in (np.asfortranarray, lambda a: a.T.copy().T, lambda a: np.stack([a, a], -1)[..., 0]):
        for first, second in ((order(y), order(p)), (y, order(p)), (order(y), p)):
            other = fl.huber.value_and_grad(first, second)
            assert other[0] == value
            np.testing.assert_array_equal(other[1], grad)
    assert fl.huber(y.ravel(), p.ravel()) == value


def test_negative_strides_and_transposes():
    y, p = np.random.default_rng(2).normal(size=(2, 60, 70))
    want = fl.log_cosh.grad(y[::-1, ::2].T.copy(), p[::-1, ::2].T.copy())
    np.testing.assert_array_equal(fl.log_cosh.grad(y[::-1, ::2].T, p[::-1, ::2].T), want)


def test_memory_maps(tmp_path, dtype):
    y, p = np.random.default_rng(3).normal(size=(2, N)).astype(dtype)
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    assert fl.huber(mapped, p) == fl.huber(y, p)
    assert type(fl.huber.grad(p, mapped)) is np.ndarray


INTEGERS = [
    np.bool_,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.intp,
]


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("order", ["=", "S"])
def test_integers_and_booleans_become_float64(kind, order):
    y = np.arange(60).astype(kind)
    y = y.astype(y.dtype.newbyteorder(order))
    p = np.linspace(-3, 70, 60)
    assert fl.squared_error(y, p) == fl.squared_error(y.astype(float), p)
    grad = fl.squared_error.grad(y, y[::-1])
    assert grad.dtype == np.float64
    np.testing.assert_array_equal(grad, fl.squared_error.grad(y.astype(float), y[::-1].astype(float)))


def test_extreme_integers():
    extremes = [
        (np.int64, -(2**63)),
        (np.int64, 2**63 - 1),
        (np.uint64, 2**64 - 1),
        (np.int8, -128),
        (np.uint8, 255),
    ]
    for kind, number in extremes:
        assert fl.absolute_error(np.array([number], kind), [0.0]) == abs(float(number))


def test_half_precision_is_computed_in_single():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    zero = np.zeros(every.size, np.float16)
    value = fl.absolute_error(zero, every, reduction="none")
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, np.abs(every.astype(np.float32)))
    assert np.isnan(fl.absolute_error(np.zeros(1, np.float16), np.array([np.nan], np.float16)))
    assert fl.absolute_error(np.zeros(1, np.float16), np.array([-np.inf], np.float16)) == np.inf
    assert fl.huber.grad(zero, every).dtype == np.float32


@pytest.mark.parametrize(
    ("y", "p", "result"),
    [
        (np.float32, np.float64, np.float64),
        (np.float64, np.float32, np.float64),
        (np.float16, np.float64, np.float64),
        (np.float16, np.float32, np.float32),
        (np.int8, np.float32, np.float32),
        (np.bool_, np.float32, np.float32),
        (np.int64, np.float32, np.float32),  # computed in float64, returned as y_pred's
        (np.int64, np.float64, np.float64),
        (np.float32, np.int64, np.float64),
        (np.int32, np.int32, np.float64),
    ],
)
def test_promotion(y, p, result):
    first, second = np.array([0, 1, 1]).astype(y), np.array([1, 0, 3]).astype(p)
    for array in (
        fl.squared_error(first, second, reduction="none"),
        *fl.squared_error.grad_and_hess(first, second, reduction="none"),
    ):
        assert array.dtype == result
    np.testing.assert_array_equal(fl.squared_error(first, second, reduction="none"), [1, 1, 4])


def test_integer_labels_lose_nothing_against_single_scores():
    y, p = np.array([2**24 + 1]), np.array([2**24], np.float32)
    assert fl.squared_error(y, p) == 1.0
    assert fl.squared_error.grad(y, p).dtype == np.float32


def test_python_numbers_take_the_other_dtype():
    p = np.array([0.5, 2.0], np.float32)
    for y in (0, 0.0, False):
        assert fl.huber(y, p, reduction="none").dtype == np.float32
        assert fl.huber(p, y, reduction="none").dtype == np.float32
    assert fl.huber(1, 3) == 1.5
    assert fl.huber.grad(1, 3).dtype == np.float64


@pytest.mark.parametrize(
    "shapes", [((3,), (3, 1)), ((3, 1), (3,)), ((3,), (4,)), ((1,), (3,)), ((2, 3), (3, 2)), ((2, 3), (3,))]
)
def test_nothing_broadcasts_silently(shapes):
    with pytest.raises(
        ValueError, match=r"y_true has shape .* and y_pred has shape .* equal shapes, or one scalar"
    ):
        fl.huber(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_scalars_meet_arrays():
    p = np.linspace(-2, 2, N)
    for scalar in (0.5, np.float64(0.5), np.array(0.5)):
        assert fl.huber(scalar, p) == fl.huber(np.full(N, 0.5), p)
        assert fl.huber(p, scalar) == fl.huber(p, np.full(N, 0.5))
        np.testing.assert_array_equal(fl.huber.grad(scalar, p), fl.huber.grad(np.full(N, 0.5), p))
    assert fl.huber(0.0, 3.0, reduction="none").shape == ()


REFUSED = {
    "complex": (np.array([1j]), TypeError, "complex128"),
    "object": (np.array([decimal.Decimal(1)], object), TypeError, "object"),
    "None": (None, TypeError, "object"),
    "text": (["a"], TypeError, "<U1"),
    "text as objects": (np.array(["a"], object), TypeError, "object.*encode the labels"),
    "bytes": ([b"1"], TypeError, r"\|S1"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), TypeError, "datetime64"),
    "structured": (np.zeros(1, [("a", float)]), TypeError, "real number"),
    "masked": (np.ma.masked_array([1.0], [True]), TypeError, r"filled\(\.\.\.\)"),
    "ragged": ([[1.0], [1.0, 2.0]], ValueError, "is not an array.*; pass rows of equal length"),
}
if np.dtype(np.longdouble).itemsize > 8:
    REFUSED["long double"] = (np.zeros(1, np.longdouble), TypeError, "float64")


@pytest.mark.parametrize(
    ("bad", "position"),
    [
        (b, p)
        for b in REFUSED
        for p in ("y_true", "y_pred", "sample_weight")
        if (b, p) != ("None", "sample_weight")
    ],
)
def test_refused_arrays_name_the_argument(bad, position):
    array, error, text = REFUSED[bad]
    arguments = {"y_true": np.zeros(1), "y_pred": np.zeros(1), "sample_weight": np.ones(1), position: array}
    with pytest.raises(error, match=f"{position}.*{text}"):
        fl.huber(**arguments)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrices_and_sparse_matrices_are_refused():
    with pytest.raises(TypeError, match=r"y_pred is a np.matrix; pass np.asarray"):
        fl.huber(np.zeros((1, 1)), np.matrix([[1.0]]))
    sparse = pytest.importorskip("scipy.sparse").csr_array(np.eye(3))
    with pytest.raises(TypeError, match=r"y_true is sparse .*toarray"):
        fl.huber(sparse, np.eye(3))


# ---- out= -------------------------------------------------------------------------------------------


def test_out_takes_the_result(loss, dtype, sample):
    y, p = sample(loss, 100, dtype)
    value = np.empty(100, dtype)
    grad, hess = np.empty(100, dtype), np.empty(100, dtype)
    assert loss(y, p, reduction="none", out=value) is value
    np.testing.assert_array_equal(value, loss(y, p, reduction="none"))
    assert loss.grad(y, p, out=grad) is grad
    result = loss.value_and_grad(y, p, out=grad)
    assert result[1] is grad
    assert result[0] == loss(y, p)
    np.testing.assert_array_equal(grad, loss.grad(y, p))
    pair = loss.grad_and_hess(y, p, out=(grad, hess))
    assert pair[0] is grad
    assert pair[1] is hess
    np.testing.assert_array_equal(hess, loss.grad_and_hess(y, p)[1])
    both = loss.value_and_grad(y, p, reduction="none", out=(value, None))
    assert both[0] is value
    np.testing.assert_array_equal(both[1], loss.grad(y, p, reduction="none"))


def test_in_place_is_exact(loss, dtype, sample):
    for n in (5, 40, N):
        y, p = sample(loss, n, dtype)
        want = loss.grad(y, p)
        for target in (0, 1):
            arguments = [y.copy(), p.copy()]
            loss.grad(*arguments, out=arguments[target])
            np.testing.assert_array_equal(arguments[target], want)


@pytest.mark.parametrize("shift", [1, 3, 16, 700, 2048, -1, -17])
def test_partial_overlap_is_never_wrong(shift, dtype):
    rng = np.random.default_rng(4)
    base = rng.normal(size=3 * N).astype(dtype)
    y = rng.normal(size=N).astype(dtype)
    start = N
    want = fl.squared_error.grad(y, base[start : start + N].copy())
    work = base.copy()
    fl.squared_error.grad(y, work[start : start + N], out=work[start + shift : start + shift + N])
    np.testing.assert_array_equal(work[start + shift : start + shift + N], want)


def test_reversed_overlap_is_never_wrong():
    p = np.random.default_rng(5).normal(size=N)
    want = fl.squared_error.grad(np.zeros(N), p.copy())
    fl.squared_error.grad(np.zeros(N), p, out=p[::-1])
    np.testing.assert_array_equal(p[::-1], want)


def test_out_of_any_layout():
    y, p = np.random.default_rng(6).normal(size=(2, 50, 60))
    want = fl.huber.grad(y, p)
    for out in (
        np.empty((60, 50)).T,
        np.empty((50, 120))[:, ::2],
        np.empty((50, 60))[::-1],
        np.empty((50, 60), ">f8"),
        unaligned(np.empty(3000)).reshape(50, 60),
    ):
        assert fl.huber.grad(y, p, out=out) is out
        np.testing.assert_array_equal(out, want)


def test_wrong_outputs_are_refused_and_left_alone():
    y, p = np.zeros(4), np.ones(4)
    locked = np.full(4, 5.0)
    locked.flags.writeable = False
    shared = np.lib.stride_tricks.as_strided(np.full(4, 5.0), (4,), (0,))
    cases = [
        (np.full(4, 5.0, np.float32), TypeError, "out has dtype float32, but the result is float64"),
        (np.full(4, 5), TypeError, "dtype int64"),
        (np.full(5, 5.0), ValueError, r"out has shape \(5,\), but the result has \(4,\)"),
        (np.full((4, 1), 5.0), ValueError, "shape"),
        (locked, ValueError, "read-only"),
        (shared, ValueError, "share memory"),
        ([5.0] * 4, TypeError, "must be a NumPy array"),
        (np.ma.masked_array(np.full(4, 5.0)), TypeError, "must be a NumPy array"),
    ]
    for out, error, text in cases:
        with pytest.raises(error, match=text):
            fl.huber.grad(y, p, out=out)
        assert (np.asarray(out) == 5).all()
    with pytest.raises(ValueError, match="reduction='none'"):
        fl.huber(y, p, out=np.empty(4))
    with pytest.raises(TypeError, match=r"tuple \(gradient, hessian\)"):
        fl.huber.grad_and_hess(y, p, out=np.empty(4))
    both = np.full(4, 5.0)
    with pytest.raises(ValueError, match="share memory"):
        fl.huber.grad_and_hess(y, p, out=(both, both))
    assert (both == 5).all()
    with pytest.raises(ValueError, match=r"out\[0\] must be None"):
        fl.huber.value_and_grad(y, p, out=(np.empty(4), np.empty(4)))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_an_error_leaves_what_overlaps_an_input_untouched(dtype, reduction):
    """A separate array for the output is undefined then, but its neighbours are not."""
    size = 3 * 2048 + 7
    memory = np.zeros(3 * size, dtype)
    y, s, w = memory.reshape(3, size)
    y[-1] = 2  # the last element of the last block
    w[:] = 1
    before = memory.copy()
    separate = np.empty(size, dtype)
    calls = {
        "scores": lambda: fl.logistic.grad(y, s, out=s, reduction=reduction),
        "labels": lambda: fl.logistic.grad(y, s, out=y, reduction=reduction),
        "weights": lambda: fl.logistic.grad(y, s, sample_weight=w, out=w, reduction=reduction),
        "in part": lambda: fl.logistic.grad(y, s, out=memory[size - 3 : 2 * size - 3], reduction=reduction),
        "backwards": lambda: fl.logistic.grad(y, s, out=s[::-1], reduction=reduction),
        "two": lambda: fl.logistic.grad_and_hess(y, s, out=(s, separate), reduction=reduction),
        "separate": lambda: fl.logistic.grad(y, s, out=separate, reduction=reduction),
        "a scalar": lambda: fl.logistic.grad(y, s[0], out=s[:1].reshape(())),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match="must lie in"):
            call()
        np.testing.assert_array_equal(memory, before, err_msg=name)


def test_a_parameter_that_is_overwritten_is_read_before_and_kept_after_an_error():
    power = np.array(1.5)
    grad = fl.tweedie.grad(2.0, 0.0, power=power, out=power)
    assert grad is power
    assert power == fl.tweedie.grad(2.0, 0.0, power=1.5)
    power[()] = 1.5
    with pytest.raises(ValueError, match="y_true must be >= 0"):
        fl.tweedie.grad(-2.0, 0.0, power=power, out=power)
    assert power == 1.5


# ---- hostile surroundings ---------------------------------------------------------------------------


def test_floats_of_other_packages_are_refused():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="dtypes of other packages, where one is installed")
    for name in ("float8_e5m2", "bfloat16", "int4"):
        with pytest.raises(TypeError, match="y_pred has dtype"):
            fl.huber(np.zeros(100), np.zeros(100, getattr(ml_dtypes, name)))


def test_another_thread_may_reshape_an_array_meanwhile():
    base = np.lib.stride_tricks.as_strided(np.zeros(1), (1000, 2000), (0, 0)) + 0.0
    view = base[:, ::-1]
    want, stop = fl.huber(view, 1.0), threading.Event()
    other = base[:, ::-1]

    def reshape():
        while not stop.is_set():
            with contextlib.suppress(Exception), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                other.shape = (2000, 1000) if other.shape == (1000, 2000) else (1000, 2000)

    thread = threading.Thread(target=reshape)
    thread.start()
    try:
        for _ in range(30):
            assert fl.huber(other, 1.0) == want
    finally:
        stop.set()
        thread.join()


class Reshaping:
    """Weights that give another array a new shape while they are read."""

    def __init__(self, other, shape):
        self.other, self.shape = other, shape

    def __array__(self, dtype=None, copy=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.other.shape = self.shape
        return np.ones(())


@pytest.mark.parametrize("shape", [(2, 6), (12,)])
@pytest.mark.parametrize(
    "call",
    [
        lambda out, weight: fl.huber.grad(1.0, np.zeros((4, 3)), out=out, sample_weight=weight),
        lambda out, weight: fl.brier.grad(np.zeros((4, 3)), np.zeros((4, 3)), out=out, sample_weight=weight),
        lambda out, weight: fl.poly1.grad([0] * 4, np.zeros((4, 3)), out=out, sample_weight=weight),
        lambda out, weight: fl.poly1.grad([0] * 3, np.zeros((4, 3)), axis=0, out=out, sample_weight=weight),
    ],
)
def test_an_argument_may_reshape_the_output(call, shape):
    """In its new shape this view's strides lead out of its memory."""
    memory = np.zeros(100)
    out = np.lib.stride_tricks.as_strided(memory, (4, 3), (48, 16))
    with pytest.raises(ValueError, match="given another shape during the call"):
        call(out, Reshaping(out, shape))
    assert not memory.any()


class Elsewhere(np.ndarray):
    def transpose(self, *axes):
        return np.zeros((2, 2, 2))

    def __array_function__(self, func, types, args, kwargs):
        return np.zeros((2, 2, 2))


def test_views_of_an_output_are_of_its_memory():
    scores = np.random.default_rng(0).normal(size=(3, 4))
    out = np.zeros((3, 4)).view(Elsewhere)
    assert fl.poly1.grad([0, 1, 2, 0], scores, axis=0, out=out) is out
    np.testing.assert_array_equal(out.view(np.ndarray), fl.poly1.grad([0, 1, 2, 0], scores, axis=0))


def test_threads_with_small_stacks():
    before = threading.stack_size(65536)
    try:
        results = []

        def work():
            for n in (100, 5000):
                y, p = np.zeros((n, 2))[:, 0], np.ones(n, np.float32)
                results.append((fl.huber(y, p), fl.huber(np.zeros(n), np.ones(n))))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert results == [(0.5, 0.5)] * 2
