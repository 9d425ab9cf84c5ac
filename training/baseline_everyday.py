"""Everyday English letters, notices of shops and servers, and the pages they come in.

The English ham of the public corpora is talk of mailing lists. A model that knows no other takes
"please find attached", an order number or a page with pictures for signs of spam: of business mail
written by hand for a trial, half got half the cap. So messages of both classes are shown once more
inside such letters (`EverydayDresser.frame`), which says that the frame speaks for neither, and a
few hundred letters of nothing else are shown as ham (`EverydayDresser.letter`). The sentences were
written for this project and copied from nowhere.
"""

from __future__ import annotations

import html
import re
from typing import Final

import numpy as np

from training.baseline_modern import ModernDresser
from training.baseline_sources import as_html

_SENTENCES: Final = tuple(
    """\
Thank you for your email of {day}.
Thanks for getting back to me so quickly.
Please find attached the minutes of our meeting on {day}.
Please find enclosed our offer number {n} for the items you asked for.
I am writing to confirm our appointment on {day} at {time}.
Could you let me know whether {day} would suit you?
We have received your order {n} and will ship it on {day}.
Your order has been dispatched and should arrive on {day}.
You can follow the delivery with the tracking number {n}.
Your invoice {n} for {month} is ready; the amount of {amount} is due on {day}.
We have received your payment of {amount}, thank you.
The amount will be charged to your credit card within the next few days.
Here is your receipt for the purchase of {amount}.
Your booking is confirmed. The reservation number is {n}.
Check-in is from {time}, and breakfast is included in the price.
You may cancel free of charge until {day}.
Please bring your passport and this confirmation to the desk.
Your ticket is attached as a PDF; please print it or show it on your phone.
We regret to inform you that the course on {day} has been cancelled.
The next meeting of the committee will take place on {day} at {time} in room {n}.
Please send your comments on the draft by {day}.
I have made the changes you asked for and uploaded the new version.
Attached is the signed contract; the original follows by post.
The contract ends on {day} and is renewed for a year unless you cancel it.
Our bank details have not changed, please quote the invoice number with your payment.
If the figures do not agree with your records, please call {name}.
Could you please send me the delivery address and a phone number?
The part is on back order; the supplier promises {day}.
We can offer you a discount of {pct} % if you order more than {n} pieces.
Prices are net, delivery is free within the country, payment within 30 days.
I would be grateful for a short reply.
I have copied {name} in, who looks after the project while I am away.
I will be out of the office until {day} and will answer your message when I am back.
In urgent cases please contact my colleague {name}.
Your request has been received and was given the number {n}.
One of our staff will look at it and get back to you within two working days.
Please do not change the subject when you reply, so that we can find your case.
We have closed your ticket. If the problem comes back, simply reply to this message.
How satisfied were you with our help? The survey takes two minutes.
You asked us to reset your password. If it was not you, please ignore this message.
Your account has been created. To activate it, please confirm your email address.
Someone signed in to your account from a new device on {day} at {time}.
Your verification code is {n}. It is valid for ten minutes.
Your subscription to our newsletter has been confirmed.
You are receiving this message because you signed up on our website.
If you no longer wish to receive these emails, you can unsubscribe at any time.
This message was generated automatically, please do not reply to it.
Your monthly statement is available in your online account.
The terms and conditions of your account change on {day}; there is nothing you need to do.
Our opening hours over the holidays are listed below.
The server will be down for maintenance on {day} between {time} and {time}.
Please save your work and log off in good time.
Backup finished at {time}: {n} files copied, no errors.
The build of {day} failed, see the log for details.
A new comment was added to a task that is assigned to you.
{name} has shared a document with you.
{name} invites you to a video meeting on {day} at {time}.
The following books are due on {day}. You can renew them online.
Dear parents, the school trip takes place on {day}; please sign the form.
Lunch costs {amount} and can be paid in cash.
We are looking for volunteers for the summer party on {day}.
Membership fees for this year are due; you can pay by bank transfer.
Many thanks to all who helped with the spring sale!
In this issue: news from the board, dates for {month}, and a portrait of {name}.
Read the whole article on our website.
Registration for the conference is open until {day}; early birds save {amount}.
Your paper number {n} has been accepted for presentation.
The reviewers' comments are included below.
I saw your advertisement and would like to apply for the position.
Please find my CV and two references attached; I could start on {day}.
Thank you for your application. We would like to invite you to an interview on {day}.
Please fill in the form and return it to the human resources department.
Holiday requests for {month} must reach us by {day}.
The new price list is valid from {day}.
We hope you enjoyed your stay and would be happy about a review.
Your car is due for its service; call us to make an appointment.
Your appointment with Dr {name} is on {day} at {time}. Please arrive ten minutes early.
The flat is still available, would you like to see it on {day}?
The rent is {amount} a month plus heating, the deposit is two months' rent.
The heating engineer will come on {day} between {time} and {time}.
How are you? We had a wonderful weekend and send you a few photos.
The children are well and say hello to grandma.
Shall we meet at {time} in front of the cinema?
I'll bring the salad if you take care of the drinks.
Happy birthday! I wish you all the best and lots of good luck.
Sorry for the late reply, I was travelling all week.
See you on {day}, give my love to {name}.
I spoke to the client this morning and they are happy with the proposal.
Let us discuss the budget on {day}; I have blocked an hour in your calendar.
Sales in {month} were {pct} % above plan, mostly thanks to the new customers.
The auditors need the list of assets by {day}.
Can you approve the purchase of {n} licences? The quote is valid until {day}.
I have forwarded your message to the legal department.
The insurance company needs the damage report and a copy of the invoice.
Your claim has been settled; we have transferred {amount} to your account.
Thank you for your donation of {amount}. Your support makes a difference.
We look forward to working with you.
Please let me know if you have any further questions.
You will find more information on our website.
Just let us know if there is anything else that we can do for you.
Best wishes for the new year to you and your family!
Here are the links I mentioned on the phone.
Please call me back when you have a minute, my number is {phone}.
The goods were damaged on arrival, I attach a few pictures.
We apologise for the inconvenience and will send a replacement at no cost.
You can return the item within 30 days in its original packaging.
The refund of {amount} will appear on your statement in three to five days.
""".splitlines()
)
_GREETINGS: Final = (
    "Dear Sir or Madam,", "Dear Mr {name},", "Dear Ms {name},", "Dear {first},", "Hi {first},",
    "Hello {first},", "Hello,", "Hi all,", "Good morning,", "Dear colleagues,", "Dear customer,",
    "Dear members,", "",
)  # fmt: skip
_CLOSINGS: Final = (
    "Kind regards,", "Best regards,", "Best wishes,", "Regards,", "Many thanks,",
    "Yours sincerely,", "Cheers,", "Thanks,", "All the best,", "Sincerely,", "",
)  # fmt: skip
_FOOTERS: Final = (
    ("This email and any attachments are confidential. If you are not the intended recipient,"
    " please delete it and inform the sender."),
    "Registered office: {n} High Street. Company number {n}.",
    "{name} Ltd | {n} Station Road | Phone {phone} | Fax {phone}",
    "Please consider the environment before printing this email.",
    ("You received this email because you are a customer of {name}."
    " Unsubscribe | Privacy | Contact"),
    "(c) {name} Inc. All rights reserved.",
    "Sent from my phone",
    "View this email in your browser",
    "", "", "", "",
)  # fmt: skip
_FIRST: Final = (
    "Anna", "Tom", "Susan", "Peter", "Karen", "David", "Laura", "Mark", "Emma", "John", "Julia",
    "Robert", "Helen", "Paul", "Nina", "James",
)  # fmt: skip
_LAST: Final = (
    "Baker", "Miller", "Hughes", "Carter", "Wright", "Foster", "Schmidt", "Novak", "Olsen",
    "Martin", "Rossi", "Walker", "Young", "Peters", "Clark", "Morgan",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS: Final = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "tomorrow", "", "", "", "",
)  # fmt: skip
_SUMS: Final = ("${}", "EUR {}", "{} euros", "\N{POUND SIGN}{}", "USD {}")
_FONTS: Final = (
    "Arial, Helvetica, sans-serif", "Calibri, sans-serif", "Verdana", "Georgia, serif",
    "'Open Sans', Arial",
)  # fmt: skip
_LINKS: Final = (
    "View online", "Details", "Click here", "More", "Manage preferences", "Unsubscribe",
    "Visit our website",
)  # fmt: skip
_SLOT: Final = re.compile(r"\{(\w+)\}")


class EverydayDresser(ModernDresser):
    """Writes letters under headers of today, plain or as the pages that offices and shops send."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._generator = np.random.default_rng([seed, 2027])

    def letter(self) -> bytes:
        """Return a whole message that says nothing but such sentences."""
        words = self._filled(self._of(_SENTENCES)).rstrip(".").split()
        subject = " ".join(words[: 3 + self._below(5)])
        return self.dress([b"Subject: " + subject.encode("ascii", "replace")], self.frame(b""))

    def frame(self, text: bytes) -> bytes:
        """Return the text with greeting, sentences before and after it, signature and footer."""
        own = text.decode("utf-8", "replace").strip()
        alone = 0 if own else 1
        pieces = [self._filled(self._of(_GREETINGS))]
        pieces += [self._some_sentences() for _ in range(self._below(3) + alone)]
        pieces.append(own)
        pieces += [self._some_sentences() for _ in range(self._below(2) + alone)]
        closing = self._of(_CLOSINGS)
        if closing:
            last = " " + self._of(_LAST) if self._below(2) else ""
            pieces.append(f"{closing}\n{self._of(_FIRST)}{last}")
        pieces.append(self._filled(self._of(_FOOTERS)))
        return ("\n\n".join(piece for piece in pieces if piece) + "\n").encode()

    def _some_sentences(self) -> str:
        return " ".join(self._filled(self._of(_SENTENCES)) for _ in range(1 + self._below(3)))

    def _filled(self, sentence: str) -> str:
        return _SLOT.sub(lambda slot: self._slot(slot[1]), sentence)

    def _slot(self, kind: str) -> str:
        """Return a value of this kind, a family name for any that is not known."""
        hour, minute, half = self._below(24), self._below(60), 1 + self._below(12)
        time = self._of(("{hour:02}:{minute:02}", "{half} pm", "{half} am"))
        values = {
            "n": str(1 + self._below(10 ** (1 + self._below(6)))),
            "day": self._of(_DAYS) or self._day(),
            "time": time.format(hour=hour, minute=minute, half=half),
            "month": self._of(_MONTHS),
            "amount": self._of(_SUMS).format(f"{self._below(3000)}.{self._below(100):02}"),
            "pct": str(1 + self._below(40)),
            "phone": f"{self._below(10)}{self._below(1000)} {self._below(1_000_000)}",
            "first": self._of(_FIRST),
        }
        return values.get(kind) or self._of(_LAST)

    def _day(self) -> str:
        day, month = 1 + self._below(28), self._below(12)
        shape = self._of(("{day} {name}", "{name} {day}", "{day:02}/{month:02}/20{year:02}"))
        return shape.format(day=day, name=_MONTHS[month], month=month + 1, year=self._below(28))

    def _page(self, text: bytes) -> bytes:
        match self._below(4):
            case 0:
                return as_html(text)
            case 1:
                lines = html.escape(text.decode("utf-8", "replace"), quote=False).split("\n")
                divisions = "".join(f"<div>{line or '<br>'}</div>" for line in lines)
                return f'<div dir="ltr">{divisions}</div>\n'.encode()
        return self._table(text.decode("utf-8", "replace")).encode()

    def _table(self, text: str) -> str:
        """Return a page as newsletters and shops lay it out, with pictures and links."""
        host = f"{self._token(7).lower()}.{self._of(('net', 'com', 'de', 'org'))}"
        style = (
            f"margin:0 0 {8 + self._below(12)}px;font-family:{self._of(_FONTS)};"
            f"font-size:{self._of(('14px', '11pt', '13px', '16px'))};"
            f"color:#{self._of(('333333', '222222', '4a4a4a', '000000'))}"
        )
        body = "\n".join(
            f'<p style="{style}">{html.escape(piece, quote=False)}</p>'.replace("\n", "<br>\n")
            for piece in text.split("\n\n")
            if piece.strip()
        )
        logo = self._picture(host, 120 + self._below(400), 20 + self._below(90), of=4)
        banner = self._picture(host, 600, 100 + self._below(200), of=2)
        dot = self._picture(host, 1, 1, of=2)
        link = (
            f'<a href="https://{self._of(("www", "click", "links", "email"))}.{host}/'
            f'{self._token(14)}" style="color:#{self._of(("0a66c2", "ffffff", "1155cc"))}">'
            f"{self._of(_LINKS)}</a>"
        )
        return (
            '<!DOCTYPE html><html><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"></head>\n'
            '<body bgcolor="#f4f4f4" style="margin:0;padding:0">\n'
            '<table width="100%" cellpadding="0" cellspacing="0" border="0">'
            '<tr><td align="center">\n'
            '<table width="600" cellpadding="0" cellspacing="0" border="0" bgcolor="#ffffff">'
            f'<tr><td>{logo}</td></tr><tr><td style="padding:20px">{banner}\n{body}\n{link}\n'
            f"</td></tr></table></td></tr></table>{dot}</body></html>\n"
        )

    def _picture(self, host: str, width: int, height: int, *, of: int) -> str:
        """Return a picture, or nothing once in ``of``."""
        if self._below(of) == 0:
            return ""
        name = f"{self._token(12)}.{self._of(('png', 'gif', 'jpg'))}"
        return f'<img src="https://{host}/{name}" width="{width}" height="{height}" alt="">'
