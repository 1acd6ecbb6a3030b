"""Backbones by name, from the rows of ``config/backbones.py``.

The file of a family holds two functions, which take the settings of a row by keyword:

* ``build(cfg, ...)`` makes the network of a configuration: a ``FeatureCell`` that maps normalised images [N,3,H,W] to
  C2..C5, with their channels as ``out_channels``;
* ``conv_norms(...)`` lists each convolution at full width, its normalisation and its (out, in, kernel), in the order of
  the forward pass, under the names of the parameters: ("layer1.0.conv2", "layer1.0.bn2", (64, 64, 3)).
"""

from __future__ import annotations

from importlib import import_module

from maskrcnn.config import Config
from maskrcnn.config.backbones import BACKBONES
from maskrcnn.models.layers import FeatureCell


def build_backbone(cfg: Config) -> FeatureCell:
    """Builds the backbone of a configuration."""
    row = BACKBONES[cfg.backbone]
    return import_module(f"{__package__}.{row.family}").build(cfg, **row.settings)


def conv_norms(backbone: str) -> list[tuple[str, str, tuple[int, int, int]]]:
    """Lists the convolutions of a backbone with their normalisations and sizes, as the converters expect them."""
    row = BACKBONES[backbone]
    return import_module(f"{__package__}.{row.family}").conv_norms(**row.settings)
