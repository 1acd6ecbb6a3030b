"""Files as other projects write them, made without their code: names and shapes are typed from their documentation."""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

from maskrcnn.models.backbones import conv_norms

LEVEL_WIDTHS = (256, 512, 1024, 2048)
TORCH_NORM = ("weight", "bias", "running_mean", "running_var")
ZOO_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Every tensor with values of its own; variances are positive."""
    rng = np.random.default_rng(5)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.abs(a) + 0.1 if "var" in name else a for name, a in arrays.items()}


def _backbone(backbone: str, prefix: str, norm: tuple[str, ...], projection: tuple[str, str]) -> dict[str, tuple]:
    shapes = {}
    for conv, bn, (out, channels, kernel) in conv_norms(backbone):
        conv = conv.replace("down_sample_layer.0", projection[0])
        bn = bn.replace("down_sample_layer.1", projection[1])
        shapes[f"{prefix}{conv}.weight"] = (out, channels, kernel, kernel)
        shapes.update({f"{prefix}{bn}.{part}": (out,) for part in norm})
    return shapes


def torch_resnet(backbone: str = "resnet50", prefix: str = "") -> dict[str, tuple]:
    """torchvision's ResNet without its classifier."""
    return _backbone(backbone, prefix, TORCH_NORM, ("downsample.0", "downsample.1"))


def zoo_resnet(backbone: str = "resnet50", prefix: str = "", projection=("down_sample_layer.0", "down_sample_layer.1")):
    """The MindSpore model zoo's ResNet without its classifier."""
    return _backbone(backbone, prefix, ZOO_NORM, projection)


def _with_bias(weights: dict[str, tuple], transposed: bool = False) -> dict[str, tuple]:
    shapes = {}
    for name, shape in weights.items():
        shapes[name + ".weight"] = shape
        shapes[name + ".bias"] = (shape[1] if transposed or "deconv" in name or "conv5_mask" in name else shape[0],)
    return shapes


def torch_detector(classes: int = 91, older: bool = False) -> dict[str, tuple]:
    """torchvision's maskrcnn_resnet50_fpn; ``older`` has the names before torchvision 0.13."""
    nested = "" if older else ".0"
    weights = {}
    for i, width in enumerate(LEVEL_WIDTHS):
        weights[f"backbone.fpn.inner_blocks.{i}{nested}"] = (256, width, 1, 1)
        weights[f"backbone.fpn.layer_blocks.{i}{nested}"] = (256, 256, 3, 3)
    weights["rpn.head.conv" + ("" if older else ".0.0")] = (256, 256, 3, 3)
    weights["rpn.head.cls_logits"] = (3, 256, 1, 1)
    weights["rpn.head.bbox_pred"] = (12, 256, 1, 1)
    weights["roi_heads.box_head.fc6"] = (1024, 256 * 7 * 7)
    weights["roi_heads.box_head.fc7"] = (1024, 1024)
    weights["roi_heads.box_predictor.cls_score"] = (classes, 1024)
    weights["roi_heads.box_predictor.bbox_pred"] = (4 * classes, 1024)
    for i in range(4):
        name = f"mask_fcn{i + 1}" if older else f"{i}.0"
        weights[f"roi_heads.mask_head.{name}"] = (256, 256, 3, 3)
    weights["roi_heads.mask_predictor.conv5_mask"] = (256, 256, 2, 2)
    weights["roi_heads.mask_predictor.mask_fcn_logits"] = (classes, 256, 1, 1)
    return {**torch_resnet(prefix="backbone.body."), **_with_bias(weights)}


def detectron2_detector(foreground: int = 80, backbone: str = "resnet50") -> dict[str, tuple]:
    """Mask R-CNN R50-FPN or R101-FPN of detectron2's model zoo."""
    shapes = {"pixel_mean": (3, 1, 1), "pixel_std": (3, 1, 1)}
    for conv, _, (out, channels, kernel) in conv_norms(backbone):
        parts = conv.split(".")
        if parts[0] == "conv1":
            place = "stem.conv1"
        else:
            place = f"res{int(parts[0][-1]) + 1}.{parts[1]}." + ("shortcut" if "down" in conv else parts[2])
        shapes[f"backbone.bottom_up.{place}.weight"] = (out, channels, kernel, kernel)
        shapes.update({f"backbone.bottom_up.{place}.norm.{part}": (out,) for part in TORCH_NORM})
    weights = {}
    for i, width in enumerate(LEVEL_WIDTHS):
        weights[f"backbone.fpn_lateral{i + 2}"] = (256, width, 1, 1)
        weights[f"backbone.fpn_output{i + 2}"] = (256, 256, 3, 3)
    weights["proposal_generator.rpn_head.conv"] = (256, 256, 3, 3)
    weights["proposal_generator.rpn_head.objectness_logits"] = (3, 256, 1, 1)
    weights["proposal_generator.rpn_head.anchor_deltas"] = (12, 256, 1, 1)
    weights["roi_heads.box_head.fc1"] = (1024, 256 * 7 * 7)
    weights["roi_heads.box_head.fc2"] = (1024, 1024)
    weights["roi_heads.box_predictor.cls_score"] = (foreground + 1, 1024)
    weights["roi_heads.box_predictor.bbox_pred"] = (4 * foreground, 1024)
    for i in range(4):
        weights[f"roi_heads.mask_head.mask_fcn{i + 1}"] = (256, 256, 3, 3)
    weights["roi_heads.mask_head.deconv"] = (256, 256, 2, 2)
    weights["roi_heads.mask_head.predictor"] = (foreground, 256, 1, 1)
    return {**shapes, **_with_bias(weights)}


def detectron2_arrays(**settings) -> dict[str, np.ndarray]:
    """The same, with values, the true pixel statistics and the anchors' corners."""
    arrays = filled(detectron2_detector(**settings))
    arrays["pixel_mean"] = np.array([103.53, 116.28, 123.675], np.float32).reshape(3, 1, 1)
    arrays["pixel_std"] = np.ones((3, 1, 1), np.float32)
    for level, size in enumerate((32, 64, 128, 256, 512)):
        sides = [(size / r**0.5, size * r**0.5) for r in (0.5, 1.0, 2.0)]
        corners = [(-w / 2, -h / 2, w / 2, h / 2) for w, h in sides]
        arrays[f"proposal_generator.anchor_generator.cell_anchors.{level}"] = np.array(corners, np.float32)
    return arrays


def zoo_detector(classes: int = 81) -> dict[str, tuple]:
    """The MindSpore model zoo's Mask R-CNN with ResNet-50."""
    convolutions = {}
    for i, width in enumerate(LEVEL_WIDTHS):
        convolutions[f"fpn_ncek.lateral_convs_list.{i}"] = (256, width, 1, 1)
        convolutions[f"fpn_ncek.fpn_convs_list.{i}"] = (256, 256, 3, 3)
    for name, shape in (("conv", (256, 256, 3, 3)), ("cls", (3, 256, 1, 1)), ("reg", (12, 256, 1, 1))):
        convolutions[f"rpn_with_loss.rpn_convs_list.0.rpn_{name}"] = shape
    for i in range(4):
        convolutions[f"rcnn_mask.fpn_mask.mask_conv{i + 1}"] = (256, 256, 3, 3)
    convolutions["rcnn_mask.fpn_mask.mask_deconv5"] = (256, 256, 2, 2)
    convolutions["rcnn_mask.fpn_mask.mask_conv6"] = (classes, 256, 1, 1)
    dense = {
        "rcnn_cls.fpn_cls.shared_fc_0": (256 * 7 * 7, 1024),
        "rcnn_cls.fpn_cls.shared_fc_1": (1024, 1024),
        "rcnn_cls.fpn_cls.cls_scores": (1024, classes),
        "rcnn_cls.fpn_cls.reg_scores": (1024, 4 * classes),
    }
    backbone = zoo_resnet(prefix="backbone.", projection=("conv_down_sample", "bn_down_sample"))
    return {**backbone, **_with_bias(convolutions), **_with_bias(dense, transposed=True)}


class _Storage:
    """Stands for a torch storage while pickling."""

    def __init__(self, kind: type, key: str, data: bytes, count: int) -> None:
        self.kind, self.key, self.data, self.count = kind, key, data, count


class _Tensor:
    """Pickles as a torch tensor does: a call of torch._utils._rebuild_tensor_v2 on a storage."""

    def __init__(self, rebuild, storage: _Storage, offset: int, shape, strides) -> None:
        self.parts = (rebuild, (storage, offset, tuple(shape), tuple(strides), False, OrderedDict()))

    def __reduce_ex__(self, protocol):
        return self.parts


class _Pickler(pickle.Pickler):
    def __init__(self, file, legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self.legacy = legacy

    def persistent_id(self, obj):
        if isinstance(obj, _Storage):
            entry = ("storage", obj.kind, obj.key, "cpu", obj.count)
            return (*entry, None) if self.legacy else entry
        return None


class TorchWriter:
    """Writes .pth files; while it is in use the names of torch that pickles contain can be imported."""

    def __init__(self, monkeypatch) -> None:
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
        self.kinds = {}
        for name, dtype in (
            ("FloatStorage", "f4"),
            ("HalfStorage", "f2"),
            ("LongStorage", "i8"),
            ("BFloat16Storage", ""),
        ):
            kind = type(name, (), {"__module__": "torch"})
            setattr(torch, name, kind)
            self.kinds[dtype] = kind

        def _rebuild_tensor_v2():
            """Only its name is ever used."""

        _rebuild_tensor_v2.__module__ = "torch._utils"
        _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
        utils._rebuild_tensor_v2 = self.rebuild = _rebuild_tensor_v2
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.setitem(sys.modules, "torch._utils", utils)
        self.storages: list[_Storage] = []

    def tensor(self, array: np.ndarray) -> _Tensor:
        """A tensor with a storage of its own; a transposed array becomes a view with strides."""
        kind = self.kinds[array.dtype.str[1:]]
        base = array if array.flags.c_contiguous else array.T
        return self.view(
            kind, np.ascontiguousarray(base).tobytes(), array.size, 0, array.shape, array.strides, array.itemsize
        )

    def view(self, kind, data: bytes, count: int, offset: int, shape, byte_strides, size: int) -> _Tensor:
        storage = _Storage(kind, str(len(self.storages)), data, count)
        self.storages.append(storage)
        return _Tensor(self.rebuild, storage, offset, shape, [s // size for s in byte_strides])

    def save_zip(self, path: Path, saved, folder: str = "archive") -> None:
        """The format of torch 1.6 and later."""
        buffer = io.BytesIO()
        _Pickler(buffer, legacy=False).dump(saved)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{folder}/data.pkl", buffer.getvalue())
            archive.writestr(f"{folder}/byteorder", "little")
            for storage in self.storages:
                archive.writestr(f"{folder}/data/{storage.key}", storage.data)
            archive.writestr(f"{folder}/version", "3\n")

    def save_legacy(self, path: Path, saved) -> None:
        """The format before: pickles in a row, then the storages."""
        with open(path, "wb") as file:
            pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
            pickle.dump(1001, file, protocol=2)
            sizes = {"short": 2, "int": 4, "long": 4}
            pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}, file, protocol=2)
            _Pickler(file, legacy=True).dump(saved)
            pickle.dump([storage.key for storage in self.storages], file, protocol=2)
            for storage in self.storages:
                file.write(storage.count.to_bytes(8, "little"))
                file.write(storage.data)
