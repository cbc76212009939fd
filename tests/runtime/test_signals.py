"""Ctrl-C ends a call of any length, unless it writes over its input; a handler that returns lets it go on."""

from __future__ import annotations

import os

import pytest
from processes import compute

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends signals as Unix does")

# Calls on so many elements, without memory, would take minutes: what ends was stopped. Each prints how long that took,
# in seconds of the CPU, which do not pass while other processes run; some 0.05 for each thread.
PARENT = """
many, sent = 10**12, []

def rows(n, classes):
    return np.lib.stride_tricks.as_strided(np.array([0.5]), (n, classes), (0, 0))

def send(after=0.325):  # half-way between two looks, which are 0.05 apart
    def later():
        time.sleep(after)
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=later).start()

def interrupt(call):
    send()
    try:
        call()
    except KeyboardInterrupt:
        took = time.process_time() - sent[0]
        assert 0 <= took < 5, took
        print(f"{took:.3f}")
    else:
        raise SystemExit("the call ended by itself")
    y = np.zeros(400_000)
    assert fl.huber(y, y + 1) == 0.5
    assert (fl.huber.grad(y, y + 1, reduction="sum") == 1).all()
"""
CALLS = {
    "scalar": "fl.huber(view(0.0, many), 1.0)",
    "floats": "fl.log_cosh(view(0.0, many), view(1.0, many))",
    "integers": "fl.huber(view(np.int16(0), many), view(np.int32(1), many))",
    "weights": "fl.huber(view(0.0, many), view(1.0, many), sample_weight=view(2.0, many))",
    "sum": "fl.logistic(view(np.float32(0), many), view(np.float32(1), many), reduction='sum')",
    "rows": "fl.softmax_cross_entropy(view(0, many), rows(many, 3))",
    "rows of many classes": "fl.poly1(view(np.uint8(1), many // 5000), rows(many // 5000, 5000))",
    "rows of labels": "fl.kl_divergence(rows(many, 2), rows(many, 2))",
    "weighted rows": "fl.multi_margin(view(0, many), rows(many, 4), sample_weight=view(2.0, many))",
    "linear model": "fl.linear.value_and_grad('huber', rows(many // 9, 9), view(0.0, many // 9), np.zeros(9))",
    "columns of a linear model": "fl.linear.hess_vec('huber', rows(3, many // 9).T, view(0.0, many // 9), *np.eye(2, 3))",
    "two dimensions": "fl.huber(*[view(x, many).reshape(10**4, -1).T for x in (0.0, 1.0)])",
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("call", CALLS)
def test_a_long_call_is_interrupted(call, threads):
    print(compute(PARENT + f"fl.set_num_threads({threads})\ninterrupt(lambda: {CALLS[call]})"))


def test_a_long_call_on_contiguous_arrays_is_interrupted(tmp_path):
    """Of a file without content, and its gradient into another: the kernels read and write them as they are."""
    path = tmp_path / "zeros"
    path.touch()
    try:
        os.truncate(path, 2**40)
    except OSError:
        pytest.skip("the file system has no large sparse files")
    code = f"""
y = np.memmap({str(path)!r}, np.float64, "r").view(np.ndarray)
assert y.flags.c_contiguous and y.size == 2**37
interrupt(lambda: fl.huber(y, y))
"""
    print(compute(PARENT + code))


# The labels of the rows lie in pages of their own, so that the system's table of pages says which have been read.
SEARCH = """
import mmap, tempfile
ROWS = 400
fl.set_num_threads(1)
file = tempfile.TemporaryFile()
file.truncate(ROWS * mmap.PAGESIZE)
memory = mmap.mmap(file.fileno(), ROWS * mmap.PAGESIZE)
column = np.ndarray(ROWS, np.int64, memory, strides=(mmap.PAGESIZE,))
column[-1] = 7  # no label; zeros are
labels, p = np.lib.stride_tricks.as_strided(column, (ROWS, N), (mmap.PAGESIZE, 0)), view(0.0, ROWS * N).reshape(ROWS, N)
table, place = open("/proc/self/pagemap", "rb", 0), 8 * (column.ctypes.data // mmap.PAGESIZE)

def rows_read():  # since the last time; some are read ahead
    table.seek(place)
    pages = np.frombuffer(table.read(8 * ROWS), np.uint64)
    memory.madvise(mmap.MADV_DONTNEED)
    return np.flatnonzero(pages >> 63)

reached, searching = 0, None

def look(*_):
    global reached, searching
    if not (now := rows_read()).size:
        return
    if now.max() < ROWS // 2 and reached >= ROWS * 3 // 4:  # the first pass is at its end
        searching = int(now.max())
        raise KeyboardInterrupt
    reached = max(reached, int(now.max()))

rows_read()
signal.signal(signal.SIGALRM, look)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
try:
    CALL
except KeyboardInterrupt:
    signal.setitimer(signal.ITIMER_REAL, 0)
    further = rows_read()
else:
    raise SystemExit("the call ended by itself")
assert searching is not None
assert further.max(initial=0) <= searching + 32, (searching, further)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/pagemap"), reason="needs the table of pages of Linux")
@pytest.mark.parametrize(
    ("call", "n"),
    [("fl.hinge(labels, p)", 10**6), ("fl.one_hot_l1(labels, p[..., None])", 4 * 10**5)],
    ids=["elements", "rows"],
)
def test_the_search_for_a_violation_is_interrupted(call, n):
    """After a call has come to its end, one thread looks for the first violation, here in the last row.

    The handler sees which rows have been read. It raises when reading has begun again, and hardly a row may follow.
    """
    compute(f"N = {n}\n" + SEARCH.replace("CALL", call))


def test_a_handler_that_returns_lets_the_call_go_on():
    """It may call the library itself, in the midst of the call."""
    compute(
        PARENT
        + """
y, ran = np.zeros(400_000), []
signal.signal(signal.SIGALRM, lambda *_: ran.append(fl.huber(y, y + 1)))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.1)
assert fl.huber(view(0.0, 10**9), view(1.0, 10**9)) == 0.5
signal.setitimer(signal.ITIMER_REAL, 0)
assert ran and {*ran} == {0.5}
"""
    )


def test_an_exception_of_a_handler_comes_up():
    compute(
        PARENT
        + """
class Stop(Exception): pass
def handler(*_):
    raise Stop("enough")
signal.signal(signal.SIGINT, handler)
send()
try:
    fl.huber(view(0.0, many), 1.0)
except Stop as error:
    assert error.args == ("enough",)
else:
    raise SystemExit("the call ended by itself")
"""
    )


@pytest.mark.parametrize(
    "write",
    [
        "fl.SGD(lr=1.0).update(p, ones)",
        "fl.SGD(lr=1.0).update(np.array_split(p, 50), np.array_split(ones, 50))",
        "fl.half_squared_error.grad(ones, p, out=p, reduction='sum')",
        "fl.one_hot_l1.grad(ones, p, out=p, reduction='sum')",
    ],
)
def test_what_is_written_over_its_input_is_complete(write):
    """Elements of 0 become -1 by either; the handler runs when all have."""
    compute(
        PARENT
        + f"""
fl.set_num_threads(1)
size, took = 2**21, 0.0
while took < 0.2:  # several looks for a signal
    size *= 2
    p = np.ones((size, 2), np.float32)[:, ::-1]  # rows of two: slow to read and write
    ones = view(np.float32(1), p.size).reshape(p.shape)
    start = time.perf_counter()
    {write}
    took = time.perf_counter() - start
for part in (0.1, 0.4, 0.7):
    p[:] = 0
    try:
        send(part * took)
        {write}
        time.sleep(60)
    except KeyboardInterrupt:
        assert p[0, 0] in (0, -1) and (p == p[0, 0]).all(), (p[0], p[-1])
"""
    )


def test_calls_of_other_threads_go_on():
    """Python runs handlers in the main thread alone."""
    compute(
        PARENT
        + """
good = []
def work():
    for _ in range(3):
        good.append(fl.huber(view(0.0, 10**8), view(1.0, 10**8)) == 0.5)
others = [threading.Thread(target=work) for _ in range(3)]
for other in others:
    other.start()
interrupt(lambda: fl.huber(view(0.0, many), 1.0))
for other in others:
    other.join()
assert good == [True] * 9
"""
    )
