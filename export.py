"""Export: ``python export.py --ckpt_file FILE --file_format MINDIR|ONNX|AIR [--config_path FILE] [--key value]``"""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if importlib.util.find_spec("maskrcnn") is None:
    sys.path.insert(0, str(ROOT / "src"))

from maskrcnn import cli  # noqa: E402
from maskrcnn.commands.export import main  # noqa: E402

if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:], defaults=ROOT / "default_config.yaml"))
