"""Follow docs/adopt.md on hosts that pgrescue did not make: its own commands, with the lab's names in their place."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from guide import Block, blocks
from lab_hosts import INVENTORY, POSTGRES, podman, run
from writers import inside

HOSTS = {"pg-a": "old1", "pg-b": "old2", "pg-spare": "new1", "app-a": "app4", "probe-a": "client3"}
STRANGERS = ("-i", INVENTORY, "-i", "inventories/strangers")
ADOPTED = HOUSE / "inventories/orders"


def secret(name: str) -> str:
    """A secret that the lab drew."""
    return (HOUSE / ".lab/secrets" / name).read_text().strip()


def words() -> dict[str, str]:
    """What is there instead of what the page has for an example."""
    return {
        "192.0.2.11": "10.81.0.71",
        "192.0.2.12": "10.81.0.72",
        "192.0.2.13": "10.81.0.73",
        "192.0.2.31": "10.81.0.33",
        "192.0.2.41": "10.83.0.44",
        "192.0.2.53": "10.83.0.53",
        "192.0.2.0/24": "10.81.0.0/24",
        "orders-db.example.org": "orders-db.lab.test",
        "endpoint_zone: example.org": "endpoint_zone: lab.test",
        "endpoint_key_name: pgrescue": "endpoint_key_name: lab",
        "c2VjcmV0": base64.b64encode(secret("tsig").encode()).decode(),
        "http://orders.example.org/health": "http://10.81.0.33:8080/health",
        "application_unit: orders@": "application_unit: shop@",
        "s3.paris.example.org": "store-east.east.lab.test",
        "store_region: paris": "store_region: east",
        "the-access-key": "lab-east",
        "its-secret": secret("store_east"),
        "/etc/ssl/certs/ca-certificates.crt": "/etc/orders/ca.crt",
        "/17/": f"/{POSTGRES}/",
        " 17 ": f" {POSTGRES} ",
        "@17-": f"@{POSTGRES}-",
    }


def typed(block: Block, exports: list[str], home: str) -> None:
    """Type one block where the page says; what is exported stays for what comes after."""
    if block.kind == "yaml":
        # the controller of the lab knows neither its names nor its authority
        more = f"records_url: https://10.81.0.10\nrecords_ca_file: {HOUSE}/.lab/tls/ca.crt\n"
        (HOUSE / block.where[0]).write_text(block.text + more)
        return
    for host in block.where:
        inside(HOSTS[host], "bash", "-euo", "pipefail", "-c", block.text)
    if block.where:
        return
    ssh = f"-o UserKnownHostsFile={HOUSE}/.lab/ssh/known_hosts"
    env = {
        **os.environ,
        "HOME": home,
        "ANSIBLE_PRIVATE_KEY_FILE": f"{HOUSE}/.lab/ssh/operator",
        "ANSIBLE_SSH_COMMON_ARGS": ssh,
    }
    script = "\n".join(["set -euo pipefail", *exports, block.text])
    done = subprocess.run(["bash", "-c", script], cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.text}\nended with {done.returncode}: {done.stdout}{done.stderr}"
    exports += [line for line in block.text.splitlines() if line.startswith("export ")]


def application(exports: list[str], home: str) -> None:
    """Somebody's application, which was there all the time: the lab's, with its load."""
    text = f"ansible-playbook lab/service.yml {' '.join(STRANGERS)} -i inventories/orders -e service=orders"
    typed(Block("sh", (), text), exports, home)


def records() -> list[dict[str, object]]:
    """All runs of the service, oldest first."""
    return [json.loads(path.read_text()) for path in sorted((HOUSE / "runs").glob("2*-orders-*/run.json"))]


def counted() -> str:
    """Rows that were there before, as the server that takes writes has them."""
    question = "SELECT count(*) FROM was_there WHERE NOT pg_is_in_recovery()"
    found = {
        host: inside(host, "runuser", "-u", "postgres", "--", "psql", "-XAtc", question).strip()
        for host in ("old1", "old2")
    }
    return found["old2"]


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    before = len(records())
    exports: list[str] = []
    with tempfile.TemporaryDirectory() as home:
        try:
            run("ansible-playbook", "lab/strangers.yml", *STRANGERS)
            began = time.monotonic()
            for block in blocks(words()):
                typed(block, exports, home)
                if "protect.yml" in block.text:
                    application(exports, home)
            print(f"the guide took {(time.monotonic() - began) / 60:.1f} min")
            made = records()[before:]
            assert [(one["kind"], one["procedure"], one["result"]) for one in made] == [
                ("proof", "prove", "passed"),
                ("drill", "switchover", "passed"),
            ], made
            assert counted() == "100000", counted()
        finally:
            shutil.rmtree(ADOPTED, ignore_errors=True)
            (HOUSE / "answers.yml").unlink(missing_ok=True)
            podman("rm", "--force", "--time=0", *(f"pgrescue-{host}" for host in HOSTS.values()))
