"""Labelled mail from where it lies: files, folders, mailboxes, index files and our own archive."""

from models.mailboxes.message import CorpusMessage, CorpusProblem, ProblemCode, ReadLimits
from models.mailboxes.reading import read_messages, read_one
from training.corpus.index import IndexEntry, read_index, read_index_entries

__all__ = [
    "CorpusMessage",
    "CorpusProblem",
    "IndexEntry",
    "ProblemCode",
    "ReadLimits",
    "read_index",
    "read_index_entries",
    "read_messages",
    "read_one",
]
