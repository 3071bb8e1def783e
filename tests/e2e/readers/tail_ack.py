"""Drives `mxring log tail --group G --ack` as a program in Python would: what it was given is in
its file before it is acknowledged.

    tail_ack.py MXRING LOG GROUP FILE
"""

import json
import subprocess
import sys
import time

program, log, group, path = sys.argv[1:]
with open(path, "a", buffering=1) as out, subprocess.Popen(
        [program, "log", "tail", log, "--group", group, "--ack", "--json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as tail:
    for line in tail.stdout:
        record = json.loads(line)
        if "gap" in record:
            sys.exit(f"a gap: {record}")
        out.write(f"{record['id']} {record['sha256']} {time.time():.3f}\n")
        tail.stdin.write(b"%d\n" % record["offset"])
