"""What a newcomer gets: the trial, its samples, and how the supervisor takes its place."""

import json
import smtplib
import socket
import subprocess
import sys
from pathlib import Path

from tests.fakes.gateway import Gateway, free_port, wait_until


def trial(directory: Path) -> Gateway:
    """``schwamm init --trial`` in a folder of its own, on free ports."""
    gateway = Gateway(directory, "unused")
    port = free_port()
    gateway.environment |= {
        "SCHWAMM_TRIAL__DNS_PORT": str(port),
        "SCHWAMM_DNS__SERVERS": json.dumps([f"127.0.0.1:{port}"]),
    }
    subprocess.run(
        [sys.executable, "-m", "gateway", "init", str(directory), "--trial"],
        env=gateway.variables(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return gateway


def test_the_trial_shows_every_kind_of_fate(tmp_path: Path) -> None:
    gateway = trial(tmp_path)
    try:
        gateway.start()
        rows = gateway.rows("samples", "send")
        assert 38 <= len(rows) <= 45
        states = [state for row in rows for state in row["copies"].values()]
        assert {"delivered", "held"} == set(states)
        delivered = len(list((gateway.state / "trial-maildir" / "new").iterdir()))
        assert delivered == states.count("delivered")
        by_subject = {row["subject"]: row for row in rows}
        assert by_subject["GTUBE"]["verdict"] == "spam"
        assert any("DNSBL_TRIAL" in row["symbols"] for row in rows)
        assert any(len(row["copies"]) == 3 for row in rows)
        german = [row for row in rows if "absender.example" in row["from"]]
        assert len(german) >= 10
        assert all(set(row["copies"].values()) == {"delivered"} for row in german)
        doctor = gateway.run("doctor")
        assert "FAIL" not in doctor.stdout
        # A second start finds everything as it was left.
        held = gateway.rows("quarantine", "list")
        gateway.stop()
        gateway.start()
        assert gateway.rows("quarantine", "list") == held
    finally:
        gateway.kill_everything()


def test_samples_without_a_gateway_say_what_to_do(tmp_path: Path) -> None:
    gateway = trial(tmp_path)
    done = gateway.run("samples", "send", check=False)
    assert done.returncode == 1
    assert "start the gateway in another terminal" in done.stderr


def test_german_and_english(tmp_path: Path) -> None:
    gateway = trial(tmp_path)
    german = gateway.run("--language", "de", "quarantine", "list").stdout
    english = gateway.run("--language", "en", "quarantine", "list").stdout
    assert english.strip() == "Nothing is held."
    assert german.strip() not in {"", english.strip()}


def test_sockets_may_come_from_the_service_manager(tmp_path: Path) -> None:
    gateway = trial(tmp_path)
    log = tmp_path / "log"
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        become_service = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); "
            "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', "
            "'LISTEN_FDNAMES': 'smtp'}; "
            "os.execv(sys.executable, [sys.executable, '-m', 'gateway', 'serve', *sys.argv[2:]])"
        )
        arguments = [str(sock.fileno()), "--config", str(gateway.config)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", become_service, *arguments],
                env=gateway.variables(),
                pass_fds=[sock.fileno()],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: _greets(port), "a greeting on the passed socket")
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0, log.read_text()


def _greets(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=2) as client:
            return client.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def test_a_worker_loads_neither_scikit_learn_nor_a_database() -> None:
    code = (
        "import sys, gateway.app.worker; "
        "print(sorted({'sklearn','sqlalchemy','joblib','scipy','matplotlib','babel'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
