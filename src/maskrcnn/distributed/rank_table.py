"""Rank tables: the JSON file that names the Ascend devices of a job, its servers and the rank of each device."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskrcnn.errors import DistributedError

VERSION = "1.0"


@dataclass(frozen=True)
class Server:
    """One server: its ``devices`` in the order of their ranks, the first of which is ``first_rank``."""

    server_id: str
    devices: tuple[int, ...]
    first_rank: int


@dataclass(frozen=True)
class RankTable:
    """The servers of a job, in the order of their ranks; all have the same number of devices, as msrun wants it."""

    path: Path
    servers: tuple[Server, ...]

    @property
    def world_size(self) -> int:
        """Number of devices of all servers."""
        return sum(len(server.devices) for server in self.servers)

    def node_rank(self, addresses: Collection[str]) -> int:
        """Returns which server has one of the IP ``addresses`` of this host.

        Raises:
            DistributedError: Not exactly one has.
        """
        if len(self.servers) == 1:
            return 0
        found = [k for k, server in enumerate(self.servers) if server.server_id in addresses]
        if len(found) != 1:
            named = ", ".join(server.server_id for server in self.servers)
            raise DistributedError(
                f"{self.path} names the servers {named}, but this host has {', '.join(sorted(addresses)) or 'none'}: "
                "say which one it is with --node_rank"
            )
        return found[0]

    def check_devices(self, node_rank: int, folder: Path = Path("/dev")) -> None:
        """Makes sure that this host has the devices of server ``node_rank``.

        Args:
            node_rank: Number of the server.
            folder: Where the device files are.

        Raises:
            DistributedError: A device is not there.
        """
        missing = [d for d in self.servers[node_rank].devices if not (folder / f"davinci{d}").exists()]
        if missing:
            there = sorted(int(p.name[7:]) for p in folder.glob("davinci[0-9]*") if p.name[7:].isdecimal())
            has = f"devices {', '.join(map(str, there))}" if there else "no Ascend device"
            raise DistributedError(
                f"{self.path} names device {missing[0]}, but this host has {has}: correct the table, or make one with "
                "scripts/make_rank_table.py"
            )


def read_rank_table(path: str | Path) -> RankTable:
    """Reads and checks a rank table.

    Raises:
        DistributedError: It cannot be used; the message names what is wrong.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DistributedError(f"there is no rank table {path}: make one with scripts/make_rank_table.py") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DistributedError(f"the rank table {path} cannot be read: {error}") from error

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise DistributedError(f"the rank table {path} {what}")

    require(isinstance(content, dict) and isinstance(content.get("server_list"), list), "has no list 'server_list'")
    require(content.get("status", "completed") == "completed", f"has status '{content.get('status')}', not completed")
    listed = content["server_list"]
    count = content.get("server_count", len(listed))
    require(str(count) == str(len(listed)), f"says server_count {count}, but lists {len(listed)}")
    require(len(listed) > 0, "lists no server")
    servers, ranks_of_device = [], {}
    for number, entry in enumerate(listed):
        name = str(entry.get("server_id", "")) if isinstance(entry, dict) else ""
        require(bool(name), f"has no server_id for server {number}")
        devices = entry.get("device")
        require(isinstance(devices, list) and len(devices) > 0, f"has no devices for server {name}")
        ranks = []
        for device in devices:
            values = [_number(device, key) for key in ("rank_id", "device_id")]
            require(None not in values, f"has a device of server {name} without a whole rank_id and device_id")
            require(_has_address(device), f"has the device_ip {device.get('device_ip')!r} of rank {values[0]}")
            twin = ranks_of_device.setdefault((name, values[1]), values[0])
            require(twin == values[0], f"gives device {values[1]} of server {name} to ranks {twin} and {values[0]}")
            ranks.append(tuple(values))
        ranks.sort()
        servers.append(Server(name, tuple(device for _, device in ranks), ranks[0][0]))
        first = ranks[0][0]
        expected = list(range(first, first + len(ranks)))
        found = [rank for rank, _ in ranks]
        require(found == expected, f"has ranks {_listed(found)} for server {name}, which do not follow each other")
    servers.sort(key=lambda server: server.first_rank)
    names = [server.server_id for server in servers]
    require(len(set(names)) == len(names), f"lists a server twice: {', '.join(names)}")
    sizes = [len(server.devices) for server in servers]
    require(len(set(sizes)) == 1, f"has servers with {_listed(sizes)} devices; all must have the same number")
    firsts = [server.first_rank for server in servers]
    wanted = [k * sizes[0] for k in range(len(servers))]
    require(firsts == wanted, f"has servers whose first ranks are {_listed(firsts)} instead of {_listed(wanted)}")
    return RankTable(path, tuple(servers))


def make_rank_table(devices: Sequence[int], device_ips: Sequence[str], server_id: str) -> dict[str, Any]:
    """Returns the table of one server, whose ``devices`` get the ranks 0, 1, ... in their order."""
    listed = [
        {"device_id": str(device), "device_ip": address, "rank_id": str(rank)}
        for rank, (device, address) in enumerate(zip(devices, device_ips))
    ]
    server = {"server_id": server_id, "device": listed, "host_nic_ip": "reserve"}
    return {"version": VERSION, "server_count": "1", "server_list": [server], "status": "completed"}


def read_device_ips(path: Path, devices: Sequence[int]) -> list[str]:
    """Returns the addresses of ``devices`` from the driver's hccn.conf, lines of the form ``address_0=192.0.2.1``.

    Raises:
        DistributedError: The file cannot be read, or lacks a device.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DistributedError(
            f"the device addresses cannot be read from {path} ({error.strerror}): give --device_ips"
        ) from error
    found = dict(line.replace(" ", "").split("=", 1) for line in lines if "=" in line)
    for device in devices:
        if f"address_{device}" not in found:
            raise DistributedError(f"{path} has no address_{device}: set it with hccn_tool, or give --device_ips")
    return [found[f"address_{device}"] for device in devices]


def is_address(text: str) -> bool:
    """Returns whether ``text`` is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _number(device: Any, key: str) -> int | None:
    value = str(device.get(key, "")) if isinstance(device, dict) else ""
    return int(value) if value.isdecimal() else None


def _has_address(device: dict[str, Any]) -> bool:
    """Returns whether a device has an address, or none at all: msrun's jobs find the addresses themselves."""
    return not device.get("device_ip") or is_address(str(device["device_ip"]))


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
