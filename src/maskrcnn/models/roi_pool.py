"""RoIAlign of a batch of RoIs, each from the pyramid level of its size (FPN, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings, level_of, roi_align


class RoIPool(nn.Cell):
    """RoIAlign on P2..P5. It has no parameters.

    Args:
        settings: Size, sampling, levels.
        coder: Gives the convention of the boxes, which decides about their levels.
    """

    def __init__(self, settings: RoIAlignSettings, coder: BoxCoder) -> None:
        super().__init__()
        self.settings = settings
        self.coder = coder

    def construct(self, pyramid: tuple[Sequence[Tensor], Sequence[tuple[int, int]]], boxes: Tensor) -> Tensor:
        """Pools the features of the RoIs of each image.

        Args:
            pyramid: Tables float32 [sum(H_l*W_l), C], one an image, and (H_l, W_l) of their levels, P2 first, as
                ``ops/roi_align.flatten_levels`` returns them; levels beyond P5 are not used.
            boxes: float32 [N,R,4] in pixels.

        Returns:
            float32 [N*R, size*size, C], image by image, bins row by row.
        """
        settings = self.settings
        tables, shapes = pyramid
        num_levels = len(settings.strides)
        pooled = []
        for i in range(boxes.shape[0]):
            levels = level_of(self.coder.to_continuous(boxes[i]), settings.finest_scale, num_levels)
            pooled.append(roi_align(tables[i], shapes[:num_levels], boxes[i], levels, settings))
        return ops.concat(pooled, 0)
