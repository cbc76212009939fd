"""The command line: ``python -m fastloss`` or ``fastloss``."""

from __future__ import annotations

import os
import sys

from fastloss.cli.parser import fail, make_parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    try:
        arguments = make_parser().parse_args(argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except MemoryError as error:
        return fail(str(error) or "out of memory")
    except BrokenPipeError:
        # The reader has gone. Python flushes stdout once more at exit and must not fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:  # argparse: --help, or an error that it has printed
        return int(stop.code or 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
