"""Flip one bit of one byte in the middle of the largest file of the newest backup in this object store."""

from pathlib import Path

backups = sorted(p for p in Path("/srv/s3/shop-backups/shop/backup/shop").iterdir() if p.name[:8].isdigit())
largest = max(
    (p for p in backups[-1].rglob("*") if p.is_file() and "manifest" not in p.name), key=lambda p: p.stat().st_size
)
content = bytearray(largest.read_bytes())
content[len(content) // 2] ^= 1
largest.write_bytes(content)
print(backups[-1].name, largest.name, len(content) // 2)
