"""Offsets beyond 32 bits are right, no memory is lost, and without memory nothing changes."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from processes import python

import fastloss as fl

LINUX = sys.platform == "linux"


# ---- large views ------------------------------------------------------------------------------------

BEYOND = 2**31 + 11

wide_addresses = pytest.mark.skipif(sys.maxsize < 2**40, reason="needs addresses of 64 bits")


@wide_addresses
def test_sums_beyond_32_bits():
    ones = np.broadcast_to(np.float32(1), (BEYOND,))
    assert fl.squared_error(ones, np.float32(3), reduction="sum") == 4.0 * BEYOND
    rows = as_strided(np.array([1, 3], np.float32), (2, BEYOND // 2), (4, 0))
    assert fl.squared_error(rows, np.float32(0)) == 5.0


@pytest.mark.exhaustive
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
        "kept = []\nCALLS = {'value': lambda: kept.append([])}",
        "kept = []\nCALLS = {'value': lambda: kept.append(np.ones(500))}",
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
