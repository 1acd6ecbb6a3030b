"""Collecting what is wrong, so that a user hears of all of it at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from maskrcnn.errors import ConfigError


class Problems:
    """The lines of the errors noted so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextlib.contextmanager
    def noted(self, where: str = "") -> Iterator[None]:
        """Notes a ConfigError of the block instead of letting it through; ``where`` is put before its lines."""
        try:
            yield
        except ConfigError as error:
            self.lines += [where + line for line in error.lines]

    def raise_noted(self) -> None:
        """Raises one ConfigError with all lines, if there are any."""
        if self.lines:
            raise ConfigError(*dict.fromkeys(self.lines))
