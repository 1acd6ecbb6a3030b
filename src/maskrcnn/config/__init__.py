"""One typed configuration, read in one place."""

from maskrcnn.config.load import load_arguments, load_config
from maskrcnn.config.schema import Config, Given

__all__ = ["Config", "Given", "load_arguments", "load_config"]
