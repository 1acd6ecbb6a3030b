"""An evaluation shared out to ranks gives what one process gives, to the last digit."""

from __future__ import annotations

import json

import pytest
from tests.evaluation.oracle import Oracle, draw_data_set, run_evaluation

from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import EvaluationError


class InTurn(ProcessGroup):
    """Ranks that run one after the other, rank 0 last."""

    def __init__(self, rank: int, world: int, sent: dict[int, bytes]) -> None:
        super().__init__(rank, world)
        self.sent = sent

    def gather(self, data, reason):
        self.sent[self.rank] = data
        return [self.sent[rank] for rank in range(self.world_size)] if self.rank == 0 else None


def run(world, content, ann_file, folder, out, batch_size=1):
    sent: dict[int, bytes] = {}
    for rank in reversed(range(world)):
        group = InTurn(rank, world, sent)
        keys = {"test_batch_size": batch_size}
        oracle = Oracle(content, folder)
        result = run_evaluation(oracle, ann_file, folder, keys, group=group, output_dir=out, pictures=2)
        assert (result is None) == (rank > 0)
        assert out.exists() == (rank == 0)
    return result


@pytest.mark.parametrize("world", [2, 3, 4, 9])
def test_files_are_those_of_one_process(tmp_path, world):
    """Seven images, one of which cannot be read: no number of ranks divides them; nine leave some with nothing."""
    ann_file = draw_data_set(tmp_path)
    folder, content = tmp_path / "images", json.loads(ann_file.read_text())
    (folder / content["images"][3]["file_name"]).write_bytes(b"broken")
    expected = run(1, content, ann_file, folder, tmp_path / "one")
    found = run(world, content, ann_file, folder, tmp_path / "many", batch_size=2)
    assert found.images == expected.images == len(content["images"]) - 1
    assert (found.metrics, found.skipped) == (expected.metrics, expected.skipped)
    for name in ("bbox.json", "segm.json"):
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    speed = found.speed.to_dict()
    assert speed["images"] == found.images
    names = sorted(path.name for path in (tmp_path / "many" / "pictures").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "one" / "pictures").iterdir())


def test_images_are_never_counted_twice(tmp_path):
    ann_file = draw_data_set(tmp_path)
    folder, content = tmp_path / "images", json.loads(ann_file.read_text())

    class Twice(ProcessGroup):
        def gather(self, data, reason):
            return [data, data]

    class Lost(ProcessGroup):
        def gather(self, data, reason):
            return [data]

    arguments = (Oracle(content, folder), ann_file, folder)
    with pytest.raises(EvaluationError, match="image 1000 was evaluated by two ranks"):
        run_evaluation(*arguments, group=Twice(0, 2))
    with pytest.raises(EvaluationError, match="7 images were to be evaluated, the ranks had 4"):
        run_evaluation(*arguments, group=Lost(0, 2))
