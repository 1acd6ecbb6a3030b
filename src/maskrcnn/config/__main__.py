"""``python -m maskrcnn.config import ZOO.yaml [OUT.yaml]``: see ``--help``."""

from maskrcnn.cli import run
from maskrcnn.commands.config import main

if __name__ == "__main__":
    run(main)
