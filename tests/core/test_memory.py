"""Nothing beside an array is touched, offsets beyond 32 bits are right, and no memory is lost."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastloss as fl

LINUX = sys.platform == "linux"


def python(code, *arguments):
    """Run code in a process of its own, which may die."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )


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
    [EVERY_CALL, EVERY_ROW_CALL, EVERY_LINEAR_CALL, EVERY_UPDATE],
    ids=["losses", "losses of rows", "linear models", "updates"],
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


@guard_pages
@pytest.mark.parametrize("code", OUTSIDE.values(), ids=OUTSIDE)
def test_a_guard_page_ends_the_process(code, tmp_path):
    """So the two tests above can fail, and say where."""
    inside = (
        code.replace("longer", "").replace("41", "40").replace("data + 40", "data + 39").replace("- 1", "")
    )
    assert python(GUARDED + LONGER + inside, tmp_path / "case").returncode == 0
    result = python(GUARDED + LONGER + f"now('control')\n{code}", tmp_path / "case")
    assert result.returncode in (-signal.SIGSEGV, -signal.SIGBUS)
    assert (tmp_path / "case").read_text().strip() == "control"
    assert "Fatal Python error" in result.stderr


# ---- large views ------------------------------------------------------------------------------------

BEYOND = 2**31 + 11
wide_addresses = pytest.mark.skipif(sys.maxsize < 2**40, reason="needs addresses of 64 bits")


@wide_addresses
def test_sums_beyond_32_bits():
    ones = np.broadcast_to(np.float32(1), (BEYOND,))
    assert fl.squared_error(ones, np.float32(3), reduction="sum") == 4.0 * BEYOND
    rows = as_strided(np.array([1, 3], np.float32), (2, BEYOND // 2), (4, 0))
    assert fl.squared_error(rows, np.float32(0)) == 5.0


@wide_addresses
def test_the_index_of_a_violation_beyond_32_bits():
    labels = np.zeros(BEYOND, np.int8)  # pages of zeros that are only read take no memory
    labels[-5] = 7
    with pytest.raises(ValueError, match=f"got y_true=7, y_pred=0.0 at index {BEYOND - 5}$"):
        fl.hinge(labels, np.float32(0))


@wide_addresses
@pytest.mark.parametrize(
    "shape", [(2**60,), (2**62,), (2**63 - 1,), (2**30, 2**30), (2**21 - 1,) * 3, (1, 2**61, 1), (2,) * 62]
)
def test_views_too_large_for_offsets_in_bytes_are_refused(shape):
    view = as_strided(np.zeros(1, np.bool_), shape, (0,) * len(shape))
    for call in (
        lambda: fl.logistic(view, view),
        lambda: fl.logistic(view, 0.5),
        lambda: fl.logistic.grad(1, view, reduction="sum"),
        lambda: fl.logistic.grad_and_hess(view, 0.5, reduction="sum", sample_weight=view),
    ):
        with pytest.raises(
            ValueError, match=r"y_true and y_pred have shape \(.*more elements than .* pass parts"
        ):
            call()


@wide_addresses
def test_nothing_is_not_too_large(dtype):
    nothing = np.zeros((0, 2**58), dtype)
    assert fl.huber(nothing, nothing, reduction="sum") == 0.0
    assert fl.huber.grad(nothing, 0.5, reduction="none").shape == nothing.shape


# ---- leaks ------------------------------------------------------------------------------------------

LEAKS = """
import contextlib, gc, os, sys, threading
import numpy as np
import fastloss as fl

y, p = np.zeros(40), np.ones(40)
wide, single, out, bad = np.ones((40, 3))[:, 1], p.astype(np.float32), np.zeros(40), np.full(40, -1.0)
label, rows, share = np.arange(40) % 3, np.zeros((40, 3)), np.full((40, 4), 0.25)
momentum, locked = fl.SGD(lr=0.5, momentum=0.5), np.zeros(40)
locked.flags.writeable = False
CALLS = {
    "value": lambda: fl.huber(y, p),
    "pair": lambda: fl.huber.grad_and_hess(y, p),
    "strided": lambda: fl.huber.value_and_grad(y, wide, sample_weight=single),
    "list": lambda: fl.huber([0.0, 1.0], [1, 2], reduction="none"),
    "scalar": lambda: fl.huber.grad(y, 1.0, sample_weight=1e300),
    "out": lambda: fl.huber.grad(y, wide, out=out),
    "overlap": lambda: fl.huber.grad(y, p, out=p[::-1]),
    "keyword": lambda: fl.huber(y, p, delta=2.0),
    "bind": lambda: fl.huber.bind(delta=2.0).grad(y, p),
    "get": lambda: fl.get("tweedie", power=1.25),
    "update": lambda: fl.SGD(lr=0.5, momentum=0.5).update([wide, out], [y, y]),
    "same update": lambda: momentum.update(out, y),
    "rows": lambda: fl.softmax_cross_entropy.grad_and_hess(label, rows, sample_weight=label + 1.0),
    "transposed rows": lambda: fl.multi_margin(label, rows.T.copy(), axis=0, return_lse=False),
    "rows of labels": lambda: fl.kl_divergence.value_and_grad(share, share, reduction="none"),
    "weights of classes": lambda: fl.softmax_cross_entropy(label, rows, class_weight=[1, 2, 3], ignore_index=0),
    "rows in place": lambda: fl.poly1.grad(label, rows, out=rows),
    "label": lambda: fl.softmax_cross_entropy.grad(label - 1, rows, out=rows),
    "row of labels": lambda: fl.kl_divergence.grad(-share, share),
    "domain": lambda: fl.logistic(bad, p),
    "domain of a view": lambda: fl.logistic.grad(bad[::-1], wide, out=out),
    "shape": lambda: fl.huber(y, p[:3]),
    "dtype": lambda: fl.huber(y, "text"),
    "parameter": lambda: fl.huber(y, p, delta=-1.0),
    "unknown": lambda: fl.huber.bind(detla=1.0),
    "wrong out": lambda: fl.huber.grad(y, p, out=locked),
    "weight": lambda: fl.huber(y, p, sample_weight=np.nan),
    "wrong update": lambda: momentum.update([out, locked], [y, y]),
    "no loss": lambda: fl.get("hubber"),
}
SLOW = {"unknown", "no loss"}  # they look for the nearest name
large = np.ones(40000)


def repeat(call, n):
    for _ in range(n):
        with contextlib.suppress(ValueError, TypeError):
            call()


def in_threads(n):
    for _ in range(n):
        thread = threading.Thread(target=lambda: (fl.huber(large, 0.0), fl.huber.grad(large[::2], 0.0)))
        thread.start()
        thread.join()


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def blocks():
    gc.collect()
    return sys.getallocatedblocks()


for call in CALLS.values():
    repeat(call, 100)
in_threads(20)
before = resident()
for name, call in CALLS.items():
    n, start = 300 if name in SLOW else 5000, blocks()
    repeat(call, n)
    if blocks() - start > n // 10:
        print(f"{name}: {blocks() - start} blocks more after {n} calls")
in_threads(500)
grown = resident() - before
if grown > 4e6:
    print(f"{grown} bytes more")
"""


@pytest.mark.skipif(not LINUX, reason="reads /proc")
@pytest.mark.not_sanitized("AddressSanitizer keeps freed memory back")
@pytest.mark.parametrize(
    "leak",
    [
        "",
        "kept = []\nCALLS['value'] = lambda: kept.append([])",
        "kept = []\nCALLS['value'] = lambda: kept.append(np.ones(500))",
    ],
    ids=["library", "objects", "bytes"],
)
def test_no_memory_is_lost(leak):
    """The last two leak, to show that it would be seen."""
    result = python(LEAKS.replace("SLOW =", f"{leak}\nSLOW ="))
    assert result.returncode == 0, result.stderr
    assert bool(result.stdout) == bool(leak), result.stdout


# ---- no memory --------------------------------------------------------------------------------------

EXHAUSTED = """
import resource
import numpy as np
import fastloss as fl

fl.set_num_threads(1)
N = 2**22  # 32 MiB of float64
base, other, out = np.ones(N + 1), np.full(N, 2.0), np.full(N, 7.0)
small, slope = np.ones(4), np.ones(4)
optimizer, fresh = fl.SGD(lr=0.5, momentum=0.5), fl.SGD(lr=0.5, momentum=0.5)
optimizer.update([small, base[1:]], [slope, other])
state = optimizer.state_dict()
loaded = fl.SGD(lr=0.25)
want = [a.copy() for a in (base, other, out, small, slope, *state["velocity"].values())]
CALLS = {
    "copy of a gradient": lambda: optimizer.update([small, base[1:]], [slope, base[:-1]]),
    "first velocities": lambda: fresh.update([small, base[1:]], [slope, other]),
    "state": lambda: loaded.load_state_dict(state),
    "first output": lambda: fl.huber.grad(base[1:], other),
    "second output": lambda: fl.huber.grad_and_hess(base[1:], other, out=(out, None)),
    "value beside a gradient": lambda: fl.huber.value_and_grad(base[1:], other, reduction="none", out=(None, out)),
    "overlap": lambda: fl.huber.grad(base[1:], other, out=base[:-1]),
    "rows": lambda: fl.softmax_cross_entropy.grad([0, 1], base[1:].reshape(2, -1), out=out.reshape(2, -1)),
    "rows in place": lambda: fl.poly1.grad([0, 1], base[1:].reshape(2, -1), out=base[1:].reshape(2, -1)),
    "rows of labels": lambda: fl.softmax_cross_entropy(base[1:].reshape(2, -1), other.reshape(2, -1)),
    "scalar": lambda: fl.huber.grad(base, 1.0, out=np.array(1.0)),
}
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**24, resource.RLIM_INFINITY))
for name, call in CALLS.items():
    try:
        call()
        print(f"{name}: no error")
    except MemoryError:
        pass
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
have = base, other, out, small, slope, *optimizer.state_dict()["velocity"].values()
if not all(map(np.array_equal, have, want)):
    print([np.array_equal(a, b) for a, b in zip(have, want)])
if fresh.state_dict()["velocity"] or loaded.lr != 0.25 or loaded.state_dict()["velocity"]:
    print("an optimiser has changed")
if fl.huber.grad(base[1:], other).size != N:
    print("not as before")
"""


@pytest.mark.skipif(not LINUX, reason="reads /proc and limits the address space")
def test_without_memory_nothing_changes():
    result = python(EXHAUSTED)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


NO_ROOM = """
import ctypes, resource
import numpy as np
import fastloss as fl

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
fl.set_num_threads(1)
wide, p, out = np.ones((5000, 2))[:, 0], np.zeros(5000), np.full(5000, 7.0)
optimizer, hoard = fl.SGD(lr=0.5, momentum=0.5), [None] * 100000
optimizer.update(wide, p)
CALLS = [lambda: fl.huber(wide, p), lambda: fl.huber.grad(wide, p, out=out), lambda: optimizer.update(wide, out)]
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
for i in range(len(hoard)):  # what the allocator still has
    hoard[i] = libc.malloc(30000)
    if hoard[i] is None:
        break
for call in CALLS:
    call()
for block in hoard[:i]:
    libc.free(block)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
want = np.full((5000, 2), 1.0)[:, 0] - 0.5 * fl.huber.grad(np.ones(5000), p)
print((out == fl.huber.grad(np.ones(5000), p)).all(), (wide == want).all())
"""


@pytest.mark.not_sanitized("the allocator is not glibc's")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="exhausts the allocator of glibc")
def test_without_room_to_pack_calls_succeed():
    """They wait for the reserve, so that none can fail half-way."""
    result = python(NO_ROOM)
    assert (result.returncode, result.stdout) == (0, "True True\n"), result.stderr


NO_BLOCKS = """
#include <stddef.h>
extern void *__libc_malloc(size_t);
void *malloc(size_t n) { return n == 81920 ? 0 : __libc_malloc(n); } /* what a call packs into */
"""
RESERVE = """
import signal, threading, time
import numpy as np
import fastloss as fl

fl.set_num_threads(1)
large, small = np.broadcast_to(0.3, (30_000_000,)), np.zeros((4000, 2))[:, 0]
want = fl.huber(np.zeros(4000), np.zeros(4000))
thread = threading.Thread(target=fl.logistic, args=(large, large))  # holds the reserve, and would ask for the GIL
thread.start()
time.sleep(0.01)
assert fl.huber(small, small) == want  # holds the GIL, and waits for the reserve
thread.join()
signal.signal(signal.SIGALRM, lambda *_: fl.huber(small, small))  # in a look of the call that holds it
signal.setitimer(signal.ITIMER_REAL, 0.06)
fl.logistic(large, large)
print("done")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="replaces malloc of glibc")
@pytest.mark.not_sanitized("replaces malloc, as the sanitizer does")
def test_nobody_waits_for_the_gil_with_the_reserve_in_hand(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("needs a C compiler")
    (tmp_path / "malloc.c").write_text(NO_BLOCKS)
    library = tmp_path / "malloc.so"
    subprocess.run([compiler, "-shared", "-fPIC", tmp_path / "malloc.c", "-o", library], check=True)
    done = subprocess.run(
        [sys.executable, "-c", RESERVE],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
