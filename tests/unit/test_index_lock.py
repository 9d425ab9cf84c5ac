"""One index writer: the second is told no, and a dead one leaves no lock behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from gateway.store.lock import WriterLock

ROOT = Path(__file__).parents[2]
HOLDER = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from gateway.store.lock import WriterLock\n"
    "lock = WriterLock.try_acquire(Path(sys.argv[1]))\n"
    "print('held' if lock else 'refused', flush=True)\n"
    "time.sleep(60)\n"
)


def test_a_lock_is_held_once_and_can_be_given_back(tmp_path: Path) -> None:
    path = tmp_path / "index.lock"
    first = WriterLock.try_acquire(path)
    assert first is not None
    assert WriterLock.try_acquire(path) is None
    first.release()
    first.release()
    with WriterLock.try_acquire(path) or first:
        assert WriterLock.try_acquire(path) is None
    again = WriterLock.try_acquire(path)
    assert again is not None
    again.release()


def test_a_killed_holder_leaves_it_free(tmp_path: Path) -> None:
    path = tmp_path / "index.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert WriterLock.try_acquire(path) is None
        holder.send_signal(signal.SIGKILL)
    lock = WriterLock.try_acquire(path)
    assert lock is not None
    lock.release()


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    lock = WriterLock.try_acquire(tmp_path / "index.lock")
    assert lock is not None
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.release()
        again = WriterLock.try_acquire(tmp_path / "index.lock")
        os.kill(child.pid, signal.SIGKILL)
    assert again is not None
    again.release()
