"""ResNet-50 on 40 COCO photographs: ONNX Runtime finds what MindSpore finds, alone and in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.convert.parity import recipe_network
from tests.export.networks import assert_same_detections

from maskrcnn.config import Config
from maskrcnn.config.parsing import read_yaml
from maskrcnn.export.fold import fold_norms
from maskrcnn.export.onnx_network import onnx_model
from maskrcnn.inference.detector import Detector
from maskrcnn.inference.images import ImageBatch, ImageSource, load_batches
from maskrcnn.inference.results import Detections

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 91
SIZES = {"img_width": 448, "img_height": 320, "rpn_nms_post": 300, "rpn_max_num": 300}


def batches_of(folder: Path, cfg: Config) -> list[ImageBatch]:
    files = sorted(folder.glob("*.jpg"))[:40]
    assert len(files) == 40
    sources = [ImageSource(number, file) for number, file in enumerate(files)]
    sizes = {"img_height": cfg.img_height, "img_width": cfg.img_width}
    return list(load_batches(sources, batch_size=cfg.test_batch_size, **sizes))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings, some_without",
    [
        ({"test_batch_size": 1}, False),
        ({"test_batch_size": 2, "test_score_thr": 0.4, **read_yaml(ROOT / "configs" / "torchvision.yaml")}, True),
    ],
    ids=["one", "pairs"],
)
def test_detections_are_those_of_mindspore(coco_tiny, settings: dict, some_without: bool) -> None:
    cfg = Config.from_dict({**settings, **SIZES})
    network = recipe_network(cfg, CLASSES)
    batches = batches_of(coco_tiny / "val2017", cfg)
    detector = Detector(network)
    expected = [detector(batch.image, batch.image_shape) for batch in batches]
    counts = np.concatenate([found.valid.sum(1) for found in expected])
    assert counts.sum() > 40 and (counts.min() == 0) == some_without

    fold_norms(network)
    for height, width in sorted({batch.image.shape[1:3] for batch in batches}):
        model = onnx_model(network, cfg.test_batch_size, height, width).SerializeToString()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        for batch, wanted in zip(batches, expected):
            if batch.image.shape[1:3] == (height, width):
                values = session.run(None, {"image": batch.image, "image_shape": batch.image_shape})
                found = Detections(*values)
                assert_same_detections(found._replace(valid=found.valid.astype(bool)), wanted)
