"""Each convolution of R50-FPN: MindSpore's NCHW operator beside the channels-last ones, forward and backward.

    python benchmarks/bench_conv.py [--batch 1] [--height 768] [--width 1280] [--repeat 5] [--only NAME]...

Milliseconds of processor time divided by the number of cores, the smallest of all repetitions: on a quiet machine this
is the time itself, on a busy one it still compares. A pair is a call, and the gradients of input and weight.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.ops.conv import Conv3x3
from maskrcnn.ops.patch_conv import PatchConv, PointwiseConv
from maskrcnn.ops.winograd import WinogradConv3x3

# Stride of the input, in and out channels, kernel, stride. The mask head sees RoIs, not the image.
LAYERS = {
    "stem 7x7/2": (1, 3, 64, 7, 2),
    "layer1 1x1 in": (4, 256, 64, 1, 1),
    "layer1 3x3": (4, 64, 64, 3, 1),
    "layer1 1x1 out": (4, 64, 256, 1, 1),
    "layer2 3x3/2": (4, 128, 128, 3, 2),
    "layer2 1x1/2": (4, 256, 512, 1, 2),
    "layer2 3x3": (8, 128, 128, 3, 1),
    "layer2 1x1 out": (8, 128, 512, 1, 1),
    "layer3 3x3/2": (8, 256, 256, 3, 2),
    "layer3 3x3": (16, 256, 256, 3, 1),
    "layer3 1x1 out": (16, 256, 1024, 1, 1),
    "layer4 3x3/2": (16, 512, 512, 3, 2),
    "layer4 3x3": (32, 512, 512, 3, 1),
    "P2 lateral": (4, 256, 256, 1, 1),
    "P2 3x3": (4, 256, 256, 3, 1),
    "P3 3x3": (8, 256, 256, 3, 1),
    "P4 3x3": (16, 256, 256, 3, 1),
    "P5 3x3": (32, 256, 256, 3, 1),
    "P6 3x3": (64, 256, 256, 3, 1),
    "mask head 3x3": (0, 256, 256, 3, 1),
}
ROIS, ROI_SIZE = 100, 14


class Standard(nn.Cell):
    """MindSpore's convolution of NCHW maps, the 3x3 one with the backward pass of ``ops/conv.py``."""

    def __init__(self, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = ops.Conv2D(out_channels, kernel, pad_mode="pad", pad=kernel // 2, stride=stride)
        if kernel == 3 and stride == 1:
            self.conv = Conv3x3()

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.conv(x, weight)


class Backward(nn.Cell):
    """Gradients of input and weight alone: the output itself is not used, and so not computed."""

    def __init__(self, conv: nn.Cell) -> None:
        super().__init__()
        self.conv = conv
        self.gradient = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return self.gradient(self.conv)(x, weight, dout)


def milliseconds(cell: nn.Cell, *inputs: Tensor, repeat: int) -> float:
    """The least processor time of a call, divided by the number of cores."""
    cell(*inputs)
    spent = []
    for _ in range(repeat):
        began = time.process_time()
        cell(*inputs)
        spent.append(time.process_time() - began)
    return min(spent) * 1e3 / os.cpu_count()


def candidates(kernel: int, stride: int) -> dict[str, nn.Cell]:
    """The channels-last forms of a convolution."""
    if kernel == 1 and stride == 1:
        return {"matmul": PointwiseConv()}
    if kernel == 3 and stride == 1:
        return {"F(4x4)": WinogradConv3x3(4), "F(2x2)": WinogradConv3x3(2), "patches": PatchConv(3, 1)}
    return {"patches": PatchConv(kernel, stride)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 1), ("height", 768), ("width", 1280), ("repeat", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", nargs="+", default=list(LAYERS))
    args = parser.parse_args()
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    rng = np.random.default_rng(0)
    for name in args.only:
        scale, channels, out_channels, kernel, stride = LAYERS[name]
        n, h, w = (args.batch, args.height // scale, args.width // scale) if scale else (ROIS, ROI_SIZE, ROI_SIZE)
        x = np.maximum(rng.normal(size=(n, h, w, channels)), 0).astype(np.float32)
        weight = Tensor((rng.normal(size=(out_channels, channels, kernel, kernel)) * 0.02).astype(np.float32))
        dout = rng.normal(size=(n, h // stride, w // stride, out_channels)).astype(np.float32)
        forms = {"NCHW": Standard(out_channels, kernel, stride), **candidates(kernel, stride)}
        columns = []
        for form, cell in forms.items():
            order = (0, 3, 1, 2) if form == "NCHW" else (0, 1, 2, 3)
            tensors = [Tensor(np.ascontiguousarray(value.transpose(order))) for value in (x, dout)]
            forward = milliseconds(cell, tensors[0], weight, repeat=args.repeat)
            backward = milliseconds(Backward(cell), tensors[0], weight, tensors[1], repeat=args.repeat)
            columns.append(f"{form} {forward:6.1f} + {backward:6.1f}")
        print(f"{name:16s} {n}x{h}x{w}x{channels:<5d}", " | ".join(columns), flush=True)


if __name__ == "__main__":
    main()
