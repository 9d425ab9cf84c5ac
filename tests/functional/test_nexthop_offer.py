"""What follows from a next hop's offer: what is said to it, and what is refused for it."""

from dataclasses import replace

import pytest

from gateway.net.nexthop import Transaction
from tests.fakes.sink import Script, recipients_of, sink
from tests.functional.test_nexthop import MAIL, connected, fates, hand_off, transaction


@pytest.mark.parametrize(
    ("offers", "one", "expected"),
    [
        (("SIZE 20",), transaction(), "552 5.3.4"),
        (("SIZE 0",), transaction(), "250 2.0.0"),
        (("SIZE",), transaction(), "250 2.0.0"),
        (("SIZE x", "8bitmime"), transaction(b"a: b\r\n\r\n\xe4\r\n"), "250 2.0.0"),
        (("SIZE 1000",), transaction(b"a: b\r\n\r\n\xe4\r\n"), "554 5.6.3"),
        (("8BITMIME",), transaction(mail_from="jörg@example.org"), "550 5.6.7"),
        (("8BITMIME",), transaction(MAIL, "jörg@trial.example"), "550 5.6.7"),
        (("8BITMIME",), transaction(MAIL, "a@bücher.example"), "250 2.0.0"),
        (("8BITMIME",), transaction("a: ä\r\n\r\n".encode(), smtputf8=True), "550 5.6.7"),
        (("8BITMIME",), transaction(MAIL, smtputf8=True), "250 2.0.0"),
        (("8BITMIME", "SMTPUTF8"), transaction(MAIL, "jörg@trial.example"), "250 2.0.0"),
    ],
)
async def test_what_ehlo_rules_out_is_answered_here(
    offers: tuple[str, ...], one: Transaction, expected: str
) -> None:
    async with sink(Script(offers=offers)) as target:
        result = await hand_off(target, one)
    (reply,) = result.replies
    assert f"{reply.code} {reply.enhanced}" == expected
    assert reply.local is not expected.startswith("250")
    assert len(target.messages) == (1 if expected.startswith("250") else 0)


async def test_a_recipient_that_cannot_be_asked_for_costs_the_others_nothing() -> None:
    addresses = ("anna@one.example", "jörg@one.example", "a b@one.example", "bert@one.example")
    async with sink(Script(offers=("8BITMIME",))) as target:
        result = await hand_off(target, transaction(MAIL, *addresses, smtputf8=True))
    assert fates(result) == ["250", "550", "553", "250"]
    assert [reply.local for reply in result.replies] == [False, True, True, False]
    assert [reply.recipient for reply in result.replies] == list(addresses)
    assert recipients_of(target.messages) == ["anna@one.example", "bert@one.example"]


@pytest.mark.parametrize(
    ("offers", "orcpt", "sent"),
    [
        (("DSN", "SMTPUTF8"), "utf-8;jö@b.example", "utf-8;jö@b.example"),
        (("DSN",), "utf-8;jö@b.example", r"utf-8;j\x{F6}@b.example"),
        (("DSN",), r"utf-8;\x{1F600}@b.example", r"utf-8;\x{1F600}@b.example"),
    ],
)
async def test_the_original_recipient_is_passed_on_in_7_bits(
    offers: tuple[str, ...], orcpt: str, sent: str
) -> None:
    plain = transaction()
    asking = replace(plain, recipients=tuple(replace(o, orcpt=orcpt) for o in plain.recipients))
    async with sink(Script(offers=offers)) as target:
        await hand_off(target, asking)
    (command,) = (line for line in target.commands if line.startswith("RCPT"))
    assert command.endswith(f" ORCPT={sent}")


async def test_parameters_say_what_the_message_needs() -> None:
    async with sink() as target:
        connection = await connected(target.hop)
        await connection.transact(transaction())
        await connection.transact(transaction(b"a: b\r\n\r\n\xe4\r\n", "jörg@trial.example"))
        connection.abort()
    mails = [line for line in target.commands if line.startswith("MAIL")]
    assert mails == [
        f"MAIL FROM:<from@example.org> SIZE={len(MAIL)}",
        "MAIL FROM:<from@example.org> SIZE=11 BODY=8BITMIME SMTPUTF8",
    ]
    assert target.messages[1].rcpt_to == ["jörg@trial.example"]


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example>\r\nRCPT TO:<x@y.example",
        "a\n@b.example",
        "a\r@b.example",
        "a@b.example> SIZE=1",
        "a b@c.example",
        "a\x00@b.example",
        "\udc80@b.example",
        "a" * 400 + "@b.example",
    ],
)
async def test_an_address_cannot_become_a_command(address: str) -> None:
    async with sink() as target:
        bad_sender = await hand_off(target, transaction(mail_from=address))
        bad_recipient = await hand_off(target, transaction(MAIL, address))
    assert fates(bad_sender) == fates(bad_recipient) == ["553"]
    assert [line.split()[0] for line in target.commands] == ["EHLO", "EHLO"]


async def test_a_quoted_local_part_goes_out_as_it_came() -> None:
    address = '"a b>c"@trial.example'
    async with sink() as target:
        await hand_off(target, transaction(MAIL, address))
    assert target.messages[0].rcpt_to == [address]
