"""Stored mail from where it lies: a message file, an mbox, a Maildir, a tree, gzip of any.

Read by training and by ``schwamm scan``, so that both take the same files.
"""

from models.mailboxes.message import CorpusMessage, CorpusProblem, ProblemCode, ReadLimits
from models.mailboxes.reading import read_messages, read_one

__all__ = [
    "CorpusMessage",
    "CorpusProblem",
    "ProblemCode",
    "ReadLimits",
    "read_messages",
    "read_one",
]
