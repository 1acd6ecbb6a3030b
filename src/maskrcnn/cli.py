"""How every entry point ends: one clear line on failure, and an exit code that scripts can trust."""

from __future__ import annotations

import sys
from typing import Callable

from maskrcnn.errors import MaskRCNNError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run(main: Callable[[], int | None]) -> None:
    """Call ``main`` and leave the process with its exit code.

    A ``MaskRCNNError`` is printed as ``error: <line>`` with exit code 2, an interruption exits with 130. Any other
    exception is a defect of ours and keeps its traceback.
    """
    try:
        code = main() or 0
    except MaskRCNNError as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    sys.stdout.flush()
    sys.exit(code)
