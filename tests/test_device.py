"""The device of a process: set anew where it is the one already in use, refused where it is not there."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops
from tests.graph import Compiled

from maskrcnn import device
from maskrcnn.device import find_device, set_device
from maskrcnn.errors import ConfigError


def test_a_process_that_has_computed_may_name_its_device_again():
    assert Compiled(ops.relu)(np.float32([-1.0, 2.0])).tolist() == [0.0, 2.0]
    set_device("CPU", 0)
    assert ms.get_context("device_target") == "CPU"


def test_a_device_that_is_not_there_is_named_in_one_line():
    with pytest.raises(ConfigError, match="device_target is Ascend, device_id 3: not available") as caught:
        set_device("Ascend", 3)
    assert "\n" not in str(caught.value)
    assert ms.get_context("device_target") == "CPU"


@pytest.mark.parametrize(
    ("there", "current", "chosen"),
    [
        ((), "CPU", "CPU"),
        (("GPU",), "CPU", "GPU"),
        (("GPU", "Ascend"), "CPU", "Ascend"),
        (("GPU", "Ascend"), "GPU", "GPU"),
    ],
)
def test_auto_is_the_first_device_that_is_there(monkeypatch, there, current, chosen):
    monkeypatch.setattr(ms.hal, "is_available", lambda name: name in there)
    monkeypatch.setattr(ms, "get_context", {"device_target": current}.get)
    assert find_device() == chosen


def test_the_device_is_named_once(capsys):
    device.announce.cache_clear()
    for _ in range(2):
        set_device("auto", 0)
    line = capsys.readouterr().out
    assert line.startswith("device: CPU (") and "no Ascend or GPU device was found" in line and line.count("\n") == 1
    assert device.processor_name() in line and device.processor_name()
