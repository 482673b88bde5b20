#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Observe what room and which versions a host of the service has."""

from __future__ import annotations

DOCUMENTATION = """
module: host_capacity
short_description: Observe what room and which versions a host of the service has
description:
  - Answers, in one call, how full each place of a cluster is, in bytes and in inodes, how big cluster and WAL are, how much WAL
    waits to be archived, and what a restored cluster would meet here - processors, memory, libraries, programs, extensions.
  - Works whether or not there is a cluster; a place that does not exist is measured where it would be made.
  - Only looks. Run it as the user that owns the cluster, usually C(postgres).
options:
  version: {description: Major version of PostgreSQL., type: int, required: true}
  data_directory: {description: The data directory., type: path, required: true}
  restore_root: {description: The folder that restores go to., type: path, required: true}
  spool: {description: The spool of pgBackRest., type: path, default: /var/spool/pgbackrest}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See what room there is
  pgrescue.runbooks.host_capacity:
    version: 17
    data_directory: /var/lib/postgresql/17/current
    restore_root: /var/lib/postgresql/17
  become: true
  become_user: postgres
  register:
    host_room: _task.result.capacity
"""

RETURN = """
capacity:
  description:
    - What was seen. C(filesystems) has one entry for C(data), C(wal), C(restore) and C(spool) each; free is what the cluster's user
      may fill. A version that no program tells is null.
    - C(ready_count) and C(oldest_ready_s) say how many segments wait to be archived, and since when the oldest does.
  returned: always
  type: dict
  sample: {cluster_bytes: 23495609, wal_bytes: 33554432, ready_count: 0, oldest_ready_s: 0, cpus: 2, memory_bytes: 8323342336,
           filesystems: {data: {path: /var/lib/postgresql/17/main, mount: /, device: 2049, used_bytes: 1, free_bytes: 9,
           used_inodes: 1, free_inodes: 9}}, glibc: "2.41", icu: "76", pgbackrest: "2.55.1", postgres: "17.5", os: debian 13,
           extension_files: [plpgsql], clock: {source: chrony, synchronized: true, offset_s: 0.0001}}
"""

import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import places, postgres

EXTENSIONS = "/usr/share/postgresql/%s/extension"


def existing(path: str) -> str:
    """The path, or the nearest folder above it that is there."""
    path = os.path.realpath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def filesystem(path: str) -> "dict[str, object]":
    """What statvfs says of the filesystem that holds a path, and where that is mounted."""
    found = existing(path)
    numbers = os.statvfs(found)
    mount = found
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    return {
        "path": path,
        "mount": mount,
        "device": os.stat(found).st_dev,
        "used_bytes": (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize,
        "free_bytes": numbers.f_bavail * numbers.f_frsize,
        "used_inodes": numbers.f_files - numbers.f_ffree,
        "free_inodes": numbers.f_favail,
    }


def cluster_bytes(data: str, wal: str) -> int:
    """What a cluster takes on its disks: its tablespaces with it, its WAL not."""
    spaces = os.path.join(data, "pg_tblspc")
    linked = [os.path.realpath(entry.path) for entry in os.scandir(spaces)] if os.path.isdir(spaces) else []
    inside = places.used_bytes(wal) if wal.startswith(data + os.sep) else 0
    return places.used_bytes(data) - inside + sum(map(places.used_bytes, linked))


def waiting(wal: str) -> "tuple[int, float]":
    """How many segments wait to be archived, and for how many seconds the oldest has."""
    folder, ages = os.path.join(wal, "archive_status"), []
    for entry in os.scandir(folder) if os.path.isdir(folder) else []:
        if entry.name.endswith(".ready"):
            try:
                ages.append(time.time() - entry.stat().st_mtime)
            except FileNotFoundError:
                continue
    return len(ages), round(max(ages, default=0.0), 3)


def said(module: AnsibleModule, pattern: str, *command: str) -> "str | None":
    """What a program says that matches; None when it is not there or says something else."""
    if not os.path.exists(command[0]) and not module.get_bin_path(command[0]):
        return None
    _code, out, _err = module.run_command(list(command), environ_update={"LC_ALL": "C"})
    found = re.search(pattern, out)
    return found.group(1) if found else None


def clock(module: AnsibleModule) -> "dict[str, object]":
    """How the host keeps time: chrony tells the offset, systemd only whether it is synchronised."""
    offset = said(module, r"^(?:[^,]*,){4}([-0-9.]+)", "chronyc", "-c", "tracking")
    if offset is not None:
        leap = said(module, r"(Not synchronised)\s*$", "chronyc", "-c", "tracking")
        return {"source": "chrony", "synchronized": leap is None, "offset_s": float(offset)}
    answer = said(module, r"NTPSynchronized=(\w+)", "timedatectl", "show", "--property=NTPSynchronized")
    if answer is not None:
        return {"source": "timedatectl", "synchronized": answer == "yes", "offset_s": None}
    return {"source": None, "synchronized": None, "offset_s": None}


def operating_system() -> "str | None":
    """Name and version of the system, as `debian 13`."""
    if not os.path.exists("/etc/os-release"):
        return None
    with open("/etc/os-release", encoding="utf-8") as lines:
        facts = dict(line.strip().split("=", 1) for line in lines if "=" in line)
    return ("%s %s" % (facts.get("ID", ""), facts.get("VERSION_ID", ""))).replace('"', "").strip()


def main() -> None:
    """Look at everything once."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "int", "required": True},
            "data_directory": {"type": "path", "required": True},
            "restore_root": {"type": "path", "required": True},
            "spool": {"type": "path", "default": "/var/spool/pgbackrest"},
        },
        supports_check_mode=True,
    )
    p = module.params
    program = os.path.join(postgres.BIN % p["version"], "postgres")
    data = os.path.realpath(p["data_directory"])
    wal = os.path.realpath(os.path.join(data, "pg_wal"))
    files = EXTENSIONS % p["version"]
    ready, oldest = waiting(wal)
    uses = {"data": data, "wal": wal, "restore": p["restore_root"], "spool": p["spool"]}
    capacity = {
        "filesystems": {use: filesystem(path) for use, path in uses.items()},
        "cluster_bytes": cluster_bytes(data, wal),
        "wal_bytes": places.used_bytes(wal),
        "ready_count": ready,
        "oldest_ready_s": oldest,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "os": operating_system(),
        "glibc": (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2] or None,
        "icu": said(module, r"libicuuc\.so\.(\d+)", "ldd", program),
        "pgbackrest": said(module, r"pgBackRest (\S+)", "pgbackrest", "version"),
        "postgres": said(module, r"PostgreSQL\) (\S+)", program, "--version"),
        "extension_files": sorted(name[:-8] for name in os.listdir(files) if name.endswith(".control"))
        if os.path.isdir(files)
        else [],
        "clock": clock(module),
    }
    module.exit_json(changed=False, capacity=capacity)


if __name__ == "__main__":
    main()
