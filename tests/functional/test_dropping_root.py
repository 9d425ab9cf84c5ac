"""Started by root for its port below 1024, the gateway serves as an ordinary user."""

import asyncio
import configparser
import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.core.errors import ConfigError
from gateway.store.ownership import become
from tests.fakes.gateway import Gateway
from tests.fakes.ledger import Ledger, at_sinks, entries_from, judge
from tests.fakes.settling import ours, settle
from tests.fakes.sink import sink

GTUBE = b"\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def root_only() -> None:
    """Only root can become somebody else; CI runs as root."""
    if os.geteuid() == 0:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("run CI as root")
    pytest.skip("run this test as root")


@pytest.fixture
def home(root_only: None) -> Iterator[Path]:
    """A folder that the user can reach: pytest's own are closed to everybody else."""
    path = Path(tempfile.mkdtemp(prefix="schwamm-"))
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _interpreter(home: Path, root: Path) -> tuple[str, str]:
    """A Python that the user may run, and where it finds ours and everybody's packages.

    The interpreter that runs the tests may lie in a closed home, and so may the checkout: Debian's
    Python of the same version and linked copies of the packages then take their place.
    """
    programs = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
    places = [str(root), sysconfig.get_path("purelib")]
    for program in programs:
        if _can_serve(program, places):
            return program, os.pathsep.join(places)
    copied = _linked_copies(home / "packages", root)
    for program in programs:
        if _can_serve(program, copied):
            return program, os.pathsep.join(copied)
    raise AssertionError("no Python 3.11 that another user may run: apt-get install python3")


def _can_serve(program: str, places: list[str]) -> bool:
    code = "import gateway.app.web, gateway.app.keeper, gateway.app.worker"
    try:
        done = subprocess.run(
            [program, "-P", "-c", code],
            user="nobody",
            cwd="/",
            env={"PYTHONPATH": os.pathsep.join(places), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )
    except OSError:  # not there, or in a home that is closed
        return False
    return done.returncode == 0


def _linked_copies(to: Path, root: Path) -> list[str]:
    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy(source, target)

    to.mkdir(mode=0o755)
    for package in ("gateway", "models", "training"):
        shutil.copytree(root / package, to / package, copy_function=link)
    shutil.copytree(sysconfig.get_path("purelib"), to / "all", copy_function=link)
    return [str(to), str(to / "all")]


def _low_port() -> int:
    """A free port that only root may bind."""
    for port in range(1023, 599, -1):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port below 1024")


async def test_ports_as_root_mail_as_nobody(home: Path, root: Path) -> None:
    program, found = _interpreter(home, root)
    async with sink() as to:
        gateway = Gateway(home, f"127.0.0.1:{to.port}", workers=2, program=program)
        gateway.smtp_port = _low_port()
        gateway.environment |= {"PYTHONPATH": found, "SCHWAMM_NODE__USER": "nobody"}
        try:
            await asyncio.to_thread(gateway.init)  # by root, as a hurried person does
            await asyncio.to_thread(gateway.start)
            assert gateway.process is not None
            family = [psutil.Process(gateway.process.pid)]
            family += family[0].children(recursive=True)
            assert len(family) == 5
            for process in family:
                assert set(process.uids()) == {NOBODY.pw_uid}
                assert set(process.gids()) == {NOBODY.pw_gid}
            mail = root / "tests" / "data" / "mail"
            entries = entries_from([mail / "german" / "wrapped-00.eml"] * 5, ["a@trial.example"])
            entries[1].content += GTUBE
            ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries)
            await ledger.run()
            await asyncio.to_thread(settle, gateway)
            judge(entries, at_sinks(to), await asyncio.to_thread(ours, gateway))
            assert len(to.messages) == 4
            await asyncio.to_thread(_commands_of_root, gateway, mail)
            owners = {path.lstat().st_uid for path in gateway.state.rglob("*")}
            assert owners == {NOBODY.pw_uid}
            assert await asyncio.to_thread(gateway.stop) == 0
            await asyncio.to_thread(gateway.start)  # what root left behind stops nothing
            assert await asyncio.to_thread(gateway.stop) == 0
        finally:
            gateway.kill_everything()


async def test_the_privileges_of_the_systemd_unit_suffice(home: Path, root: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(root / "deploy" / "systemd" / "schwamm.service")
    service = unit["Service"]
    assert service["User"] == service["Group"] == "schwamm"
    granted = [name.removeprefix("CAP_").lower() for name in service["AmbientCapabilities"].split()]
    bounds = service["CapabilityBoundingSet"].removeprefix("CAP_").lower()
    assert [bounds] == granted == ["net_bind_service"]
    program, found = _interpreter(home, root)
    setpriv = ["setpriv", "--reuid=nobody", "--regid", str(NOBODY.pw_gid), "--init-groups"]
    setpriv += [f"--bounding-set=-all,+{bounds}", "--no-new-privs"]
    setpriv += [f"--inh-caps=+{bounds}", f"--ambient-caps=+{bounds}"]
    async with sink() as to:
        gateway = Gateway(home, f"127.0.0.1:{to.port}", program=program, wrapper=tuple(setpriv))
        gateway.smtp_port = _low_port()
        gateway.environment |= {"PYTHONPATH": found, "SCHWAMM_NODE__USER": "nobody"}
        try:
            await asyncio.to_thread(gateway.init)
            _give_all(gateway.state)
            await asyncio.to_thread(gateway.start)
            mail = root / "tests" / "data" / "mail"
            entries = entries_from([mail / "german" / "wrapped-00.eml"], ["a@trial.example"])
            await Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries).run()
            assert len(to.messages) == 1
            assert await asyncio.to_thread(gateway.stop) == 0
        finally:
            gateway.kill_everything()


def _give_all(state: Path) -> None:
    """What the guide's second step makes as the user, the test made as root."""
    for path in (state, *state.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


def _commands_of_root(gateway: Gateway, mail: Path) -> None:
    """What root types must not leave files that the gateway cannot read."""
    (held,) = gateway.rows("quarantine", "list")
    released = gateway.run("quarantine", "release", "--ham", str(held["id"])).stdout
    assert "released and delivered" in released
    (tracked,) = gateway.rows("track", str(held["id"]))
    assert any(event["detail"].get("by") == "root" for event in tracked["events"])
    gateway.run("domain", "add", "second.example", "--next-hop", gateway.next_hop)
    gateway.run("corpus", "import", "--index", str(mail / "index"))
    gateway.run("backup", str(gateway.directory / "backup"))
    lines = gateway.run("doctor", "--json", check=False).stdout.splitlines()
    found = {line["check"]: line["ok"] for line in map(json.loads, lines)}
    assert all(found[name] for name in ("config", "disk", "index", "domains", "model", "gateway"))


def test_an_unknown_user_is_named(root_only: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-user"):
        become("no-such-user", owning=tmp_path)


def test_what_a_link_names_stays_roots(home: Path) -> None:
    """A hostile service user plants links: root would give away what they name."""
    treasure = home.parent / f"{home.name}-treasure"
    treasure.write_text("root's")
    (home / "soft").symlink_to(treasure)
    os.link(treasure, home / "hard")
    (home / "made-by-root").touch()
    code = (
        "import pathlib, sys; from gateway.store.ownership import become; "
        "become('nobody', owning=pathlib.Path(sys.argv[1])); import os; print(*os.getresuid())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [str(NOBODY.pw_uid)] * 3
        assert treasure.stat().st_uid == 0
        assert (home / "made-by-root").stat().st_uid == NOBODY.pw_uid
    finally:
        treasure.unlink()
