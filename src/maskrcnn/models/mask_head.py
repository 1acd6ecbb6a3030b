"""Mask prediction: Mask R-CNN, section 3 "Mask Representation" and figure 4 right."""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Normal, initializer

from maskrcnn.models.layers import head_conv
from maskrcnn.models.losses import divisor, sigmoid_cross_entropy

UP = 2  # the deconvolution's kernel and stride


class MaskHead(nn.Cell):
    """Convolutions, a 2x2 deconvolution and one mask a class, of which only each RoI's own is computed.

    The deconvolution's taps do not overlap and what follows it is pointwise, so it is a matrix product whose four taps
    are put into place at the very end, in the one channel that is left.

    Args:
        in_channels, channels, num_layers: of the 3x3 convolutions.
        num_classes: with the background.
    """

    def __init__(self, in_channels: int, channels: int, num_layers: int, num_classes: int) -> None:
        super().__init__()
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

    def construct(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        """Features [R, size*size, C] and classes int32 [R] to the own class's logits [R, 2*size, 2*size]."""
        r, positions, c = roi_features.shape
        size = int(positions**0.5)
        x = roi_features.swapaxes(1, 2).reshape((r, c, size, size))
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

    def loss(self, logits: Tensor, targets: Tensor, counted: Tensor, number: Tensor | None = None) -> Tensor:
        """Mean binary cross entropy over the cells of the RoIs that count (section 3, L_mask).

        Args:
            logits, targets: float32 [R,m,m]; counted: float32 [R], 0 or 1.
            number: float32 scalar to divide by instead of how many count, see ``losses.divisor``.
        """
        number = divisor(counted.sum()) if number is None else number
        return (sigmoid_cross_entropy(logits, targets).mean((1, 2)) * counted).sum() / number
