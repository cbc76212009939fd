"""SGD on blocks of rows: the same steps as in memory, wherever the rows are cut; memory that is bounded; errors."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from processes import run

from fastloss.linear import DivergenceError, sgd

CUTS = [[97], [10, 87], [1] * 97, [0, 33, 0, 64], [3, 50, 7, 1, 36], [95, 2]]


def problem(rows=97, columns=7, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns)).astype(dtype)
    y = (X @ rng.normal(size=columns) + rng.normal(size=rows) > 0).astype(dtype)
    return X, y


def blocks_of(cut, *arrays):
    ends = np.cumsum(cut)
    return [tuple(a[end - n : end] for a in arrays) for n, end in zip(cut, ends, strict=True)]


def fit(X, y=None, loss="logistic", *, columns=7, dtype=np.float64, **options):
    coef, intercept = np.full(columns, 0.1, dtype), np.full(1, 0.1, dtype)
    options = {"tol": None, "epochs": 3, "shuffle": None, "batch_size": 10, "lr": 0.3, **options}
    return sgd(loss, X, y, coef, intercept, **options), coef, intercept


# ---- the same as in memory ------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [1, 10, 40, 200])
def test_the_cut_changes_no_bit(cut, dtype, batch_size):
    X, y = problem(dtype=dtype)
    options = {"batch_size": batch_size, "momentum": 0.5, "l2": 0.01, "validation": (X[:20], y[:20])}
    whole, *wanted = fit(X, y, **options)
    history, *got = fit(blocks_of(cut, X, y), **options)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(history.loss, whole.loss, rtol=1e-14)
    for name in ("validation_loss", "grad_norm", "largest_grad", "learning_rate", "steps", "nonfinite"):
        assert getattr(history, name) == getattr(whole, name), name


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_blocks(cut, index):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = problem(columns=40)
    X *= np.random.default_rng(1).random(X.shape) < 0.1
    blocks = [(sparse.csr_array(part), labels) for part, labels in blocks_of(cut, X, y)]
    for i, (part, _) in enumerate(blocks):
        part.indices, part.indptr = (a.astype((np.int32, index)[i % 2]) for a in (part.indices, part.indptr))
    _, *wanted = fit(sparse.csr_array(X), y, columns=40)
    _, *got = fit(blocks, columns=40)
    np.testing.assert_allclose(
        got[0], wanted[0], rtol=1e-12
    )  # how a step is taken depends on a block's density
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-12)


def test_dtypes_and_layouts_of_blocks():
    X, y = problem()
    X = np.round(8 * X)
    _, *wanted = fit(X, y)
    cut = [20, 33, 30, 14]
    kinds = [
        np.asfortranarray,
        lambda a: a.astype(int),
        lambda a: a.astype(">f8"),
        lambda a: a[::-1].copy()[::-1],
    ]
    blocks = [(kind(part), labels) for kind, (part, labels) in zip(kinds, blocks_of(cut, X, y), strict=True)]
    blocks[1] = blocks[1][0], blocks[1][1].astype(bool)
    _, *got = fit(blocks)
    np.testing.assert_array_equal(got[0], wanted[0])


@pytest.mark.parametrize("cut", CUTS)
def test_weights_are_taken_as_they_are(cut):
    X, y = problem()
    weight = np.arange(97) % 4 / 2
    blocks = [(*block[:2], None) if i % 2 and not (block[2] != 1).any() else block
              for i, block in enumerate(blocks_of(cut, X, y, weight))]  # fmt: skip
    history, coef, intercept = fit(blocks, class_weight={1: 3.0, 7: 1.0})
    each = weight * np.where(y == 1, 3, 1)
    _, wanted, other = fit(X, y, sample_weight=each, lr=0.3 * each.mean())  # these are made to have mean 1
    np.testing.assert_allclose(coef, wanted, rtol=1e-12)
    np.testing.assert_allclose(intercept, other, rtol=1e-12)
    losses = np.logaddexp(0, 0.1 * X.sum(axis=1) + 0.1) - y * (0.1 * X.sum(axis=1) + 0.1)
    still = fit(blocks, class_weight={1: 3.0}, lr=0.0, epochs=1)[0]
    assert still.loss[0] == pytest.approx(np.average(losses, weights=each), rel=1e-12)
    assert history.loss[-1] < history.loss[0]


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
@pytest.mark.parametrize("batch_size", [3, 50])
def test_each_row_is_used_once_an_epoch(shuffle, batch_size):
    """The gradient of `absolute_error` far below the targets adds each row once."""
    X, y = np.eye(97), np.full(97, 1e9)
    history, coef, _ = fit(
        blocks_of(CUTS[4], X, y), None, "absolute_error", columns=97, lr=1.0, shuffle=shuffle, batch_size=batch_size,
        epochs=2,
    )  # fmt: skip
    last = 97 % batch_size
    moves = np.round((coef - 0.1) * batch_size * last)
    assert set(moves) <= {2 * last, last + batch_size, 2 * batch_size}
    assert history.steps == 2 * -(-97 // batch_size)
    again = fit(blocks_of(CUTS[4], X, y), None, "absolute_error", columns=97, shuffle=shuffle, seed=1)[1]
    assert (coef != again).any()


def test_what_a_stream_may_be():
    X, y = problem()
    blocks = blocks_of(CUTS[3], X, y)
    wanted = fit(X, y)[1]
    calls = []

    def generate():
        calls.append(1)
        yield from (list(block) for block in blocks)

    class Reader:
        def __iter__(self):
            return iter(blocks)

    for same in (blocks, tuple(blocks), generate, lambda: blocks, Reader()):
        np.testing.assert_array_equal(fit(same)[1], wanted)
    assert len(calls) == 3
    np.testing.assert_array_equal(fit(iter(blocks), epochs=1)[1], fit(X, y, epochs=1)[1])


@pytest.mark.parametrize("schedule", ["invscaling", "cosine", "adaptive"])
def test_schedules(schedule):
    X, y = problem()
    options = {"schedule": schedule, "tol": 1e-2, "n_iter_no_change": 2, "epochs": 20}
    whole, *wanted = fit(X, y, **options)
    history, *got = fit(blocks_of(CUTS[4], X, y), **options)
    np.testing.assert_array_equal(got[0], wanted[0])
    assert history.learning_rate == whole.learning_rate
    assert history.stopped == whole.stopped


def test_early_stopping_and_going_on():
    X, y = problem()
    options = {"validation": (X[60:], y[60:]), "early_stopping": True, "l2": 0.1}
    whole, *wanted = fit(X[:60], y[:60], epochs=30, **options)
    history, *got = fit(blocks_of([7, 53], X[:60], y[:60]), epochs=30, **options)
    np.testing.assert_array_equal(got[0], wanted[0])
    assert history.best_epoch == whole.best_epoch
    first, *got = fit(blocks_of([7, 90], X, y), epochs=1)
    blocks = iter(blocks_of([90, 7], X, y))
    sgd(
        "logistic", blocks, None, *got, epochs=1, shuffle=None, batch_size=10, lr=0.3, resume=first.checkpoint
    )
    np.testing.assert_array_equal(got[0], fit(X, y, epochs=2)[1])


# ---- memory ---------------------------------------------------------------------------------------------

BOUNDED = """
import resource
import numpy as np
import fastloss as fl
base = np.random.default_rng(0).normal(size=(2**13, 2**7))
y = (base[:, 0] > 0) * 1.0
coef = np.zeros(2**7)
fl.linear.sgd("logistic", [(base, y)], None, coef, epochs=1, batch_size=300, shuffle={shuffle})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
fl.linear.sgd("logistic", ((base.copy(), y) for _ in range(128)), None, coef, epochs=1, batch_size=300, shuffle={shuffle})
print(peak() - before)
"""


@pytest.mark.not_sanitized("its memory is not the program's own")
@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_one_block_is_held(shuffle):
    """1 GB in blocks of 8 MB; the warm-up has held one of them."""
    pytest.importorskip("resource")
    assert float(run(BOUNDED.format(shuffle=repr(shuffle)))) < 14


def test_a_file_in_memory_is_read_where_it_lies(tmp_path):
    code = f"""
import tracemalloc
import numpy as np
import fastloss as fl
X = np.memmap({str(tmp_path / "X")!r}, np.float32, "w+", shape=(2**16, 2**8))  # 64 MB
X[:, 0] = np.arange(2**16) % 2
y, coef = X[:, 0].copy(), np.zeros(2**8)
tracemalloc.start()
history = fl.linear.sgd("logistic", X, y, coef, epochs=2, batch_size=256)
print(tracemalloc.get_traced_memory()[1] / 2**20)
assert coef[0] > 0.1
"""
    assert float(run(code)) < 4


# ---- errors ---------------------------------------------------------------------------------------------

X0, Y0 = problem()
GOOD = (X0[:50], Y0[:50])


def broken():
    yield GOOD
    raise OSError("the disk has gone")


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (X0, {}, TypeError, "block 0: y is None, so X must be blocks .X, y. or .*but this is of type ndarray"),
        (3, {}, TypeError, "y is None, so X must be a list, an iterator or a function.*got int"),
        (GOOD, {}, TypeError, "block 0: y is None"),
        ([], {}, ValueError, "X has no rows: there is no block"),
        ([(X0[:0], Y0[:0])], {}, ValueError, "X has no rows"),
        ([GOOD, (X0[:5, :4], Y0[:5])], {}, ValueError, r"block 1: coef has shape \(7,\), but X has 4 columns"),
        ([GOOD, (X0, Y0[:5])], {}, ValueError, r"block 1: y has shape \(5,\)"),
        ([GOOD, (X0.astype("f"), Y0)], {}, ValueError, r"block 1: X is computed in float32.*pass X.astype\('float64'\)"),
        ([GOOD, (X0, Y0, Y0 * np.nan)], {}, ValueError, "block 1: sample_weight must be finite"),
        ([(X0, Y0, -Y0)], {}, ValueError, "weights of an epoch's rows must have a positive sum"),
        ([GOOD, (X0, Y0 + 1)], {}, ValueError, r"block 1.*logistic: y_true must lie in \[0, 1\].*at index"),
        ([(X0[:3], Y0[:3]), (X0[:3], Y0[:3] + 2)], {}, ValueError, "rows of block 1 at the border of two blocks: logi"),
        (iter([GOOD]), {}, ValueError, "X is an iterator, which ends with the first of 3 epochs; pass epochs=1"),
        ((lambda once: lambda: once)(iter([GOOD])), {}, ValueError, "an epoch has no rows; X must return a new iter"),
        (broken, {}, OSError, "the disk has gone"),
        ([GOOD], {"sample_weight": Y0}, ValueError, "sample_weight is the third part of a block"),
        ([GOOD], {"validation_fraction": 0.1}, ValueError, "validation= has rows"),
        ([GOOD], {"class_weight": "balanced"}, ValueError, "class_weight='balanced' needs all labels.*pass a dict"),
        (lambda: [GOOD], {"schedule": "cosine"}, ValueError, "'cosine' needs the number of steps"),
        ([GOOD], {"validation": (X0[:, :3], Y0)}, ValueError, "validation has 3 columns, but X has 7"),
    ],
)  # fmt: skip
def test_errors(X, options, error, message):
    coef, intercept = np.full(7, 0.5), np.full(1, 0.25)
    options = {"epochs": 3, "batch_size": 10, **options}
    with pytest.raises(error, match=message):
        sgd("logistic", X, None, coef, intercept, **options)
    assert (coef == 0.5).all()
    assert intercept == 0.25


def test_an_error_in_a_later_epoch_takes_all_back():
    epochs = iter([[GOOD], broken()])
    coef, seen = np.full(7, 0.5), []
    with pytest.raises(OSError, match="gone"):
        sgd("logistic", lambda: next(epochs), None, coef, callback=lambda s: seen.append(s.coef.copy()))
    assert (seen[0] != 0.5).all()
    assert (coef == 0.5).all()


def test_a_sparse_block_among_dense_ones_and_one_that_leads_outside():
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.csr_array(X0)
    coef = np.full(7, 0.5)
    with pytest.raises(ValueError, match="block 1: either all blocks must be sparse, or none"):
        sgd("logistic", [GOOD, (X, Y0)], None, coef)
    for place, wrong in (("indices", 7), ("indptr", 10**6), ("indptr", -1)):
        bad = sparse.csr_array(X0)
        getattr(bad, place)[-3] = wrong
        with pytest.raises(ValueError, match="X is not a valid CSR matrix"):
            sgd("logistic", [(X, Y0), (bad, Y0)], None, coef, shuffle=None, batch_size=40)
    assert (coef == 0.5).all()


def test_ctrl_c_and_divergence_keep_the_last_finite_state():
    def stream():
        yield GOOD
        raise KeyboardInterrupt

    history, coef, _ = fit(stream)
    assert history.interrupted
    np.testing.assert_array_equal(coef, fit(*GOOD, epochs=1)[1])
    X = X0.copy()
    X[90] = np.inf
    coef = np.zeros(7)
    with pytest.raises(DivergenceError, match="step 9 would.* or look for inf and NaN in X and y") as caught:
        sgd("squared_error", [GOOD, (X[50:], Y0[50:])], None, coef, shuffle=None, batch_size=10)
    assert np.isfinite(coef).all()
    assert (coef != 0).all()
    assert caught.value.history.nonfinite[-1] > 0
