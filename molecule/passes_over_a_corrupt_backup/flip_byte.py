"""Flip one bit in the middle of the largest file of this store's newest backup; `--back` puts it right."""

import sys
from pathlib import Path

NOTE = Path("/var/tmp/flipped")  # on a host of the lab

if "--back" in sys.argv:
    largest = Path(NOTE.read_text())
else:
    backups = sorted(p for p in Path("/srv/s3/shop-backups/shop/backup/shop").iterdir() if p.name[:8].isdigit())
    largest = max(
        (p for p in backups[-1].rglob("*") if p.is_file() and "manifest" not in p.name), key=lambda p: p.stat().st_size
    )
    NOTE.write_text(str(largest))
content = bytearray(largest.read_bytes())
content[len(content) // 2] ^= 1
largest.write_bytes(content)
print(largest, len(content) // 2)
