"""Cut ``parity_small.npz`` out of the full records of torchvision's stages: make_parity_small.py FULL ALIGNED ADAPTIVE.

FULL.npz holds what torchvision 0.28 computes for two photographs with the weights of ``tests/convert/recipe.py``; its
README tells the layouts. The others are the same with half-pixel correct RoIAlign, ADAPTIVE.npz also with adaptive
sampling (``make_parity.py --aligned [--sampling 0] --recipe 0 --pre_nms 300 --post_nms 80``): what comes after RoIAlign
differs. Maps are thinned out to every 16th channel, RoI features to the first RoIs, the rest is whole.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

CHANNEL_STEP = 16
MAPS = [f"eval/{name}" for name in ("C2", "C3", "C4", "C5", "P2", "P3", "P4", "P5", "P6")]
RPN = [f"eval/rpn_{kind}_P{level}" for kind in ("objectness", "deltas") for level in range(2, 7)]
WHOLE = ["config", "input/image_sizes_hw", "input/rgb_0", "input/rgb_1", *RPN]
WHOLE += [f"eval/{name}" for name in ("proposals", "proposals_count", "proposal_scores")]
WHOLE += [f"target/{name}_{i}" for name in ("boxes", "labels", "masks") for i in (0, 1)]
WHOLE += [f"train/{name}" for name in ("rpn_sampled_pos", "rpn_sampled_neg", "grad_names")]
OF_ROIS = [f"eval/{name}" for name in ("class_logits", "box_deltas", "mask_logits_of_label")]
OF_ROIS += [f"eval/det_{name}" for name in ("boxes", "boxes_count", "scores", "labels")]
OF_ROIS += ["eval/pasted_mask_0", "eval/pasted_mask_1", "train/grad_norms"]
OF_ROIS += [f"train/loss_{name}" for name in ("objectness", "rpn_box_reg", "classifier", "box_reg", "mask")]
GRADIENTS = ["rpn.head.cls_logits.weight", "rpn.head.bbox_pred.weight", "roi_heads.box_predictor.bbox_pred.bias"]
GRADIENTS += ["roi_heads.mask_head.0.0.bias", "roi_heads.mask_predictor.mask_fcn_logits.weight"]
OF_ROIS += [f"train/grad/{name}" for name in GRADIENTS]
ROI_FEATURES = "eval/box_roi_features"
ROIS = 4


def main() -> None:
    full, aligned, adaptive = (np.load(path) for path in sys.argv[1:])
    small = {name: full[name] for name in WHOLE}
    small.update({name: full[name][:, ::CHANNEL_STEP] for name in MAPS})
    for prefix, record in (("", full), ("aligned/", aligned), ("adaptive/", adaptive)):
        for name in ("eval/proposals", "train/rpn_sampled_pos"):  # what does not depend on RoIAlign
            np.testing.assert_array_equal(record[name], full[name])
        small.update({prefix + name: record[name] for name in OF_ROIS})
        small[prefix + ROI_FEATURES] = record[ROI_FEATURES][:ROIS]
    np.savez_compressed(Path(__file__).with_name("parity_small.npz"), **small)


if __name__ == "__main__":
    main()
