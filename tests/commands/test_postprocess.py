"""postprocess.py: the metrics of result files, and files that are no results."""

from __future__ import annotations

import json

import pytest
from tests.evaluation.oracle import Oracle, draw_data_set, run_evaluation

from maskrcnn.commands.postprocess import main
from maskrcnn.errors import ConfigError, DataError, EvaluationError


def test_repeats_the_metrics_of_the_evaluation(tmp_path, capsys) -> None:
    ann_file = draw_data_set(tmp_path)
    oracle = Oracle(json.loads(ann_file.read_text()), tmp_path / "images")
    out = tmp_path / "out"
    result = run_evaluation(oracle, ann_file, tmp_path / "images", output_dir=out)
    files = [str(out / "bbox.json"), str(out / "segm.json")]
    flags = ["--ann_file", str(ann_file), "--coco_classes", "[]", "--log_dir", str(tmp_path / "logs")]
    main([*files, *flags])
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "logs" / "acc.log").read_text()
    assert printed.strip() == result.report().split("\n\nSpeed:")[0]
    main([files[0], *flags])
    assert "*segm*" not in capsys.readouterr().out

    broken = tmp_path / "broken.json"
    for content, message in [("[", "no JSON"), ("{}", "are an object"), ('[{"image_id": 1}]', "record 1")]:
        broken.write_text(content)
        with pytest.raises(EvaluationError, match=message):
            main([str(broken), *flags])
    with pytest.raises(EvaluationError, match="cannot read the results"):
        main([str(tmp_path / "none.json"), *flags])
    with pytest.raises(ConfigError, match="got 0 files"):
        main(flags)
    with pytest.raises(ConfigError, match="needs the annotations"):
        main(files)
    with pytest.raises(DataError, match="its categories are ring, ellipse, spare, the run's"):
        main([*files, "--ann_file", str(ann_file)])
