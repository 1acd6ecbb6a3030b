"""``python -m maskrcnn.convert SOURCE OUT``: see ``--help``."""

from maskrcnn.cli import run
from maskrcnn.commands.convert import main

if __name__ == "__main__":
    run(main)
