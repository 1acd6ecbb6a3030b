"""``python -m maskrcnn.data.download OUT``: see ``--help``."""

from maskrcnn.cli import run
from maskrcnn.commands.download import main

if __name__ == "__main__":
    run(main)
