"""``maskrcnn COMMAND`` and ``python -m maskrcnn COMMAND``: see ``--help``."""

from maskrcnn.cli import run
from maskrcnn.commands.console import main


def start() -> None:
    """Runs the command line and ends the process with its exit code."""
    run(main)


if __name__ == "__main__":
    start()
