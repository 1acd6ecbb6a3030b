"""The region proposal network alone, as a function from images to proposals."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from maskrcnn.inference.results import Detections
from maskrcnn.models.mask_rcnn import MaskRCNN


class _Proposals(nn.Cell):
    """The part of a network that ends with its proposals."""

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network
        self.set_train(False)

    def construct(self, image: Tensor, image_shape: Tensor) -> tuple[Tensor, Tensor]:
        proposed = self.network.rpn.propose(self.network.features(image, image_shape), image_shape)
        return proposed[0], proposed[-1]


class ProposalDetector:
    """Gives a network's proposals as detections of a single class without masks, the best first."""

    def __init__(self, network: MaskRCNN) -> None:
        """Takes a network whose weights are loaded."""
        self._proposals = _Proposals(network)

    def __call__(self, image: np.ndarray, image_shape: np.ndarray) -> Detections:
        """Proposes regions of a batch.

        Args:
            image: uint8 [N,H,W,3], RGB, padded with zeros on the right and below.
            image_shape: float32 [N,2], height and width without the padding.

        Returns:
            Detections in pixels of the canvas. Scores say the order only: they fall evenly from 1.
        """
        found = self._proposals(Tensor(image, ms.uint8), Tensor(image_shape, ms.float32))
        boxes, valid = (value.asnumpy() for value in found)
        images, count = valid.shape
        scores = np.tile(1 - np.arange(count, dtype=np.float32) / count, (images, 1))
        masks = np.zeros((images, count, 0, 0), np.float32)
        return Detections(boxes, scores, np.ones((images, count), np.int32), valid.astype(bool), masks)
