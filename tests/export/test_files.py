"""Model files: MINDIR gives the very same bits, files are whole, and what is not possible says what is."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from tests.export.networks import pictures, small_config, small_network

from maskrcnn.errors import ExportError
from maskrcnn.export.files import write_model
from maskrcnn.export.fold import fold_norms

HEIGHT, WIDTH = 64, 128


@pytest.fixture(scope="module")
def network():
    net = small_network(small_config(img_height=HEIGHT, img_width=WIDTH))
    fold_norms(net)
    return net


def test_mindir_is_bit_identical_and_small(network, tmp_path) -> None:
    path = tmp_path / "folder" / "net.mindir"
    assert write_model(network, "MINDIR", path, 2, HEIGHT, WIDTH) == 0
    assert [file.name for file in path.parent.iterdir()] == ["net.mindir"]
    weights = sum(parameter.asnumpy().nbytes for parameter in network.get_parameters())
    # The graph itself takes a third of a megabyte, whatever the weights: it is left out, as these are so few here.
    assert path.stat().st_size <= 1.05 * weights + 2**20
    inputs = [Tensor(value) for value in pictures(2, HEIGHT, WIDTH)]
    expected = network(*inputs)
    assert expected[3].asnumpy().sum() > 10
    for one, other in zip(nn.GraphCell(ms.load(str(path)))(*inputs), expected):
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())


def test_air_says_why_and_what_instead(network, tmp_path) -> None:
    with pytest.raises(ExportError) as caught:
        write_model(network, "AIR", tmp_path / "net.air", 1, HEIGHT, WIDTH)
    message = str(caught.value)
    assert "Only support export file in 'AIR' format with Ascend backend" in message  # MindSpore's own words
    assert "--device_target Ascend" in message and "ONNX" in message and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(network, tmp_path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ExportError, match=r"cannot write .*net.onnx: .*--file_name"):
        write_model(network, "ONNX", tmp_path / "file" / "net.onnx", 1, HEIGHT, WIDTH)


def test_a_failed_export_leaves_the_older_file(network, tmp_path, monkeypatch) -> None:
    path = tmp_path / "net.mindir"
    path.write_bytes(b"older")

    def fail(*_, **__):
        raise RuntimeError("no such operator\nand a long stack")

    monkeypatch.setattr(ms, "export", fail)
    with pytest.raises(ExportError, match=r"cannot export MINDIR here \(no such operator\): try --file_format ONNX$"):
        write_model(network, "MINDIR", path, 1, HEIGHT, WIDTH)
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]
