"""``python -m maskrcnn.data.shapes OUT``: see ``--help``."""

from maskrcnn.cli import run
from maskrcnn.commands.shapes import main

if __name__ == "__main__":
    run(main)
