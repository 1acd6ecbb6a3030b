"""What a configuration becomes: plan, learning rate, precision."""

from __future__ import annotations

import json
import shutil

import mindspore as ms
import numpy as np
import pytest
from tests.e2e.small_run import SMALL as SMALL_RUN
from tests.e2e.small_run import make_data

from maskrcnn.commands.train import main
from maskrcnn.config import Config
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.records.conversion import convert_from_config
from maskrcnn.models.build import build_network
from maskrcnn.training.build import training_plan
from maskrcnn.training.optimizer import MomentumSGD
from maskrcnn.training.precision import mixed_precision
from maskrcnn.training.step import TrainStep

SMALL = Config(
    img_width=128,
    img_height=64,
    backbone="resnet18",
    norm="bn",
    freeze_at=0,
    fpn_out_channels=32,
    rpn_feat_channels=32,
    rcnn_fc_out_channels=32,
    rcnn_mask_out_channels=32,
    rcnn_mask_num_layers=1,
    rpn_proposal_nms_pre=20,
    rpn_proposal_nms_post=20,
    rpn_proposal_max_num=20,
    num_expected_total_stage2=16,
    num_expected_pos_stage2=4,
    mask_roi_num=4,
    max_instance_count=32,
)


@pytest.mark.parametrize(
    ("settings", "save_steps"),
    [
        ({}, 100),
        ({"save_checkpoint_epochs": 0.25}, 25),
        ({"save_checkpoint_epochs": 3.0}, 300),
        ({"save_checkpoint_epochs": 0.001}, 1),
        ({"save_checkpoint_steps": 7}, 7),
    ],
)
def test_intervals_of_checkpoints_become_steps(settings, save_steps):
    assert training_plan(Config(**settings), steps_per_epoch=100).save_steps == save_steps


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_mixed_precision_renames_no_parameter(level, capsys):
    names = [p.name for p in build_network(SMALL, 3).get_parameters()]
    network = mixed_precision(build_network(SMALL, 3), level)
    assert [p.name for p in network.get_parameters()] == names
    assert all(p.dtype == ms.float32 for p in network.get_parameters())
    assert "slower than O0, on a CPU" in capsys.readouterr().out


@pytest.mark.slow
def test_mixed_precision_gives_the_same_losses_to_half_precision(coco_tiny, tmp_path):
    cfg = SMALL.replace(coco_root=str(coco_tiny), mindrecord_dir=str(tmp_path))
    batch = next(iter(TrainLoader.from_config(cfg, convert_from_config(cfg)).epoch(0)))
    ms.set_context(mode=ms.GRAPH_MODE)
    results = {}
    for level in ("O0", "O2"):
        ms.set_seed(1)
        network = mixed_precision(build_network(cfg, 81), level)
        network.set_train()
        scaled = level != "O0"
        optimizer = MomentumSGD(network.trainable_params(), 0.9, 1e-4)
        step = TrainStep(network, optimizer, scaled=scaled, skip_overflow=scaled)
        arrays = [ms.Tensor.from_numpy(array) for array in batch[:-1]]
        losses, norm = step(ms.Tensor(0.0, ms.float32), ms.Tensor(1024.0, ms.float32), *arrays)
        results[level] = (losses.asnumpy(), float(norm.asnumpy()))
    np.testing.assert_allclose(results["O2"][0], results["O0"][0], rtol=0.02, atol=1e-3)
    assert results["O2"][1] == pytest.approx(results["O0"][1], rel=0.05)


def test_training_on_txt_evaluates_on_the_coco_folder(tmp_path, capsys):
    """``image_dir`` is where the TXT file's images lie, ``coco_root`` where those of the evaluation are."""
    make_data(tmp_path)
    (tmp_path / "val2017").mkdir()
    annotations = tmp_path / "annotations" / "instances_train2017.json"
    annotations.rename(annotations.with_name("instances_val2017.json"))
    for i in range(1, 5):
        (tmp_path / "train2017" / f"{i}.jpg").rename(tmp_path / "val2017" / f"{i}.jpg")
    (tmp_path / "mine").mkdir()
    shutil.copy(tmp_path / "val2017" / "2.jpg", tmp_path / "mine" / "a.jpg")
    shutil.copy(tmp_path / "val2017" / "3.jpg", tmp_path / "mine" / "b.jpg")
    (tmp_path / "mine.txt").write_text("a.jpg 20,10,60,40,1\nb.jpg 30,15,70,45,1\n")
    settings = {
        **SMALL_RUN,
        **{"dataset": "other", "image_dir": tmp_path / "mine", "anno_path": tmp_path / "mine.txt"},
        **{"coco_root": tmp_path, "coco_classes": "[background, box]", "epoch_size": 1, "eval_interval_epochs": 1},
        **{"save_checkpoint_path": tmp_path / "ckpt", "log_dir": tmp_path / "log", "eval_output": tmp_path / "eval"},
    }
    assert main([text for key, value in settings.items() for text in (f"--{key}", str(value))]) == 0
    assert "epoch 1: bbox AP" in capsys.readouterr().out
    assert json.loads((tmp_path / "eval" / "metrics.json").read_text())["images"] == 4
