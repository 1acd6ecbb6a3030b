"""Result files in COCO's format, from this project or any other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from maskrcnn.errors import EvaluationError


def read_results(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads a file of COCO result records.

    Raises:
        EvaluationError: It cannot be read, or holds no list.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"cannot read the results {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise EvaluationError(f"the results {path} are no JSON: {error}") from error
    if not isinstance(records, list):
        raise EvaluationError(f"the results {path} are a {type(records).__name__}, not a list of results")
    return records
