"""Ctrl-C ends a call of any length, unless it writes over its input; a handler that returns lets it go on."""

from __future__ import annotations

import os

import pytest
from processes import compute

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends signals as Unix does")

# Calls on so many elements, without memory, would take a minute or more: what ends within 5 seconds was stopped.
# Each prints how long that took, in seconds; some 0.05 where the machine is not busy.
PARENT = """
many, sent = 10**11, []

def rows(n, classes):
    return np.lib.stride_tricks.as_strided(np.array([0.5]), (n, classes), (0, 0))

def send(after=0.325):  # half-way between two looks, which are 0.05 apart
    def later():
        time.sleep(after)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=later).start()

def interrupt(call):
    send()
    try:
        call()
    except KeyboardInterrupt:
        took = time.perf_counter() - sent[0]
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


@pytest.mark.parametrize(
    "call", ["fl.hinge(labels, p)", "fl.one_hot_l1(labels, p[..., None])"], ids=["elements", "rows"]
)
def test_the_search_for_a_violation_is_interrupted(call):
    """After a call has come to its end, one thread looks for the first violation, here in the last row.

    The signal is meant to arrive in the first third of the search. Then what is left of it would take longer than
    the bound; noise is met with another attempt.
    """
    print(
        compute(
            PARENT
            + """
rows, n = 400, 10**6
p = view(0.0, rows * n).reshape(rows, n)
first = np.zeros(rows, int)
last = first.copy()
last[-1] = 7

def call(column):
    labels = np.lib.stride_tricks.as_strided(column, p.shape, (8, 0))
    start = time.perf_counter()
    try:
        CALL
    except ValueError as error:
        assert "at index (399, 0)" in str(error)
    return time.perf_counter() - start

for attempt in range(5):
    run, both = call(first), call(last)
    sent.clear()
    try:
        send(run + (both - run) / 4)
        call(last)
        time.sleep(60)
    except KeyboardInterrupt:
        took, bound = time.perf_counter() - sent[0], (both - run) / 4
        print(f"{took:.3f} of {both - run:.3f}")
        if took < bound:
            break
else:
    raise SystemExit("the search went on")
""".replace("CALL", call)
        )
    )


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
