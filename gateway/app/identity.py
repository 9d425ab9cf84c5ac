"""Giving up root: the supervisor binds its ports as root and then is an ordinary user."""

import os
import pwd
import stat
from pathlib import Path

import structlog

from gateway.core.errors import ConfigError

_log = structlog.get_logger()


def become(user: str, *, owning: Path) -> None:
    """Give up root for ``user``, to whom what root made below ``owning`` is given first.

    Whoever is not root already stays who they are.

    Raises:
        ConfigError: there is no such user, or files cannot be given to them.
    """
    if os.geteuid() != 0:
        return
    if not user:
        _log.warning("running as root; name an unprivileged user in node.user")
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"node.user: there is no user {user!r} on this machine") from error
    try:
        _hand_over(owning, entry)
    except OSError as error:
        raise ConfigError(f"{owning} cannot be given to node.user {user!r}: {error}") from error
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _hand_over(state: Path, entry: pwd.struct_passwd) -> None:
    """Give away what root made: state of a run as root, and what was opened before this moment.

    Links stay root's: ``user`` could have made one, and root must not give away what it names.
    """
    for path in (state, *state.rglob("*")):
        found = path.lstat()
        plain = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
        if found.st_uid == 0 and plain:
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
