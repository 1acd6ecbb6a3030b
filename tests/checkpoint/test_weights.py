"""Pre-trained weights: what matches is loaded, and everything else is told."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn
from tests.training.tiny import TinyNet

from maskrcnn.checkpoint.weights import LoadedWeights, assign, load_pretrained
from maskrcnn.errors import CheckpointError


def values(net):
    return {name: p.asnumpy().copy() for name, p in net.parameters_dict().items()}


def weights(arrays, **meta):
    return LoadedWeights(Path("some.ckpt"), dict(arrays), meta)


@pytest.fixture
def source():
    return {n: v + np.float32(1.5) for n, v in values(TinyNet()).items()}


def test_a_whole_checkpoint_matches_by_name(source):
    net = TinyNet()
    report = load_pretrained(net, weights(source))
    assert (report.missing, report.unused, report.reshaped) == ([], [], [])
    assert all((v == source[n]).all() for n, v in values(net).items())
    assert f"{len(source)} of the network's {len(source)} parameters loaded" in report.lines()[0]


def test_a_backbone_alone_is_enough(source):
    net = TinyNet()
    before = values(net)
    file = {n: v for n, v in source.items() if n.startswith("backbone.")}
    file["backbone.end_point.weight"] = np.ones((5, 4), np.float32)
    report = load_pretrained(net, weights(file))
    after = values(net)
    for name in after:
        expected = source if name.startswith("backbone.") else before
        assert (after[name] == expected[name]).all()
    assert sorted(report.missing) == ["gain", "head.bias", "head.weight"]
    assert report.unused == ["backbone.end_point.weight"]
    text = "\n".join(report.lines())
    assert all(name in text for name in ("gain", "head.bias", "head.weight", "end_point.weight"))


def test_predictors_of_other_classes_stay_as_initialised(source):
    net = TinyNet(classes=5)
    before = values(net)
    report = load_pretrained(net, weights(source))
    assert [line.split()[0] for line in report.reshaped] == ["head.bias", "head.weight"]
    assert "head.bias (3,) != (5,)" in "\n".join(report.lines())
    assert (values(net)["head.weight"] == before["head.weight"]).all()
    assert (values(net)["gain"] == source["gain"]).all()


def test_another_backbone_is_refused(source):
    net = TinyNet()
    before = values(net)
    source["backbone.0.weight"] = source["backbone.0.weight"][:2]
    with pytest.raises(CheckpointError, match=r"another backbone: backbone.0.weight is \(2, 3, 3, 3\)"):
        load_pretrained(net, weights(source))
    assert all((v == before[n]).all() for n, v in values(net).items())


def test_nothing_matched_is_an_error():
    with pytest.raises(
        CheckpointError,
        match=r"matches nothing in the network: it has fc, the network has .*maskrcnn\.convert",
    ):
        load_pretrained(TinyNet(), weights({"fc": np.ones(3, np.float32)}))


def test_negative_variances_are_refused():
    """Their square root is what batch normalisation divides by: everything behind it would be NaN."""
    variance = Parameter(Tensor(np.ones(2, np.float32)), name="moving_variance")
    with pytest.raises(CheckpointError, match=r"x\.ckpt holds negative variances in backbone\.bn1\.moving_variance"):
        assign(
            {"backbone.bn1.moving_variance": variance},
            {"backbone.bn1.moving_variance": np.array([1, -1e-3], np.float32)},
            Path("x.ckpt"),
        )
    np.testing.assert_array_equal(variance.asnumpy(), [1, 1])


def test_values_that_are_not_finite_are_refused(source):
    source["head.bias"][1] = np.nan
    with pytest.raises(CheckpointError, match=r"not finite in head\.bias"):
        load_pretrained(TinyNet(), weights(source))


def test_half_precision_files_are_widened(source):
    net = TinyNet()
    load_pretrained(net, weights({n: v.astype(np.float16) for n, v in source.items()}))
    assert net.head.weight.dtype == ms.float32
    np.testing.assert_array_equal(net.head.weight.asnumpy(), source["head.weight"].astype(np.float16))


def test_an_incomplete_backbone_is_an_error(source):
    """Its shortcuts would stay random, perhaps frozen; nothing in the losses shows it."""
    net = TinyNet()
    before = values(net)
    for name in ("backbone.0.bias", "backbone.1.moving_mean"):
        del source[name]
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(net, weights(source))
    assert "lacks 2 of the backbone's 6 parameters (backbone.0.bias, backbone.1.moving_mean)" in str(caught.value)
    assert "--allow_partial true" in str(caught.value) and "\n" not in str(caught.value)
    assert all((v == before[n]).all() for n, v in values(net).items())
    report = load_pretrained(net, weights(source), allow_partial=True)
    assert report.missing == ["backbone.0.bias", "backbone.1.moving_mean"]
    assert (values(net)["head.weight"] == source["head.weight"]).all()


def test_no_backbone_is_an_error_unless_it_is_not_asked_for(source):
    heads = {n: v for n, v in source.items() if not n.startswith("backbone.")}
    with pytest.raises(CheckpointError, match=r"has no backbone: --load_parts"):
        load_pretrained(TinyNet(), weights(heads))
    report = load_pretrained(TinyNet(), weights(heads), parts=("head",))
    assert report.matched == ["head.bias", "head.weight"]


def test_parts(source):
    net = TinyNet()
    before = values(net)
    report = load_pretrained(net, weights(source), parts=("backbone",))
    assert all(n.startswith("backbone.") for n in report.matched) and not report.missing
    assert sorted(report.not_taken) == ["gain", "head.bias", "head.weight"]
    assert (values(net)["head.weight"] == before["head.weight"]).all()
    assert "3 not asked for by load_parts: those of gain, head" in "\n".join(report.lines())
    with pytest.raises(CheckpointError, match=r"matches nothing in the network's rpn"):
        load_pretrained(net, weights(source), parts=("rpn",))


def test_batch_norm_does_not_become_group_norm(source):
    net = nn.Cell()
    net.backbone = nn.SequentialCell(nn.Conv2d(3, 4, 3, has_bias=True), nn.GroupNorm(2, 4))
    net.update_parameters_name()
    with pytest.raises(CheckpointError, match=r"batch normalisation, the network's has none \(norm gn\)"):
        load_pretrained(net, weights(source))
    load_pretrained(net, weights(source), allow_partial=True)


class Heads(nn.Cell):
    """The layers of a network that depend on its classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.box_head = nn.Cell()
        self.box_head.cls_score = nn.Dense(4, classes + 1)
        self.box_head.bbox_pred = nn.Dense(4, 4 * (classes + 1))
        self.mask_head = nn.Cell()
        self.mask_head.logits_weight = ms.Parameter(ms.Tensor(np.ones((classes + 1, 2), np.float32)))
        self.update_parameters_name()


def outputs(net, label):
    """The parameters of one label: row of scores, rows of boxes, row of masks."""
    named = net if isinstance(net, dict) else values(net)
    boxes = named["box_head.bbox_pred.weight"][4 * label : 4 * label + 4]
    return np.concatenate(
        [named["box_head.cls_score.weight"][label], boxes.ravel(), named["mask_head.logits_weight"][label]]
    )


def head_arrays(classes):
    rng = np.random.default_rng(classes)
    return {n: rng.normal(size=v.shape).astype(np.float32) for n, v in values(Heads(classes)).items()}


@pytest.mark.parametrize(
    ("theirs", "ours", "same", "line"),
    [
        (["cat", "dog"], ["cat", "dog"], {0: 0, 1: 1, 2: 2}, None),
        (
            ["cat", "dog"],
            ["dog", "cat"],
            {0: 0, 1: 2, 2: 1},
            "the outputs of the classes dog, cat are loaded, in another",
        ),
        (["cat", "dog"], ["Dog ", "cow"], {0: 0, 1: 2}, "of the classes Dog  are loaded; those of cow start anew"),
        (["cat", "dog"], ["cow", "pig"], {}, "none of the classes cow, pig is in the file: their outputs start anew"),
        (
            ["cat", "dog"],
            ["cow", "dog", "pig"],
            {0: 0, 2: 2},
            "the classes dog are loaded; those of cow, pig start anew",
        ),
        (["cat", "dog", "cow"], ["cow"], {0: 0, 1: 3}, "the outputs of the classes cow are loaded, in another order"),
        (["Cat", "cat"], ["cat", "Cat"], {0: 0, 1: 2, 2: 1}, "the classes cat, Cat are loaded, in another order"),
        (
            [],
            ["cow", "pig"],
            {0: 0, 1: 1, 2: 2},
            "does not name its classes: they are taken for cow, pig, in this order",
        ),
    ],
)
def test_outputs_go_to_the_classes_of_the_same_name(theirs, ours, same, line):
    arrays = head_arrays(len(theirs) or len(ours))
    net = Heads(len(ours))
    before = values(net)
    parts = ("box_head", "mask_head")
    report = load_pretrained(net, weights(arrays, class_names=theirs), class_names=ours, parts=parts)
    for label in range(len(ours) + 1):
        expected = outputs(arrays, same[label]) if label in same else outputs(before, label)
        np.testing.assert_array_equal(outputs(net, label), expected)
    notes = [text for text in report.lines() if "note: " in text]
    assert line in notes[0] if line else not notes
    assert bool(report.other_classes) == (not same)


def test_another_number_of_unnamed_classes_starts_anew():
    arrays = {**head_arrays(3), "box_head.fc.weight": np.ones(3, np.float32)}
    net = Heads(2)
    net.box_head.fc = nn.Dense(1, 3, has_bias=False)
    net.update_parameters_name()
    arrays["box_head.fc.weight"] = np.ones((3, 1), np.float32)
    report = load_pretrained(net, weights(arrays), class_names=["a", "b"], parts=("box_head", "mask_head"))
    assert report.matched == ["box_head.fc.weight"] and len(report.reshaped) == 5
    assert not any("classes" in line for line in report.lines())
