"""Translate a configuration of MindSpore's model zoo: from the command line to the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.cli import Parser
from maskrcnn.config.zoo import import_zoo
from maskrcnn.errors import ConfigError

DESCRIPTION = """\
Translate a default_config.yaml of MindSpore's model zoo into a configuration file of ours, and say what became of
every key."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes the file.

    Raises:
        ConfigError: The file cannot be read or written, or its values cannot work.
    """
    parser = Parser(prog="maskrcnn config", description=DESCRIPTION)
    parser.add_argument("action", choices=["import"])
    parser.add_argument("zoo", metavar="ZOO.yaml", type=Path)
    parser.add_argument("out", metavar="OUT.yaml", type=Path, nargs="?", help="printed if left out")
    arguments = parser.parse_args(argv)
    result = import_zoo(arguments.zoo)
    print("\n".join(result.table()))
    if arguments.out is None:
        print("\n" + result.text)
        return
    try:
        with open(arguments.out, "x", encoding="utf-8") as file:
            file.write(result.text)
    except FileExistsError:
        raise ConfigError(f"{arguments.out} is there already: name another file") from None
    except OSError as error:
        raise ConfigError(f"cannot write {arguments.out}: {error.strerror or error}") from error
    print(f"\nwritten to {arguments.out}; use it with --config_path {arguments.out}")
