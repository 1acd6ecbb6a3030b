"""The inference graph of Mask R-CNN as ONNX, written from our Cells with ONNX's own operators.

MindSpore's exporter does not know padded max pooling, among others, and would spell RoIAlign out as gathers of 16 rows
a bin. Here the graph has Conv, RoiAlign, NonMaxSuppression and TopK, for which every runtime has fast kernels. Backbone
and pyramid write themselves (``onnx_layers.py``); the rest mirrors ``MaskRCNN.detect`` step by step; the tests compare
the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from maskrcnn.export import onnx_boxes as boxes_of
from maskrcnn.export.onnx_graph import OnnxGraph
from maskrcnn.export.onnx_layers import OnnxOperations, dense, unknown
from maskrcnn.models.mask_head import UP, MaskHead
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.models.roi_pool import RoIPool
from maskrcnn.ops.nms import CLASS_GRID

OPSET_ALIGNED = 16  # the first with an aligned RoiAlign
OPSET = 13


def onnx_model(network: MaskRCNN, images: int, height: int, width: int) -> onnx.ModelProto:
    """Writes a network whose batch normalisation is folded as a model for batches of a fixed size.

    Inputs: image uint8 [N,H,W,3], image_shape float32 [N,2]. Outputs: boxes float32 [N,D,4], scores float32 [N,D],
    labels int32 [N,D], valid uint8 [N,D], masks float32 [N,D,m,m], as ``MaskRCNN.detect`` describes them.

    Args:
        network: In inference mode.
        images: N.
        height: H, of the canvas.
        width: W, of the canvas.

    Raises:
        ExportError: The network has a part that has no ONNX form here.
    """
    return _Writer(network, images, height, width).model()


class _Writer:
    """Writes one model; the methods follow the network's path from pixels to masks."""

    def __init__(self, network: MaskRCNN, images: int, height: int, width: int) -> None:
        self.g = OnnxGraph()
        self.f = OnnxOperations(self.g)
        self.net = network
        self.n, self.height, self.width = images, height, width
        self.write_masks = MASK_HEADS.get(type(network.mask_head))
        if self.write_masks is None:
            raise unknown(network.mask_head)

    def model(self) -> onnx.ModelProto:
        g, net = self.g, self.net
        image = g.input("image", np.uint8, (self.n, self.height, self.width, 3))
        image_shape = g.input("image_shape", np.float32, (self.n, 2))
        if net.padding_counts:
            image_shape = g.constant(np.float32([[self.height, self.width]] * self.n))
        pyramid = net.fpn.forward(self.f, *net.backbone.forward(self.f, self.pixels(image, image_shape)))
        proposals, valid, count = self.proposals(pyramid, image_shape)
        strides = net.box_head.pool.settings.strides
        packed = boxes_of.pack_levels(g, pyramid[: len(strides)], self.shapes(strides))
        boxes, scores, labels, kept, found = self.detections(packed, proposals, valid, count, image_shape)
        masks = self.write_masks(self, packed, boxes, labels, found)
        g.output("boxes", boxes, np.float32, (self.n, found, 4))
        g.output("scores", scores, np.float32, (self.n, found))
        g.output("labels", labels, np.int32, (self.n, found))
        g.output("valid", g.cast(kept, np.uint8), np.uint8, (self.n, found))
        side = net.mask_head.mask_size
        g.output("masks", masks, np.float32, (self.n, found, side, side))
        return g.model("maskrcnn", OPSET_ALIGNED if net.box_head.pool.settings.aligned else OPSET)

    def shapes(self, strides: Sequence[int]) -> list[tuple[int, int]]:
        """Returns rows and columns of the levels with these strides."""
        return [(self.height // s, self.width // s) for s in strides]

    def pixels(self, image: str, image_shape: str) -> str:
        """Returns normalised pixels [N,3,H,W], zero beyond each image."""
        g = self.g
        x = g.cast(g.op("Transpose", image, perm=[0, 3, 1, 2]), np.float32)
        x = g.op("Sub", x, np.float32(self.net.mean).reshape(1, 3, 1, 1))
        x = g.op("Div", x, np.float32(self.net.std).reshape(1, 3, 1, 1))
        for axis, length in ((0, self.height), (1, self.width)):
            limit = g.reshape(g.slice(image_shape, 1, axis, axis + 1), self.n, 1, 1, 1)
            position = np.arange(length, dtype=np.float32).reshape((1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1))
            x = g.op("Mul", x, g.cast(g.op("Less", position, limit), np.float32))
        return x

    def proposals(self, pyramid: Sequence[str], image_shape: str) -> tuple[str, str, int]:
        """``RPN.propose``: boxes [N,R,4], best first, valid bool [N,R], and R."""
        g, rpn, settings = self.g, self.net.rpn, self.net.rpn.test_proposals
        scores, deltas, anchors, groups = [], [], [], []
        for i, (feature, (h, w)) in enumerate(zip(pyramid, self.shapes(rpn.strides))):
            total = rpn.num_anchors * h * w
            count = min(settings.nms_pre, total)
            hidden = self.f.relu(self.f.conv(rpn.conv, feature))
            logits = g.op("Transpose", self.f.conv(rpn.cls_logits, hidden), perm=[0, 2, 3, 1])
            best, index = boxes_of.top(g, g.reshape(logits, self.n, total), count)
            scores.append(best)
            delta = g.reshape(self.f.conv(rpn.bbox_pred, hidden), self.n, rpn.num_anchors, 4, h * w)
            delta = g.op("Transpose", delta, perm=[0, 3, 1, 2])
            deltas.append(boxes_of.gather_rows(g, delta, index, self.n, total, 4))
            anchors.append(self.anchors(index, i, w))
            groups.append(np.full(count, i))
        scores, deltas, anchors = (g.op("Concat", *parts, axis=1) for parts in (scores, deltas, anchors))
        groups = np.concatenate(groups)
        limit = boxes_of.limits(g, image_shape, rpn.coder)
        boxes = boxes_of.clip(g, boxes_of.decode(g, deltas, anchors, rpn.coder), limit)
        large = boxes_of.large_enough(g, boxes, settings.min_size, rpn.coder)
        kept = boxes_of.nms(g, boxes, large, groups, settings.nms_post, settings.nms_thr)
        scores = g.op("Where", g.op("Greater", kept, np.float32(0)), g.op("Sigmoid", scores), np.float32(-1))
        count = min(settings.max_num, len(groups))
        ranked, index = boxes_of.top(g, scores, count)
        best = boxes_of.gather_rows(g, boxes, index, self.n, len(groups), 4)
        return best, g.op("Not", g.op("Less", ranked, np.float32(0))), count

    def anchors(self, index: str, level: int, columns: int) -> str:
        """``RPN.anchors_at``: [N,K,4] of int32 [N,K]."""
        g, rpn = self.g, self.net.rpn
        cell, kind = boxes_of.divide(g, index, rpn.num_anchors)
        y, x = boxes_of.divide(g, cell, columns)
        point = [g.op("Unsqueeze", g.cast(value, np.float32), np.array([2])) for value in (x, y)]
        point = g.op("Mul", g.op("Concat", *point, *point, axis=2), np.float32(rpn.strides[level]))
        return g.op("Add", g.op("Gather", rpn.cell_anchors[level].asnumpy(), kind, axis=0), point)

    def pool(self, pool: RoIPool, packed: boxes_of.PackedLevels, boxes: str, count: int) -> str:
        """``RoIPool``: RoI features [N*count, C, size, size]."""
        return boxes_of.roi_align(self.g, packed, boxes, self.n, count, pool.settings, pool.coder)

    def box_head(self, features: str, count: int) -> tuple[str, str]:
        """``BoxHead``: probabilities [N*R, K+1] and deltas [N*R, 4(K+1)] of features [N*R, C, size, size]."""
        g, head = self.g, self.net.box_head
        size = head.pool.settings.size
        x = g.reshape(features, self.n * count, -1)
        for i, layer in enumerate(head.fc):
            weight = layer.weight.asnumpy()
            if i == 0:  # its columns are ordered (y, x, channel), the features (channel, y, x)
                rows = weight.shape[0]
                weight = weight.reshape(rows, size * size, -1).transpose(0, 2, 1).reshape(rows, -1)
            x = g.op("Relu", dense(g, layer, x, weight))
        return g.op("Softmax", dense(g, head.cls_score, x), axis=1), dense(g, head.bbox_pred, x)

    def detections(
        self, packed: boxes_of.PackedLevels, proposals: str, valid: str, count: int, image_shape: str
    ) -> tuple[str, str, str, str, int]:
        """``BoxHead.detect``: boxes [N,D,4], scores [N,D], labels int32 [N,D], valid bool [N,D], and D."""
        g, head, settings = self.g, self.net.box_head, self.net.box_head.detection
        foreground = head.num_classes - 1
        scores, deltas = self.box_head(self.pool(head.pool, packed, proposals, count), count)
        scores = g.reshape(g.slice(scores, 1, 1, head.num_classes), self.n, count, foreground)
        passed = g.op("And", g.op("Greater", scores, np.float32(settings.score_thr)), _column(g, valid))
        candidates = g.reshape(g.op("Where", passed, scores, np.float32(-1)), self.n, count * foreground)
        number = min(settings.nms_pre, count * foreground)
        scores, index = boxes_of.top(g, candidates, number)
        roi, label = boxes_of.divide(g, index, foreground)
        label = g.op("Add", label, np.array(1, np.int32))

        row = g.op("Add", g.op("Mul", roi, np.array(head.num_classes, np.int32)), label)
        deltas = boxes_of.gather_rows(g, deltas, row, self.n, count * head.num_classes, 4)
        anchors = boxes_of.gather_rows(g, proposals, roi, self.n, count, 4)
        limit = boxes_of.limits(g, image_shape, head.coder)
        boxes = boxes_of.clip(g, boxes_of.decode(g, deltas, anchors, head.coder), limit)
        large = boxes_of.large_enough(g, boxes, settings.min_size, head.coder)

        # Classes apart on a grid, as in ops/nms.py, so that only boxes of one class overlap.
        step = max(self.height, self.width) + 1
        grid = np.stack([np.arange(head.num_classes) % CLASS_GRID, np.arange(head.num_classes) // CLASS_GRID] * 2, 1)
        apart = g.op("Add", boxes, g.op("Gather", (grid * step).astype(np.float32), label, axis=0))
        candidate = g.op("And", large, g.op("Not", g.op("Less", scores, np.float32(0))))
        kept = boxes_of.nms(g, apart, candidate, np.zeros(number, np.int64), number, settings.iou_thr)
        scores = g.op("Where", g.op("Greater", kept, np.float32(0)), scores, np.float32(-1))
        found = min(settings.max_per_img, number)
        scores, best = boxes_of.top(g, scores, found)
        boxes = boxes_of.gather_rows(g, boxes, best, self.n, number, 4)
        labels = g.reshape(boxes_of.gather_rows(g, label, best, self.n, number, 1), self.n, found)
        return boxes, g.op("Relu", scores), labels, g.op("Not", g.op("Less", scores, np.float32(0))), found

    def masks(self, packed: boxes_of.PackedLevels, boxes: str, labels: str, count: int) -> str:
        """``MaskHead.detect``: probabilities [N,D,2m,2m] of the own classes."""
        g, head = self.g, self.net.mask_head
        x = self.pool(head.pool, packed, boxes, count)
        for layer in head.convs:
            x = self.f.relu(self.f.conv(layer, x))
        weight = g.weight("mask_head.deconv.weight", head.deconv_weight.asnumpy())
        bias = g.weight("mask_head.deconv.bias", head.deconv_bias.asnumpy())
        x = g.op("Relu", g.op("ConvTranspose", x, weight, bias, kernel_shape=[UP, UP], strides=[UP, UP]))
        side, rois = head.mask_size, self.n * count
        labels = g.reshape(labels, rois)
        own = g.op("Gather", g.weight("mask_head.logits.weight", head.logits_weight.asnumpy()), labels, axis=0)
        own = g.reshape(own, rois, 1, head.channels)
        logits = g.op("MatMul", own, g.reshape(x, rois, head.channels, side * side))
        bias = g.op("Gather", g.weight("mask_head.logits.bias", head.logits_bias.asnumpy()), labels, axis=0)
        logits = g.op("Add", logits, g.reshape(bias, rois, 1, 1))
        return g.reshape(g.op("Sigmoid", logits), self.n, count, side, side)


MASK_HEADS = {MaskHead: _Writer.masks}  # how the masks of each kind of head are written


def _column(g: OnnxGraph, value: str) -> str:
    """Returns [N,R] as [N,R,1]."""
    return g.op("Unsqueeze", value, np.array([2]))
