"""``queue retry`` reaches every copy, however many pages there are."""

from gateway.cli.queue import waiting_copies


class Pages:
    """Listings of seven rows, three a page."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def queue(self, *, domain: str, after: str, limit: int) -> object:
        self.asked.append((domain, after))
        start = int(after or 0)
        rows = tuple(range(7))[start : start + 3]

        class Page:
            next = str(start + 3) if start + 3 < 7 else None

        Page.rows = rows
        return Page


def test_every_page_is_read() -> None:
    pages = Pages()
    assert list(waiting_copies(pages, "one.example")) == list(range(7))
    assert pages.asked == [("one.example", ""), ("one.example", "3"), ("one.example", "6")]
