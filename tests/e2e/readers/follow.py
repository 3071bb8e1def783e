"""Reads for a group with mxringlog: what it was given is in its file before it is committed.

    follow.py PACKAGES LOG GROUP FILE
"""

import hashlib
import sys
import time

sys.path.insert(0, sys.argv[1])
import mxringlog  # noqa: E402

log, group, path = sys.argv[2:]
with open(path, "a", buffering=1) as out, mxringlog.Log(log).follow(group) as reader:
    for entry in reader:
        if isinstance(entry, mxringlog.Gap):
            sys.exit(f"a gap: {entry}")
        out.write(f"{entry.id} {hashlib.sha256(entry.message).hexdigest()} {time.time():.3f}\n")
        reader.commit(entry)
