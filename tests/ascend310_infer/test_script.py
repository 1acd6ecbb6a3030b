"""scripts/run_infer_310.sh from build to acc.log: OpenVINO against ONNX Runtime in Python, conversion, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.ascend310_infer.conftest import JOBS
from tests.ascend310_infer.samples import (
    HEIGHT,
    ROOT,
    SIDE,
    SLOTS,
    WIDTH,
    records_of_python,
    write_data,
    write_export,
    write_stand_in,
)

SCRIPT = ROOT / "scripts" / "run_infer_310.sh"


def environment(build: Path, **extra: str) -> dict[str, str]:
    return {**os.environ, "MASKRCNN_PYTHON": sys.executable, "BUILD_DIR": str(build), "BUILD_JOBS": JOBS, **extra}


def run(build: Path, *args: object, **extra: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *map(str, args)]
    return subprocess.run(command, env=environment(build, **extra), capture_output=True, text=True)


@pytest.mark.parametrize(("images", "paste"), [(1, "exact"), (2, "torchvision"), (1, "mindspore_zoo")])
def test_openvino_gives_the_records_of_onnx_runtime_in_python(
    images: int, paste: str, release_build: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    model = write_export(tmp_path / "model", images, paste)
    folder, annotations = write_data(tmp_path / "data", 7)
    result = run(release_build, model, tmp_path / "data", annotations, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Engine: OpenVINO" in result.stdout
    log = (tmp_path / "out" / "acc.log").read_text()
    assert log.count("Average Precision") == 12
    assert log.strip() in result.stdout

    expected = records_of_python(model, annotations, folder, tmp_path / "python")
    for kind in ("bbox", "segm"):
        found = json.loads((tmp_path / "out" / f"{kind}.json").read_text())
        assert len(found) == 14  # two of three slots are valid
        assert sorted(found, key=repr) == sorted(expected[kind], key=repr)  # batches change the order of images


def test_the_chip_routes_convert_run_and_judge(checked_build: Path, tmp_path: Path) -> None:
    """atc and converter_lite as stand-ins that write what the stand-ins of their libraries read."""
    model = write_export(tmp_path / "model")
    _, annotations = write_data(tmp_path / "data")
    atc = tmp_path / "bin" / "atc"
    atc.parent.mkdir()
    atc.write_text(
        '#!/bin/bash\necho "$@" >> "$CALLS"\n'
        'for option; do case "$option" in --output=*) target="${option#--output=}.om" ;; esac; done\n'
        f'size="{HEIGHT} {WIDTH}"; [[ "$target" == *upright* ]] && size="{WIDTH} {HEIGHT}"\n'
        f'echo "1 $size {SLOTS} {SIDE}" > "$target"\n'
    )
    atc.chmod(0o755)
    calls = tmp_path / "calls"
    path = f"{atc.parent}{os.pathsep}{os.environ['PATH']}"
    args = (
        model,
        tmp_path / "data",
        annotations,
        3,
        "--output",
        tmp_path / "out",
        "--convert",
        "--soc_version",
        "Chip",
    )
    result = run(checked_build, *args, PATH=path, CALLS=str(calls))
    assert result.returncode == 0, result.stdout + result.stderr
    first, second = calls.read_text().splitlines()
    assert "--soc_version=Chip" in first and "--framework=5" in first
    assert f"image:1,{HEIGHT},{WIDTH},3;image_shape:1,2" in first
    assert f"image:1,{WIDTH},{HEIGHT},3;image_shape:1,2" in second
    assert "AscendCL, AscendFake, device 3" in result.stdout
    assert (tmp_path / "out" / "acc.log").is_file()
    assert len(json.loads((tmp_path / "out" / "bbox.json").read_text())) == 6

    failing = run(checked_build, *args, PATH=path, CALLS="/nowhere/calls", FAKE_FAIL="aclmdlExecute")
    assert failing.returncode == 2
    assert "aclmdlExecute gave error" in failing.stderr


def test_commands_of_the_converters_are_printed(tmp_path: Path) -> None:
    model = write_export(tmp_path / "model")
    described = json.loads((tmp_path / "model/toy.json").read_text())
    described["models"].append({**described["models"][0], "file": "toy.mindir"})
    (tmp_path / "model/toy.json").write_text(json.dumps(described))
    (tmp_path / "model/toy.mindir").write_text("")
    _, annotations = write_data(tmp_path / "data")
    rest = (tmp_path / "data", annotations, "--print_commands")
    printed = run(tmp_path, tmp_path / "model/toy.mindir", *rest).stdout
    assert printed.startswith("converter_lite --fmk=MINDIR ") and "ascend_oriented" in printed
    atc = (*rest, "--soc_version", "Chip", "--aipp_conf", ROOT / "ascend310_infer/aipp.cfg")
    printed = run(tmp_path, model, *atc)
    assert printed.stdout.count("atc --model=") == 2 and "--insert_op_conf=" in printed.stdout
    assert "opset" not in printed.stderr
    (tmp_path / "model/toy.json").write_text(json.dumps({**described, "opset": 16}))
    assert "opset 16" in run(tmp_path, model, *atc).stderr
    assert "name the chip" in run(tmp_path, model, *rest).stderr
    missing = run(tmp_path, model, *rest[:2], "--convert", "--soc_version", "Chip", PATH="/usr/bin:/bin")
    assert missing.returncode == 2 and "atc is not there" in missing.stderr


def test_what_goes_wrong_is_the_scripts_exit_code(checked_build: Path, tmp_path: Path) -> None:
    model = write_stand_in(tmp_path / "model", ".om")
    _, annotations = write_data(tmp_path / "data")
    data, out = tmp_path / "data", tmp_path / "out"

    broken = run(tmp_path / "build", model, data, annotations, CMAKE_ARGS="-DOPENCV_INCLUDE_DIR=OFF")
    assert broken.returncode == 2
    assert "OpenCV" in broken.stderr and "error: the app cannot be built" in broken.stderr

    failed = run(checked_build, model, data, annotations, "--output", out, FAKE_FAIL="aclmdlExecute")
    assert failed.returncode == 2
    assert not (out / "acc.log").exists()

    unjudged = json.loads(annotations.read_text())
    unjudged["annotations"] = []
    (tmp_path / "empty.json").write_text(json.dumps(unjudged))
    failed = run(checked_build, model, data, tmp_path / "empty.json", "--output", out)
    assert failed.returncode == 2
    assert "has no annotations" in failed.stderr
    assert (out / "bbox.json").is_file()

    air = write_stand_in(tmp_path / "air", ".air")
    for args, part in (
        ((model,), "expected MODEL_PATH"),
        ((model, data, annotations, "x"), "DEVICE_ID 'x' is not a number"),
        ((tmp_path / "none.om", data, annotations), "MODEL_PATH"),
        ((model, tmp_path / "none", annotations), "DATA_PATH"),
        ((model, data, tmp_path / "none.json"), "ANN_FILE"),
        ((model, data, annotations, "--soc_version", "Chip"), "go with --convert"),
        ((air, data, annotations), "add --convert and --soc_version"),
        ((annotations, data, annotations), "MODEL_PATH is what export.py writes"),
    ):
        wrong = run(checked_build, *args)
        assert wrong.returncode == 2
        assert part in wrong.stderr and wrong.stderr.startswith("error: ")


def test_a_signal_to_the_script_ends_the_app_in_order(checked_build: Path, tmp_path: Path) -> None:
    model = write_stand_in(tmp_path / "model", ".om")
    _, annotations = write_data(tmp_path / "data", 60)
    out = tmp_path / "out"
    command = ["bash", str(SCRIPT), str(model), str(tmp_path / "data"), str(annotations), "--output", str(out)]
    process = subprocess.Popen(
        command, env=environment(checked_build, FAKE_DELAY="300"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    started = time.monotonic()
    while not (out / "segm.partial.json").exists():
        assert time.monotonic() - started < 60 and process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 130
    assert not json.loads((out / "timing.json").read_text())["complete"]
    assert not (out / "bbox.json").exists()
    assert not (out / "acc.log").exists()
