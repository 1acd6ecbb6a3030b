"""How every entry point ends: one clear line on failure, and an exit code that scripts can trust."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Callable

from maskrcnn.errors import EXIT_USER_ERROR, MaskRCNNError

EXIT_INTERRUPTED = 130
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EPIPE)  # what a write that was fine so far can meet


def run(main: Callable[[], int | None]) -> None:
    """Call ``main`` and leave the process with its exit code.

    A ``MaskRCNNError``, or an output that cannot be written any more, is printed as ``error: <line>`` with exit code 2,
    or 3 for ``PeersLost``; an interruption exits with 130. Any other exception is a defect of ours and keeps its
    traceback.
    """
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
