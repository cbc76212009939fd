"""Free threading: whatever is written after import is listed here, with the reason why that is safe."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from documents import ROOT

import fastloss as fl
from fastloss import _core

# ---- C ----------------------------------------------------------------------------------------------

C_GLOBALS = {
    "active": "atomic; a pointer to constant tables",
    "num_threads": "atomic",
    "thread_limit": "thread-local",
    "team_taken": "an atomic flag",
    "crowded": "atomic",
    "cpu_limit": "atomic",
    "grain": "atomic",
    "forked": "atomic; written in a forked child, which has one thread",
    "reserve": "held by one call at a time, by reserve_taken",
    "reserve_taken": "an atomic flag",
    "pool": "held by one call at a time, by pool_taken",
    "pool_taken": "an atomic flag",
    "pool_limit": "atomic",
}
# Written while the module is imported, under the import lock, or by the compiler's start-up code.
RUNTIME = [
    r"_*pyx_.*",  # Cython's
    r"__Pyx_\w+",
    r"main_interpreter_id",  # Cython's, of the one interpreter that may import the module
    r"PyArray_(API|RUNTIME_VERSION)",  # NumPy's import_array
    r"__cpu_(model|features2)",  # libgcc's cpuid
    r"completed|__dso_handle|__TMC_END__|_DYNAMIC|_GLOBAL_OFFSET_TABLE_|__bss_start|_edata|_end",  # the linker's
]
WRITABLE = re.compile(
    r"(?P<section>\.(?:data|bss|tdata|tbss|ldata|lbss)(?!\.rel\.ro)[\w.]*)\t\w+\s+(?:\.hidden )?(?P<name>\S+)$"
)


def writable(path):
    """The named variables of an object file or a module that lie in memory that can be written."""
    objdump = shutil.which("objdump")
    if sys.platform != "linux" or not objdump:
        pytest.skip("needs ELF files and objdump")
    listing = subprocess.run([objdump, "-t", path], capture_output=True, text=True, check=True).stdout
    if "no symbols" in listing:
        pytest.skip("the module is stripped")
    found = (WRITABLE.search(line) for line in listing.splitlines() if " d  " not in line)
    return {re.sub(r"\.\d+$", "", match["name"]) for match in found if match}


def is_known(name):
    return name in C_GLOBALS or any(re.fullmatch(pattern, name) for pattern in RUNTIME)


@pytest.mark.not_sanitized("AddressSanitizer adds variables of its own")
def test_the_variables_of_the_module_are_known():
    found = writable(_core.__file__)
    assert {"active", "num_threads"} <= found
    assert {name for name in found if not is_known(name)} == set()


def test_known_variables_are_still_there():
    missing = set(C_GLOBALS) - writable(_core.__file__)
    assert missing <= (
        {"team_taken", "crowded", "forked", "grain", "cpu_limit", "num_threads", "thread_limit"}
        if _core.openmp() == "none"
        else set()
    )


def test_a_new_variable_would_be_seen(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("needs a C compiler")
    source = tmp_path / "new.c"
    source.write_text(
        "static int counter; static double cache[2] = {1, 2}; static _Thread_local int mine;\n"
        'const int table[2] = {1, 2}; static const char *const text[] = {"a", "b"};\n'
        "int f(int i) { static int calls; return counter++ + mine++ + calls++ + (int)(cache[i] += 1) + *text[i]; }\n"
    )
    subprocess.run([compiler, "-O1", "-fPIC", "-c", source, "-o", tmp_path / "new.o"], check=True)
    found = writable(tmp_path / "new.o")
    assert found == {"counter", "cache", "mine", "calls"}
    assert not any(map(is_known, found))


def test_c_variables_are_atomic_or_of_one_thread():
    """As their declarations say: the symbol table does not."""
    sources = ROOT / "csrc"
    if not sources.is_dir():
        pytest.skip("needs the sources")
    text = "\n".join(path.read_text() for path in sources.rglob("*.[ch]"))
    for name, reason in C_GLOBALS.items():
        if reason.startswith("held by"):
            continue
        (declaration,) = re.findall(rf"^static [^;(]*\b{name}\b[^;(]*;", text, re.MULTILINE)
        assert re.search(r"\b(_Atomic|atomic_\w+|_Thread_local)\b", declaration), declaration


# ---- Python -----------------------------------------------------------------------------------------

PYTHON_GLOBALS: dict[str, str] = {
    "registry.registered": "filled by `pointwise` while fastloss is imported, under the import lock",
    "__init__.globals()": "filled once, while fastloss is imported",
    "__init__._sys": "the old names of modules, entered while fastloss is imported",
    "runtime.openmp.os": "the environment, put back when the core is loaded: under the import lock",
}
MUTATORS = {
    "append", "add", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault",
    "sort", "update", "appendleft", "cache_clear",
}  # fmt: skip
CACHES = {"cache", "lru_cache", "cached_property"}


def name_of(node):
    """The variable at the bottom of a.b[c].d, or of globals()."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("globals", "vars"):
        return f"{node.func.id}()"
    return node.id if isinstance(node, ast.Name) else None


def module_names(tree):
    """What a module's top level binds, or imports from another of the package."""
    names = {"globals()", "vars()"}
    for node in tree.body:
        for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else []:
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                names.add(inner.id)
            if isinstance(inner, ast.Import | ast.ImportFrom):
                names |= {(alias.asname or alias.name).partition(".")[0] for alias in inner.names}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def local_names(function):
    """The parameters and variables of a function: they hide those of the module."""
    names = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def writes(source):
    """The module-level names that a module changes other than by binding them at its top level."""
    tree, found = ast.parse(source), set()
    shared = module_names(tree)

    def look(node, hidden):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            own = local_names(node) if not isinstance(node, ast.Lambda) else set()
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    found.update(inner.names)
            for decorator in getattr(node, "decorator_list", []):
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                last = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
                if last in CACHES:
                    found.add(node.name)
            hidden = hidden | own
        target = None
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            target = name_of(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            target = name_of(node.func.value)
            target = None if target == "np" else target  # np.append and np.insert change nothing
        if target in shared - hidden:
            found.add(target)
        for child in ast.iter_child_nodes(node):
            look(child, hidden)

    look(tree, set())
    return found


def test_the_writes_of_the_python_modules_are_known():
    package = Path(fl.__file__).parent
    modules = sorted(package.rglob("*.py"))
    assert {"linear", "families", "cli"} < {path.parent.name for path in modules}  # in every folder
    found = {
        f"{'.'.join(path.relative_to(package).with_suffix('').parts)}.{name}"
        for path in modules
        for name in writes(path.read_text(encoding="utf-8"))
    }
    assert found == set(PYTHON_GLOBALS)


@pytest.mark.parametrize(
    "source",
    [
        "seen = {}\ndef f(x):\n    seen[x] = 1",
        "seen = []\ndef f(x):\n    seen.append(x)",
        "count = 0\ndef f():\n    global count\n    count += 1",
        "from other import table\ndef f(x):\n    table.update(x)",
        "import other\ndef f(x):\n    other.table[x] = 1",
        "import functools\n@functools.lru_cache(maxsize=8)\ndef f(x):\n    return x",
        "class C:\n    seen = {}\ndef f(x):\n    C.seen[x] = 1",
        "def f():\n    f.calls = 1",
        "seen = []\nf = lambda x: seen.append(x)",
        "def f(x):\n    globals()['x'] = x",
    ],
)
def test_a_new_write_would_be_seen(source):
    assert writes(source)
    assert not writes("seen = []\ndef f(x):\n    seen = []\n    seen.append(x)\n    x.y = 1\n    return seen")


# ---- the declaration --------------------------------------------------------------------------------


def test_the_module_is_declared_to_be_free_threading():
    source = ROOT / "src" / "cython" / "_core.pyx"
    if not source.is_file():
        pytest.skip("needs the sources")
    assert re.match(r"# cython: .*\bfreethreading_compatible=True\b", source.read_text(encoding="utf-8"))


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded Python")
def test_importing_does_not_enable_the_gil():
    code = "import sys; before = sys._is_gil_enabled(); import fastloss; sys.exit(sys._is_gil_enabled() > before)"
    subprocess.run([sys.executable, "-X", "gil=0", "-W", "error", "-c", code], check=True)
