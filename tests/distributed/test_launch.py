"""The launcher with processes that do nothing: what it says when one ends, and that nothing is left over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.distributed.test_training import free_port

from maskrcnn.commands import launch
from maskrcnn.distributed.job import Job, JobSpec, last_error
from maskrcnn.distributed.rank_table import make_rank_table
from maskrcnn.errors import ConfigError, DistributedError

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")


class Launcher:
    """A launcher in a process of its own, with two workers."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        options: tuple[str, ...] = (),
        where: tuple[str, ...] = ("--workers", "2"),
    ) -> None:
        self.logs = folder / "logs"
        command = [sys.executable, "-m", "maskrcnn.launch", *where, "--log_dir", str(self.logs)]
        command += ["--master_port", str(free_port()), *options, str(WORKER), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def workers(self) -> list[psutil.Process]:
        """The workers, once both are at work."""
        logs = [self.logs / f"worker_{rank}.log" for rank in (0, 1)]
        while not all(log.exists() and "at work" in log.read_text() for log in logs):
            assert self.process.poll() is None
            time.sleep(0.05)
        return [process for process in psutil.process_iter() if str(WORKER) in self.command(process)]

    def command(self, process: psutil.Process) -> list[str]:
        try:
            ours = process.environ().get("MASKRCNN_LAUNCHER") == str(self.process.pid)
            return process.cmdline() if ours and process.environ()["MS_ROLE"] == "MS_WORKER" else []
        except (psutil.Error, KeyError):
            return []

    def finish(self) -> tuple[int, str, list[str]]:
        """Exit code, output and lines of errors."""
        output, errors = self.process.communicate(timeout=120)
        return self.process.returncode, output, errors.splitlines()


def test_a_job_that_ends_well(tmp_path):
    launcher = Launcher(tmp_path, "lingering scheduler", "--key", "a value")
    code, output, errors = launcher.finish()
    assert (code, errors) == (0, [])
    assert "rank 0 at work, devices None, with ['--key', 'a value']" in output
    assert "rank 1 at work" in (launcher.logs / "worker_1.log").read_text()


def test_a_killed_worker_is_named_and_the_others_end(tmp_path):
    launcher = Launcher(tmp_path, "waiting")
    workers = launcher.workers()
    assert len(workers) == 2
    victim = next(process for process in workers if process.environ()["RANK_ID"] == "1")
    victim.kill()
    began = time.monotonic()
    code, _, errors = launcher.finish()
    assert time.monotonic() - began < 15
    log = launcher.logs / "worker_1.log"
    assert code == 128 + signal.SIGKILL
    assert errors == [f"error: rank 1 on {socket.gethostname()} was killed by SIGKILL (log: {log})"]
    assert not any(process.is_running() for process in workers)


def test_a_failed_job_starts_again_from_its_last_checkpoint(tmp_path):
    launcher = Launcher(tmp_path, "killed", options=("--max_restarts", "2"))
    code, output, errors = launcher.finish()
    assert code == 0 and len(errors) == 1 and "rank 1" in errors[0]
    assert "restart 1 of 2, from the last checkpoint" in output
    assert "with ['--resume', 'auto']" in output
    assert len(list(launcher.logs.glob("worker_1.*.log"))) == 1  # of the first start


def test_two_jobs_in_one_folder(tmp_path):
    """The second one does not touch the logs of the first; a job that was killed is in nobody's way."""
    first = Launcher(tmp_path, "waiting")
    workers = first.workers()
    code, _, errors = Launcher(tmp_path, "well").finish()
    assert code == 2
    assert len(errors) == 1 and f"is in use by another job, process {first.process.pid} on " in errors[0]
    assert sorted(path.name for path in first.logs.glob("worker_*")) == ["worker_0.log", "worker_1.log"]
    first.process.kill()
    first.finish()
    psutil.wait_procs(workers, timeout=15)
    assert Launcher(tmp_path, "well").finish()[0] == 0


@pytest.mark.parametrize(
    ("what", "code", "cause"),
    [("user error", 2, "exit code 2: no space left"), ("exception", 1, "exit code 1: ValueError: a defect")],
)
def test_exit_codes_and_causes(tmp_path, what, code, cause):
    """The user's own errors would come again: no restart."""
    launcher = Launcher(tmp_path, what, options=("--max_restarts", "1" if code == 2 else "0"))
    found, output, errors = launcher.finish()
    assert found == code and "restart" not in output
    assert errors == [
        f"error: rank 1 on {socket.gethostname()} ended with {cause} (log: {launcher.logs / 'worker_1.log'})"
    ]


def test_a_rank_that_lost_its_peers_is_no_mistake_of_the_users(tmp_path):
    """The job starts again; unless another rank, a moment later, says that the mistake was the user's."""
    launcher = Launcher(tmp_path / "a", "lost", options=("--max_restarts", "1"))
    code, output, errors = launcher.finish()
    assert code == 0 and "restart 1 of 1" in output, errors
    assert len(errors) == 1 and "exit code 3: rank 0 lost its peers while waiting for the weights" in errors[0]
    launcher = Launcher(tmp_path / "b", "lost by a user error", options=("--max_restarts", "1"))
    code, output, errors = launcher.finish()
    assert code == 2 and "restart" not in output
    assert len(errors) == 1 and "ended with exit code 2: no space left" in errors[0]


def test_what_a_dead_worker_had_started_ends_too(tmp_path):
    """Compilers, for one: they may hold the device that the next start needs."""
    launcher = Launcher(tmp_path, "compiling")
    victim = next(process for process in launcher.workers() if process.environ()["RANK_ID"] == "1")
    (child,) = victim.children()
    while victim.ppid() != launcher.process.pid:  # msrun still starts processes
        time.sleep(0.05)
    victim.kill()
    assert launcher.finish()[0] == 128 + signal.SIGKILL
    assert not child.is_running()


def test_a_rank_stopped_alone_ends_the_job(tmp_path):
    """The others may wait for it for hours, in operations that cannot be interrupted."""
    launcher = Launcher(tmp_path, "stopped alone", options=("--max_restarts", "1"))
    code, output, errors = launcher.finish()
    assert time.monotonic() - launcher.began < 30 and "restart" not in output
    log = launcher.logs / "worker_1.log"
    line = f"rank 1 on {socket.gethostname()} was stopped by SIGTERM, and the others were not (log: {log})"
    assert (code, errors) == (128 + signal.SIGTERM, [f"error: {line}"])


def test_a_rank_that_does_not_hear_a_signal_is_killed(tmp_path):
    launcher = Launcher(tmp_path, "stuck")
    workers = launcher.workers()
    launcher.process.terminate()
    began = time.monotonic()
    code, _, errors = launcher.finish()
    assert (code, errors) == (128 + signal.SIGTERM, []) and time.monotonic() - began < 15
    assert not any(process.is_running() for process in workers)


def test_workers_that_ended_unseen_are_missed(tmp_path):
    """Another child, as the scripts' tee is one, does not keep the launcher waiting."""
    program = (
        "import subprocess, sys; from pathlib import Path; from maskrcnn.distributed.job import Job, JobSpec\n"
        "other = subprocess.Popen(['sleep', '60'])\n"
        "print(Job(JobSpec(['x.py'], 2, 2, 0, '127.0.0.1', 1, Path(sys.argv[1]))).watch())\n"
        "assert other.poll() is None; other.kill()"
    )
    command, environment = [sys.executable, "-c", program, tmp_path], {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 processes of the job are gone" in done.stdout and "may_restart=True" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_let_the_processes_save(tmp_path, number):
    launcher = Launcher(tmp_path, "waiting", options=("--max_restarts", "3"))
    launcher.workers()
    launcher.process.send_signal(number)
    code, output, errors = launcher.finish()
    assert (code, errors) == (128 + number, [])
    assert "saved" in output and "restart" not in output
    assert "saved" in (launcher.logs / "worker_1.log").read_text()


def test_processes_do_not_outlive_a_killed_launcher(tmp_path):
    launcher = Launcher(tmp_path, "waiting")
    workers = launcher.workers()
    launcher.process.kill()
    launcher.finish()
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive
    assert "saved" in (launcher.logs / "worker_0.log").read_text()


def test_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output, errors = Launcher(tmp_path, "well", options=("--master_port", str(port))).finish()
    line = f"port {port} of 127.0.0.1 cannot be used (Address already in use): choose another with --master_port"
    assert (code, output, errors) == (2, "", [f"error: {line}"])


def test_a_rank_table_that_names_a_missing_device(tmp_path):
    table = tmp_path / "hccl.json"
    table.write_text(json.dumps(make_rank_table([31], ["192.0.2.31"], "here")))
    code, output, errors = Launcher(tmp_path, "well", where=("--rank_table", str(table))).finish()
    assert (code, output, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"error: {table} names device 31, but this host has ")


def test_a_log_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "logs").write_text("in the way")
    code, output, errors = Launcher(tmp_path, "well").finish()
    line = f"--log_dir {tmp_path / 'logs'} cannot be written (File exists): choose another folder"
    assert (code, output, errors) == (2, "", [f"error: {line}"])


def test_what_msrun_refuses(tmp_path):
    spec = JobSpec([str(WORKER), "well"], 1, 2, 0, "127.0.0.1", free_port(), tmp_path)  # more here than in all
    with pytest.raises(DistributedError, match=r"msrun failed with exit code 1: ValueError: .* \(log: .*msrun\.log\)"):
        Job(spec).run()


TABLE = """{"server_count": "2", "server_list": [
    {"server_id": "SERVER_0", "device": [{"device_id": "5", "rank_id": "0"}, {"device_id": "4", "rank_id": "1"}]},
    {"server_id": "198.51.100.2", "device": [{"device_id": "0", "rank_id": "2"}, {"device_id": "1", "rank_id": "3"}]}
]}"""


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A host that has every device."""
    monkeypatch.setattr("maskrcnn.distributed.rank_table.RankTable.check_devices", lambda self, node_rank: None)
    return tmp_path


@pytest.mark.parametrize(("node", "expected"), [(0, (5, 4)), (1, (0, 1))])
def test_jobs_of_several_servers(devices, node, expected):
    """Ranks, devices and the address of the first server follow from the table."""
    table = devices / "hccl.json"
    table.write_text(TABLE.replace("SERVER_0", "198.51.100.1"))
    options = launch.parser().parse_args(
        ["--rank_table", str(table), "--node_rank", str(node), str(WORKER), "a", "--b"]
    )
    spec = launch.job_spec(options)
    assert (spec.world_size, spec.local_world_size, spec.node_rank, spec.first_rank) == (4, 2, node, 2 * node)
    assert spec.devices == expected
    assert (spec.master_addr, spec.master_port) == ("198.51.100.1", 18118)
    assert spec.command == [str(WORKER), "a", "--b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2", "nowhere.py"], "there is no script nowhere.py"),
        (["--workers", "0", str(WORKER)], "make no job"),
        (["--workers", "2", "--nodes", "2", str(WORKER)], "--node_rank and --master_addr"),
        (["--workers", "2", "--node_rank", "1", str(WORKER)], "node_rank 1 of 1 hosts"),
        (["--rank_table", "none.json", str(WORKER)], r"no rank table none\.json"),
    ],
)
def test_options_that_make_no_job(arguments, message):
    with pytest.raises(DistributedError, match=message):
        launch.job_spec(launch.parser().parse_args(arguments))


def test_servers_without_an_address_and_of_others(devices):
    table = devices / "hccl.json"
    table.write_text(TABLE.replace("SERVER_0", "first"))
    options = launch.parser().parse_args(["--rank_table", str(table), "--node_rank", "1", str(WORKER)])
    with pytest.raises(DistributedError, match="calls server 0 'first': give its address with --master_addr"):
        launch.job_spec(options)
    options.node_rank = None
    with pytest.raises(DistributedError, match="say which one it is with --node_rank"):
        launch.job_spec(options)


def test_wrong_options_are_one_line():
    with pytest.raises(ConfigError, match=r"--max_restarts.*see --help"):
        launch.parser().parse_args(["--workers", "2", "--max_restarts", "many", "x.py"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "it wrote nothing"),
        ("loss 1\nloss 2\n", "loss 2"),
        ("Traceback:\n  File\nRuntimeError: x: y\n- C++ stack\n", "RuntimeError: x: y"),
        ("error: the disk is full\nOSError: later\nbye\n", "the disk is full"),
    ],
)
def test_last_error(tmp_path, text, expected):
    log = tmp_path / "worker_0.log"
    log.write_text(text)
    assert last_error(log) == expected
    assert last_error(tmp_path / "none.log") == "it wrote nothing"
