"""Rspamd as a rival: its client against a scripted server, and the real one where it is there."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from tests.fakes.letters import taught_apart
from training.bench_accuracy_rivals import MissingRivalError, RivalFailedError
from training.bench_accuracy_rspamd import ADD_HEADER_SCORE, Rspamd, open_rspamd


class Scripted(BaseHTTPRequestHandler):
    """Answers with what the test put into ``script``; None closes the connection without one."""

    protocol_version = "HTTP/1.1"
    script: ClassVar[list]
    asked: ClassVar[list]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, body))
        answer = self.script.pop(0)
        if answer is None:
            self.close_connection = True
            return
        status, content = answer
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments):
        """Say nothing."""


@pytest.fixture
def server():
    class Handler(Scripted):
        script: ClassVar[list] = []
        asked: ClassVar[list] = []

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found.server_port, Handler
        found.shutdown()
        thread.join()


def test_scores_and_lessons_go_over_one_connection_each(server):
    port, handler = server
    handler.script += [(200, {"score": 7.25}), (200, {"score": -3})]
    tested = Rspamd(port, port)
    assert tested.classify(b"one") == 7.25
    assert tested.classify(b"two") == -3.0
    assert handler.asked == [("/checkv2", b"one"), ("/checkv2", b"two")]
    tested._scan.close()
    handler.script += [(200, {"success": True}), (208, {"error": "known"}), (204, b"")]
    tested.train(b"a", True)
    tested.train(b"b", False)
    tested.train(b"c", False)
    assert [path for path, _ in handler.asked[2:]] == ["/learnspam", "/learnham", "/learnham"]
    tested._control.close()


def test_a_closed_connection_is_opened_again_once(server):
    port, handler = server
    handler.script += [None, (200, {"score": 1.5})]
    tested = Rspamd(port, port)
    assert tested.classify(b"x") == 1.5
    tested._scan.close()
    handler.script += [None, None]
    with pytest.raises(RivalFailedError):
        tested.classify(b"x")
    tested._scan.close()


@pytest.mark.parametrize(
    "answer", [(500, {"error": "down"}), (200, {}), (200, [1]), (200, {"score": "high"})]
)
def test_what_is_no_score_is_a_failure(server, answer):
    port, handler = server
    handler.script += [answer]
    tested = Rspamd(port, port)
    with pytest.raises(RivalFailedError):
        tested.classify(b"x")
    tested._scan.close()


def test_a_refused_lesson_is_a_failure(server):
    port, handler = server
    handler.script += [(403, {"error": "forbidden"})]
    tested = Rspamd(port, port)
    with pytest.raises(RivalFailedError, match="403"):
        tested.train(b"x", True)
    tested._control.close()


def test_without_rspamd_the_apt_line_is_named(monkeypatch):
    monkeypatch.setattr("training.bench_accuracy_rspamd.shutil.which", lambda _: None)
    with pytest.raises(MissingRivalError, match="apt-get install rspamd redis-server"):
        open_rspamd().__enter__()


@pytest.mark.long
@pytest.mark.needs("rspamd")
@pytest.mark.needs("redis-server")
def test_the_real_one_starts_learns_and_ends():
    with open_rspamd() as tested:
        assert tested.threshold == ADD_HEADER_SCORE
        assert taught_apart(tested) > 3.0
    with pytest.raises(RivalFailedError):
        tested.scorer.classify(b"Subject: gone\n\n")
