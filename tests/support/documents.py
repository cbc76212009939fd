"""Where things are, and the documents and their code blocks, for the tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import fastloss as fl

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md"))),
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run_python_blocks(text, namespace=None):
    """Run the blocks in order, in one namespace, and return how many comments were results, all of them true."""
    before = fl.get_num_threads()
    namespace, checked = {} if namespace is None else namespace, 0
    try:
        for block in blocks(text, "python"):
            exec(block, namespace)
            for line in block.splitlines():
                expression, _, comment = line.partition("  # ")
                if re.match(r"[\d.]+(:|$)|array\(", comment.strip()):
                    result, said = eval(expression, namespace), comment.strip().partition(":")[0]
                    assert np.array_equal(result, eval(said, {"array": np.array})), line
                    checked += 1
    finally:
        fl.set_num_threads(before)
    return checked
