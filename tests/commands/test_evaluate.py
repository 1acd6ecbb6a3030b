"""The commands' own part: finding the files, comparing classes, and errors before any network is built."""

from __future__ import annotations

import json

import pytest
from tests.evaluation.oracle import Oracle, draw_data_set

from maskrcnn.commands.evaluate import eval_main, postprocess_main, predict_main
from maskrcnn.config import Config
from maskrcnn.errors import CheckpointError, ConfigError, DataError, EvaluationError
from maskrcnn.evaluation.evaluator import evaluate, evaluation_files
from maskrcnn.inference.pipeline import InferenceSettings

SMALL = {"img_height": 128, "img_width": 192}


def test_postprocess_repeats_the_figures_of_the_evaluation(tmp_path, capsys) -> None:
    ann_file = draw_data_set(tmp_path)
    oracle = Oracle(json.loads(ann_file.read_text()), tmp_path / "images", **SMALL)
    out = tmp_path / "out"
    result = evaluate(oracle, ann_file, tmp_path / "images", InferenceSettings(**SMALL), output_dir=out, progress=False)
    files = [str(out / "bbox.json"), str(out / "segm.json")]
    flags = ["--ann_file", str(ann_file), "--coco_classes", "[]", "--log_dir", str(tmp_path / "logs")]
    postprocess_main([*files, *flags], defaults=None)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "logs" / "acc.log").read_text()
    assert printed.strip() == result.report().split("\n\nSpeed:")[0]
    postprocess_main([files[0], *flags], defaults=None)
    assert "*segm*" not in capsys.readouterr().out

    broken = tmp_path / "broken.json"
    for content, message in [("[", "no JSON"), ("{}", "are a dict"), ('[{"image_id": 1}]', "category_id")]:
        broken.write_text(content)
        with pytest.raises(EvaluationError, match=message):
            postprocess_main([str(broken), *flags], defaults=None)
    with pytest.raises(EvaluationError, match="cannot read the results"):
        postprocess_main([str(tmp_path / "none.json"), *flags], defaults=None)
    with pytest.raises(ConfigError, match="got 0 files"):
        postprocess_main(flags, defaults=None)
    with pytest.raises(ConfigError, match="needs the annotations"):
        postprocess_main(files, defaults=None)
    with pytest.raises(DataError, match="'person' is not a category"):
        postprocess_main([*files, "--ann_file", str(ann_file)], defaults=None)


def test_files_to_evaluate_on(tmp_path) -> None:
    (tmp_path / "val2017").mkdir()
    (tmp_path / "other").mkdir()
    root = Config(coco_root=str(tmp_path))
    expected = (tmp_path / "annotations" / "instances_val2017.json", tmp_path / "val2017")
    assert evaluation_files(root) == expected
    named = root.replace(ann_file="x.json", image_dir=str(tmp_path / "other"))
    assert [str(path) for path in evaluation_files(named)] == ["x.json", str(tmp_path / "other")]
    txt = named.replace(dataset="other", anno_path="train.txt")  # image_dir is where its images lie
    assert [str(path) for path in evaluation_files(txt)] == ["x.json", str(tmp_path / "val2017")]
    assert evaluation_files(txt.replace(ann_file="")) == expected
    alone = txt.replace(coco_root="")
    assert [str(path) for path in evaluation_files(alone)] == ["x.json", str(tmp_path / "other")]
    with pytest.raises(EvaluationError, match="--coco_root FOLDER, or --ann_file FILE and --image_dir"):
        evaluation_files(Config(ann_file="x.json"))
    with pytest.raises(EvaluationError, match=r"no image folder .* check coco_root and val_data_type"):
        evaluation_files(Config(coco_root=str(tmp_path / "missing")))
    with pytest.raises(EvaluationError, match=r"no image folder .* check image_dir"):
        evaluation_files(named.replace(image_dir=str(tmp_path / "missing")))


def test_what_is_missing_is_said_first(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="--checkpoint_path FILE"):
        eval_main([], defaults=None)
    with pytest.raises(CheckpointError, match="does not exist"):
        eval_main(["--checkpoint_path", str(tmp_path / "no.ckpt")], defaults=None)
    with pytest.raises(ConfigError, match="needs image files or folders"):
        predict_main([], defaults=None)
    with pytest.raises(DataError, match="no file or folder"):
        predict_main([str(tmp_path / "no.jpg")], defaults=None)
