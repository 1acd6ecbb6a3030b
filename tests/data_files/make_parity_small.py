"""Cut ``parity_small.npz`` out of the full records of torchvision's stages: make_parity_small.py FULL.npz ALIGNED.npz.

FULL.npz holds what torchvision 0.28 computes for two photographs with the weights of ``tests/convert/recipe.py``; its
README tells the layouts. ALIGNED.npz is the same with half-pixel correct RoIAlign (``make_parity.py --aligned
--recipe 0 --pre_nms 300 --post_nms 80``). Maps are thinned out to every 16th channel, the rest is whole.
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
DETECTIONS = [f"eval/det_{name}" for name in ("boxes", "boxes_count", "scores", "labels")]
DETECTIONS += ["eval/mask_logits_of_label", "eval/pasted_mask_0", "eval/pasted_mask_1"]
TRAINING = [f"target/{name}_{i}" for name in ("boxes", "labels", "masks") for i in (0, 1)]
TRAINING += [f"train/{name}" for name in ("rpn_sampled_pos", "rpn_sampled_neg", "mask_rois", "mask_rois_count")]
TRAINING += [f"train/{name}" for name in ("mask_targets", "roi_labels", "roi_labels_count", "grad_norms", "grad_names")]
TRAINING += [f"train/loss_{name}" for name in ("objectness", "rpn_box_reg", "classifier", "box_reg", "mask")]
GRADIENTS = ["rpn.head.cls_logits.weight", "rpn.head.bbox_pred.weight", "roi_heads.box_predictor.bbox_pred.bias"]
ROI_FEATURES = "eval/box_roi_features"
ROIS = 4


def main() -> None:
    full, aligned = (np.load(path) for path in sys.argv[1:])
    small = {name: full[name] for name in WHOLE + DETECTIONS + TRAINING}
    small.update({f"train/grad/{name}": full[f"train/grad/{name}"] for name in GRADIENTS})
    small.update({name.replace("eval", "aligned"): aligned[name] for name in DETECTIONS})
    small.update({name: full[name][:, ::CHANNEL_STEP] for name in MAPS})
    small[ROI_FEATURES] = full[ROI_FEATURES][:ROIS]
    np.savez_compressed(Path(__file__).with_name("parity_small.npz"), **small)


if __name__ == "__main__":
    main()
