"""``python -m maskrcnn.launch [OPTION]... SCRIPT [ARGUMENT]...``: see ``--help``."""

from maskrcnn.cli import run
from maskrcnn.commands.launch import main

if __name__ == "__main__":
    run(main)
