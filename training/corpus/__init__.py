"""Labelled mail from where it lies: files, folders, mailboxes, index files and our own archive."""

from training.corpus.index import IndexEntry, read_index, read_index_entries
from training.corpus.message import CorpusMessage, CorpusProblem, ProblemCode, ReadLimits
from training.corpus.reading import read_messages, read_one

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
