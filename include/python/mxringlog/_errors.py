"""What can go wrong, by class."""

from __future__ import annotations


class LogError(Exception):
    """The base of all errors here. `can_continue`: the same call may do better later."""

    can_continue = False


class NotALog(LogError):
    """The directory is missing or holds no log (yet)."""

    can_continue = True


class UnknownVersion(LogError):
    """Written by a newer format."""


class BeyondEnd(LogError):
    """An offset beyond the end of the log: it was made anew, or put back from an older copy."""


class OtherLog(LogError):
    """What was read before, or the cursor, is of another log than the one that is here now."""


class GroupError(LogError):
    """No group's name, no such group, or its cursor cannot be opened or written."""


class Owned(GroupError):
    """Another process reads for the group."""

    can_continue = True


class Paused(GroupError):
    """Somebody has paused the group."""

    can_continue = True


class Damaged(LogError):
    """A record whose metadata no reader can take apart."""
