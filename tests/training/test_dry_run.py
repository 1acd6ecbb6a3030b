"""What a dry run says, and that it leaves nothing behind."""

from __future__ import annotations

import re

from tests.e2e.small_run import arguments, make_data

from maskrcnn.commands.train import main
from maskrcnn.training.dry_run import typical


def test_a_dry_run_measures_and_stops(tmp_path, capsys):
    make_data(tmp_path)
    assert main(arguments(tmp_path, tmp_path / "run", dry_run=True, epoch_size=30, max_steps=50)) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  img_width: 128$", said, re.M) and "  coco_classes: []" in said
    assert "4 of 4 images (4 landscape, 0 upright), 4 objects, 1 classes: box" in said
    assert "steps: 2 an epoch with 2 images each, 30 epochs, 50 steps in all, 0 of them done" in said
    assert re.search(r"checkpoints: \d+ MiB each, the newest 3 are kept", said)
    measured = re.search(r"canvas 128x64: (\S+) s for the first step, which compiles, then (\S+) s/step", said)
    expected = re.search(r"expected: (\d+):(\d\d):(\d\d) for 50 steps, .* peak memory (\S+) GiB", said)
    compiling, step = map(float, measured.groups())
    hours, minutes, seconds = (int(text) for text in expected.groups()[:3])
    assert abs(hours * 3600 + minutes * 60 + seconds - (compiling + 50 * step)) <= 1.5
    assert 0.1 < float(expected[4]) < 100
    assert said.rstrip().endswith("dry run: nothing was trained or saved; remove dry_run to train")
    left = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert left == []


def test_the_step_that_compiles_does_not_count():
    assert typical([20.0, 1.0, 3.0, 2.0]) == 2.0
    assert typical([20.0]) == 20.0
    assert typical([9.0, 1.0]) == 1.0
