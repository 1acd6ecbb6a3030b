"""A trained network as a function from images to detections."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor

from maskrcnn.checkpoint.format import load_checkpoint
from maskrcnn.config import Config
from maskrcnn.device import set_device
from maskrcnn.errors import CheckpointError
from maskrcnn.inference.results import Detections
from maskrcnn.models.mask_rcnn import MaskRCNN


class Detector:
    """Runs a network in inference mode; compiled once for each shape of its input."""

    def __init__(self, network: MaskRCNN) -> None:
        self.network = network
        self.network.set_train(False)

    @classmethod
    def from_config(cls, cfg: Config, num_classes: int) -> Detector:
        """The network of a configuration, on its device, with weights yet to be loaded.

        Args:
            num_classes: with the background.
        """
        set_device(cfg.device_target, cfg.device_id)
        return cls(MaskRCNN.from_config(cfg, num_classes))

    def load(self, path: str | Path) -> None:
        """Take every weight from a checkpoint.

        Raises:
            CheckpointError: unreadable, or a weight is missing or of another shape.
        """
        arrays, _ = load_checkpoint(path)
        for name, parameter in self.network.parameters_dict().items():
            if name not in arrays:
                raise CheckpointError(
                    f"{path} has no {name}: it belongs to another network; use the configuration it was trained with"
                )
            if tuple(arrays[name].shape) != tuple(parameter.shape):
                raise CheckpointError(
                    f"{path} has another network: {name} is {tuple(arrays[name].shape)}, not {tuple(parameter.shape)}; "
                    "use the configuration and classes it was trained with"
                )
            parameter.set_data(Tensor(arrays[name], parameter.dtype))

    def __call__(self, image: np.ndarray, image_shape: np.ndarray) -> Detections:
        """Detections in a batch.

        Args:
            image: uint8 [N,H,W,3], RGB, padded with zeros on the right and below.
            image_shape: float32 [N,2], height and width without the padding.
        """
        found = self.network(Tensor(image, ms.uint8), Tensor(image_shape, ms.float32))
        boxes, scores, labels, valid, masks = (value.asnumpy() for value in found)
        return Detections(boxes, scores, labels, valid, masks)
