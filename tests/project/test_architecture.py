"""What docs/architecture.md says of the files, their imports and their sizes."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch

import pytest
from documents import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE, CYTHON, CORE = ROOT / "src" / "fastloss", ROOT / "src" / "cython", ROOT / "csrc"

pytestmark = pytest.mark.skipif(not CORE.is_dir(), reason="needs the sources")


def layers(heading):
    """The lines of the first block without a language behind a heading, as lists of names."""
    block = PAGE.partition(heading)[2].split("```\n")[1]
    return [line.split() for line in block.splitlines()]


PYTHON_LAYERS, C_LAYERS = layers("Layers of `src/fastloss`"), layers("Layers of `csrc`")


def files(*folders):
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".pyx", ".pxi", ".c", ".h", ".def"}:
                yield path


# ---- imports ----------------------------------------------------------------------------------------------


def module_of(path):
    """The dotted name of a file within the package; of the package itself, "__init__"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_of(path): path for path in files(PACKAGE)}


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"


def statements(node):
    """All statements within a node, but for what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not is_for_types(child):
            yield child
            yield from statements(child)


def imports(source):
    """The modules of fastloss that a text imports, and by which names it takes what is in them."""
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "fastloss":
                    yield alias.name.partition(".")[2] or "__init__", ""
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            first, _, module = (node.module or "").partition(".")
            for alias in node.names if first == "fastloss" else ():
                inner = f"{module}.{alias.name}".lstrip(".")
                if inner in MODULES or inner == "_core":
                    yield inner, ""
                else:
                    yield module or "__init__", alias.name


IMPORTS = {name: list(imports(path.read_text(encoding="utf-8"))) for name, path in MODULES.items()}


def unit_of(module):
    return module.partition(".")[0]


def place(name, lines):
    """The number of the line that a name stands on; lines further down have larger ones."""
    found = [i for i, line in enumerate(lines) if any(fnmatch(name, pattern) for pattern in line)]
    assert found, f"{name} stands on no line of docs/architecture.md"
    return found[0]


def circles(graph):
    """Nodes from which a way leads back to themselves."""
    found = []
    for start in graph:
        seen, new = set(), set(graph[start])
        while new:
            seen |= new
            new = {after for node in new for after in graph.get(node, ())} - seen
        if start in seen:
            found.append(start)
    return found


def test_every_module_and_package_is_in_a_layer_and_on_the_page():
    units = {unit_of(module) for module in MODULES}
    assert sorted(name for line in PYTHON_LAYERS for name in line) == sorted({*units, "_core"})
    for folder in (*PACKAGE.iterdir(), CYTHON, *CORE.iterdir()):
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"| `{folder.relative_to(ROOT)}` |" in PAGE
    for name in re.findall(r"^\| `((?:src|csrc)[\w/]*)` \|", PAGE, re.MULTILINE):
        assert (ROOT / name).is_dir()
    for path in re.findall(r"`((?:src|csrc|tests)/[\w/]+\.\w+)`", PAGE):
        assert (ROOT / path).is_file()
    for unit in units - {"__init__", "__main__", "_version"}:
        assert f"`{unit}`" in PAGE or f"`src/fastloss/{unit}`" in PAGE, unit


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    for imported, _ in IMPORTS[module]:
        here, there = unit_of(module), unit_of(imported)
        if here != there:
            assert place(here, PYTHON_LAYERS) < place(there, PYTHON_LAYERS), f"{module} imports {imported}"


def test_the_core_imports_what_the_page_says():
    text = "\n".join(path.read_text(encoding="utf-8") for path in files(CYTHON))
    at_import = re.findall(r"^(?:from|import) fastloss\.(\w+)", text, re.MULTILINE)
    assert {
        name for name in at_import if place(name, PYTHON_LAYERS) <= place("_core", PYTHON_LAYERS)
    } == set()
    later = set(re.findall(r"^ +(?:from|import) fastloss\.(\w+)(?: import (\w+))?", text, re.MULTILINE))
    up = {pair for pair in later if place(pair[0], PYTHON_LAYERS) <= place("_core", PYTHON_LAYERS)}
    assert {name for name, _ in up} == {"_documentation", "registry"}
    assert [name for module, name in up if module == "registry"] == ["restore"]


def test_modules_are_in_no_circle():
    graph = {module: {imported for imported, _ in found} for module, found in IMPORTS.items()}
    assert circles(graph) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_private_names_stay_in_their_package():
    for module, found in IMPORTS.items():
        for imported, name in found:
            if name.startswith("_") and not name.startswith("__"):
                assert unit_of(module) == unit_of(imported), f"{module} takes {name} of {imported}"


def test_includes_go_down():
    graph = {}
    for path in files(CORE):
        here = str(path.relative_to(CORE))
        found = re.findall(r'^ *# *include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
        graph[here] = {there for there in found if (CORE / there).is_file()}
        for there in graph[here]:
            assert place(here, C_LAYERS) <= place(there, C_LAYERS), f"{here} includes {there}"
    assert graph["fastloss.h"]
    assert circles(graph) == []


# ---- sizes ------------------------------------------------------------------------------------------------


def test_folders_and_files_are_small():
    most = {name: int(n) for name, n in re.findall(r"^- A (\w+) has at most (\d+)", PAGE, re.MULTILINE)}
    assert set(most) == {"folder", "file"}
    folders = {}
    for path in files(PACKAGE, CYTHON, CORE):
        folders.setdefault(path.parent, []).append(path)
        length = len(path.read_text(encoding="utf-8").splitlines())
        assert length <= most["file"], f"{path} has {length} lines"
    for folder, paths in folders.items():
        assert len(paths) <= most["folder"], f"{folder} has {len(paths)} files"
