"""Mask prediction: Mask R-CNN, section 3 "Mask Representation" and figure 4 right.

``MaskRCNN`` asks a mask head for these, and another head that has them can take this one's place:

* ``pool(pyramid, boxes)``: the features of RoIs [N,R,4], whatever ``losses`` and ``detect`` take;
* ``losses(...)`` and ``loss_names``: the head owns its targets, its losses and their names;
* ``detect(...)`` and ``mask_size``: probabilities [N,D,m,m] of the detections' own classes, and m.

Both methods also get the pyramid, from which a head may sample features that RoIAlign does not give it.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Normal, initializer

from maskrcnn.models.layers import head_conv
from maskrcnn.models.losses import sigmoid_cross_entropy
from maskrcnn.models.roi_pool import RoIPool
from maskrcnn.ops.masks import mask_coverage, mask_samples

UP = 2  # the deconvolution's kernel and stride


class MaskHead(nn.Cell):
    """Convolutions, a 2x2 deconvolution and one mask a class, of which only each RoI's own is computed.

    The deconvolution's taps do not overlap and what follows it is pointwise, so it is a matrix product whose four taps
    are put into place at the very end, in the one channel that is left.

    Args:
        pool: Gives the RoI features, [R, size*size, C].
        in_channels: Of the RoI features.
        channels: Of the 3x3 convolutions.
        num_layers: How many there are.
        num_classes: With the background.
        mask_targets: "coverage": what the object covers half of is foreground; "torchvision": soft, interpolated.
    """

    loss_names = ("rcnn_mask_loss",)

    def __init__(
        self,
        pool: RoIPool,
        *,
        in_channels: int,
        channels: int,
        num_layers: int,
        num_classes: int,
        mask_targets: str,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.mask_size = UP * pool.settings.size
        widths = [in_channels] + [channels] * num_layers
        self.convs = nn.CellList([head_conv(i, o, 3) for i, o in zip(widths, widths[1:])])
        self.deconv_weight = Parameter(
            initializer(HeNormal(mode="fan_in", nonlinearity="relu"), [channels, channels, UP, UP]),
            name="deconv_weight",
        )
        self.deconv_bias = Parameter(initializer("zeros", [channels]), name="deconv_bias")
        self.logits_weight = Parameter(initializer(Normal(sigma=0.001), [num_classes, channels]), name="logits_weight")
        self.logits_bias = Parameter(initializer("zeros", [num_classes]), name="logits_bias")
        self.channels = channels
        self.mask_targets = mask_targets

    def construct(self, features: Tensor, labels: Tensor) -> Tensor:
        """Maps features [R, size*size, C] and classes int32 [R] to the own class's logits [R, 2*size, 2*size]."""
        r, positions, c = features.shape
        size = int(positions**0.5)
        x = features.swapaxes(1, 2).reshape((r, c, size, size))
        for layer in self.convs:
            x = ops.relu(layer(x))
        # [in, out, ky, kx] to [(ky, kx, out), in]: each tap of the deconvolution is a 1x1 convolution.
        weight = self.deconv_weight.transpose((2, 3, 1, 0)).reshape((UP * UP * self.channels, self.channels, 1, 1))
        x = ops.bias_add(ops.conv2d(x, weight), ops.concat([self.deconv_bias] * (UP * UP)))
        x = ops.relu(x).reshape((r, UP * UP, self.channels, positions))
        own = ops.gather(self.logits_weight, labels, 0).reshape((r, 1, 1, self.channels))
        own = own.broadcast_to((r, UP * UP, 1, self.channels))
        x = ops.bmm(own, x).reshape((r, UP, UP, size, size))
        x = x + ops.gather(self.logits_bias, labels, 0).reshape((r, 1, 1, 1, 1))
        return x.transpose((0, 3, 1, 4, 2)).reshape((r, UP * size, UP * size))

    def losses(
        self,
        features: Tensor,
        rois: Tensor,
        labels: Tensor,
        objects: tuple[Tensor, Tensor],
        image_shape: Tensor,
        counted: Tensor,
        normalizer: Tensor,
        pyramid: tuple[Sequence[Tensor], Sequence[tuple[int, int]]],
    ) -> tuple[Tensor, ...]:
        """Computes the losses of the RoIs' masks, in the order of ``loss_names``.

        Args:
            features: float32 [N*M, size*size, C], of ``pool``.
            rois: float32 [N,M,4] in pixels.
            labels: int32 [N,M], classes; 0 in slots without a positive.
            objects: What the RoIs are matched with: mask crops uint8 [N,M,P,P] and boxes float32 [N,M,4].
            image_shape: float32 [N,2], height and width in pixels without the padding.
            counted: float32 [N,M], 1 for RoIs whose object has a mask, 0 for others.
            normalizer: float32 scalar to divide by, how many count.
            pyramid: As for ``RoIPool``.

        Returns:
            float32 scalars.
        """
        logits = self.construct(features, labels.reshape((-1,)))
        targets = self.targets(rois, objects, image_shape)
        return (self.loss(logits, targets, counted.reshape((-1,)), normalizer),)

    def targets(self, rois: Tensor, objects: tuple[Tensor, Tensor], image_shape: Tensor) -> Tensor:
        """Returns what the masks of RoIs should be, float32 [N*M,m,m]; arguments as for ``losses``."""
        crops, boxes = objects
        found = []
        for i in range(rois.shape[0]):
            crop = crops[i].astype(ms.float32)
            if self.mask_targets == "torchvision":
                found.append(mask_samples(crop, boxes[i], rois[i], image_shape[i], self.mask_size))
            else:
                covered = mask_coverage(crop, boxes[i], rois[i], self.mask_size)
                found.append((covered >= 0.5).astype(ms.float32))
        return ops.stop_gradient(ops.concat(found, 0))

    def loss(self, logits: Tensor, targets: Tensor, counted: Tensor, normalizer: Tensor) -> Tensor:
        """Computes the mean binary cross entropy over the cells of the RoIs that count (section 3, L_mask).

        Args:
            logits: float32 [R,m,m].
            targets: float32 [R,m,m].
            counted: float32 [R], 0 or 1.
            normalizer: float32 scalar, how many count.
        """
        return (sigmoid_cross_entropy(logits, targets).mean((1, 2)) * counted).sum() / normalizer

    def detect(
        self,
        features: Tensor,
        boxes: Tensor,
        labels: Tensor,
        pyramid: tuple[Sequence[Tensor], Sequence[tuple[int, int]]],
    ) -> Tensor:
        """Returns the masks of detections, probabilities float32 [N,D,m,m] in the frames of their boxes.

        Args:
            features: float32 [N*D, size*size, C], of ``pool``.
            boxes: float32 [N,D,4] in pixels.
            labels: int32 [N,D], their classes.
            pyramid: As for ``RoIPool``.
        """
        logits = self.construct(features, labels.reshape((-1,)))
        return ops.sigmoid(logits).reshape((*labels.shape, self.mask_size, self.mask_size))
