"""SpamAssassin as a rival: its client against a scripted server, and the real one if installed."""

import socketserver
import threading

import pytest

from tests.fakes.letters import taught_apart
from training.bench_accuracy_rivals import MissingRivalError, RivalFailedError
from training.bench_accuracy_spamassassin import (
    REQUIRED_SCORE,
    SpamAssassin,
    open_spamassassin,
)


@pytest.fixture
def server():
    """A spamd that says what the test put into ``script`` and notes what it was asked."""
    script: list[bytes] = []
    asked: list[bytes] = []

    class Scripted(socketserver.StreamRequestHandler):
        def handle(self):
            asked.append(self.rfile.read())
            self.wfile.write(script.pop(0))

    with socketserver.TCPServer(("127.0.0.1", 0), Scripted) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found.server_address[1], script, asked
        found.shutdown()
        thread.join()


def test_scores_and_lessons_are_asked_as_spamc_asks(server):
    port, script, asked = server
    script += [
        b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.3 / 5.0\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; -2.0 / 5.0\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nDidSet: local\r\n\r\n",
    ]
    tested = SpamAssassin(port)
    assert tested.classify(b"one") == 15.3
    assert tested.classify(b"three") == -2.0
    tested.train(b"four", True)
    assert asked[0] == b"CHECK SPAMC/1.5\r\nContent-length: 3\r\n\r\none"
    assert asked[2] == (
        b"TELL SPAMC/1.5\r\nContent-length: 4\r\nMessage-class: spam\r\nSet: local\r\n\r\nfour"
    )


@pytest.mark.parametrize("answer", [b"", b"SPAMD/1.0 76 Bad header line\r\n", b"SPAMD/1.1 0 EX_OK"])
def test_what_is_no_score_is_a_failure(server, answer):
    port, script, _ = server
    script.append(answer)
    with pytest.raises(RivalFailedError, match="spamassassin"):
        SpamAssassin(port).classify(b"x")


def test_a_refused_lesson_is_a_failure(server):
    port, script, _ = server
    script.append(b"SPAMD/1.0 69 Service Unavailable: TELL commands are not enabled\r\n")
    with pytest.raises(RivalFailedError, match="TELL"):
        SpamAssassin(port).train(b"x", True)


def test_without_spamassassin_the_apt_line_is_named(monkeypatch):
    monkeypatch.setattr("training.bench_accuracy_spamassassin.shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingRivalError, match="apt-get install spamassassin"):
        open_spamassassin().__enter__()


@pytest.mark.long
@pytest.mark.needs("spamassassin")
@pytest.mark.timeout(300)
def test_the_real_one_starts_learns_and_ends():
    with open_spamassassin() as tested:
        assert tested.threshold == REQUIRED_SCORE
        assert taught_apart(tested) > 3.0
    with pytest.raises(RivalFailedError):
        tested.scorer.classify(b"Subject: gone\n\n")
