"""Linear models: layouts, dtypes, threads and levels change no bit; signals are seen."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
from linear_models import DTYPES, bits, logistic_problem, sparse_problem, value_and_grad
from processes import run

import fastloss as fl
from fastloss import _core

# ---- layouts, threads, levels ---------------------------------------------------------------------------


def layouts(X, folder):
    big = np.repeat(np.repeat(X, 3, axis=0), 2, axis=1)
    yield "rows of more columns", np.hstack([X, X])[:, : X.shape[1]]
    yield "every third row, every second column", big[::3, ::2]
    yield "backwards", np.ascontiguousarray(X[::-1])[::-1]
    yield "columns backwards", np.ascontiguousarray(X[:, ::-1])[:, ::-1]
    yield "other byte order", X.astype(X.dtype.newbyteorder())
    raw = np.zeros(X.nbytes + 1, np.uint8)[1:]
    raw[...] = np.frombuffer(X.tobytes(), np.uint8)
    yield "unaligned", raw.view(X.dtype).reshape(X.shape)
    X.tofile(folder / "X")
    yield "memory-mapped", np.memmap(folder / "X", X.dtype, "r", shape=X.shape)
    yield "a list", X.tolist() if X.dtype == np.float64 else X


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_change_no_bit(dtype, tmp_path):
    X, y, coef, intercept = logistic_problem(3001, 21, dtype)
    weight = np.linspace(0, 2, len(y))
    wanted = bits(value_and_grad("logistic", X, y, coef, intercept, sample_weight=weight))
    for name, same in layouts(X, tmp_path):
        got = value_and_grad("logistic", same, y, coef, intercept, sample_weight=weight)
        assert bits(got) == wanted, name
    ys, weights = np.repeat(y.astype(np.int8), 2)[::2], np.repeat(weight, 3)[::3]
    got = value_and_grad("logistic", X, ys, np.repeat(coef, 2)[::2], intercept, sample_weight=weights)
    assert bits(got) == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_of_several_scores_change_no_bit(dtype, tmp_path):
    X, y, coef, _ = logistic_problem(3001, 21, dtype)
    weight, coef = np.linspace(0, 2, len(y)), np.stack([coef, -coef, coef / 3])
    y = (y.astype(int) + np.arange(len(y))) % 3
    wanted = bits(value_and_grad("softmax_cross_entropy", X, y, coef, 0.1, sample_weight=weight))
    for name, same in (*layouts(X, tmp_path), ("columns one after the other", np.asfortranarray(X))):
        got = value_and_grad("softmax_cross_entropy", same, y, coef, 0.1, sample_weight=weight)
        assert bits(got) == wanted, name
    X[weight == 0], y[weight == 0] = np.nan, -7
    got = value_and_grad("softmax_cross_entropy", X, y, coef, 0.1, sample_weight=weight)
    assert bits(got) == wanted


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, bool, np.float16])
def test_other_dtypes(dtype):
    X = np.random.default_rng(0).integers(0, 2, (300, 5)).astype(dtype)
    y, coef = np.arange(300) % 2, np.linspace(-1, 1, 5)
    working = np.float32 if dtype is np.float16 else np.float64
    assert bits(value_and_grad("logistic", X, y, coef)) == bits(
        value_and_grad("logistic", X.astype(working), y, coef)
    )


@pytest.mark.usefixtures("team")
@pytest.mark.parametrize("shape", [(20_000, 30), (3001, 300), (40, 30_000)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_the_number_of_threads(shape, order, dtype):
    X, y, coef, intercept = logistic_problem(*shape, dtype)
    X = np.asarray(X, order=order)
    results = set()
    for threads in (1, 2, 3, 8):
        with fl.threads(threads):
            result = value_and_grad("logistic", X, y, coef, intercept)
            product = fl.linear.hess_vec("logistic", X, y, coef, coef, intercept, 1.0)
            several = ()
            if len(coef) < 1000:
                several = value_and_grad("softmax_cross_entropy", X, y.astype(int), np.stack([coef, -coef]))
            results.add(bits(result) + bits(product) + bits(several))
    assert len(results) == 1


@pytest.mark.usefixtures("team")
def test_bits_of_sparse_rows_do_not_depend_on_the_number_of_threads():
    X, y, coef, intercept = sparse_problem(20_000, 50, np.float32)
    results = set()
    for threads in (1, 2, 3, 8):
        with fl.threads(threads):
            results.add(bits(value_and_grad("logistic", X, y, coef, intercept)))
    assert len(results) == 1


HASHES = """
import hashlib, json
import numpy as np
import fastloss as fl
from scipy import sparse

hashes = {}
for dtype in (np.float32, np.float64):
    for rows, columns in ((3001, 21), (500, 1000), (7, 3)):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(rows, columns)).astype(dtype), rng.integers(0, 2, rows)
        coef, few = rng.normal(size=columns) / 30, sparse.csr_array(X * (rng.random(X.shape) < 0.1))
        results = [fl.linear.value_and_grad("logistic", X, y, coef, 0.1)]
        results += [fl.linear.hess_vec("logistic", X, y, coef, np.ones(columns), 0.1, 1.0)]
        for other in (few, np.asfortranarray(X)):
            results += [fl.linear.value_and_grad("logistic", other, y, coef, 0.1)]
        results += [fl.linear.hess_vec("logistic", other, y, coef, np.ones(columns), 0.1, 1.0)]
        data = b"".join(np.asarray(part).tobytes() for result in results for part in result)
        hashes[f"{rows} {columns} {dtype.__name__}"] = hashlib.sha256(data).hexdigest()
print(json.dumps(hashes))
"""


@pytest.mark.skipif(
    not {"v3", "v4"} <= set(_core.supported_levels()),
    reason="needs a CPU with AVX-512, to compare it with AVX2",
)
def test_avx2_and_avx512_give_the_same_bits():
    pytest.importorskip("scipy")
    found = [json.loads(run(HASHES, FASTLOSS_ISA=level)) for level in ("v3", "v4")]
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 6


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
def test_signals_are_seen_between_large_blocks():
    """Fifteen blocks of 512 rows each, which take much longer than the 50 ms between two looks; in time of the CPU."""
    X = np.broadcast_to(np.ones((15 * 512, 1)), (15 * 512, 500_000))
    y, coef, seen = np.ones(len(X)), np.zeros(500_000), []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.process_time()))
    try:
        with fl.threads(1):
            start = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, 0.1)  # when C is at work
            value_and_grad("logistic", X, y, coef)
        end = time.process_time()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if end - start < 0.4:
        pytest.skip("this computer is too fast")
    assert seen[0] - start < (end - start) * 0.75
