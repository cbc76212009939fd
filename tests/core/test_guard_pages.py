"""Not one byte beside an array is read or written: every call on arrays that lie against a page without access."""

from __future__ import annotations

import os
import signal

import pytest
from processes import python

# ---- guard pages ------------------------------------------------------------------------------------

GUARDED = """
import ctypes, mmap, os, sys
import numpy as np
import fastloss as fl

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
where = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)


def now(*case):  # what a crash is to be blamed on
    os.pwrite(where, " ".join(map(str, case)).ljust(200).encode(), 0)


def guarded(n, dtype, end, step=1):
    '''n elements flush against a page that nobody may touch: the one behind them, or the one before.'''
    item = np.dtype(dtype).itemsize
    size = ((n - 1) * abs(step) + 1) * item
    room = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (address, address + PAGE + room):
        if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = PAGE + (room - size if end else 0) + (size - item if step < 0 else 0)
    return np.ndarray((n,), dtype, memory, start, (step * item,))
"""

EVERY_CALL = (
    GUARDED
    + """
SIZES = [*range(1, 41), 2047, 2048, 2049, 16384 + 3]
PLAIN = [("f4", "f4", "f4"), ("f8", "f8", "f8")]
MIXED = [("i1", "f4", "f2"), ("?", ">f8", "i8"), ("u2", "f2", "f4")]
count = 0
for n in SIZES:
    for types in PLAIN + MIXED * (n in (1, 15, 16, 17, 33, 2049)):
        for end in (False, True):
            for step in (1, 3 if end else -2):
                y, p, w = (guarded(n, d, end, step) for d in types)
                y[:], p[:], w[:] = 1, 0.5, 2  # in the domain of every loss
                single = np.result_type(p, np.float32) == np.float32
                first, second = (guarded(n, "f4" if single else "f8", end, step) for _ in range(2))
                for name in sum((names for family, names in fl.losses().items() if family != "multiclass"), ()):
                    loss = fl.get(name)
                    now(name, n, *types, "at the end" if end else "at the start", "step", step)
                    loss(y, p)
                    loss(y, p, sample_weight=w)
                    loss(y, p, reduction="none", sample_weight=w, out=first)
                    loss.grad(y, p, out=first)
                    loss.value_and_grad(y, p)
                    loss.value_and_grad(y, p, reduction="none", out=(first, second))
                    loss.grad_and_hess(y, p, sample_weight=w, out=(second, first))
                    loss.grad_and_hess(y, p)
                    count += 8
                y[-1] = 0
                now("gamma's search for a violation", n, *types, "at the end" if end else "at the start", step)
                try:
                    fl.gamma.grad(y, p, out=first)
                    raise SystemExit("no violation found")
                except ValueError:
                    pass
print(count)
"""
)

CLASSES = "(1, 2, 3, 15, 16, 17, 33, 100, 101, 130, 1001)"
EVERY_ROW_CALL = (
    GUARDED
    + """
def rows_of(n, classes, dtype, end, first):
    '''A matrix against a page, its classes side by side or, if `first`, its rows.'''
    flat = guarded(n * classes, dtype, end)
    return flat.reshape(classes, n).T if first else flat.reshape(n, classes)

count = 0
for classes in (1, 2, 3, 15, 16, 17, 33, 100, 101, 130, 1001):
    for n in (1, 2, 3, 15, 16, 17, 63, 64, 65, 130) if classes < 200 else (1, 3, 17):
        for label, scores, weight in (("i8", "f4", "f4"), ("i8", "f8", "f8"), ("u1", ">f4", "i2"), ("i4", "f2", "f8")):
            for end in (False, True):
                for first in (False, True):
                    y, p, w = guarded(n, label, end), rows_of(n, classes, scores, end, first), guarded(n, weight, end)
                    y[:], p[:], w[:] = (classes - 1) % 100, 0.5, 2
                    kind = "f8" if scores == "f8" else "f4"
                    one, two = (rows_of(n, classes, kind, end, first) for _ in range(2))
                    value = guarded(n, kind, end)
                    soft = rows_of(n, classes, scores, end, first)
                    soft[:] = 0.25
                    uniform, target = (rows_of(n, classes, scores, end, first) for _ in range(2))
                    uniform[:] = target[:] = 1 / classes
                    for name in ("cross_entropy", "kl_divergence", "js_divergence", "tv_distance"):
                        now(name, classes, n, scores, "at the end" if end else "at the start", first)
                        fl.get(name)(target, uniform, reduction="none", sample_weight=w, out=value)
                        fl.get(name).grad_and_hess(target, uniform, sample_weight=w, out=(two, one))
                        count += 2
                    for name in fl.losses()["multiclass"]:
                        loss = fl.get(name)
                        if "divergence" in name or name in ("cross_entropy", "tv_distance"):
                            continue
                        now(name, classes, n, label, scores, "at the end" if end else "at the start", first)
                        loss(y, p)
                        loss(y, p, reduction="none", sample_weight=w, out=value)
                        loss.value_and_grad(y, p, reduction="none", out=(value, one))
                        loss.grad_and_hess(y, p, sample_weight=w, out=(two, one))
                        if kind == scores:
                            loss.grad(y, p, out=p)
                        count += 4
                    now("rows of labels", classes, n, scores, "at the end" if end else "at the start", first)
                    fl.softmax_cross_entropy.grad_and_hess(soft, p, sample_weight=w, out=(two, one))
                    fl.softmax_cross_entropy.grad_and_hess(y, p, label_smoothing=0.1, z_loss=0.1, out=(one, two))
                    for bad in (255,) * (classes < 255) if label == "u1" else (-1, 2**31 - 1, np.iinfo(label).min):
                        y[-1] = bad
                        now("label", bad, classes, n, scores, "at the end" if end else "at the start", first)
                        try:
                            fl.poly1.grad(y, p, out=one)
                            raise SystemExit("no violation found")
                        except ValueError:
                            count += 1
print(count)
"""
)

EVERY_UPDATE = (
    GUARDED
    + """
from fastloss import _core

count = 0
for n in [*range(1, 41), 2047, 2048, 2049, 16384 + 3]:
    for dtype, slope in (("f4", "f4"), ("f8", "f8"), (">f8", "f4"), ("f4", "i2")):
        for end in (False, True):
            for step in (1, 3 if end else -2):
                param, grad = guarded(n, dtype, end, step), guarded(n, slope, end, step)
                param[:], grad[:] = 1, 1
                velocity = guarded(n, np.dtype(dtype).newbyteorder("="), end)
                for nesterov in (False, True):
                    now("SGD", n, dtype, slope, end, step, nesterov)
                    optimizer = fl.SGD(lr=0.125, momentum=0.5 * nesterov, nesterov=nesterov)
                    optimizer.update(param, grad)
                    _core.sgd_update([(param, grad, velocity, 1.0)], nesterov, 0.125, 0.0, 0.0, fl.SGD(lr=1.0), {})
                if not (param == 0.4375).all():  # four steps of -0.125, one of them by 1.5
                    raise SystemExit(f"{n} {dtype}: {param[0]}")
                count += 4
print(count)
"""
)

EVERY_LINEAR_CALL = (
    GUARDED
    + """
try:
    from scipy import sparse
except ImportError:
    sparse = None
count = 0
for rows in [*range(1, 19), 130]:
    for columns in [*range(1, 19), 33, 100]:
        for dtype, other in (("f4", "f8"), ("f8", "i4")):
            for end in (False, True):
                flat, coef = guarded(rows * columns, dtype, end), guarded(columns, dtype, end)
                y, w = guarded(rows, other, end), guarded(rows, dtype, end)
                flat[:], coef[:], y[:], w[:] = 1, 0.25, 1, 2
                matrices = [flat.reshape(rows, columns), flat.reshape(columns, rows).T]
                if sparse:
                    indices, indptr = guarded(flat.size, other, end), guarded(rows + 1, other, end)
                    indices[:], indptr[:] = np.arange(flat.size) % columns, np.arange(rows + 1) * columns
                    X = sparse.csr_array((rows, columns), dtype=dtype)
                    X.data, X.indices, X.indptr = flat, indices, indptr
                    matrices += [X] * (other != "f8")
                for kind, X in enumerate(matrices):
                    now("linear", kind, rows, columns, dtype, "at the end" if end else "at the start")
                    value, grad, _ = fl.linear.value_and_grad("huber", X, y, coef, sample_weight=w)
                    product, _ = fl.linear.hess_vec("half_squared_error", X, y, coef, coef)
                    slope = min(max(columns / 4 - 1, -1), 1)
                    if not (grad == slope).all() or not (product == columns / 4).all():
                        raise SystemExit(f"{grad} {product}")
                    count += 2
print(count)
"""
)

guard_pages = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")


@guard_pages
@pytest.mark.parametrize(
    "code",
    [
        EVERY_CALL,
        EVERY_ROW_CALL.replace(CLASSES, "(1, 3, 16, 33, 130)"),
        EVERY_LINEAR_CALL,
        EVERY_UPDATE,
        pytest.param(EVERY_ROW_CALL, marks=pytest.mark.exhaustive),
    ],
    ids=["losses", "losses of rows", "linear models", "updates", "losses of rows of any length"],
)
def test_nothing_beside_an_array_is_touched(code, tmp_path):
    result = python(code, tmp_path / "case")
    assert result.returncode == 0, f"{(tmp_path / 'case').read_text().strip()}\n{result.stderr}"
    assert int(result.stdout) > 1000


OUTSIDE = {
    "a byte behind": "a = guarded(5, 'f8', True); ctypes.string_at(a.ctypes.data + 40, 1)",
    "a byte before": "a = guarded(5, 'f8', False); ctypes.string_at(a.ctypes.data - 1, 1)",
    "input behind": "fl.huber(longer(guarded(40, 'f8', True)), 1.0)",
    "input before": "fl.huber(longer(guarded(40, 'f4', False)[::-1]), 1.0)",
    "strided input": "fl.huber(longer(guarded(40, 'f4', True, 3)), 1.0)",
    "weight behind": "fl.huber(np.zeros(41), 1.0, sample_weight=longer(guarded(40, 'f8', True)))",
    "output behind": "fl.huber.grad(0.0, np.ones(41), out=longer(guarded(40, 'f8', True)))",
    "output before": "fl.huber.grad(0.0, np.ones(41), out=longer(guarded(40, 'f8', False)[::-1]))",
    "parameter behind": "fl.SGD(lr=1.0).update(longer(guarded(40, 'f8', True)), np.zeros(41))",
}

LONGER = """
def longer(a):  # by an element for which there is no memory
    return np.lib.stride_tricks.as_strided(a, (a.size + 1,), a.strides)
"""


# Each in a child, first as it is and then within bounds; how they end is printed.
CONTROL = """
faulthandler.enable()
for code in sys.argv[2:]:
    child = os.fork()
    if not child:
        now("control")
        exec(code)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@guard_pages
def test_a_guard_page_ends_the_process(tmp_path):
    """So the test above can fail, and say where."""
    inside = [
        code.replace("longer", "").replace("41", "40").replace("data + 40", "data + 39").replace("- 1", "")
        for code in OUTSIDE.values()
    ]
    code = "import faulthandler\n" + GUARDED + LONGER + CONTROL
    result = python(code, tmp_path / "case", *OUTSIDE.values(), *inside)
    assert result.returncode == 0, result.stderr
    ends = [int(line) for line in result.stdout.split()]
    assert len(ends) == 2 * len(OUTSIDE)
    for name, outside, within in zip(OUTSIDE, ends, ends[len(OUTSIDE) :], strict=False):
        assert outside in (-signal.SIGSEGV, -signal.SIGBUS), name
        assert within == 0, name
    assert (tmp_path / "case").read_text().strip() == "control"
    assert result.stderr.count("Fatal Python error") == len(OUTSIDE)
