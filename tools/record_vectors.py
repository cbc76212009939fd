"""Record what the installed fastloss computes, bit by bit, in tests/vectors.

    python tools/record_vectors.py            # after a change of bits that is meant
    python tools/record_vectors.py --check    # change nothing; fail and name the cases whose bits differ

tests/support/recorded.py and recorded_rows.py say what the files hold.
"""

from __future__ import annotations

import argparse
import sys
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from recorded import DTYPES, FOLDER, text_of
from recorded_rows import FILE, lines

from fastloss import _core


def differences(old: str, new: str) -> list[str]:
    """Return the lines that differ, each after the case that it belongs to."""
    found, case = [], ""
    for before, after in zip_longest(old.splitlines(), new.splitlines(), fillvalue="(nothing)"):
        if after and not after.startswith(("constants ", "sums ")) and not is_row(after):
            case = after
        if before != after:
            found.append(f"{case}\n  recorded {before}\n  now      {after}")
    return found


def is_row(line: str) -> bool:
    return len(line.split()) == 6


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check
    if _core.level() == "v2":
        parser.error("the recorded bits are those of the levels with FMA, and v2 has none")
    failures = 0
    texts = {FOLDER / f"{dtype_name}.txt": text_of(dtype_name) for dtype_name in DTYPES}
    texts[FILE] = "".join(f"{line}\n" for line in lines())
    for path, text in texts.items():
        old = path.read_text(encoding="ascii") if path.exists() else ""
        changed = differences(old, text)
        failures += len(changed)
        print(f"{path.name}: {len(changed)} of {len(text.splitlines())} lines differ")
        if check:
            print(*changed[:20], sep="\n", end="\n" if changed else "")
        else:
            path.write_text(text, encoding="ascii")
    return int(check and failures > 0)


if __name__ == "__main__":
    sys.exit(main())
