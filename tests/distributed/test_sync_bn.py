"""Batch normalisation over two processes gives what one process gives with the whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mindspore import nn
from tests.distributed.test_training import free_port, run

from maskrcnn.models.layers import normalisation

PROGRAM = Path(__file__).with_name("sync_bn.py")


def test_two_processes_train_as_one_with_the_whole_batch(tmp_path):
    run(tmp_path / "alone", program=PROGRAM)
    options = ["--workers", "2", "--master_port", str(free_port()), "--log_dir", str(tmp_path / "logs")]
    run(tmp_path / "two", "-m", "maskrcnn.launch", *options, program=PROGRAM)
    alone = np.load(tmp_path / "alone" / "rank0.npz")
    ranks = [np.load(tmp_path / "two" / f"rank{rank}.npz") for rank in range(2)]
    for name in alone.files:
        assert ranks[0][name].tobytes() == ranks[1][name].tobytes(), name
        np.testing.assert_allclose(ranks[0][name], alone[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_process_of_its_own_has_plain_batch_normalisation():
    norm = normalisation("sync_bn", 4)
    assert type(norm) is nn.BatchNorm2d
    assert norm.eps == pytest.approx(1e-5)
