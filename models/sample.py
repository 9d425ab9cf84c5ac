"""Which pieces of a large message are read: always its beginning, its end and its last part."""


def allot(sizes: list[int], budget: int) -> list[int]:
    """Share a budget among parts of these sizes, in order; no share exceeds its size.

    Everything fits, or: the first and the last part get up to a quarter each, what is left is
    shared evenly, and what small parts don't need goes to the larger ones.
    """
    if sum(sizes) <= budget:
        return list(sizes)
    shares = [0] * len(sizes)
    for index in (0, -1):
        shares[index] = min(sizes[index], budget // 4)
    left = budget - sum(shares)
    by_need = sorted(range(len(sizes)), key=lambda index: sizes[index] - shares[index])
    for served, index in enumerate(by_need):
        share = min(sizes[index] - shares[index], max(left, 0) // (len(sizes) - served))
        shares[index] += share
        left -= share
    return shares


def spans(start: int, end: int, share: int) -> list[tuple[int, int]]:
    """Choose what to read of ``start`` to ``end``: all of it, or three fifths front, rest back."""
    if end - start <= share:
        return [(start, end)]
    front = share * 3 // 5
    return [(start, start + front), (end - (share - front), end)]


def excerpt(text: str, share: int) -> str:
    """Cut a text to ``share`` characters, keeping its beginning and its end."""
    if len(text) <= share:
        return text
    (_, front_end), (back_start, _) = spans(0, len(text), share - 1)
    return f"{text[:front_end]}\n{text[back_start:]}" if share > 1 else text[:share]
