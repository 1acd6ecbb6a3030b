"""The scripts that start jobs of several processes: what they hand to the launcher and what to its script."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.sandbox import RUNNABLE, Sandbox, one_line

from maskrcnn.commands.launch import parser

TABLE = "hccl.json"
LAUNCH = ["-m", "maskrcnn.launch"]


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_distributed_train(sandbox: Sandbox, shell: str):
    """Flags of the launcher go before the script, all others behind it."""
    checkpoint, table = sandbox.file("r50.ckpt"), sandbox.file(TABLE)
    cores = '{"device0": ["0-11", "24-35"]}'
    ours = ["--bind_core", cores, "--base_lr", "0.01", "--max_restarts=3", "--master_port", "9000", "--resume=auto"]
    python = str(sandbox.folder / "bin" / "python3")
    arguments = [table, checkpoint, sandbox.folder, *ours]
    done = sandbox.run("run_distribute_train.sh", *arguments, shell=shell, MASKRCNN_PYTHON=python)
    assert done.returncode == 0, done.stderr
    (call,) = sandbox.calls()
    out, train = sandbox.root / "scripts" / "train_parallel", str(sandbox.root / "train.py")
    launcher, script = call[: call.index(train)], call[call.index(train) + 1 :]
    assert launcher[:2] == LAUNCH
    assert dict(zip(launcher[2::2], launcher[3::2])) == {
        "--bind_core": cores,
        "--max_restarts": "3",
        "--master_port": "9000",
        "--rank_table": str(table),
        "--log_dir": str(out),
    }
    assert script[-3:] == ["--base_lr", "0.01", "--resume=auto"]
    given = dict(zip(script[:-3:2], script[1:-3:2]))
    assert given == {
        "--device_target": "Ascend",
        "--save_checkpoint_path": f"{out}/checkpoint",
        "--log_dir": str(out),
        "--pre_trained": str(checkpoint),
        "--coco_root": str(sandbox.folder),
    }
    options, rest = parser().parse_known_args(call[2:])  # the launcher understands it so
    assert (options.bind_core, options.max_restarts, options.script, rest) == (cores, 3, Path(train), [])
    assert (out / "log.txt").read_text() == "training\nwarning\n"


def test_distributed_train_on_gpu_and_eval(sandbox: Sandbox):
    assert sandbox.with_python("run_distribute_train_gpu.sh", CUDA_VISIBLE_DEVICES="2,3").returncode == 0
    (call,) = sandbox.calls()
    assert call[:4] == [*LAUNCH, "--workers", "2"]
    for count in (["--workers", "4"], ["--workers=4"]):
        done = sandbox.with_python("run_distribute_train_gpu.sh", *count, "--device_target", "CPU")
        assert done.returncode == 0, done.stderr
        (call,) = sandbox.calls()
        assert call[:4] == [*LAUNCH, "--workers", "4"] and call.count("--workers") == 1
        assert call[-2:] == ["--device_target", "CPU"]
    files = [sandbox.file("val.json"), sandbox.file("c.ckpt")]
    assert sandbox.with_python("run_distribute_eval.sh", *files, f"--rank_table={TABLE}").returncode == 0
    (call,) = sandbox.calls()
    assert call[:4] == [*LAUNCH, "--rank_table", TABLE] and "--workers" not in call
    assert call[call.index("--device_target") + 1] == "Ascend"


def test_distributed_refusals(sandbox: Sandbox):
    table = sandbox.file(TABLE)
    name = "run_distribute_train.sh"
    assert one_line(sandbox.with_python(name), "RANK_TABLE_FILE", "0 arguments")
    assert one_line(sandbox.with_python(name, "none.json"), "RANK_TABLE_FILE", "none.json")
    assert one_line(sandbox.with_python(name, table, "none.ckpt"), "PRETRAINED_CKPT", "none.ckpt")
    assert one_line(sandbox.with_python(name, table, "--max_restarts"), "--max_restarts needs a value")
    assert one_line(sandbox.with_python("run_distribute_train_gpu.sh"), "no GPU found", "--workers")
    assert not sandbox.calls()


@pytest.mark.parametrize("name", [name for name in RUNNABLE if name.startswith("run_distribute")])
def test_distributed_help_names_the_time_limits(sandbox: Sandbox, name: str):
    usage = sandbox.run(name, "--help").stdout
    assert all(f"  --{word} " in usage for word in ("wait_timeout", "start_timeout", "max_restarts", "bind_core"))
    assert "HCCL_CONNECT_TIMEOUT" in usage
