"""Every document of a run fits its published schema, and every file is as the manifest says.

usage: whole_record.py RUN_DIR
"""

import json
import sys
from pathlib import Path

import jsonschema
from pgrescue import schemas
from pgrescue.manifest import verify_manifest

directory = Path(sys.argv[1])
for name in schemas.DOCUMENTS:
    path = directory / ("timeline.jsonl" if name == "timeline" else f"{name}.json")
    text = path.read_text(encoding="utf-8")
    for document in map(json.loads, text.splitlines() if name == "timeline" else [text]):
        jsonschema.validate(document, schemas.schema(name))
if differences := verify_manifest(directory):
    sys.exit("; ".join(map(str, differences)))
