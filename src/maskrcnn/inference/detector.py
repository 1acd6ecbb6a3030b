"""A trained network as a function from images to detections."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor

from maskrcnn.checkpoint.weights import LoadedWeights, load_weights
from maskrcnn.compile_cache import CachedGraph, cache_folder, graph_settings
from maskrcnn.config import Config
from maskrcnn.inference.results import Detections
from maskrcnn.models.build import build_network
from maskrcnn.models.channels_last import lay_out, operations_for
from maskrcnn.models.mask_rcnn import MaskRCNN


class Detector:
    """Runs a network in inference mode; compiled once for each shape of its input.

    Args:
        network: The network.
        graph: What is called in its place: the network with its graphs kept on disk.
    """

    def __init__(self, network: MaskRCNN, graph: CachedGraph | None = None) -> None:
        self.network = network
        self.graph = graph or network
        self.network.set_train(False)

    @classmethod
    def from_config(cls, cfg: Config, num_classes: int) -> Detector:
        """Returns the network of a configuration, with weights yet to be loaded.

        Args:
            cfg: Its settings.
            num_classes: Classes with the background.
        """
        network = build_network(cfg, num_classes)
        lay_out(network, operations_for(cfg))
        return cls(network, CachedGraph(network, cache_folder(cfg.compile_cache), graph_settings(cfg)))

    def load(self, weights: LoadedWeights) -> None:
        """Takes every weight of the network from a file.

        Args:
            weights: See ``convert.read_weights``.

        Raises:
            CheckpointError: A weight is missing, of another shape, or not finite.
        """
        load_weights(self.network, weights)

    def __call__(self, image: np.ndarray, image_shape: np.ndarray) -> Detections:
        """Finds the objects of a batch.

        Args:
            image: uint8 [N,H,W,3], RGB, padded with zeros on the right and below.
            image_shape: float32 [N,2], height and width without the padding.

        Returns:
            Detections in pixels of the canvas.
        """
        found = self.graph(Tensor(image, ms.uint8), Tensor(image_shape, ms.float32))
        boxes, scores, labels, valid, masks = (value.asnumpy() for value in found)
        return Detections(boxes, scores, labels, valid, masks)
