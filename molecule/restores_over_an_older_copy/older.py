"""Restore over the damaged copy of the old primary; it must be read and left as it is."""

import json
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, POSTGRES, on, roles, run

UNIT = f"postgresql@{POSTGRES}-main.service"
DAMAGE = """
cd {place}
table=$(find base -type f -size +15 -printf '%s %p\\n' | sort -n | tail -1 | cut -d ' ' -f 2)
dd if=/dev/urandom of="$table" bs=8192 seek=1 count=1 conv=notrunc status=none
echo "$table"
"""
DIGEST = "cd {place}; find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"

if __name__ == "__main__":
    found = roles()
    (primary,) = found["primary"]
    place = on(primary, f"readlink -f /var/lib/postgresql/{POSTGRES}/current")
    for standby in found["standby"]:
        on(standby, f"systemctl stop {UNIT}", "root")
    on(primary, f"systemctl kill --signal=KILL {UNIT}", "root")
    damaged = on(primary, DAMAGE.format(place=place))
    before = on(primary, DIGEST.format(place=place))

    run("pgrescue", "recover", "complete_loss", "-s", "shop", "--confirm", "shop", "-e", f"recovery_on={primary}")

    record = (HOUSE / "runs/latest").resolve()
    plan, measured, ended = (
        json.loads((record / f"{name}.json").read_text()) for name in ("plan", "measurement", "run")
    )
    assert ended["result"] == "passed", ended
    assert (plan["target_host"], plan["warm_from"]) == (primary, place), plan
    assert measured["lost_acknowledged_before_recovery_point"] == 0, measured
    assert on(primary, f"readlink -f /var/lib/postgresql/{POSTGRES}/current") == plan["data_directory"] != place
    assert on(primary, DIGEST.format(place=place)) == before, "the damaged copy was changed"
    print(f"{damaged} was damaged on {primary}; back after {measured['rta_s']:.1f} s")
    run("ansible-playbook", "lab/replace_hosts.yml", "-i", INVENTORY, "-e", "service=shop")
    run("ansible-playbook", "playbooks/protect.yml", "-i", INVENTORY, "-e", "service=shop")
