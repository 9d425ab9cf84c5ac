"""``schwamm queue`` against a running gateway: retry, hold, resume, delete, and what they leave."""

import asyncio
from pathlib import Path

from tests.fakes.gateway import Gateway
from tests.fakes.sink import Script, sink
from tests.functional.test_next_hop_fates import send, subjects, until


async def test_what_an_admin_can_do_with_waiting_mail(tmp_path: Path) -> None:
    later = Script(answers={"rcpt": "450 4.2.0 later"})
    async with sink(later) as to:
        gateway = Gateway(tmp_path, f"127.0.0.1:{to.port}")
        gateway.environment["SCHWAMM_DELIVERY__FIRST_RETRY_S"] = "3600"

        def start() -> None:
            gateway.init()
            gateway.run("domain", "add", "other.example", "--next-hop", f"127.0.0.1:{to.port}")
            gateway.start()

        async def queue(*words: str) -> str:
            done = await asyncio.to_thread(gateway.run, "queue", *words)
            return done.stdout.strip()

        def waiting() -> dict[str, str]:
            return {str(row["recipient"]): str(row["id"]) for row in gateway.rows("queue", "list")}

        try:
            await asyncio.to_thread(start)
            for name in ("a@trial.example", "b@trial.example", "c@other.example"):
                assert await send(gateway, name.partition("@")[0], name) == 250
            tried = lambda: [row["attempts"] for row in gateway.rows("queue", "list")]  # noqa: E731
            await until(lambda: tried() == [1, 1, 1], "three copies that wait for an hour")
            ids = waiting()
            later.answers.clear()
            assert await queue("retry", "--domain", "other.example") == "1 copies are due now."
            await until(lambda: subjects(to) == ["c"], "the copy that was hurried")
            assert await queue("hold") == "The queue is on hold."
            assert await queue("retry") == "2 copies are due now."
            assert await queue("delete", ids["a@trial.example"]) == "1 copies deleted."
            await until(lambda: waiting().keys() == {"b@trial.example"}, "one to wait")
            assert subjects(to) == ["c"]
            assert await queue("resume") == "The queue runs."
            await until(lambda: waiting() == {}, "an empty queue")
            assert subjects(to) == ["c", "b"]
            tracked = gateway.rows("track", ids["a@trial.example"])
            assert [row["recipient"] for row in tracked] == ["a@trial.example"]
            unknown = gateway.run("queue", "retry", ids["a@trial.example"], check=False)
            assert unknown.returncode == 1
            both = gateway.run("queue", "retry", "x", "--domain", "y.example", check=False)
            assert both.returncode == 2
        finally:
            gateway.kill_everything()
