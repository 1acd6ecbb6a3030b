"""export.py as a user runs it, and eval.py on what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.evaluation.oracle import draw_data_set
from tests.export.networks import SMALL

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["ring", "ellipse", "spare"]  # the categories of the data set, by id
IDS = [3, 7, 40]


def call(script: str, folder: Path, *arguments: str, **flags) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / script), *arguments, "--config_path", str(folder / "small.yaml")]
    command += [text for key, value in flags.items() for text in (f"--{key}", str(value))]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a data set, a configuration, a checkpoint and its exports."""
    from tests.export.networks import set_weights, small_config

    from maskrcnn.checkpoint.format import save_checkpoint
    from maskrcnn.models.build import build_network

    folder = tmp_path_factory.mktemp("export")
    draw_data_set(folder)
    settings = {**SMALL, "coco_classes": [], "test_batch_size": 2, "eval_pictures": 0}
    (folder / "small.yaml").write_text(yaml.safe_dump(settings))
    network = build_network(small_config(), len(NAMES) + 1)
    set_weights(network)
    params = [(name, parameter.asnumpy()) for name, parameter in network.parameters_and_names()]
    save_checkpoint(folder / "net.ckpt", params, {"class_names": NAMES, "category_ids": IDS})
    for file_format in ("ONNX", "MINDIR"):
        flags = {"ckpt_file": "net.ckpt", "file_name": "out/net", "both_canvases": "true"}
        done = call("export.py", folder, file_format=file_format, **flags)
        assert done.returncode == 0, done.stderr
        suffix = f".{file_format.lower()}"
        assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("out/")] == [
            f"out/net{suffix}", f"out/net_upright{suffix}", "out/net.json",
        ]  # fmt: skip
    return folder


def evaluate(folder: Path, output: str, **flags) -> dict[str, list]:
    """The result records of an evaluation."""
    where = {"ann_file": "annotations.json", "image_dir": "images", "eval_output": output}
    done = call("eval.py", folder, **where, **flags)
    assert done.returncode == 0, done.stderr
    assert "Evaluate annotation type *segm*" in done.stdout
    return {kind: json.loads((folder / output / f"{kind}.json").read_text()) for kind in ("bbox", "segm")}


def test_metadata(made) -> None:
    values = json.loads((made / "out" / "net.json").read_text())
    assert values["classes"] == NAMES and values["category_ids"] == IDS
    sizes = {model["file"]: (model["batch_size"], model["height"], model["width"]) for model in values["models"]}
    assert sizes == {
        "net.mindir": (2, 128, 192), "net_upright.mindir": (2, 192, 128),
        "net.onnx": (2, 128, 192), "net_upright.onnx": (2, 192, 128),
    }  # fmt: skip


def test_evaluation_of_all_three_agrees(made) -> None:
    """Upright images and a last batch that is not full are in the data set."""
    checkpoint = evaluate(made, "eval_ckpt", checkpoint_path="net.ckpt")
    mindir = evaluate(made, "eval_mindir", model="out/net.mindir")
    onnx = evaluate(made, "eval_onnx", model="out/net.onnx", img_width=640)  # sizes are the model's, whatever is set
    assert len(checkpoint["bbox"]) > 50
    for other in (mindir, onnx):
        assert len(other["bbox"]) == len(other["segm"]) == len(checkpoint["bbox"])
        for one in other["bbox"]:
            assert any(
                one["image_id"] == two["image_id"]
                and one["category_id"] == two["category_id"]
                and abs(one["score"] - two["score"]) <= 1e-4
                and max(abs(a - b) for a, b in zip(one["bbox"], two["bbox"])) <= 3e-2  # 1e-2 px of a larger canvas
                for two in checkpoint["bbox"]
            ), one


def test_predict_with_a_model(made) -> None:
    done = call("predict.py", made, "images", model="out/net.onnx", predict_output="predictions")
    assert done.returncode == 0, done.stderr
    images = json.loads((made / "predictions" / "predictions.json").read_text())["images"]
    found = {(d["class"], d["category_id"]) for image in images for d in image["detections"]}
    assert len(images) == 7 and found and found <= set(zip(NAMES, IDS))


def test_errors_are_one_line(made, tmp_path) -> None:
    for flags, words in (
        ({}, "--ckpt_file FILE"),
        ({"ckpt_file": "absent.ckpt"}, "absent.ckpt does not exist"),
        ({"ckpt_file": "net.ckpt", "file_format": "OM"}, "expected one of MINDIR, ONNX, AIR"),
        ({"ckpt_file": "net.ckpt", "backbone": "resnet34"}, "was made with 'resnet18': remove it"),
        ({"ckpt_file": "net.ckpt", "file_format": "AIR", "device_target": "Ascend"}, "or export ONNX"),
    ):
        done = call("export.py", made, file_name=tmp_path / "net", **flags)
        assert done.returncode == 2 and not list(tmp_path.iterdir())
        assert done.stderr.splitlines()[-1].startswith("error: ") and words in done.stderr.splitlines()[-1], done.stderr
        assert "Traceback" not in done.stderr
    done = call("eval.py", made, model="out/net.onnx", checkpoint_path="net.ckpt")
    assert done.returncode == 2 and "name one of them" in done.stderr
