"""The loop with a tiny network: exact resume after any end, signals, and what it says when it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from tests.training.tiny import TinyLoader, TinyNet, make_batch

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.format import load_checkpoint, load_training_state
from maskrcnn.checkpoint.state import RunIdentity, RunState
from maskrcnn.errors import CheckpointError, DataError, TrainingError
from maskrcnn.training.logs import TrainLog
from maskrcnn.training.optimizer import AdamW, LossScale, MomentumSGD
from maskrcnn.training.schedule import LearningRate
from maskrcnn.training.step import TrainStep
from maskrcnn.training.trainer import Trainer, TrainingPlan
from maskrcnn.training.weight_average import WeightAverage

ROOT = Path(__file__).resolve().parents[2]


def make_trainer(
    folder,
    loader=None,
    *,
    seed=1,
    keep=20,
    evaluate=None,
    loss_scale=None,
    net=None,
    optimizer=MomentumSGD,
    ema_decay=0.0,
    **plan,
):
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(seed)
    net = net or TinyNet()
    net.set_train()
    loader = loader or TinyLoader(seed)
    loss_scale = loss_scale or LossScale()
    step = TrainStep(
        net,
        optimizer(net.trainable_params(), 0.9, 1e-4),
        scaled=not loss_scale.fixed,
        skip_overflow=not loss_scale.fixed,
    )
    average = WeightAverage(net, ema_decay) if ema_decay else None
    checkpoints = CheckpointFolder(folder / "checkpoint", keep)
    checkpoints.prepare()
    identity = RunIdentity(seed, ["cat", "dog"], loader.steps_per_epoch, batch_size=2)
    plan = TrainingPlan(**{"epochs": 3, "save_steps": 2, **plan})
    return Trainer(
        step,
        loader,
        LearningRate(0.01, plan.epochs * loader.steps_per_epoch, warmup_steps=4),
        plan,
        state=RunState(
            [*net.get_parameters(), *step.optimizer.moments, *(average.averages if average else ())],
            identity,
            info={"config": {"base_lr": 0.01}, "category_ids": [17, 18]},
        ),
        log=partial(TrainLog, folder / "log", 0),
        loss_scale=loss_scale,
        checkpoints=checkpoints,
        evaluate=evaluate,
        average=average,
    )


def final_state(folder):
    return load_training_state(CheckpointFolder(folder / "checkpoint", 1).listed()[-1])


def assert_same_end(one, other):
    (arrays, meta), (others, other_meta) = final_state(one), final_state(other)
    assert meta == other_meta
    assert arrays.keys() == others.keys()
    for name in arrays:
        assert arrays[name].tobytes() == others[name].tobytes(), name
    assert (one / "log" / "loss_0.log").read_text() == (other / "log" / "loss_0.log").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 3 epochs with 5 steps each, without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert make_trainer(folder).train() == 0
    return folder


@pytest.fixture(scope="module")
def whole_adamw(tmp_path_factory):
    """The same with AdamW."""
    folder = tmp_path_factory.mktemp("adamw")
    assert make_trainer(folder, optimizer=AdamW).train() == 0
    return folder


def test_a_run_leaves_checkpoints_and_logs(whole):
    names = [path.name for path in CheckpointFolder(whole / "checkpoint", 1).listed()]
    assert names[0] == "maskrcnn-1_2.ckpt"  # the others may come later than every second step: the disk is slow
    assert names[-1] == "maskrcnn-3_5.ckpt"
    arrays, meta = final_state(whole)
    assert {"backbone.0.weight", "backbone.1.moving_mean", "moments.head.bias"} <= arrays.keys()
    assert (meta["epoch"], meta["step"], meta["global_step"], meta["seed"]) == (3, 5, 15, 1)
    assert meta["class_names"] == ["cat", "dog"]
    assert meta["category_ids"] == [17, 18]
    assert meta["config"] == {"base_lr": 0.01}
    assert meta["mindspore"] == ms.__version__
    lines = (whole / "log" / "loss_0.log").read_text().splitlines()
    assert len(lines) == 15
    assert lines[6].startswith("epoch:2 step:2 ,rpn_loss:")
    records = [json.loads(line) for line in (whole / "log" / "metrics.jsonl").read_text().splitlines()]
    assert records[0]["lr"] == pytest.approx(0.01 / 3)
    assert {"grad_norm", "images_per_second", "data_wait", "memory_gib"} <= records[0].keys()


class OneBatch(TinyLoader):
    """The same batch over and over."""

    def epoch(self, epoch, start_step=0):
        for _ in range(start_step, self.steps_per_epoch):
            yield make_batch([self.seed])


def test_training_learns(tmp_path):
    make_trainer(tmp_path, OneBatch()).train()
    records = [json.loads(line) for line in (tmp_path / "log" / "metrics.jsonl").read_text().splitlines()]
    losses = [record["total_loss"] for record in records]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("stops", [[1, 15], [4, 5, 15], [12, 15]])
def test_resuming_is_exact_any_number_of_times(whole, tmp_path, stops):
    done = 0
    for stop in stops:
        trainer = make_trainer(tmp_path, max_steps=stop)
        if done:
            trainer.resume(trainer.checkpoints.newest())
        assert trainer.state.global_step == done
        assert trainer.train() == 0
        done = stop
    assert_same_end(whole, tmp_path)


def test_adamw_resumes_exactly(whole_adamw, tmp_path):
    for stop in (7, 15):
        trainer = make_trainer(tmp_path, optimizer=AdamW, max_steps=stop)
        if stop == 15:
            trainer.resume(trainer.checkpoints.newest())
            assert trainer.state.global_step == 7
        assert trainer.train() == 0
    assert_same_end(whole_adamw, tmp_path)
    arrays, _ = final_state(tmp_path)
    for moment in ("moment1.", "moment2."):
        assert np.abs(arrays[f"{moment}head.weight"]).max() > 0


def test_a_checkpoint_of_another_optimizer_is_refused(whole, tmp_path):
    trainer = make_trainer(tmp_path, optimizer=AdamW)
    with pytest.raises(CheckpointError, match=r"another optimizer: moment1\.gain is missing"):
        trainer.resume(CheckpointFolder(whole / "checkpoint", 1).newest())


def test_a_finished_run_has_nothing_left_to_do(whole):
    before = sorted(p.stat().st_mtime_ns for p in (whole / "checkpoint").iterdir())
    trainer = make_trainer(whole)
    trainer.resume(trainer.checkpoints.newest())
    assert trainer.train() == 0
    assert sorted(p.stat().st_mtime_ns for p in (whole / "checkpoint").iterdir()) == before


PROGRAM = """
import sys, time
from pathlib import Path
from maskrcnn.training import optimizer
from tests.training.test_trainer import make_trainer
trainer = make_trainer(Path(sys.argv[1]), optimizer=getattr(optimizer, sys.argv[2]))
newest = trainer.checkpoints.newest()
if newest:
    trainer.resume(newest)
train_step = trainer.train_step
def slow(batch):
    time.sleep(0.05)
    return train_step(batch)
trainer.train_step = slow
sys.exit(trainer.train())
"""


def start(folder, optimizer=MomentumSGD):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), optimizer.__name__],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_step(process, step):
    """Read its output up to the line of a global step of 5-step epochs."""
    wanted = f"epoch {1 + (step - 1) // 5}/3 step {1 + (step - 1) % 5}/5 "
    for line in process.stdout:
        if line.startswith(wanted):
            return
    pytest.fail(f"the run ended before step {step}")


@pytest.mark.parametrize("optimizer", [MomentumSGD, AdamW])
def test_killed_runs_resume_exactly(whole, whole_adamw, tmp_path, optimizer):
    rng = np.random.default_rng(time.time_ns())
    for first, last in ((1, 6), (8, 13)):
        process = start(tmp_path, optimizer)
        wait_for_step(process, rng.integers(first, last))
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    process = start(tmp_path, optimizer)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert_same_end(whole_adamw if optimizer is AdamW else whole, tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_finish_the_step_and_save(whole, tmp_path, number, code):
    process = start(tmp_path)
    wait_for_step(process, 3)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in output
    last = output.strip().splitlines()[-1]
    assert last.startswith(f"stopped by {number.name} after step ")
    _, meta = final_state(tmp_path)
    assert f"after step {meta['global_step']};" in last
    assert meta["global_step"] < 15
    rest = make_trainer(tmp_path)
    rest.resume(rest.checkpoints.newest())
    rest.train()
    assert_same_end(whole, tmp_path)


class BadLoader(TinyLoader):
    """The batch of one step makes a loss infinite."""

    def epoch(self, epoch, start_step=0):
        for step, batch in enumerate(super().epoch(epoch, start_step), start_step):
            if (epoch, step) == (1, 2):
                batch.anchor_target[0, 0, 0] = np.inf
                batch.image_id[:] = [139, 285]
            yield batch


def test_a_loss_that_is_not_finite_stops_with_the_images_named(tmp_path):
    trainer = make_trainer(tmp_path, BadLoader())
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    line = str(caught.value)
    assert "not finite at epoch 2 step 3: rpn_reg_loss" in line
    assert "images 139, 285" in line
    assert "maskrcnn-2_1.ckpt" in line
    assert "\n" not in line
    arrays, meta = final_state(tmp_path)
    assert meta["global_step"] == 6
    assert all(np.isfinite(array).all() for array in arrays.values())


class Loud(TinyNet):
    """Its gradients overflow float32 when they are scaled by 2**126, and not any more after some halvings."""

    def construct(self, image, image_shape, *others):
        losses = super().construct(image, image_shape, *others)
        return (losses[0] * 8.0, *losses[1:])


def test_overflowing_steps_are_skipped_counted_and_remembered(tmp_path):
    scale = LossScale(2.0**126, fixed=False)
    trainer = make_trainer(tmp_path, net=Loud(), loss_scale=scale, save_steps=1)
    initial = {name: array.tobytes() for name, array in trainer.state.arrays()}
    assert trainer.train() == 0
    assert 1 <= scale.skipped < 15
    assert scale.value == 2.0 ** (126 - scale.skipped)
    learnt = ("gain", "moments.gain", "head.weight", "moments.head.weight")
    first, meta = load_training_state(tmp_path / "checkpoint" / "maskrcnn-1_1.ckpt")
    assert meta["loss_scale"] == {"value": 2.0**125, "good_steps": 0, "skipped": 1}
    assert all(first[name].tobytes() == initial[name] for name in learnt)
    last, meta = final_state(tmp_path)
    assert all(last[name].tobytes() != initial[name] for name in learnt)
    resumed = make_trainer(tmp_path, net=Loud(), loss_scale=LossScale(fixed=False))
    resumed.resume(resumed.checkpoints.newest())
    assert resumed.loss_scale == scale


def test_the_best_checkpoint_is_kept(tmp_path):
    scores = iter([0.1, 0.3, 0.2])
    seen = []

    def evaluate(path):
        seen.append(path.name)
        return {"bbox_ap": 0.5, "segm_ap": next(scores)}

    make_trainer(tmp_path, evaluate=evaluate, eval_epochs=1, keep=1).train()
    assert seen == ["maskrcnn-1_5.ckpt", "maskrcnn-2_5.ckpt", "maskrcnn-3_5.ckpt"]
    assert sorted(p.name for p in (tmp_path / "checkpoint").iterdir()) == ["best.ckpt", "maskrcnn-3_5.ckpt"]
    _, meta = load_training_state(tmp_path / "checkpoint" / "best.ckpt")
    assert (meta["epoch"], meta["segm_ap"]) == (2, 0.3)
    records = [json.loads(line) for line in (tmp_path / "log" / "metrics.jsonl").read_text().splitlines()]
    assert [r["segm_ap"] for r in records if "segm_ap" in r] == [0.1, 0.3, 0.2]


def test_an_interrupted_evaluation_is_made_up_for_once(tmp_path):
    seen = []

    def evaluate(path):
        seen.append(path.name)
        if len(seen) == 2:
            raise SystemExit(143)  # a signal
        return {"bbox_ap": 0.5, "segm_ap": 0.1 * len(seen)}

    with pytest.raises(SystemExit):
        make_trainer(tmp_path, evaluate=evaluate, eval_epochs=1, epochs=2).train()
    for _ in range(2):  # the second time there is nothing left to do
        trainer = make_trainer(tmp_path, evaluate=evaluate, eval_epochs=1, epochs=2)
        trainer.resume(trainer.checkpoints.newest())
        assert trainer.train() == 0
    assert seen == ["maskrcnn-1_5.ckpt", "maskrcnn-2_5.ckpt", "maskrcnn-2_5.ckpt"]
    assert trainer.checkpoints.best_meta()["best_score"] == pytest.approx(0.3)


class VanishingLoader(TinyLoader):
    """Its data are gone from step 3 of epoch 2 on."""

    def epoch(self, epoch, start_step=0):
        for step, batch in enumerate(super().epoch(epoch, start_step), start_step):
            if (epoch, step) == (1, 2):
                raise DataError("the record is gone")
            yield batch


def test_data_that_vanish_cost_no_step(whole, tmp_path, capsys):
    with pytest.raises(DataError, match="the record is gone"):
        make_trainer(tmp_path, VanishingLoader(), save_steps=100).train()
    newest = tmp_path / "checkpoint" / "maskrcnn-2_2.ckpt"
    assert f"continue with --resume {newest}" in capsys.readouterr().out
    trainer = make_trainer(tmp_path)
    trainer.resume(newest)
    trainer.train()
    assert_same_end(whole, tmp_path)


def test_a_log_line_is_the_mean_since_the_last(tmp_path):
    make_trainer(tmp_path / "each", log_steps=1).train()
    make_trainer(tmp_path / "some", log_steps=3).train()

    def totals(folder):
        lines = (tmp_path / folder / "log" / "metrics.jsonl").read_text().splitlines()
        return {(r["epoch"], r["step"]): r["total_loss"] for r in map(json.loads, lines)}

    each, some = totals("each"), totals("some")
    assert list(some) == [(e, s) for e in (1, 2, 3) for s in (3, 5)]
    assert some[2, 3] == pytest.approx(np.mean([each[2, s] for s in (1, 2, 3)]), rel=1e-5)
    assert some[2, 5] == pytest.approx(np.mean([each[2, s] for s in (4, 5)]), rel=1e-5)


def test_checkpoints_of_other_runs_are_refused(whole, tmp_path):
    newest = CheckpointFolder(whole / "checkpoint", 1).newest()
    with pytest.raises(CheckpointError, match="made with seed 1, this run has 2"):
        make_trainer(tmp_path, seed=2).resume(newest)
    with pytest.raises(CheckpointError, match="made with steps_per_epoch 5, this run has 4"):
        make_trainer(tmp_path, TinyLoader(1, steps_per_epoch=4)).resume(newest)
    with pytest.raises(CheckpointError, match=r"another network: head.* \(3,.* not \(7,"):
        make_trainer(tmp_path, net=TinyNet(classes=7)).resume(newest)
    ms.save_checkpoint(TinyNet(), str(tmp_path / "plain.ckpt"))
    with pytest.raises(CheckpointError, match="holds no training state: use --pre_trained"):
        make_trainer(tmp_path).resume(tmp_path / "plain.ckpt")


def test_objects_without_a_slot_are_counted_after_the_first_epoch_only(tmp_path, capsys):
    loader = TinyLoader(steps_per_epoch=2)
    loader.objects_left_out = 7
    make_trainer(tmp_path, loader, epochs=3).train()
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert len(notes) == 1 and "7 objects of the first epoch were ignored" in notes[0]


def test_averages_of_weights_resume_exactly(whole, tmp_path):
    """They change nothing of the training, and are what the checkpoint's users get."""
    make_trainer(tmp_path / "whole", ema_decay=0.9).train()
    for stop in (7, 15):
        trainer = make_trainer(tmp_path / "parts", ema_decay=0.9, max_steps=stop)
        if stop == 15:
            trainer.resume(trainer.checkpoints.newest())
        trainer.train()
    assert_same_end(tmp_path / "whole", tmp_path / "parts")
    arrays, _ = final_state(tmp_path / "parts")
    plain, _ = final_state(whole)
    averages = {name: array for name, array in arrays.items() if name.startswith("ema.")}
    assert len(averages) == len(plain) - sum(name.startswith("moments.") for name in plain)
    assert all(arrays[name].tobytes() == plain[name].tobytes() for name in plain)
    used, _ = load_checkpoint(CheckpointFolder(tmp_path / "parts" / "checkpoint", 1).newest())
    assert used.keys() == {name for name in plain if not name.startswith("moments.")}
    for name, array in used.items():
        assert array.tobytes() == averages[f"ema.{name}"].tobytes() != plain[name].tobytes(), name


def test_averaging_can_begin_and_end_with_a_resumption(whole, tmp_path):
    begun = make_trainer(tmp_path / "begun", ema_decay=0.9)
    begun.resume(CheckpointFolder(whole / "checkpoint", 1).newest())
    arrays = dict(begun.state.arrays())
    assert arrays["ema.head.weight"].tobytes() == arrays["head.weight"].tobytes()
    path = begun.checkpoints.save(arrays, begun.state.meta(), 3, 5)
    ended = make_trainer(tmp_path / "ended")
    ended.resume(path)
    assert ended.state.global_step == 15


def evaluations(*scores):
    """An evaluate that gives one score after the other, and the names of the checkpoints it was given."""
    scores, seen = list(scores), []

    def evaluate(path):
        seen.append(path.name)
        return {"bbox_ap": 0.5, "segm_ap": scores[len(seen) - 1]}

    return evaluate, seen


def test_a_run_that_learns_nothing_more_stops_early(tmp_path, capsys):
    evaluate, seen = evaluations(0.1, 0.3, 0.2, 0.3, 0.9)
    assert make_trainer(tmp_path, evaluate=evaluate, eval_epochs=1, epochs=9, patience=2).train() == 0
    assert [name[:10] for name in seen] == [f"maskrcnn-{epoch}" for epoch in (1, 2, 3, 4)]
    _, meta = final_state(tmp_path)
    assert meta["epoch"] == 4
    said = "stopped early: AP has not risen for 2 evaluations; the best, 0.3000 after epoch 2, is kept as best.ckpt"
    assert said in capsys.readouterr().out
    _, best = load_training_state(tmp_path / "checkpoint" / "best.ckpt")
    assert best["epoch"] == 2
    again = make_trainer(tmp_path, evaluate=evaluate, eval_epochs=1, epochs=9, patience=2)
    again.resume(again.checkpoints.newest())
    assert again.train() == 0 and len(seen) == 4  # there is nothing left to do
    patient = make_trainer(tmp_path, evaluate=evaluate, eval_epochs=1, epochs=5, patience=3)
    patient.resume(patient.checkpoints.newest())
    assert patient.train() == 0 and len(seen) == 5


@pytest.mark.parametrize("stop", [5, 7, 15])
def test_patience_is_remembered_by_a_resumed_run(tmp_path, stop):
    """After the evaluation of an epoch, whose checkpoint is older than it, and in the middle of an epoch."""
    evaluate, seen = evaluations(0.4, 0.3, 0.5, 0.2, 0.1, 0.3, 0.9)
    for limit in (stop, 0):
        trainer = make_trainer(tmp_path, evaluate=evaluate, eval_epochs=1, epochs=9, patience=3, max_steps=limit)
        if not limit:
            trainer.resume(trainer.checkpoints.newest())
        trainer.train()
    assert len(seen) == 6 and trainer.state.global_step == 30  # three epochs after the best one
    _, meta = final_state(tmp_path)
    assert meta["early_stopping"] == {"scores": [[1, 0.4], [2, 0.3], [3, 0.5], [4, 0.2], [5, 0.1]]}


def test_the_time_of_an_epoch_is_told(tmp_path, capsys):
    make_trainer(tmp_path, max_steps=8).train()
    said = capsys.readouterr().out.splitlines()
    taken = [line for line in said if " took " in line]
    assert len(taken) == 1 and taken[0].startswith("epoch 1/3 took 0:00:") and "for 5 steps, " in taken[0]
    trainer = make_trainer(tmp_path, max_steps=10)
    trainer.resume(trainer.checkpoints.newest())
    trainer.train()
    said = capsys.readouterr().out
    assert "epoch 2/3 took 0:00:" in said and "for the last 2 of 5 steps" in said
    records = [json.loads(line) for line in (tmp_path / "log" / "metrics.jsonl").read_text().splitlines()]
    assert [record["global_step"] for record in records if "epoch_seconds" in record] == [5, 10]
    assert records[4]["epoch_seconds"] >= sum(record["step_seconds"] for record in records[3:5])
