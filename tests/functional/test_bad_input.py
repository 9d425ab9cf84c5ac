"""Bad input gets a clear error and loses nothing."""

import gzip
import json
import os
import shutil
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.gateway import Gateway, running, wait_until

HAM = (
    b"Date: Mon, 23 Nov 2026 09:00:00 +0100\r\nFrom: Anna <anna@customer.example>\r\n"
    b"To: Bert <bert@trial.example>\r\nSubject: Angebot\r\nMessage-ID: <1@customer.example>\r\n"
    b"\r\nGuten Tag, anbei das Angebot.\r\n"
)
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
SPAM = HAM.replace(b"anbei", GTUBE)


def send(gateway: Gateway, content: bytes) -> tuple[int, str]:
    with smtplib.SMTP("127.0.0.1", gateway.smtp_port, timeout=30) as client:
        client.ehlo("client.example")
        client.mail("anna@customer.example")
        client.rcpt("bert@trial.example")
        code, text = client.data(content)
        return code, text.decode()


def arrived(gateway: Gateway) -> int:
    new = gateway.directory / "mail" / "new"
    return len(list(new.iterdir())) if new.exists() else 0


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, f"maildir:{tmp_path}/mail") as one:
        yield one


def schwamm(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env={**os.environ, "LANG": "en_US.UTF-8", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_mistyped_setting_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[smtp]\nprot = 25\n")
    done = schwamm("serve", "--config", str(tmp_path / "gateway.toml"))
    assert done.returncode == 2
    assert "unknown setting 'smtp.prot'; did you mean 'port'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_environment_is_blamed_for_what_it_says(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("[smtp]\nport = 25\n")
    for name, value, complaint in (
        ("SCHWAMM_SMTP__PROT", "26", "unknown setting 'smtp.prot'; did you mean 'port'?"),
        ("SCHWAMM_SMTP__PORT", "many", "'smtp.port': "),
        ("SCHWAMM_SMPT__PORT", "26", "is no setting; did you mean 'SCHWAMM_SMTP__PORT'?"),
    ):
        done = schwamm("serve", "--config", str(config), **{name: value})
        assert done.returncode == 2
        assert f"environment variable {name}" in done.stderr
        assert complaint in done.stderr
        assert str(config) not in done.stderr


def test_a_password_is_read_where_no_terminal_is(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    command = [sys.executable, "-m", "gateway", "user", "add", "maria", "--role", "admin"]
    command += ["--config", str(gateway.config)]
    for given, code in (("", 2), ("a long password\n", 0)):
        done = subprocess.run(
            command,
            input=given,
            env=gateway.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        assert ("none was given" in done.stderr) == (code == 2)
    assert "maria" in {row["login"] for row in gateway.rows("user", "list")}


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", gateway.smtp_port))
        taken.listen()
        done = gateway.run("serve", check=False)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{gateway.smtp_port}" in done.stderr


def test_init_twice_harms_nothing(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    config, rows = gateway.config.read_bytes(), gateway.rows("domain", "list")
    gateway.init()
    assert gateway.config.read_bytes() == config
    assert gateway.rows("domain", "list") == rows


@pytest.mark.parametrize("damage", ["corrupt", "newer", "locked"])
def test_a_broken_index_stops_neither_holding_nor_delivery_nor_release(
    tmp_path: Path, damage: str
) -> None:
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    try:
        gateway.start()
        assert send(gateway, SPAM)[0] == 250
        wait_until(lambda: gateway.rows("quarantine", "list"), "the held mail")
        mail_id = str(gateway.rows("quarantine", "list")[0]["id"])
        gateway.run("quarantine", "release", mail_id)
        wait_until(lambda: arrived(gateway) == 1, "its release")
        gateway.stop()
        lock = break_index(gateway.state / "index.db", damage)
        gateway.start()
        wait_until(lambda: "index in memory" in gateway.log.read_text(), "the fallback", 40)
        assert send(gateway, HAM)[0] == 250
        assert send(gateway, SPAM)[0] == 250
        wait_until(lambda: arrived(gateway) == 2, "clean mail to arrive all the same")
        if lock is not None:
            lock.close()
        else:
            listing = gateway.run("quarantine", "list", check=False)
            assert listing.returncode == 1
            assert ("9999" if damage == "newer" else "reindex") in listing.stderr
            assert "Traceback" not in listing.stderr
            gateway.run("reindex")
        wait_until(
            lambda: (
                gateway.run("quarantine", "list", "--json", check=False).stdout.count("\n") == 1
            ),
            "the held mail to be listed again",
            90,
        )
    finally:
        gateway.kill_everything()


def break_index(path: Path, damage: str) -> sqlite3.Connection | None:
    if damage == "corrupt":
        path.write_bytes(b"this is no database" * 1000)
    elif damage == "newer":
        with sqlite3.connect(path) as connection:
            tables = [r[0] for r in connection.execute("select name from sqlite_master")]
            assert "meta" in tables or any("version" in name for name in tables), tables
            name = next(name for name in tables if "meta" in name or "version" in name)
            columns = [r[1] for r in connection.execute(f"pragma table_info({name})")]
            column = next(c for c in columns if "version" in c)
            connection.execute(f"update {name} set {column} = 9999")
        connection.close()
    else:
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("begin exclusive")
        return connection
    return None


def test_a_reload_that_cannot_serve_leaves_the_old_processes_serving(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    try:
        gateway.start()
        before = {child.pid for children in gateway.children().values() for child in children}
        good = gateway.config.read_text()
        gateway.config.write_text(
            good.replace("[smtp]\n", '[smtp]\ntls_certificate = "/nonexistent.pem"\n', 1)
        )
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload refused" in gateway.log.read_text(), "the refusal")
        assert send(gateway, HAM)[0] == 250
        assert before <= {c.pid for children in gateway.children().values() for c in children}
        gateway.config.write_text(good)
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: '"reloaded"' in gateway.log.read_text(), "the good one to be taken")
        assert send(gateway, HAM)[0] == 250
    finally:
        gateway.kill_everything()


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("SCHWAMM_SMTP_PORT", "2626", "SCHWAMM_SMTP__PORT"),
        ("SCHWAMM_SMPT__PORT", "1", "SCHWAMM_SMTP__PORT"),
        ("SCHWAMM_SMTP", "abc", "JSON"),
    ],
)
def test_a_mistyped_environment_is_named(
    tmp_path: Path, variable: str, value: str, hint: str
) -> None:
    (tmp_path / "gateway.toml").write_text("")
    done = schwamm("queue", "list", "--config", str(tmp_path / "gateway.toml"), **{variable: value})
    assert done.returncode == 2
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("domain", ["-x.example", "*.example", "a b.example"])
def test_init_with_a_bad_domain_writes_nothing(tmp_path: Path, domain: str) -> None:
    done = schwamm("init", str(tmp_path / "new"), "--domain", domain, "--next-hop", "h.example:25")
    assert done.returncode == 2
    assert not (tmp_path / "new").exists()


def test_init_twice_with_an_international_domain(tmp_path: Path) -> None:
    for _ in range(2):
        done = schwamm(
            "init", str(tmp_path), "--domain", "Ünì.Example.", "--next-hop", "h.example:25"
        )
        assert done.returncode == 0, done.stderr


def test_a_truncated_model_leaves_the_old_one_serving(gateway: Gateway) -> None:
    models = gateway.state / "models"
    good = (models / "current").read_text().strip()
    broken = "site-0123456789ab"
    shutil.copytree(models / "bundles" / good, models / "bundles" / broken)
    for array in (models / "bundles" / broken).glob("*.npy"):
        array.chmod(0o644)
        array.write_bytes(array.read_bytes()[:100])
    (models / "current").write_text(broken + "\n")
    assert send(gateway, SPAM)[0] == 250
    wait_until(lambda: gateway.rows("quarantine", "list"), "the held mail")
    shown = gateway.rows("quarantine", "show", str(gateway.rows("quarantine", "list")[0]["id"]))
    assert shown[0]["model"] == good
    doctor = gateway.run("doctor", check=False)
    assert doctor.returncode == 1
    assert "FAIL model" in doctor.stdout


def test_without_a_promoted_model_the_shipped_one_stands_in(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, f"maildir:{tmp_path}/mail").init()
    try:
        (gateway.state / "models" / "current").unlink()
        gateway.environment["SCHWAMM_MODEL__DIRECTORY"] = str(tmp_path / "nothing-here")
        (tmp_path / "nothing-here").mkdir(mode=0o500)
        gateway.start()
        assert send(gateway, HAM)[0] == 250
        assert send(gateway, SPAM)[0] == 250
        wait_until(lambda: gateway.rows("quarantine", "list"), "GTUBE to be held")
        assert arrived(gateway) == 1
        (row,) = gateway.rows("quarantine", "list")
        (shown,) = gateway.rows("quarantine", "show", str(row["id"]))
        assert shown["model"].startswith("baseline-")
        assert "model cannot be used" in gateway.log.read_text()
    finally:
        gateway.kill_everything()


def test_a_damaged_generation_leaves_the_old_one_serving(gateway: Gateway) -> None:
    generations = gateway.state / "generations"
    (generations / "current").write_text("999\n")
    wait_until(lambda: "generation refused" in gateway.log.read_text(), "the complaint")
    assert send(gateway, HAM)[0] == 250


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_452_and_nothing_is_half_kept(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", str(small)], check=False
    )
    assert mounted.returncode == 0
    gateway = Gateway(small, f"maildir:{tmp_path}/mail")
    try:
        gateway.init().start()
        assert send(gateway, SPAM)[0] == 250
        filler = small / "filler"
        with filler.open("wb") as file:
            try:
                while file.write(b"x" * 65536):
                    file.flush()
            except OSError:
                pass
        code, text = send(gateway, SPAM)
        assert (code, text[:5]) == (452, "4.3.1")
        filler.unlink()
        wait_until(lambda: send(gateway, SPAM)[0] == 250, "service to resume by itself")
        wait_until(lambda: len(gateway.rows("quarantine", "list")) == 2, "both held mails")
    finally:
        gateway.kill_everything()
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_scan_takes_what_there_is_and_names_what_it_cannot_take(
    tmp_path: Path, mail_data: Path
) -> None:
    one = (mail_data / "ham" / "sa-easy-ham-1-00067.eml").read_bytes().replace(b"\r\n", b"\n")
    one = one.partition(b"\n")[2] if one.startswith(b"From ") else one
    lf = one.rstrip(b"\n") + b"\n"
    (tmp_path / "crlf.eml").write_bytes(lf.replace(b"\n", b"\r\n"))
    (tmp_path / "from.eml").write_bytes(b"From x@y Mon Nov 23 09:00:00 2026\n" + lf)
    (tmp_path / "packed.eml.gz").write_bytes(gzip.compress(lf))
    (tmp_path / "box.mbox").write_bytes(
        b"From a@b Mon Nov 23 09:00:00 2026\n" + lf + b"\nFrom a@b Mon Nov 23 09:00:01 2026\n" + lf
    )
    maildir = tmp_path / "Maildir"
    for name in ("new", "cur", "tmp"):
        (maildir / name).mkdir(parents=True)
    (maildir / "new" / "1.x.y").write_bytes(one)
    (tmp_path / "eight.eml").write_bytes(b"Subject: \xfc\xf6\xe4\nFrom: \xff\n\n\x80\x81\n")
    (tmp_path / "empty.eml").write_bytes(b"")
    (tmp_path / "picture.png").write_bytes(bytes(range(256)) * 20)
    names = ["crlf.eml", "from.eml", "packed.eml.gz", "box.mbox", "Maildir", "eight.eml"]
    bad = ["empty.eml", "picture.png", "missing.eml"]
    done = schwamm("scan", *(str(tmp_path / name) for name in (*bad, *names)), "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert len(rows) == 7
    keys = {"file", "score", "verdict", "action", "probability", "symbols", "words", "model"}
    assert all(set(row) == keys for row in rows)
    complaints = done.stderr.splitlines()
    assert len(complaints) == 3
    for name, complaint in zip(bad, complaints, strict=True):
        assert name in complaint
    same = [row["score"] for row in rows[:4]]
    assert len(set(same)) == 1, "line ends and wrapping change nothing"
