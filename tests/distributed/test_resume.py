"""A run goes on, on another number of processes: exactly with the same images a step, else by a rule that is said."""

from __future__ import annotations

import dataclasses

import pytest
from tests.training.test_trainer import make_trainer
from tests.training.tiny import TinyLoader

from maskrcnn.checkpoint.format import load_training_state
from maskrcnn.errors import CheckpointError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """After 8 steps with 2 images each in epochs of 5 steps: 3 steps into the second epoch."""
    trainer = make_trainer(tmp_path_factory.mktemp("run"), max_steps=8)
    assert trainer.train() == 0
    return trainer.saver.newest


def resumed(folder, checkpoint, steps_per_epoch, **identity):
    trainer = make_trainer(folder, TinyLoader(1, steps_per_epoch))
    trainer.state.identity = dataclasses.replace(trainer.state.identity, **identity)
    trainer.resume(checkpoint)
    return trainer


def test_the_same_images_a_step_on_more_processes(checkpoint, tmp_path, capsys):
    trainer = resumed(tmp_path, checkpoint, 5, batch_size=1, world_size=2)
    assert trainer.state.global_step == 8
    assert "images a step" not in capsys.readouterr().out
    arrays, _ = load_training_state(checkpoint)
    for name, array in trainer.state.arrays():
        assert array.tobytes() == arrays[name].tobytes()


@pytest.mark.parametrize(
    ("steps_per_epoch", "world", "global_step"),
    [(10, 1, 16), (3, 2, 4), (2, 3, 3), (1, 8, 1)],  # 3 of 5 steps are 6 of 10, 1.8 of 3, 1.2 of 2, 0.6 of 1
)
def test_other_images_a_step_keep_the_share_of_the_epoch(
    checkpoint, tmp_path, capsys, steps_per_epoch, world, global_step
):
    batch_size = 1 if world == 1 else 2
    trainer = resumed(tmp_path, checkpoint, steps_per_epoch, batch_size=batch_size, world_size=world)
    assert trainer.state.global_step == global_step
    assert trainer.state.resumed_at == (2, 3, 8)  # as the log that goes on was counted
    said = capsys.readouterr().out
    assert f"made with 2 images a step (1 x 2), this run has {world * batch_size}: 8 of its steps count as" in said
    assert f"count as {global_step}, in an epoch whose images may be seen twice or left out" in said


def test_whole_epochs_stay_whole(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    trainer = make_trainer(tmp_path / "a", max_steps=10)
    trainer.train()
    again = resumed(tmp_path / "b", trainer.saver.newest, 3, batch_size=2, world_size=2)
    assert again.state.global_step == 6
    assert "8 of" not in (said := capsys.readouterr().out) and "10 of its steps count as 6\n" in said


def test_other_data_is_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="was made with steps_per_epoch 5, this run has 7: use the same data"):
        resumed(tmp_path, checkpoint, 7)


def test_a_resumed_run_with_other_images_a_step_keeps_its_log(checkpoint, tmp_path):
    (tmp_path / "log").mkdir()
    log = checkpoint.parents[1] / "log" / "loss_0.log"
    (tmp_path / "log" / "loss_0.log").write_text(log.read_text())
    trainer = resumed(tmp_path, checkpoint, 3, batch_size=2, world_size=2)
    assert trainer.train() == 0
    lines = (tmp_path / "log" / "loss_0.log").read_text().splitlines()
    places = [line.split(" ,")[0] for line in lines]
    assert places[:8] == [
        f"epoch:{e} step:{s}" for e, s in [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1), (2, 2), (2, 3)]
    ]
    assert places[8:] == ["epoch:2 step:2", "epoch:2 step:3", "epoch:3 step:1", "epoch:3 step:2", "epoch:3 step:3"]
