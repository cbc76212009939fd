"""The parser of the command line, and the commands info, bench and demo; ``commands`` has those on files."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from fastloss._version import __version__
from fastloss.cli import bench, commands
from fastloss.cli.console import Console
from fastloss.registry import get
from fastloss.runtime.config import show_config
from fastloss.runtime.threads import get_num_threads, threads

EXTRAS = ("rich", "matplotlib", "sklearn")
NEEDED = 'the demo needs rich, matplotlib and scikit-learn: python -m pip install "fastloss[demo]"'


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, without the usage, which says where to read on."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("the following arguments are required"):
            message += f"; see {self.prog} --help"
        elif message.startswith("unrecognized arguments"):
            message += f"; see {self.prog} COMMAND --help"
        self.exit(2, f"{self.prog}: {message}\n")


def _loss(name: str) -> str:
    """Check the name of a loss, for argparse."""
    try:
        get(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def _threads(text: str) -> int:
    """Read a number of threads, for argparse."""
    try:
        threads(int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be an integer of 1 to 1024, got {text!r}") from None
    return int(text)


def _size(text: str) -> int:
    """Read a number of elements, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def _info(arguments: argparse.Namespace) -> int:
    show_config()
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    with threads(arguments.threads or get_num_threads()):
        bench.report(
            Console(color=not arguments.no_color),
            arguments.losses or bench.DEFAULT,
            arguments.n,
            arguments.dtype,
        )
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    if any(find_spec(package) is None for package in EXTRAS):
        return fail(NEEDED)
    from fastloss.cli import demo

    try:
        demo.run(arguments.output, quick=arguments.quick, console=Console(color=not arguments.no_color))
    except BrokenPipeError:
        raise
    except OSError as error:
        return fail(f"cannot write to {arguments.output}: {error.strerror or error}")
    return 0


def _stop(*_: object) -> NoReturn:
    """End by an exception, so that no unfinished file is left."""
    sys.exit(128 + signal.SIGTERM)


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return the command with errors that a user can correct printed as one line on stderr."""

    def guarded(arguments: argparse.Namespace) -> int:
        if threading.current_thread() is threading.main_thread():  # only this one may set handlers of signals
            signal.signal(signal.SIGTERM, _stop)
        try:
            return run(arguments)
        except BrokenPipeError:
            raise
        except (ValueError, OSError, ImportError, FloatingPointError) as error:
            return fail(" ".join(str(error).split()))

    return guarded


def make_parser() -> Parser:
    """Build the parser; the `run` of what it parses is the command, a function of the arguments."""
    parser = Parser(prog="fastloss", description=f"fastloss {__version__}: loss functions on NumPy arrays")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    plain = Parser(add_help=False)
    plain.add_argument("--no-color", action="store_true", help="plain text, without a live display")

    info = subparsers.add_parser(
        "info", parents=[plain], help="show the version, the SIMD level and the number of threads"
    )
    info.set_defaults(run=_info)

    speed = subparsers.add_parser("bench", parents=[plain], help="time losses against NumPy and scikit-learn")
    speed.add_argument("losses", nargs="*", type=_loss, metavar="LOSS", help="default: a handful of them")
    speed.add_argument(
        "--n", type=_size, default=1_000_000, help="elements of the arrays (default %(default)s)"
    )
    speed.add_argument(
        "--dtype", choices=("float32", "float64"), default="float64", help="default %(default)s"
    )
    speed.add_argument("--threads", type=_threads, metavar="N", help="default: as `info` shows")
    speed.set_defaults(run=_bench)

    demo = subparsers.add_parser(
        "demo", parents=[plain], help="fit models to data, compare with scikit-learn, draw pictures"
    )
    demo.add_argument(
        "--output", type=Path, default=Path("fastloss-demo"), metavar="DIR", help="default ./%(default)s"
    )
    demo.add_argument("--quick", action="store_true", help="time smaller arrays")
    demo.set_defaults(run=_demo)
    commands.add_to(subparsers, plain, _guarded)
    return parser


def fail(message: str) -> int:
    """Print an error, and return the exit status for it."""
    print(f"fastloss: {message}", file=sys.stderr)
    return 2
