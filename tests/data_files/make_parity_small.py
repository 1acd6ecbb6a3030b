"""Cut ``parity_small.npz`` out of the full record of torchvision's stages: make_parity_small.py FULL.npz.

The full file holds what torchvision 0.28 computes for two photographs with the weights of ``tests/convert/recipe.py``;
its README tells the layouts. Maps are thinned out to every 16th channel, the rest is whole.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

CHANNEL_STEP = 16
MAPS = [f"eval/{name}" for name in ("C2", "C3", "C4", "C5", "P2", "P3", "P4", "P5", "P6")]
RPN = [f"eval/rpn_{kind}_P{level}" for kind in ("objectness", "deltas") for level in range(2, 7)]
WHOLE = ["config", "input/image_sizes_hw", "input/rgb_0", "input/rgb_1", *RPN]
WHOLE += [f"eval/{name}" for name in ("proposals", "proposals_count", "proposal_scores", "class_logits", "box_deltas")]
WHOLE += [f"eval/det_{name}" for name in ("boxes", "boxes_count", "scores", "labels")]
WHOLE += ["eval/mask_logits_of_label", "eval/pasted_mask_0", "eval/pasted_mask_1"]
ROI_FEATURES = "eval/box_roi_features"
ROIS = 4


def main() -> None:
    full = np.load(sys.argv[1])
    small = {name: full[name] for name in WHOLE}
    small.update({name: full[name][:, ::CHANNEL_STEP] for name in MAPS})
    small[ROI_FEATURES] = full[ROI_FEATURES][:ROIS]
    np.savez_compressed(Path(__file__).with_name("parity_small.npz"), **small)


if __name__ == "__main__":
    main()
