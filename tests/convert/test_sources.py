"""Each source's tensors land where they should, by value; and every tensor that does not is named."""

from __future__ import annotations

import json
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from tests.convert import foreign
from tests.models.parts import resnet

from maskrcnn.checkpoint.format import load_checkpoint
from maskrcnn.config import Config, load_config
from maskrcnn.convert import Weights, convert_file, convert_weights, export_file
from maskrcnn.convert.__main__ import main
from maskrcnn.convert.adapting import COCO_IDS, COCO_NAMES
from maskrcnn.convert.layout import Heads, backbone_shapes, heads_of, network_shapes
from maskrcnn.errors import CheckpointError, ConfigError
from maskrcnn.models.build import build_network

ROOT = foreign.Path(__file__).resolve().parents[2]


def converted(arrays, **settings):
    """Our arrays by name, and the whole ``Conversion``."""
    result = convert_weights(Weights(arrays, "", {}), "the file", **settings)
    return {name: one.array for name, one in result.tensors.items()}, result


def columns(weight: np.ndarray, c: int, y: int, x: int, size: int = 7) -> np.ndarray:
    """The column of our first fully connected layer for one value of the RoI's features."""
    return weight[:, (y * size + x) * 256 + c]


@pytest.fixture(scope="module")
def torch_arrays():
    return foreign.filled(foreign.torch_detector())


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "resnet101", "resnet152"])
@pytest.mark.parametrize("norm", ["frozen_bn", "bn"])
def test_names_and_shapes_are_the_networks(backbone, norm) -> None:
    if (backbone, norm) == ("resnet50", "bn"):
        cfg = Config(norm=norm, fpn_out_channels=32, rpn_feat_channels=24, rcnn_fc_out_channels=40, rcnn_num_layers=3)
        cfg = cfg.replace(rcnn_mask_num_layers=2, rcnn_mask_out_channels=16, roi_layer={"out_size": 5})
        heads = Heads(7, fpn=32, rpn=24, roi_size=5, fc=40, num_fc=3, mask=16, num_mask=2)
        parameters = build_network(cfg, 7).parameters_dict()
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        assert network_shapes(backbone, heads) == shapes
        assert heads_of(shapes) == heads
    else:
        parameters = resnet(backbone, norm).parameters_dict()
        shapes = {f"backbone.{name}": tuple(parameter.shape) for name, parameter in parameters.items()}
        assert backbone_shapes(backbone) == shapes


@pytest.mark.parametrize("older", [False, True])
def test_torchvision_detector(torch_arrays, older) -> None:
    theirs = torch_arrays
    if older:  # the same values under the names before torchvision 0.13
        theirs = dict(zip(foreign.torch_detector(older=True), torch_arrays.values()))
    ours, result = converted(theirs)
    assert result.classes == (COCO_NAMES, COCO_IDS) and not result.left_out
    assert ours.keys() == network_shapes("resnet50", Heads(81)).keys()
    theirs = torch_arrays
    same = np.testing.assert_array_equal
    same(ours["backbone.conv1.weight"], theirs["backbone.body.conv1.weight"])
    same(ours["backbone.bn1.moving_variance"], theirs["backbone.body.bn1.running_var"])
    same(ours["backbone.layer2.3.bn2.beta"], theirs["backbone.body.layer2.3.bn2.bias"])
    same(ours["backbone.layer4.0.down_sample_layer.0.weight"], theirs["backbone.body.layer4.0.downsample.0.weight"])
    same(ours["backbone.layer4.0.down_sample_layer.1.gamma"], theirs["backbone.body.layer4.0.downsample.1.weight"])
    same(ours["fpn.lateral.3.weight"], theirs["backbone.fpn.inner_blocks.3.0.weight"])
    same(ours["fpn.output.1.bias"], theirs["backbone.fpn.layer_blocks.1.0.bias"])
    same(ours["rpn.conv.weight"], theirs["rpn.head.conv.0.0.weight"])
    same(ours["mask_head.convs.2.weight"], theirs["roi_heads.mask_head.2.0.weight"])
    same(ours["mask_head.deconv_weight"], theirs["roi_heads.mask_predictor.conv5_mask.weight"])
    fc6 = theirs["roi_heads.box_head.fc6.weight"]
    for c, y, x in ((0, 0, 0), (255, 6, 6), (17, 2, 5)):
        same(columns(ours["box_head.fc.0.weight"], c, y, x), fc6[:, c * 49 + y * 7 + x])
    # COCO's category ids are torchvision's rows: 1 person, 13 stop sign (12 is not used), 90 toothbrush.
    for name, row in (("background", 0), ("person", 1), ("stop sign", 13), ("toothbrush", 90)):
        label = (("background", *COCO_NAMES)).index(name)
        same(ours["box_head.cls_score.weight"][label], theirs["roi_heads.box_predictor.cls_score.weight"][row])
        boxes = theirs["roi_heads.box_predictor.bbox_pred.bias"][4 * row : 4 * row + 4]
        same(ours["box_head.bbox_pred.bias"][4 * label : 4 * label + 4], boxes)
        mask = theirs["roi_heads.mask_predictor.mask_fcn_logits.weight"][row, :, 0, 0]
        same(ours["mask_head.logits_weight"][label], mask)


def test_torchvision_there_and_back_is_exact(torch_arrays, tmp_path) -> None:
    np.savez(tmp_path / "theirs.npz", **torch_arrays)
    convert_file(tmp_path / "theirs.npz", tmp_path / "ours.ckpt", all_classes=True)
    for name in ("back.safetensors", "back.npz"):
        export_file(tmp_path / "ours.ckpt", tmp_path / name)
        convert_file(tmp_path / name, tmp_path / "again.ckpt", all_classes=True)
        first, second = (load_checkpoint(tmp_path / file)[0] for file in ("ours.ckpt", "again.ckpt"))
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[key], second[key]) for key in first)
    with np.load(tmp_path / "back.npz") as back:
        assert set(back.files) == torch_arrays.keys()
        assert all(np.array_equal(back[key], torch_arrays[key]) for key in torch_arrays)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50"])
def test_classifiers_become_backbones(backbone) -> None:
    shapes = foreign.torch_resnet(backbone)
    width = 512 if backbone in ("resnet18", "resnet34") else 2048
    counters = {"bn1.num_batches_tracked": (), "layer1.0.bn1.num_batches_tracked": ()}
    arrays = foreign.filled({**shapes, **counters, "fc.weight": (10, width), "fc.bias": (10,)})
    ours, result = converted(arrays)
    assert set(result.left_out) == {*counters, "fc.weight", "fc.bias"} and result.classes is None
    assert {name: a.shape for name, a in ours.items()} == backbone_shapes(backbone)
    np.testing.assert_array_equal(ours["backbone.layer3.1.conv2.weight"], arrays["layer3.1.conv2.weight"])

    theirs = {**foreign.zoo_resnet(backbone), "end_point.weight": (10, width), "end_point.bias": (10,)}
    theirs.update(
        {"moments.conv1.weight": (64, 3, 7, 7), "learning_rate": (), "beta1_power": (1,), "beta2_power": (1,)}
    )
    arrays = foreign.filled(theirs)
    ours, result = converted(arrays, norm_eps=1e-5)
    assert len(result.left_out) == 6
    for name in foreign.zoo_resnet(backbone):
        np.testing.assert_array_equal(ours[f"backbone.{name}"], arrays[name])


@pytest.mark.parametrize(("source", "eps"), [("torch", 0.0), ("torch", 1e-3), ("zoo", None)])
def test_another_eps_gives_the_same_normalisation(source, eps) -> None:
    if source == "torch":
        arrays = foreign.filled(foreign.torch_resnet("resnet18"))
        variance, gamma, expected_eps = "bn1.running_var", "bn1.weight", eps
    else:  # the zoo's own ResNet has 1e-4
        arrays = foreign.filled({**foreign.zoo_resnet("resnet18"), "end_point.bias": (10,)})
        variance, gamma, expected_eps = "bn1.moving_variance", "bn1.gamma", 1e-4
    arrays[variance][:3] = 1e-9, 1e-5, 3e-4
    ours, _ = converted(arrays, norm_eps=eps)
    expected = arrays[gamma] / np.sqrt(arrays[variance].astype(np.float64) + expected_eps)
    found = ours["backbone.bn1.gamma"] / np.sqrt(ours["backbone.bn1.moving_variance"].astype(np.float64) + 1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if eps == 0.0:
        arrays[variance][0] = 0
        with pytest.raises(CheckpointError, match=r"bn1\.running_var"):
            converted(arrays, norm_eps=eps)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_detectron2(backbone) -> None:
    theirs = foreign.detectron2_arrays(backbone=backbone)
    ours, result = converted(theirs)
    assert ours.keys() == network_shapes(backbone, Heads(81)).keys()
    assert result.classes == (COCO_NAMES, COCO_IDS) and not result.notes and len(result.left_out) == 7
    same = np.testing.assert_array_equal
    stem = theirs["backbone.bottom_up.stem.conv1.weight"]
    for ours_channel, theirs_channel in ((0, 2), (1, 1), (2, 0)):  # RGB here, BGR there
        same(ours["backbone.conv1.weight"][:, ours_channel], stem[:, theirs_channel])
    same(ours["backbone.bn1.gamma"], theirs["backbone.bottom_up.stem.conv1.norm.weight"])
    same(ours["backbone.layer3.4.conv2.weight"], theirs["backbone.bottom_up.res4.4.conv2.weight"])
    same(ours["backbone.layer3.4.bn3.moving_mean"], theirs["backbone.bottom_up.res4.4.conv3.norm.running_mean"])
    same(ours["backbone.layer1.0.down_sample_layer.0.weight"], theirs["backbone.bottom_up.res2.0.shortcut.weight"])
    variance = theirs["backbone.bottom_up.res2.0.shortcut.norm.running_var"]
    same(ours["backbone.layer1.0.down_sample_layer.1.moving_variance"], variance)
    same(ours["fpn.lateral.0.weight"], theirs["backbone.fpn_lateral2.weight"])
    same(ours["fpn.output.3.bias"], theirs["backbone.fpn_output5.bias"])
    same(ours["rpn.cls_logits.bias"], theirs["proposal_generator.rpn_head.objectness_logits.bias"])
    same(ours["rpn.bbox_pred.weight"], theirs["proposal_generator.rpn_head.anchor_deltas.weight"])
    fc1 = theirs["roi_heads.box_head.fc1.weight"]
    same(columns(ours["box_head.fc.0.weight"], 9, 3, 6), fc1[:, 9 * 49 + 3 * 7 + 6])
    same(ours["box_head.fc.1.weight"], theirs["roi_heads.box_head.fc2.weight"])
    scores = theirs["roi_heads.box_predictor.cls_score.weight"]
    same(ours["box_head.cls_score.weight"][0], scores[80])
    same(ours["box_head.cls_score.weight"][1:], scores[:80])
    same(ours["box_head.bbox_pred.weight"][:4], 0)
    same(ours["box_head.bbox_pred.weight"][4:], theirs["roi_heads.box_predictor.bbox_pred.weight"])
    same(ours["mask_head.convs.3.weight"], theirs["roi_heads.mask_head.mask_fcn4.weight"])
    same(ours["mask_head.deconv_bias"], theirs["roi_heads.mask_head.deconv.bias"])
    same(ours["mask_head.logits_weight"][0], 0)
    same(ours["mask_head.logits_weight"][1:], theirs["roi_heads.mask_head.predictor.weight"][:, :, 0, 0])
    same(ours["mask_head.logits_bias"][1:], theirs["roi_heads.mask_head.predictor.bias"])


def test_detectron2_anchors_and_pixels() -> None:
    theirs = foreign.detectron2_arrays(foreground=3)
    _, result = converted(theirs)
    assert result.classes is None  # three classes of somebody's own
    stem = "backbone.bottom_up.stem.conv1.weight"
    rgb = {**theirs, "pixel_mean": np.array([123.675, 116.28, 103.53]), "pixel_std": np.array([58.395, 57.12, 57.375])}
    ours, result = converted(rgb)
    np.testing.assert_array_equal(ours["backbone.conv1.weight"], theirs[stem])
    assert "--pixel_std '[58.395, 57.12, 57.375]'" in result.notes[0]
    name = "proposal_generator.anchor_generator.cell_anchors.2"
    with pytest.raises(CheckpointError, match=r"cell_anchors\.2 are other anchors"):
        converted({**theirs, name: theirs[name][::-1]})


def test_detectron2_config_is_what_it_says() -> None:
    cfg = load_config(["--config_path", str(ROOT / "configs" / "detectron2.yaml")])
    assert cfg.stride_in_1x1 and cfg.roi_aligned and not cfg.anchor_rounding and cfg.paste == "exact"
    assert cfg.pixel_mean == (123.675, 116.28, 103.53) and cfg.pixel_std == (1.0, 1.0, 1.0)


def test_mindspore_zoo_detector() -> None:
    theirs = foreign.filled(foreign.zoo_detector())
    theirs["moments.rcnn_cls.fpn_cls.cls_scores.bias"] = np.zeros(81, np.float32)
    shared = "rpn_with_loss.rpn_convs_list.{}.rpn_conv.weight"
    theirs[shared.format(3)] = theirs[shared.format(0)]
    ours, result = converted(theirs)
    assert ours.keys() == network_shapes("resnet50", Heads(81)).keys()
    assert result.classes == (COCO_NAMES, COCO_IDS) and len(result.left_out) == 2
    assert result.config == "configs/mindspore_zoo.yaml"
    same = np.testing.assert_array_equal
    same(ours["backbone.bn1.moving_mean"], theirs["backbone.bn1.moving_mean"])
    same(ours["backbone.layer2.0.down_sample_layer.0.weight"], theirs["backbone.layer2.0.conv_down_sample.weight"])
    same(ours["backbone.layer2.0.down_sample_layer.1.beta"], theirs["backbone.layer2.0.bn_down_sample.beta"])
    same(ours["fpn.lateral.2.weight"], theirs["fpn_ncek.lateral_convs_list.2.weight"])
    same(ours["fpn.output.0.weight"], theirs["fpn_ncek.fpn_convs_list.0.weight"])
    same(ours["rpn.bbox_pred.bias"], theirs["rpn_with_loss.rpn_convs_list.0.rpn_reg.bias"])
    shared_fc = theirs["rcnn_cls.fpn_cls.shared_fc_0.weight"]  # [in, out]
    same(columns(ours["box_head.fc.0.weight"], 100, 4, 1), shared_fc[100 * 49 + 4 * 7 + 1])
    same(ours["box_head.fc.1.weight"], theirs["rcnn_cls.fpn_cls.shared_fc_1.weight"].T)
    same(ours["box_head.bbox_pred.weight"], theirs["rcnn_cls.fpn_cls.reg_scores.weight"].T)
    same(ours["mask_head.convs.0.bias"], theirs["rcnn_mask.fpn_mask.mask_conv1.bias"])
    same(ours["mask_head.deconv_weight"], theirs["rcnn_mask.fpn_mask.mask_deconv5.weight"])
    same(ours["mask_head.logits_weight"], theirs["rcnn_mask.fpn_mask.mask_conv6.weight"][:, :, 0, 0])

    theirs[shared.format(3)] = theirs[shared.format(3)] + 1
    with pytest.raises(CheckpointError, match=r"rpn_convs_list\.3\.rpn_conv\.weight differs"):
        converted(theirs)


def test_deconvolution_layout_is_mindspores() -> None:
    """The zoo's layer is nn.Conv2dTranspose: its weight is [in, out, y, x], as torch's and ours."""
    layer = nn.Conv2dTranspose(2, 3, 2, stride=2, pad_mode="valid", has_bias=False)
    assert layer.weight.shape == (2, 3, 2, 2)
    weight = np.random.default_rng(0).normal(size=(2, 3, 2, 2)).astype(np.float32)
    layer.weight.set_data(Tensor(weight))
    x = np.zeros((1, 2, 1, 1), np.float32)
    x[0, 1] = 1
    np.testing.assert_allclose(layer(Tensor(x, ms.float32)).asnumpy()[0], weight[1], rtol=1e-6)


def broken(arrays, name, change):
    """A copy in which one tensor is replaced, or left out where ``change`` gives None."""
    copy = dict(arrays)
    copy[name] = change(copy[name])
    return {key: value for key, value in copy.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("backbone.body.layer3.2.conv2.weight", lambda a: a[:, :-1]),
        ("backbone.body.bn1.running_mean", lambda a: None),
        ("backbone.fpn.layer_blocks.2.0.weight", lambda a: a[..., :1]),
        ("rpn.head.cls_logits.bias", lambda a: a[:2]),
        ("roi_heads.box_head.fc6.weight", lambda a: a[:, :-1]),
        ("roi_heads.box_head.fc7.bias", lambda a: None),
        ("roi_heads.box_predictor.bbox_pred.weight", lambda a: a[:-4]),
        ("roi_heads.mask_head.1.0.weight", lambda a: a.transpose(2, 3, 0, 1)),
        ("roi_heads.mask_predictor.mask_fcn_logits.weight", lambda a: a[:, :, 0, 0]),
        ("roi_heads.mask_predictor.conv5_mask.weight", lambda a: a[:, :5]),
        ("rpn.head.conv.0.0.bias", lambda a: a * np.nan),
    ],
)
def test_a_misshapen_missing_or_broken_tensor_is_named(torch_arrays, name, change) -> None:
    arrays = broken(torch_arrays, name, change)
    ours_of_missing = {"bn1.running_mean": "bn1.moving_mean", "box_head.fc7.bias": "box_head.fc.1.bias"}
    wanted = next((ours for end, ours in ours_of_missing.items() if name.endswith(end)), name)
    for all_classes in (False, True):
        with pytest.raises(CheckpointError) as caught:
            converted(arrays, all_classes=all_classes)
        assert wanted in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_tensor_is_named(torch_arrays) -> None:
    with pytest.raises(CheckpointError, match=r"roi_heads\.keypoint_head\.weight"):
        converted({**torch_arrays, "roi_heads.keypoint_head.weight": np.zeros(3)})
    theirs = foreign.detectron2_arrays(foreground=2)
    with pytest.raises(CheckpointError, match=r"bottom_up\.res2\.0\.conv1\.bias"):
        converted({**theirs, "backbone.bottom_up.res2.0.conv1.bias": np.zeros(3)})
    with pytest.raises(CheckpointError, match=r"both .* mean backbone\.layer1\.0\.down_sample"):
        converted({**foreign.filled(foreign.zoo_detector(3)), "backbone.layer1.0.down_sample.0.weight": np.zeros(1)})
    with pytest.raises(CheckpointError, match="no network that can be converted"):
        converted({"encoder.weight": np.zeros(3)})
    block = {"layer1.0.conv1.weight": (64, 64, 1, 1), "bn1.running_mean": (64,)}
    with pytest.raises(CheckpointError, match="its blocks are not those"):
        converted(foreign.filled(block))


def test_a_wide_resnet_is_no_resnet50() -> None:
    arrays = foreign.filled(foreign.torch_resnet("resnet50"))
    arrays["layer1.0.conv1.weight"] = np.zeros((128, 64, 1, 1), np.float32)
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight has shape \[128, 64, 1, 1\], expected \[64"):
        converted(arrays)


def test_command_line(torch_arrays, tmp_path, capsys) -> None:
    source, out = tmp_path / "theirs.npz", tmp_path / "ours.ckpt"
    np.savez(source, **torch_arrays)
    main([str(source), "--list"])
    listed = capsys.readouterr().out
    assert "roi_heads.box_head.fc6.weight -> box_head.fc.0.weight [1024, 12544] (columns" in listed
    assert not out.exists()
    main([str(source), str(out)])
    printed = capsys.readouterr().out
    assert f"theirs.npz: torchvision Mask R-CNN, .npz, {len(torch_arrays)} tensors, 0 left out" in printed
    assert "configs/torchvision.yaml" in printed
    arrays, meta = load_checkpoint(out)
    assert meta["class_names"] == list(COCO_NAMES) and meta["category_ids"] == list(COCO_IDS)
    assert meta["source"]["layout"] == "torchvision Mask R-CNN" and len(arrays) == len(torch_arrays)
    main([str(out), str(tmp_path / "back.safetensors")])
    assert f"{len(torch_arrays)} tensors in torchvision's layout" in capsys.readouterr().out
    for arguments, message in (
        ([source], "name the file to write"),
        ([out, tmp_path / "again.ckpt"], "a checkpoint of ours already"),
        ([source, tmp_path / "x.npz"], "no checkpoint of ours"),
        ([source, tmp_path / "x.bin"], "ends in .ckpt"),
        ([source, out, "--class_names", "a, b"], "80 classes besides the background, 2 are named"),
    ):
        with pytest.raises(CheckpointError, match=message):
            main([str(argument) for argument in arguments])


def test_settings_that_the_source_does_not_tell_are_given(tmp_path, capsys) -> None:
    theirs = foreign.detectron2_arrays(foreground=2)
    np.savez(tmp_path / "theirs.npz", **theirs)
    files = [str(tmp_path / "theirs.npz"), str(tmp_path / "ours.ckpt")]
    main([files[0], "--stride_in_1x1", "false", "--roi_layer", "{sample_num: 2}", files[1], "--class_names=cat, dog"])
    meta = load_checkpoint(files[1])[1]
    assert meta["class_names"] == ["cat", "dog"] and meta["config"]["stride_in_1x1"] is False
    assert meta["config"]["roi_layer"] == {"out_size": 7, "mask_out_size": 14, "sample_num": 2}
    assert "with the settings of configs/detectron2.yaml" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="log_dir says nothing of a network"):
        main([*files, "--log_dir", "x"])
    with pytest.raises(ConfigError, match=r"backbone is 'resnet18', but the weights in .*theirs\.npz say 'resnet50'"):
        main([*files, "--backbone", "resnet18"])
    with pytest.raises(ConfigError, match="--norm_eps needs a value"):
        main([*files, "--norm_eps"])
    np.savez(tmp_path / "resnet.npz", **foreign.filled(foreign.torch_resnet("resnet18")))
    with pytest.raises(ConfigError, match="is a torchvision ResNet: only whole networks have settings"):
        main([str(tmp_path / "resnet.npz"), files[1], "--img_width", "640"])


def test_how_a_file_was_read_is_said(tmp_path, monkeypatch, capsys) -> None:
    writer = foreign.TorchWriter(monkeypatch)
    arrays = foreign.filled(foreign.torch_resnet("resnet18"))
    writer.save_zip(tmp_path / "w.pth", {name: writer.tensor(array) for name, array in arrays.items()})
    main([str(tmp_path / "w.pth"), str(tmp_path / "w.ckpt")])
    line = f"w.pth: torchvision ResNet, .pth (zip format, read without torch), {len(arrays)} tensors, 0 left out"
    assert line in capsys.readouterr().out


def test_class_names_of_ones_own(tmp_path) -> None:
    arrays = foreign.filled(foreign.torch_detector(classes=3))
    np.savez(tmp_path / "w.npz", **arrays)
    convert_file(tmp_path / "w.npz", tmp_path / "w.ckpt", class_names=["cat", "dog"])
    meta = load_checkpoint(tmp_path / "w.ckpt")[1]
    assert meta["class_names"] == ["cat", "dog"] and meta["category_ids"] == [1, 2]


def test_an_error_is_one_line_and_exit_code_2(tmp_path) -> None:
    (tmp_path / "w.pth").write_text(json.dumps({"not": "weights"}))
    command = [sys.executable, "-m", "maskrcnn.convert", str(tmp_path / "w.pth"), str(tmp_path / "w.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=_environment())
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert not (tmp_path / "w.ckpt").exists()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}
