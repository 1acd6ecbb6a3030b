#!/usr/bin/env python3
"""Write a rank table for Ascend devices of this host: ``python scripts/make_rank_table.py [--output hccl.json]``.

Their addresses come from the driver's /etc/hccn.conf. For several servers, make a table on each, put their entries of
``server_list`` into one file, number ``rank_id`` through and correct ``server_count``.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from maskrcnn import cli
from maskrcnn.distributed.rank_table import is_address, make_rank_table, read_device_ips
from maskrcnn.errors import DistributedError

MOST = 8  # devices of a server


def present(folder: Path) -> list[int]:
    """The devices of this host."""
    return sorted(int(p.name[7:]) for p in folder.glob("davinci[0-9]*") if p.name[7:].isdecimal())


def host_address() -> str:
    """The address by which this host reaches others; its own loopback address if it reaches none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def numbers(text: str) -> list[int]:
    """``0,1,4-7`` as a list."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=numbers, help="such as 0,1 or 0-7; by default all that are there")
    parser.add_argument(
        "--device_ips", type=lambda text: text.split(","), help="their addresses, if not in --hccn_conf"
    )
    parser.add_argument("--hccn_conf", type=Path, default=Path("/etc/hccn.conf"), help="(/etc/hccn.conf)")
    parser.add_argument("--server_id", default=None, help="address of this host; by default looked up")
    parser.add_argument("--dev", type=Path, default=Path("/dev"), help="where the device files are (/dev)")
    parser.add_argument("--output", type=Path, default=Path("hccl.json"), help="the table (hccl.json)")
    options = parser.parse_args()

    there = present(options.dev)
    devices = there if options.devices is None else options.devices
    if not 1 <= len(devices) <= MOST or len(set(devices)) != len(devices):
        raise DistributedError(
            f"{len(set(devices))} devices make no table, expected 1 to {MOST}: name them with --devices"
        )
    for device in devices:
        if device not in there:
            raise DistributedError(f"{options.dev} has no davinci{device}: this host has {there or 'no device'}")
    addresses = options.device_ips or read_device_ips(options.hccn_conf, devices)
    if len(addresses) != len(devices) or not all(map(is_address, addresses)):
        raise DistributedError(f"{', '.join(addresses)} are not the IP addresses of {len(devices)} devices")
    table = make_rank_table(devices, addresses, options.server_id or host_address())
    try:
        options.output.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DistributedError(f"cannot write {options.output}: {error.strerror}") from error
    server = table["server_list"][0]["server_id"]
    print(f"{options.output}: {len(devices)} devices ({', '.join(map(str, devices))}) of {server}")


if __name__ == "__main__":
    cli.run(main)
