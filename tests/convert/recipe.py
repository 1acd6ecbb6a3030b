"""Weights made from names: the same on any machine, so the network behind ``parity_small.npz`` need not be shipped.

``weight(name, shape)`` is the rule with which torchvision's model was filled when the file was made; do not change it.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

# Keeps activations near unit scale and scores well apart, so that ranks do not hinge on rounding.
GAIN = {
    "rpn.head.cls_logits.weight": 0.3,
    "rpn.head.bbox_pred.weight": 0.08,
    "roi_heads.box_predictor.cls_score.weight": 0.6,
    "roi_heads.box_predictor.bbox_pred.weight": 0.25,
    "roi_heads.mask_predictor.mask_fcn_logits.weight": 1.0,
}


def weight(name: str, shape) -> np.ndarray:
    """The float32 array of torchvision's parameter or buffer ``name``."""
    rng = np.random.Generator(np.random.Philox(key=[zlib.crc32(name.encode()), 0]))
    shape = tuple(shape)
    if name.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = rng.normal(0, 0.1, shape)
    elif name.endswith("bias"):
        value = rng.normal(0, 0.05, shape)
    elif len(shape) == 1:  # scale of a batch norm; small on each block's last one, so that residuals stay bounded
        value = rng.uniform(0.8, 1.2, shape) * (0.3 if ".bn3." in name else 1.0)
    else:
        fan_in = shape[0] if "conv5_mask" in name else math.prod(shape[1:])
        gain = GAIN.get(name, 0.35 if ".fpn." in name else 1.0)
        value = rng.normal(0, math.sqrt(2 / fan_in), shape) * gain
    return value.astype(np.float32)
