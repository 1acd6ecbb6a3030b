"""Rank tables: what is read from them, what is refused and how, and the script that writes them."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn.distributed.rank_table import Server, make_rank_table, read_rank_table
from maskrcnn.errors import DistributedError

ROOT = Path(__file__).resolve().parents[2]


def two_servers(devices: int = 2) -> dict:
    """A table whose servers and devices are not in the order of their ranks."""

    def server(name: str, first: int) -> dict:
        listed = [
            {"device_id": str(k), "device_ip": f"192.0.2.{first + k}", "rank_id": str(first + devices - 1 - k)}
            for k in range(devices)
        ]
        return {"server_id": name, "device": listed, "host_nic_ip": "reserve"}

    servers = [server("198.51.100.2", devices), server("198.51.100.1", 0)]
    return {"version": "1.0", "server_count": "2", "server_list": servers, "status": "completed"}


def write(path: Path, table: object) -> Path:
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return path


def test_servers_and_devices_come_in_the_order_of_ranks(tmp_path):
    table = read_rank_table(write(tmp_path / "hccl.json", two_servers()))
    assert table.servers == (Server("198.51.100.1", (1, 0), 0), Server("198.51.100.2", (1, 0), 2))
    assert table.world_size == 4
    assert table.node_rank({"127.0.0.1", "198.51.100.2"}) == 1
    with pytest.raises(
        DistributedError, match=r"198\.51\.100\.1, 198\.51\.100\.2, but this host has 10\.0\.0\.9: .*--node_rank"
    ):
        table.node_rank({"10.0.0.9"})


def test_the_only_server_is_this_one(tmp_path):
    content = make_rank_table([4, 5], ["192.0.2.4", "192.0.2.5"], "a name")
    table = read_rank_table(write(tmp_path / "hccl.json", content))
    assert table.servers == (Server("a name", (4, 5), 0),)
    assert table.node_rank({"10.0.0.9"}) == 0


def change(table: dict, *path_and_value) -> dict:
    table = copy.deepcopy(table)
    *path, last, value = path_and_value
    place = table
    for key in path:
        place = place[key]
    place[last] = value
    return table


FIRST = ("server_list", 0)
DEVICE = (*FIRST, "device", 0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{", "cannot be read"),
        ([], "has no list 'server_list'"),
        (change(two_servers(), "server_list", "no list"), "has no list 'server_list'"),
        (change(two_servers(), "server_list", []), "says server_count 2, but lists 0"),
        (change(two_servers(), "server_count", "3"), "says server_count 3, but lists 2"),
        ({"server_list": []}, "lists no server"),
        (change(two_servers(), "status", "initializing"), "status 'initializing', not completed"),
        (change(two_servers(), *FIRST, "server_id", ""), "has no server_id for server 0"),
        (change(two_servers(), *FIRST, "device", []), r"has no devices for server 198\.51\.100\.2"),
        (change(two_servers(), *DEVICE, "device_id", "x"), "without a whole rank_id and device_id"),
        (change(two_servers(), *DEVICE, "rank_id", None), "without a whole rank_id and device_id"),
        (change(two_servers(), *DEVICE, "device_ip", "192.0.2"), r"device_ip '192\.0\.2' of rank 3"),
        (
            change(two_servers(), *DEVICE, "device_id", "1"),
            r"gives device 1 of server 198\.51\.100\.2 to ranks 3 and 2",
        ),
        (change(two_servers(), *DEVICE, "rank_id", "2"), "ranks 2, 2 for server .* do not follow each other"),
        (change(two_servers(), *DEVICE, "rank_id", "7"), "ranks 2, 7 for server .* do not follow each other"),
        (change(two_servers(), "server_list", 1, "server_id", "198.51.100.2"), "to ranks|lists a server twice"),
        (
            change(two_servers(), *FIRST, "device", two_servers(3)["server_list"][0]["device"]),
            "servers with 2, 3 devices; all must have the same number",
        ),
        (change(two_servers(3), "server_list", 1, two_servers()["server_list"][1]), "2, 3 devices"),
    ],
)
def test_what_cannot_be_is_named_in_one_line(tmp_path, table, message):
    path = write(tmp_path / "hccl.json", table)
    with pytest.raises(DistributedError, match=message) as caught:
        read_rank_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_gaps_between_servers(tmp_path):
    table = two_servers()
    for device in table["server_list"][0]["device"]:
        device["rank_id"] = str(int(device["rank_id"]) + 2)
    with pytest.raises(DistributedError, match="first ranks are 0, 4 instead of 0, 2"):
        read_rank_table(write(tmp_path / "hccl.json", table))


def test_missing_file_and_missing_devices(tmp_path):
    with pytest.raises(DistributedError, match=r"no rank table .*make_rank_table\.py"):
        read_rank_table(tmp_path / "none.json")
    table = read_rank_table(write(tmp_path / "hccl.json", two_servers(3)))
    devices = tmp_path / "dev"
    devices.mkdir()
    with pytest.raises(DistributedError, match="names device 2, but this host has no Ascend device"):
        table.check_devices(0, devices)
    for name in ("davinci0", "davinci1", "davinci_manager"):
        (devices / name).touch()
    with pytest.raises(DistributedError, match="names device 2, but this host has devices 0, 1: correct the table"):
        table.check_devices(1, devices)
    (devices / "davinci2").touch()
    table.check_devices(0, devices)


class TestScript:
    """scripts/make_rank_table.py as a user runs it, on a host with four devices."""

    @pytest.fixture
    def run(self, tmp_path):
        (tmp_path / "dev").mkdir()
        for name in ("davinci0", "davinci1", "davinci2", "davinci3", "davinci_manager"):
            (tmp_path / "dev" / name).touch()
        lines = [f"address_{k} = 192.0.2.{10 + k}" for k in range(4)]
        (tmp_path / "hccn.conf").write_text("\n".join(["# comment", *lines]) + "\n")

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            script = [sys.executable, str(ROOT / "scripts" / "make_rank_table.py")]
            places = ["--dev", "dev", "--hccn_conf", "hccn.conf"]
            return subprocess.run(
                [*script, *places, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
            )

        return run

    def test_all_devices(self, run, tmp_path):
        done = run("--server_id", "198.51.100.1")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "hccl.json: 4 devices (0, 1, 2, 3) of 198.51.100.1\n"
        content = json.loads((tmp_path / "hccl.json").read_text())
        assert content["server_list"][0]["device"][2] == {"device_id": "2", "device_ip": "192.0.2.12", "rank_id": "2"}
        assert read_rank_table(tmp_path / "hccl.json").servers == (Server("198.51.100.1", (0, 1, 2, 3), 0),)

    def test_some_devices(self, run, tmp_path):
        assert run("--devices", "3,0-1", "--output", "some.json").returncode == 0
        assert read_rank_table(tmp_path / "some.json").servers[0].devices == (3, 0, 1)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--devices", "0,7"], "no davinci7: this host has [0, 1, 2, 3]"),
            (["--devices", "0,0"], "expected 1 to 8"),
            (["--hccn_conf", "none.conf"], "give --device_ips"),
            (["--device_ips", "192.0.2.1"], "not the IP addresses of 4 devices"),
            (["--output", "none/hccl.json"], "cannot write none/hccl.json"),
        ],
    )
    def test_refusals(self, run, arguments, message):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
