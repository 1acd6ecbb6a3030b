"""How every entry point begins and ends: quiet, one clear line on failure, and an exit code that scripts can trust."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from maskrcnn.errors import EXIT_USER_ERROR, ConfigError, MaskRCNNError

# MindSpore's log level, which it reads when it is imported: its own errors only, since its compiler warns about things
# that no user can act on, such as unpacked values that nobody uses (see ops/nms.py). A user's own value is kept.
os.environ.setdefault("GLOG_v", "3")
EXIT_INTERRUPTED = 130
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EPIPE)  # what a write that was fine so far can meet


class Parser(argparse.ArgumentParser):
    """Reports a wrong option like all other errors, in one line, and takes ``--help_all`` for ``--help``."""

    def __init__(self, *args, **settings) -> None:
        super().__init__(*args, allow_abbrev=False, **settings)
        self.add_argument("--help_all", action="help", help=argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def program(command: str) -> str:
    """Returns how a user called a command: "python train.py", or "maskrcnn train"."""
    script = os.path.basename(sys.argv[0])
    return f"python {script}" if script == f"{command}.py" else f"maskrcnn {command}"


def run(main: Callable[[], int | None]) -> None:
    """Calls ``main`` and leaves the process with its exit code.

    A ``MaskRCNNError``, or an output that cannot be written any more, is printed as ``error: <line>`` with exit code 2,
    or 3 for ``PeersLost``; an interruption exits with 130. Any other exception is a defect of ours and keeps its
    traceback. Letters that the console cannot show, in names of classes and files, are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main() or 0
    except MaskRCNNError as error:
        code = error.exit_code
        _print_error(str(error))
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        _print_error("interrupted")
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS:
            raise
        code = EXIT_USER_ERROR
        _print_error(f"cannot write {error.filename or 'the standard output'}: {error.strerror}")
    try:
        sys.stdout.flush()
    except OSError as error:  # Python would try again at its end, and lose the exit code
        if not code:
            code = EXIT_USER_ERROR
            _print_error(f"cannot write the standard output: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _print_error(line: str) -> None:
    with contextlib.suppress(OSError):  # standard error is often the same full disk
        print(f"error: {line}", file=sys.stderr, flush=True)
