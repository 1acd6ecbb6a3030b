"""The shell scripts, each with stand-ins for the programs that it calls."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.e2e.sandbox import FAKE_PYTHON, ROOT, RUNNABLE, SCRIPTS, Sandbox, one_line


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_scripts_parse_and_are_runnable(path: Path):
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    assert os.access(path, os.X_OK) != path.name.startswith("_")


@pytest.mark.parametrize("name", [name for name in RUNNABLE if name != "test.sh"])
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_help(sandbox: Sandbox, name: str, shell: str):
    done = sandbox.run(name, "--help", shell=shell)
    assert done.returncode == 0 and done.stdout.startswith("usage: bash ")
    assert not sandbox.calls()


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_train(sandbox: Sandbox, shell: str):
    checkpoint, data = sandbox.file("my weights/r50.ckpt"), sandbox.folder / "my data"
    data.mkdir()
    python = str(sandbox.folder / "bin" / "python3")
    arguments = ["my weights/r50.ckpt", data, "--multi_scale", "[0.8, 1.0]"]
    done = sandbox.run("run_standalone_train.sh", *arguments, shell=shell, MASKRCNN_PYTHON=python)
    assert done.returncode == 0, done.stderr
    out = sandbox.root / "scripts" / "train"
    (call,) = sandbox.calls()
    given = dict(zip(call[1::2], call[2::2]))
    assert call[0] == str(sandbox.root / "train.py")
    assert given["--save_checkpoint_path"] == f"{out}/checkpoint" and given["--log_dir"] == str(out)
    assert (sandbox.folder / given["--pre_trained"]).samefile(checkpoint)
    assert given["--coco_root"] == str(data)
    assert call[-2:] == ["--multi_scale", "[0.8, 1.0]"]
    assert (out / "log.txt").read_text() == "training\nwarning\n"
    assert "training\nwarning\n" in done.stdout


def test_train_without_arguments_and_with_another_output(sandbox: Sandbox):
    done = sandbox.with_python("run_standalone_train.sh", "", sandbox.folder, "--output", "my out")
    assert done.returncode == 0, done.stderr
    (call,) = sandbox.calls()
    assert "--pre_trained" not in call and "my out/checkpoint" in call and "--output" not in call
    assert (sandbox.folder / "my out" / "log.txt").exists()
    assert sandbox.with_python("run_standalone_train.sh", "--output=other").returncode == 0
    assert "--coco_root" not in sandbox.calls()[0] and "other/checkpoint" in sandbox.calls()[0]


def test_train_on_gpu(sandbox: Sandbox):
    done = sandbox.with_python("run_standalone_train_gpu.sh", "", sandbox.folder)
    assert done.returncode == 0, done.stderr
    assert sandbox.calls()[0][-2:] == ["--device_target", "GPU"]


@pytest.mark.parametrize("name", ["run_standalone_train.sh", "run_standalone_train_gpu.sh"])
def test_train_refusals(sandbox: Sandbox, name: str):
    checkpoint = sandbox.file("a.ckpt")
    assert one_line(sandbox.with_python(name, "none.ckpt"), "PRETRAINED_CKPT", "none.ckpt")
    assert one_line(sandbox.with_python(name, sandbox.folder), "PRETRAINED_CKPT", "is a folder")
    assert one_line(sandbox.with_python(name, checkpoint, "nowhere"), "DATA_PATH", "nowhere")
    assert one_line(sandbox.with_python(name, checkpoint, sandbox.folder, "x"), "3 arguments")
    assert one_line(sandbox.with_python(name, "--output", checkpoint / "x"), "--output")
    assert not sandbox.calls()


@pytest.mark.parametrize("name", ["run_standalone_train.sh", "run_eval.sh"])
def test_a_number_behind_the_other_arguments_is_the_card(sandbox: Sandbox, name: str):
    files = [sandbox.file("val.json"), sandbox.file("a.ckpt")] if name == "run_eval.sh" else [sandbox.file("a.ckpt")]
    for arguments in ([*files, sandbox.folder, "3"], [*files, "3"] if name == "run_eval.sh" else ["", "", "3"]):
        done = sandbox.with_python(name, *arguments, "--seed", "1")
        assert done.returncode == 0, done.stderr
        (call,) = sandbox.calls()
        assert call[-4:] == ["--device_id", "3", "--seed", "1"] and "--device_target" not in call


def test_exit_code_is_that_of_python(sandbox: Sandbox):
    for code in (1, 2, 130):
        assert sandbox.with_python("run_standalone_train.sh", CODE=str(code)).returncode == code


def test_signals_reach_python(sandbox: Sandbox):
    text = "#!/usr/bin/env bash\ntrap 'echo saved; exit 143' TERM\necho ready\nwhile :; do sleep 0.1; done\n"
    python = sandbox.program("slow", text)
    command = ["bash", str(sandbox.root / "scripts" / "run_standalone_train.sh"), "--output", "out"]
    environment = sandbox.environment(MASKRCNN_PYTHON=str(python))
    with subprocess.Popen(command, cwd=sandbox.folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        log = sandbox.folder / "out" / "log.txt"
        limit = time.monotonic() + 30
        while not (log.exists() and "ready" in log.read_text()) and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert output.endswith("ready\nsaved\n")
    assert log.read_text() == "ready\nsaved\n"


def test_eval(sandbox: Sandbox):
    annotations, checkpoint = sandbox.file("a b/val.json"), sandbox.file("c.ckpt")
    done = sandbox.with_python("run_eval.sh", annotations, checkpoint, sandbox.folder, "--config_path", "x.yaml")
    assert done.returncode == 0, done.stderr
    (call,) = sandbox.calls()
    out = sandbox.root / "scripts" / "eval"
    given = dict(zip(call[1::2], call[2::2]))
    assert call[0] == str(sandbox.root / "eval.py")
    assert given == {
        "--ann_file": str(annotations),
        "--checkpoint_path": str(checkpoint),
        "--coco_root": str(sandbox.folder),
        "--eval_output": str(out),
        "--config_path": "x.yaml",
    }
    assert "0.812" in (out / "log.txt").read_text()
    assert sandbox.with_python("run_eval.sh", annotations, checkpoint, EVAL_CODE="3").returncode == 3


def test_eval_refusals(sandbox: Sandbox):
    annotations, checkpoint = sandbox.file("val.json"), sandbox.file("c.ckpt")
    assert one_line(sandbox.with_python("run_eval.sh"), "0 arguments")
    assert one_line(sandbox.with_python("run_eval.sh", annotations), "1 arguments")
    assert one_line(sandbox.with_python("run_eval.sh", "none.json", checkpoint), "none.json")
    assert one_line(sandbox.with_python("run_eval.sh", annotations, "none.ckpt"), "none.ckpt")
    assert one_line(sandbox.with_python("run_eval.sh", annotations, checkpoint, "nowhere"), "nowhere")
    assert not sandbox.calls()


def test_without_mindspore_the_way_out_is_named(sandbox: Sandbox):
    assert one_line(sandbox.run("run_standalone_train.sh"), "MindSpore 2.10", "quickstart.sh")
    done = sandbox.run("run_standalone_train.sh", MASKRCNN_PYTHON="no-such-python")
    assert one_line(done, "no-such-python")


def test_python3_that_has_mindspore_is_used(sandbox: Sandbox):
    assert sandbox.run("run_standalone_train.sh", NO_MINDSPORE="0").returncode == 0
    assert sandbox.calls()[-1][0].endswith("train.py")


IMPORTED_AS = {"opencv-python-headless": "cv2", "pyyaml": "yaml", "pillow": "PIL"}


def required(section: str) -> list[str]:
    """The modules of a list of requirements in pyproject.toml."""
    listed = re.search(rf"^{section} = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    names = re.findall(r'"([\w-]+)', listed)
    return [IMPORTED_AS.get(name, name) for name in names]


@pytest.mark.parametrize("missing", ["", "mindspore", "old mindspore", *required("dependencies")[1:]])
def test_python3_must_have_everything(sandbox: Sandbox, missing: str):
    packages = sandbox.folder / "packages"
    for name in required("dependencies"):
        if name != missing:
            sandbox.file(f"packages/{name}/__init__.py").write_text("raise SystemExit('nothing is imported')")
    if missing != "mindspore":
        version = "2.9.0" if missing == "old mindspore" else "2.10.0"
        metadata = sandbox.file(f"packages/mindspore-{version}.dist-info/METADATA")
        metadata.write_text(f"Metadata-Version: 2.1\nName: mindspore\nVersion: {version}\n")
    real = f'case "$1" in -c) exec {shlex.quote(sys.executable)} -S "$@" ;; esac\n'
    sandbox.program("python3", FAKE_PYTHON.replace("\n", "\n" + real, 1))
    done = sandbox.run("run_standalone_train.sh", PYTHONPATH=str(packages))
    if missing:
        assert one_line(done, "MindSpore 2.10", "quickstart.sh") and not sandbox.calls()
    else:
        assert done.returncode == 0 and sandbox.calls()[-1][0].endswith("train.py"), done.stderr


def test_python3_without_what_the_tests_need_is_left_alone(sandbox: Sandbox):
    wanted = (
        (sandbox.root / "scripts" / "test.sh").read_text().split("\nprepare_environment ")[1].splitlines()[0].split()
    )
    assert {"ruff", "pytest"} < set(wanted) <= set(required("test"))
    lacks_pytest = FAKE_PYTHON.replace("-c*mindspore*)", "-c*mindspore*pytest*) exit 1 ;;\n    -c*mindspore*)")
    sandbox.program("python3", lacks_pytest)
    assert sandbox.run("run_standalone_train.sh", NO_MINDSPORE="0").returncode == 0
    assert not (sandbox.root / ".venv").exists()
    assert sandbox.run("test.sh", NO_MINDSPORE="0").returncode == 0
    assert (sandbox.root / ".venv").exists()


def test_docker_leaves_out_no_tracked_file():
    """Patterns as docker reads them: ``**`` any folders, ``*`` and ``[]`` within a name, folders with all in them."""
    patterns = []
    for line in (ROOT / ".dockerignore").read_text().split():
        parts = re.split(r"(\*\*/|\*|\[.*?\])", line)
        special = {"**/": "(.*/)?", "*": "[^/]*"}
        regex = "".join(special.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)
        patterns.append(re.compile(regex + "(/.*)?"))
    matches = [any(pattern.fullmatch(name) for pattern in patterns) for name in ("a/rank_0/x", "b.ckpt", "train.py")]
    assert matches == [True, True, False]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    left_out = [name for name in listed.stdout.splitlines() if any(p.fullmatch(name) for p in patterns)]
    assert not left_out


def test_quickstart(sandbox: Sandbox):
    out = sandbox.folder / "out"
    done = sandbox.run("quickstart.sh", "--output", out, "--seed", "2")
    assert done.returncode == 0, done.stderr
    calls = [call for call in sandbox.calls() if call[:1] != ["-c"]]
    assert ["-m", "venv"] in [call[:2] for call in calls]
    assert [call for call in calls if call[:3] == ["-m", "pip", "install"]]
    drawn, converted, trained, evaluated = calls[-4:]
    assert drawn == ["-m", "maskrcnn.data.shapes", f"{out}/shapes"]
    assert converted[-2:] == ["--only_create_dataset", "true"]
    for call in (converted, trained, evaluated):
        assert call[call.index("--config_path") + 1] == str(sandbox.root / "configs" / "shapes.yaml")
        assert call[call.index("--coco_root") + 1] == f"{out}/shapes"
        assert call[call.index("--seed") + 1] == "2"
    assert trained[trained.index("--resume") + 1] == "auto"
    assert evaluated[evaluated.index("--checkpoint_path") + 1] == f"{out}/checkpoint/maskrcnn-10_5.ckpt"
    assert "= 0.812" in done.stdout.split("Average precision")[-1]
    assert f"{out}/eval" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("failing", ["CODE", "EVAL_CODE", "PIP_CODE"])
def test_quickstart_stops_at_a_failing_step(sandbox: Sandbox, failing: str):
    done = sandbox.run("quickstart.sh", "--output", "out", **{failing: "7"})
    assert done.returncode == (2 if failing == "PIP_CODE" else 7)
    assert "Done" not in done.stdout


def test_environment_is_made_once(sandbox: Sandbox):
    assert sandbox.run("test.sh", "-k", "a b").returncode == 0
    kinds = [call[1] for call in sandbox.calls() if call[0] == "-m"]
    assert kinds == ["venv", "pip", "pip", "ruff", "ruff", "pytest"]
    assert sandbox.calls()[-1] == ["-m", "pytest", "-k", "a b"]

    assert sandbox.run("test.sh").returncode == 0
    assert [call[1] for call in sandbox.calls()] == ["ruff", "ruff", "pytest"]

    with (sandbox.root / "pyproject.toml").open("a") as file:
        file.write("# other requirements\n")
    assert sandbox.run("test.sh").returncode == 0
    assert [call[1] for call in sandbox.calls()] == ["pip", "pip", "ruff", "ruff", "pytest"]


def test_environment_that_cannot_be_made(sandbox: Sandbox):
    assert one_line(sandbox.run("test.sh", NO_VENV="1"), "python3-venv")
    assert not (sandbox.root / ".venv").exists()
    assert one_line(sandbox.run("test.sh", PIP_CODE="1"), "pip", "pyproject.toml")
    assert [call[1] for call in sandbox.calls() if call[0] == "-m"] == ["venv", "pip"]
    assert sandbox.run("test.sh").returncode == 0, "the next run goes on"


def test_accepted_pythons_are_those_of_pyproject():
    low, high = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups()
    assert f"(3, {low}) <= sys.version_info[:2] < (3, {high})" in (ROOT / "scripts" / "_env.sh").read_text()


def test_docker_start(sandbox: Sandbox):
    sandbox.program("docker", FAKE_PYTHON)
    data, model = sandbox.folder / "my data", sandbox.folder / "model"
    data.mkdir()
    model.mkdir()
    done = sandbox.run("docker_start.sh", "maskrcnn:1", "my data", model, "bash", "-c", "echo a b")
    assert done.returncode == 0, done.stderr
    (call,) = sandbox.calls()
    assert call[0] == "run" and call[-4:] == ["maskrcnn:1", "bash", "-c", "echo a b"]
    assert f"type=bind,source={data},target={data}" in call
    assert call[call.index("--workdir") + 1] == str(model)
    assert sandbox.run("docker_start.sh", "maskrcnn:1", data, model).returncode == 0
    assert sandbox.calls()[0][-2:] == ["maskrcnn:1", "/bin/bash"]
    assert one_line(sandbox.run("docker_start.sh", "maskrcnn:1", data), "2 arguments")
    assert one_line(sandbox.run("docker_start.sh", "maskrcnn:1", "nowhere", model), "DATA_DIR", "nowhere")
    assert one_line(sandbox.run("docker_start.sh", "maskrcnn:1", data, "nowhere"), "MODEL_DIR", "nowhere")
