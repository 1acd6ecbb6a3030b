"""The device of a process: set anew where it is the one already in use, refused where it is not there."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops
from tests.graph import Compiled

from maskrcnn.device import set_device
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
