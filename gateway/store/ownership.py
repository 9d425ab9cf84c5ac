"""Whose the state is: one ordinary user's, ``node.user``, whoever starts a command.

The supervisor binds its ports as root and then becomes that user. A command that root types
becomes it too: a journal or a model that root wrote could not be read by the gateway.
"""

import getpass
import os
import pwd
import stat
from pathlib import Path

import structlog

from gateway.core.errors import ConfigError
from gateway.settings import Settings, find_config, load

_log = structlog.get_logger()


def settings_of_service(given: Path | None) -> Settings:
    """Load the configuration, and from here on act as the user that the gateway runs as.

    Raises:
        ConfigError: there is none, it cannot be used, or it names an unknown user.
    """
    settings = load(find_config(given))
    act_as(settings.node.user)
    return settings


def act_as(user: str) -> None:
    """Give up root for ``user``; whoever is not root already stays who they are.

    Raises:
        ConfigError: there is no such user.
    """
    if os.geteuid() != 0 or not user:
        return
    # Who typed a command stays known to audit and labels.
    os.environ.setdefault("LOGNAME", pwd.getpwuid(os.getuid()).pw_name)
    _drop(entry_of(user))


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
    entry = entry_of(user)
    hand_over(owning, entry)
    _drop(entry)


def entry_of(user: str) -> pwd.struct_passwd:
    """The account of ``node.user``.

    Raises:
        ConfigError: there is no such user.
    """
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"node.user: there is no user {user!r} on this machine") from error


def hand_over(state: Path, entry: pwd.struct_passwd) -> None:
    """Give away what root made: state of a run as root, and what was opened before this moment.

    Links stay root's: the user could have made one, and root must not give away what it names.

    Raises:
        ConfigError: a file cannot be given away.
    """
    try:
        for path in (state, *state.rglob("*")):
            found = path.lstat()
            plain = stat.S_ISDIR(found.st_mode) or (
                stat.S_ISREG(found.st_mode) and found.st_nlink == 1
            )
            if found.st_uid == 0 and plain:
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise ConfigError(f"{state} cannot be given to {entry.pw_name!r}: {error}") from error


def operator() -> str:
    """Who sits at this terminal, for audit and labels; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _drop(entry: pwd.struct_passwd) -> None:
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir
