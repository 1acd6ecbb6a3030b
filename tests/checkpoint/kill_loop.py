"""A program that trains nothing, saves all the time, and is killed: ``kill_loop.py FOLDER KILLS``.

A child process resumes from the newest checkpoint, checks it bit for bit, and then saves step after step with the
run's own writer while it changes the state. Its parent kills it at a random moment, looks at what is there, and starts
the next child. Prints the number of kills, of those that left a half-written file, and of those before which the
child had saved; ends with an exception, and exit code 1, at the first thing that is lost or broken.

The children are forks, so MindSpore is imported once and a kill takes a fraction of a second.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from maskrcnn.checkpoint.folder import BEST_NAME, CheckpointFolder
from maskrcnn.checkpoint.format import load_training_state
from maskrcnn.checkpoint.writer import CheckpointWriter

KEEP = 2
STEPS_PER_EPOCH = 7
SHAPES = {"backbone": (64, 64, 3, 3), "head": (500, 300), "bias": (300,), "scalar": ()}


def set_values(arrays: dict[str, np.ndarray], step: int) -> None:
    """Change the state in place to that after ``step`` steps: different in every element and step."""
    for name, array in arrays.items():
        array[...] = (np.arange(array.size) * 31 + len(name) + step * 1009).reshape(array.shape) % 65521


def check(path: Path) -> int:
    """The step of a checkpoint; AssertionError unless every bit of it is as it was saved."""
    found, meta = load_training_state(path)
    expected = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    set_values(expected, meta["global_step"])
    assert found.keys() == expected.keys(), path
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), (path, name)
    return meta["global_step"]


def child(folder: CheckpointFolder, durable: int) -> None:
    """Resume and save for ever; the step of every checkpoint that is on disk goes to the pipe ``durable``."""
    folder.prepare()
    newest = folder.newest()
    step = check(newest) if newest else 0
    os.write(durable, step.to_bytes(8, "big"))
    arrays = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    writer = CheckpointWriter(folder, lambda: iter(arrays.items()))
    writer.prepare()
    while True:
        step += 1
        set_values(arrays, step)
        epoch, inside = divmod(step - 1, STEPS_PER_EPOCH)
        writer.save({"global_step": step}, epoch + 1, inside + 1)
        set_values(arrays, step + 1)  # the next step is taken while the checkpoint is written
        writer.wait()
        os.write(durable, step.to_bytes(8, "big"))
        if inside == 0:
            set_values(arrays, step)
            writer.save_best({"global_step": step})
            writer.wait()


def main(folder: Path, kills: int) -> None:
    checkpoints = CheckpointFolder(folder, KEEP)
    rng = np.random.default_rng(time.time_ns())
    last, best, in_mid_write, after_save = 0, 0, 0, 0
    for _ in range(kills):
        reader, durable = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reader)
            try:
                child(checkpoints, durable)
            finally:
                os._exit(1)  # reached by an exception only
        os.close(durable)
        resumed = int.from_bytes(os.read(reader, 8), "big")
        assert resumed >= last, f"resumed from step {resumed}, but step {last} had been saved"
        time.sleep(rng.exponential(0.08))  # a save takes some 0.03 s
        os.kill(process, signal.SIGKILL)
        assert os.waitpid(process, 0)[1] == signal.SIGKILL, "the child ended by itself"
        with open(reader, "rb") as pipe:
            reported = pipe.read()
        last = int.from_bytes(reported[-8:], "big") if reported else resumed
        after_save += last > resumed
        in_mid_write += any(folder.glob(".*.tmp"))
        for path in checkpoints.listed():
            check(path)
        assert len(checkpoints.listed()) >= min(last, KEEP)
        if best or (folder / BEST_NAME).exists():
            best, before = check(folder / BEST_NAME), best
            assert best >= before
    checkpoints.save({"last": np.zeros(3, np.float32)}, {}, 10**6, 1)  # deletes what kills kept from being deleted
    assert len(checkpoints.listed()) == KEEP
    print(kills, in_mid_write, after_save)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
