"""SIMD levels: all give right results, those with FMA the same bits, and none leaks into another."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from functools import cache

import pytest
from documents import SUPPORT
from processes import at_level

from fastloss import _core

LEVELS = _core.supported_levels()
BITS = """
import hashlib, json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastloss as fl
from references import REFERENCES, points

hashes = {}
for name, reference in REFERENCES.items():
    for dtype in (np.float32, np.float64):
        for params in reference.params:
            loss = fl.get(name, **params)
            y, p = (np.resize(a, 5003) for a in points(reference, dtype))
            value, grad = loss.value_and_grad(y, p, reduction="none")
            hess = loss.grad_and_hess(y, p)[1]
            total = loss(y, p, sample_weight=np.linspace(0, 1, y.size))
            total = b"nan" if np.isnan(total) else np.float64(total).tobytes()
            data = b"".join(np.where(a == 0, 0, a).tobytes() for a in (value, grad, hess)) + total
            hashes[f"{loss!r} {dtype.__name__}"] = hashlib.sha256(data).hexdigest()
for dtype in (np.float32, np.float64):
    optimizer = fl.SGD(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    w = np.linspace(-1, 1, 1001).astype(dtype)
    for _ in range(5):
        optimizer.update(w, np.sin(w))
    hashes[f"SGD {dtype.__name__}"] = hashlib.sha256(w.tobytes()).hexdigest()
print(json.dumps(hashes))
"""

LAYOUTS = 3  # of the rows of a linear model

OLD_CPU = """
import fastloss as fl
from fastloss import _core
assert fl.huber.value_and_grad([0.0] * 40, [3.0] * 40)[0] == 2.5
print(_core.level())
try:
    _core.select_level("v3")
except ImportError as error:
    assert "not supported by this CPU" in str(error)
    print("refused")
"""


@cache
def hashes(level):
    result = at_level(BITS, SUPPORT, level=level)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.skipif(
    not {"v3", "v4"} <= set(LEVELS), reason="needs a CPU with AVX-512, to compare it with AVX2"
)
def test_avx2_and_avx512_give_the_same_bits():
    assert hashes("v3") == hashes("v4")


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_can_be_chosen(level):
    result = at_level("import fastloss as fl; print(fl.show_config(mode='dicts')['simd'])", level=level)
    assert result.stdout.strip() == level


@pytest.mark.parametrize(
    "spelling", ["baseline", "x86-64-v2", "X86-64-V2"] if "v2" in LEVELS else ["baseline"]
)
def test_other_spellings(spelling):
    result = at_level("import fastloss as fl; print(fl.show_config(mode='dicts')['simd'])", level=spelling)
    assert result.stdout.strip() == LEVELS[-1]


def test_a_level_that_is_not_there_is_refused():
    result = at_level("import fastloss", level="v9")
    assert result.returncode == 1
    assert (
        "ImportError: FASTLOSS_ISA=v9 is not a SIMD level of this build; this machine has " in result.stderr
    )
    assert ", ".join(LEVELS) in result.stderr


def test_the_best_level_is_the_default():
    result = at_level("import fastloss as fl; print(fl.show_config(mode='dicts')['simd'])", level="")
    assert result.stdout.strip() == LEVELS[0]


@pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None or platform.machine() != "x86_64",
    reason="needs qemu-x86_64 to be an older CPU",
)
@pytest.mark.not_sanitized("AddressSanitizer on an emulated CPU takes minutes")
def test_a_cpu_without_avx_gets_the_baseline_and_refuses_more():
    result = subprocess.run(
        ["qemu-x86_64", "-cpu", "Nehalem", sys.executable, "-c", OLD_CPU],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout.split() == ["v2", "refused"], result.stderr


# ---- the machine code of the installed module -------------------------------------------------------

needs_objdump = pytest.mark.skipif(
    shutil.which("objdump") is None or platform.machine() != "x86_64",
    reason="reads x86-64 machine code with objdump (package binutils)",
)
KERNEL = re.compile(
    r"^(?P<name>\w+)_f(?P<bits>32|64)_(?P<level>v2|v3|v4)(?:\..+)?$"
)  # GCC adds .constprop and the like to clones


@cache
def functions():
    """Each function of the module: its instructions as (address, operation, operands)."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", _core.__file__], capture_output=True, text=True, check=True
    ).stdout
    found, current = {}, []
    for line in listing.splitlines():
        if head := re.match(r"^[0-9a-f]+ <(.+)>:$", line):
            current = found[head[1]] = []
        elif instruction := re.match(r"^\s+([0-9a-f]+):\s+(\S+)\s*(.*)$", line):
            current.append((int(instruction[1], 16), instruction[2], instruction[3]))
    return found


def kernels(*levels):
    for symbol, code in functions().items():
        name = KERNEL.match(symbol)
        if name and name["level"] in levels:
            yield symbol, name, code


def loops(code):
    """The instructions between each backward jump and its target."""
    for address, operation, operands in code:
        target = re.match(r"([0-9a-f]+)", operands)
        if operation.startswith("j") and target and code[0][0] <= int(target[1], 16) <= address:
            yield [i for i in code if int(target[1], 16) <= i[0] <= address]


def innermost(code):
    """The loops without a loop inside: of rows, those over lanes."""
    found = list(loops(code))
    starts = {loop[0][0]: max(other[-1][0] for other in found if other[0][0] == loop[0][0]) for loop in found}
    for start, end in starts.items():
        if not any(start < other < end for other in starts):
            yield [i for i in code if start <= i[0] <= end]


def is_of_rows(name):
    """Whether a kernel is one of rows, or a sweep of theirs, whose name starts with fl_."""
    return name["name"].startswith("fl_") or name["name"] in (*_core.row_loss_names(), "label_cross_entropy")


def is_linear(name):
    return name["name"].startswith(("forward_", "backward_"))


@needs_objdump
def test_the_module_has_all_kernels():
    per_level = len(_core.loss_names()) * 7 + 3 + 1  # passes of losses, SGD rules, the plain sum
    per_level += len(_core.row_loss_names()) + 1 + 2  # and that of rows of labels; rows to strips, and back
    per_level += 2 * LAYOUTS
    sweeps = {}
    for level in ("v2", "v3", "v4"):
        names = [name for symbol, name, _ in kernels(level) if "." not in symbol]
        assert len([name for name in names if not name["name"].startswith("fl_")]) == 2 * per_level
        for bits in ("32", "64"):
            sweeps[level, bits] = {
                name["name"] for name in names if name["name"].startswith("fl_") and name["bits"] == bits
            }
    assert len(sweeps["v4", "64"]) >= 4
    assert all(found == sweeps["v4", "64"] for found in sweeps.values())


@needs_objdump
@pytest.mark.not_sanitized("checked loops are not the machine code that is installed")
def test_the_hot_loops_are_vectorised():
    # No plain add: the sixteen lanes of a sum are added one by one, behind the loop but within a jump back.
    arithmetic = r"v?(?:sub|mul|div|sqrt|fn?m(?:add|sub)(?:132|213|231)|max|min)"
    one_by_one = {}
    for symbol, name, code in kernels("v3", "v4"):
        register = "%zmm" if name["level"] == "v4" else "%ymm"
        hot = [i for loop in (innermost if is_of_rows(name) else loops)(code) for i in loop]
        packed = [i for i in hot if register in i[2] and re.match(r"v", i[1])]
        scalar = [i for i in hot if re.fullmatch(arithmetic + "s[sd]", i[1])]
        if is_of_rows(name):  # what brings lanes together subtracts and compares, and exponentials multiply
            scalar = [i for i in scalar if not re.search("sub|max|min", i[1]) or "fm" in i[1]]
        if name["name"].endswith("_sparse"):  # to gather takes as long as to load one by one
            continue
        chooses = name["name"] == "label_cross_entropy"  # between sweeps
        ends = name["name"] in ("fl_begin_strip", "fl_end_strip")  # before and after a sweep
        scalar = [] if ends else scalar
        if is_linear(name):  # what brings lanes together, and the factors of rows, are one by one
            packed = [i for i in packed if re.match(r"v(?:fm\w+|mul|add)p[sd]", i[1])]
            scalar = [i for i in scalar if "fm" in i[1]]
        assert packed or chooses or ends or name["name"].endswith("_check"), (
            f"{symbol} has no loop on {register} registers"
        )
        if scalar:
            one_by_one[symbol] = scalar[:3]
    assert not one_by_one


@needs_objdump
@pytest.mark.not_sanitized("checks are calls")
def test_kernels_call_nothing():
    for symbol, name, code in kernels("v2", "v3", "v4"):
        calls = [i[2] for i in code if i[1].startswith("call")]
        if is_of_rows(name):  # their sweeps; and the compiler's copies of what a strip needs
            own = rf"<(?:mem(?:set|cpy)@plt|fl_\w+_f{name['bits']}_{name['level']}(?:\..+)?)>$"
            if name["name"] == "label_cross_entropy":  # takes the address of one of two
                own += r"|^\*%\w+$"
            calls = [call for call in calls if not re.search(own, call)]
        assert not calls, f"{symbol} calls {calls[:3]}"


@needs_objdump
def test_wide_instructions_stay_in_their_kernels():
    for symbol, code in functions().items():
        name = KERNEL.match(symbol)
        wide = [i for i in code if i[1].startswith("v") and "mm" in i[2]]
        if not name or name["level"] == "v2":
            assert not wide, f"{symbol} would crash a CPU without AVX: {wide[:3]}"
        elif name["level"] == "v3":
            assert not [i for i in wide if re.search(r"%zmm|%[xy]mm(?:1[6-9]|[23]\d)|%k\d", i[2])], symbol


@needs_objdump
def test_long_double_is_left_alone():
    """MMX registers are those of the x87, which the ABI wants to be free at a call."""
    for symbol, code in functions().items():
        assert not [i for i in code if re.search(r"%mm\d", i[2])], symbol


@needs_objdump
def test_nothing_is_exported_or_imported_from_libm():
    symbols = subprocess.run(["nm", "-D", _core.__file__], capture_output=True, text=True, check=True).stdout
    defined = [line.split()[-1] for line in symbols.splitlines() if re.search(r" [TW] ", line)]
    assert [name for name in defined if not name.startswith("_")] == ["PyInit__core"]
    libm = r"\b(?:exp|log|pow|tanh|fma|fmax|fmin|sqrt|expm1|log1p|exp2|log2|round|rint|floor)f?\b"
    assert not [line for line in symbols.splitlines() if re.search(rf" U {libm}", line)]
