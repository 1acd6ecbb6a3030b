"""``python -m maskrcnn.data.prepare SOURCE... OUT``: see ``--help``."""

from maskrcnn.cli import run
from maskrcnn.commands.prepare import main

if __name__ == "__main__":
    run(main)
