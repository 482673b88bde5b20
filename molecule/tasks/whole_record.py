"""Every document of a run fits its published schema, and every file is as the manifest says.

usage: whole_record.py RUN_DIR
"""

import base64
import json
import sys
from pathlib import Path

import jsonschema
from pgrescue import schemas
from pgrescue.manifest import verify_manifest

ALWAYS = (
    "run",
    "plan",
    "timeline",
    "checks",
    "reconciliation",
    "measurement",
    "approval",
)  # the others where people asked for it

directory = Path(sys.argv[1])
for name in schemas.DOCUMENTS:
    found = sorted(directory.glob("timeline.jsonl" if name == "timeline" else f"{name}.json"))
    found += sorted(directory.glob(f"{name}-*.json"))  # of approvals there may be several
    if name in ALWAYS and not found:
        sys.exit(f"the record holds no {name}")
    for path in found:
        text = path.read_text(encoding="utf-8")
        for document in map(json.loads, text.splitlines() if name == "timeline" else [text]):
            sealed = (
                json.loads(base64.b64decode(document["payload"])) if name == "seal" else document
            )  # in its envelope
            jsonschema.validate(sealed, schemas.schema(name))
if differences := verify_manifest(directory):
    sys.exit("; ".join(map(str, differences)))
