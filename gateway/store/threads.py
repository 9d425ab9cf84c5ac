"""Waiting for the disk without holding up the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor


async def finish_in_thread(executor: Executor, call: Callable[[], None]) -> None:
    """Run ``call`` in a thread and wait for its end, whatever happens to the caller.

    A caller that is cancelled hears of it only when the call is done: what the call works on, a
    mapped file above all, is the caller's to close.
    """
    job = asyncio.get_running_loop().run_in_executor(executor, call)
    cancelled = False
    while not job.done():
        try:
            await asyncio.wait([job])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        job.exception()  # nobody is left to hear of it
        raise asyncio.CancelledError
    job.result()
