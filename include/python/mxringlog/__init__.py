"""Reads the log of mxring, also while the server writes it. Plain Python, no dependency.

    import mxringlog

    log = mxringlog.Log("/var/lib/mxring/log")
    for entry in log.records():                 # what is there now
        ...
    with log.follow(group="tickets") as reader:  # for ever, from where the group stands
        for entry in reader:
            if isinstance(entry, mxringlog.Gap):
                ...                             # records [first, next) do not come
            else:
                store(entry.id, entry.delivered)
            reader.commit()

The promise: every acknowledged message is handed to every group, at least once, in the order of the
offsets, never before it is durable, always with the same id. After a crash some may come again:
those since the last commit. What cannot be handed over any more is a Gap. A log that was made anew
or put back from an older copy is an error, OtherLog or BeyondEnd, and never skipped over.
"""

from ._errors import (BeyondEnd, Damaged, GroupError, LogError, NotALog, OtherLog, Owned, Paused,
                      UnknownVersion)
from ._log import Checks, Follower, Log
from ._record import Gap, Recipient, Record

__version__ = "0.1.0"  # of include/mxring/version.h

__all__ = ["BeyondEnd", "Checks", "Damaged", "Follower", "Gap", "GroupError", "Log", "LogError",
           "NotALog", "OtherLog", "Owned", "Paused", "Recipient", "Record", "UnknownVersion"]
