"""Overwrite bytes in the middle of the first page of a file, as a disk that loses a write does. Its server must be stopped."""

import sys
from pathlib import Path

MIDDLE, LENGTH = 4096, 64  # of a page of 8192 bytes

path = Path(sys.argv[1])
content = bytearray(path.read_bytes())
content[MIDDLE : MIDDLE + LENGTH] = bytes(byte ^ 0xFF for byte in content[MIDDLE : MIDDLE + LENGTH])
with path.open("r+b") as file:
    file.write(content)
print(path, MIDDLE, LENGTH)
