"""Debian's Dovecot as an LMTP next hop, in a directory of its own on a free loopback port."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.gateway import free_port, wait_until
from tests.fakes.postfix import open_folder

SMALL_QUOTA = "full"  # this user may keep 300 octets


class Dovecot:
    """Users anna, bert and postmaster; ``full`` has next to no room left."""

    def __init__(self, folder: Path, domain: str = "trial.example") -> None:
        self.folder = folder
        self.domain = domain
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def write(self) -> "Dovecot":
        for name in ("run", "mail"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        mail = f"{self.folder}/mail"
        users = [
            f"{user}@{self.domain}:{{PLAIN}}x:65534:65534::{mail}/{user}::"
            + (" userdb_quota_rule=*:bytes=300" if user == SMALL_QUOTA else "")
            for user in ("anna", "bert", "postmaster", SMALL_QUOTA)
        ]
        (self.folder / "users").write_text("\n".join(users) + "\n")
        (self.folder / "users").chmod(0o644)
        (self.folder / "dovecot.conf").write_text(self._config())
        return self

    def start(self) -> "Dovecot":
        with (self.folder / "out").open("ab") as out:
            command = ["dovecot", "-F", "-c", str(self.folder / "dovecot.conf")]
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_until((self.folder / "run" / "master.pid").exists, "dovecot")
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    def mails(self, user: str) -> list[bytes]:
        """What lies in a user's Maildir, in no order."""
        return [path.read_bytes() for path in (self.folder / "mail" / user).glob("Maildir/new/*")]

    def _config(self) -> str:
        return f"""
base_dir = {self.folder}/run
log_path = {self.folder}/dovecot.log
state_dir = {self.folder}/run
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
mail_plugins = quota
passdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
userdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
}}
protocol lmtp {{
  mail_plugins = quota
  postmaster_address = postmaster@{self.domain}
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
"""


@contextmanager
def running_dovecot(domain: str = "trial.example") -> Iterator[Dovecot]:
    """A Dovecot for one test or module, stopped at the end."""
    with open_folder("dovecot") as folder:
        server = Dovecot(folder, domain).write()
        try:
            yield server.start()
        finally:
            server.stop()
