"""A name server that answers at once from a table: ``-m tests.perf.quick_dns [ZONE.json [PORT]]``.

The table is ``{name: {type: [text, ...]}}``. Every other name does not exist. Answers are encoded
once, at the start, so that a query costs two system calls and a look-up. Says its port, then
answers each line with how many queries came and the names that did not exist, by how often.
"""

import json
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

import dns.name
import dns.rdata
import dns.rdatatype

_TTL = (300).to_bytes(4, "big")
_CLASS_IN = b"\0\1"
_OWNER = b"\xc0\x0c"  # the question's own name
_NO_NAME = b"\0\1\0\0\0\1\0\0"
_SOA = bytes.fromhex("00000600010000003c0016") + bytes(22)


class Table:
    """Encoded answers by the question's octets in lower case."""

    def __init__(self, records: dict[str, dict[str, list[str]]]) -> None:
        self.answers: dict[bytes, tuple[bytes, bytes]] = {}
        self.names: set[bytes] = set()
        for name, types in records.items():
            wire = dns.name.from_text(name).to_wire().lower()
            self.names.add(wire)
            for kind, texts in types.items():
                number = dns.rdatatype.from_text(kind)
                found = [dns.rdata.from_text("IN", kind, text).to_wire() for text in texts]
                section = b"".join(
                    _OWNER
                    + int(number).to_bytes(2, "big")
                    + _CLASS_IN
                    + _TTL
                    + len(one).to_bytes(2, "big")
                    + one
                    for one in found
                    if one is not None
                )
                question = wire + int(number).to_bytes(2, "big") + _CLASS_IN
                counts = b"\0\1" + len(found).to_bytes(2, "big") + b"\0\0\0\0"
                self.answers[question] = (counts, section)
        self.queries = 0
        self.unknown: Counter[bytes] = Counter()

    def answer(self, query: bytes) -> bytes:
        """The reply to one query; what it asks beyond its question is passed over."""
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        self.queries += 1
        key = question.lower()
        found = self.answers.get(key)
        if found is not None:
            counts, section = found
            return query[:2] + b"\x85\x80" + counts + question + section
        exists = key[:-4] in self.names
        if not exists:
            self.unknown[key] += 1
        code = b"\x85\x80" if exists else b"\x85\x83"
        return query[:2] + code + _NO_NAME + question + _SOA


def serve(table: Table, server: socket.socket) -> None:
    """Answer for ever."""
    while True:
        query, peer = server.recvfrom(4096)
        if len(query) > 16:
            server.sendto(table.answer(query), peer)


def main() -> None:
    """Serve until standard input ends."""
    records = json.loads(Path(sys.argv[1]).read_text()) if len(sys.argv) > 1 else {}
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    table = Table(records)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    server.bind(("127.0.0.1", port))
    threading.Thread(target=serve, args=(table, server), daemon=True).start()
    print(json.dumps({"port": server.getsockname()[1]}), flush=True)
    for _ in sys.stdin:
        most = [[str(key), count] for key, count in table.unknown.most_common(30)]
        print(json.dumps({"queries": table.queries, "unknown": most}), flush=True)


if __name__ == "__main__":
    main()
