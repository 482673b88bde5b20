#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""See, by one means, whether an old primary can still take writes."""

from __future__ import annotations

DOCUMENTATION = """
module: fence_evidence
short_description: See, by one means, whether an old primary can still take writes
description:
  - Gathers what one means tells, where it can be told. M(pgrescue.runbooks.fence_proof) judges it. Only looks.
  - C(service) is asked on the old primary's host, C(power) where the power command runs, C(network) on each vantage point,
    C(replication) on the standby that is to be promoted.
options:
  means: {description: What to look at., type: str, choices: [network, power, replication, service], required: true}
  host: {description: The old primary., type: str, required: true}
  version: {description: Major version of PostgreSQL; for C(service) and C(replication)., type: int}
  unit: {description: "The server's systemd unit; for C(service).", type: str}
  drop_in: {description: 'The file that keeps the unit from starting, where it is not start.conf; for C(service).', type: path}
  in_use: {description: 'Where its data are, when its configuration does not say so; for C(service).', type: path}
  address: {description: The old primary's address; for C(network)., type: str}
  port: {description: Port of PostgreSQL., type: int, default: 5432}
  socket_directory: {description: "Where the standby's socket is; for C(replication).", type: path, default: /var/run/postgresql}
  from_host: {description: The name of the host that looks., type: str}
  timeout_s: {description: How long the port may be silent in seconds; for C(network)., type: float, default: 1.3}
  state_command: {description: Command line that tells the power state; for C(power)., type: list, elements: str}
  state_off: {description: Expression that its output matches when the power is off., type: str}
  deadline_s: {description: 'How long to wait for the connection to end, and for the command, in seconds.', type: int, default: 5}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Ask the host of the old primary
  pgrescue.runbooks.fence_evidence:
    means: service
    host: db1
    version: 17
    unit: postgresql@17-main.service
  delegate_to: db1
  become: true
  become_user: postgres
"""

RETURN = """
evidence:
  description: C(means), whether it is C(proven) or C(disproved), and what was C(said).
  returned: success, but for C(network)
  type: dict
  sample: {means: power, proven: true, disproved: false, said: "the power is off: Chassis Power is off"}
seen: {description: 'What the port did: C(accepted), C(refused) or C(silent).', returned: 'success, for C(network)', type: str}
answered: {description: 'Whether the command said anything and ended well.', returned: 'success, for C(power)', type: bool}
lsn: {description: 'Where WAL of the stopped cluster ends, as its control file has it.', returned: 'success, for C(service)', type: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import fencing, network, postgres

RECEIVING = """
SELECT coalesce(max(status), ''), coalesce(max(last_msg_receipt_time)::text, '') || coalesce(max(latest_end_lsn)::text, '')
  FROM pg_stat_wal_receiver
"""


def service(module: AnsibleModule) -> "dict[str, object]":
    """The unit, what keeps it from starting, the process and the control file."""
    p = module.params
    _code, active, _err = module.run_command(["systemctl", "is-active", p["unit"]])
    path = p["drop_in"] or os.path.join(postgres.CONFIG % p["version"], "start.conf")
    kept = "disabled" if os.path.exists(path) else ""
    start = kept if p["drop_in"] else postgres.start_word(p["version"])
    # a manager's server is where the inventory says, whatever a configuration of Debian's is left here
    directory = postgres.in_use(module) if p["drop_in"] else postgres.data_directory(module)
    if p["drop_in"] and not directory:
        said = "%s: no cluster is where the inventory has it (%s), so that nothing says whether its server runs"
        return {"evidence": fencing.Evidence(fencing.SERVICE, False, said % (p["host"], p["in_use"])).as_dict()}
    control = postgres.control_data(module, directory) if directory else {}
    alive = bool(directory) and postgres.is_alive(directory)
    told = fencing.service(
        p["host"], active.strip(), start, alive, control.get("Database cluster state"), os.path.basename(path)
    )
    return {"evidence": told.as_dict(), "lsn": control.get("Latest checkpoint location")}


def power(module: AnsibleModule) -> "dict[str, object]":
    """What the inventory's command says."""
    p = module.params
    limit = ["timeout", "--kill-after=2", str(p["deadline_s"])]
    code, out, err = module.run_command([*limit, *p["state_command"]])
    return {
        "evidence": fencing.power(out or err, p["state_off"], code).as_dict(),
        "answered": not code and bool(out.strip()),
    }


def vantage(module: AnsibleModule) -> "dict[str, object]":
    """The port, as this host sees it."""
    p = module.params
    return {"seen": network.knock(p["address"], p["port"], p["timeout_s"])}


def replication(module: AnsibleModule) -> "dict[str, object]":
    """The connection of the standby to its primary, watched until it ends or the time is over."""
    with postgres.connect(module) as connection:
        status, first = connection.execute(RECEIVING).fetchone()
        latest = {"status": status, "received": first}

        def gone() -> bool:
            latest["status"], latest["received"] = connection.execute(RECEIVING).fetchone()
            return latest["status"] != "streaming"

        postgres.wait_until(gone, module.params["deadline_s"])
    moved = latest["received"] != first
    name = module.params["from_host"] or "the standby"
    return {"evidence": fencing.replication(name, latest["status"] == "streaming", moved).as_dict()}


LOOKS = {
    fencing.SERVICE: service,
    fencing.POWER: power,
    fencing.NETWORK: vantage,
    fencing.REPLICATION: replication,
}


def main() -> None:
    """Look by the means that is asked for."""
    module = AnsibleModule(
        argument_spec={
            "means": {"type": "str", "choices": sorted(LOOKS), "required": True},
            "host": {"type": "str", "required": True},
            "version": {"type": "int"},
            "unit": {"type": "str"},
            "drop_in": {"type": "path"},
            "in_use": {"type": "path"},
            "address": {"type": "str"},
            "port": {"type": "int", "default": 5432},
            "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
            "from_host": {"type": "str"},
            "timeout_s": {"type": "float", "default": network.PATIENCE_S},
            "state_command": {"type": "list", "elements": "str"},
            "state_off": {"type": "str"},
            "deadline_s": {"type": "int", "default": 5},
        },
        required_if=[
            ("means", fencing.SERVICE, ("version", "unit")),
            ("means", fencing.POWER, ("state_command", "state_off")),
            ("means", fencing.NETWORK, ("address", "from_host")),
        ],
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **LOOKS[module.params["means"]](module))


if __name__ == "__main__":
    main()
