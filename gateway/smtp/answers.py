"""What the server itself says: a code, an enhanced code (RFC 3463), a plain text without a hint.

No text names a product, a version, a limit's value or a cause that helps a stranger.
"""

from gateway.core.reply import MAILBOX_UNCERTAIN, Reply


def _reply(code: int, enhanced: str, text: str) -> Reply:
    return Reply(code=code, enhanced=enhanced, text=text)


OK = _reply(250, "2.0.0", "OK")
SENDER_OK = _reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = _reply(250, "2.1.5", "Recipient OK")
HELP = _reply(214, "2.0.0", "See RFC 5321")
LOGGED_IN = _reply(235, "2.7.0", "Authentication successful")
READY_FOR_TLS = _reply(220, "2.0.0", "Ready to start TLS")
BYE = _reply(221, "2.0.0", "Bye")
WILL_TRY = _reply(252, "2.5.0", "Send some mail, it will be tried")

TIMED_OUT = _reply(421, "4.4.2", "Timeout, closing the connection")
SHUTTING_DOWN = _reply(421, "4.3.2", "Service is restarting, please try again")
TOO_MANY_CONNECTIONS = _reply(421, "4.3.2", "Too many connections, please try again later")
OUT_OF_ORDER = _reply(421, "4.3.0", "Service not available, please try again later")
TOO_MANY_ERRORS = _reply(421, "4.7.0", "Too many errors, closing the connection")
TOO_MUCH_MAIL = _reply(451, "4.7.1", "Too much mail at once, please try again later")
NOT_NOW = MAILBOX_UNCERTAIN
EARLY_TALKER = _reply(554, "5.5.1", "Data before the greeting")
NO_MEMORY = _reply(452, "4.3.1", "Too much mail at once, please try again later")
TOO_MANY_RECIPIENTS = _reply(452, "4.5.3", "Too many recipients")

LINE_TOO_LONG = _reply(500, "5.5.2", "Line too long")
BARE_LF = _reply(500, "5.5.2", "Lines end with CR LF")
BAD_CHARACTERS = _reply(500, "5.5.2", "Bad characters in command")
UNKNOWN_COMMAND = _reply(500, "5.5.1", "Unknown command")
NOT_A_MAIL_CLIENT = _reply(500, "5.5.1", "This is a mail server")
AUTH_CANCELLED = _reply(501, "5.7.0", "Authentication cancelled")
BAD_ARGUMENTS = _reply(501, "5.5.4", "Bad arguments")
NOT_IMPLEMENTED = _reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE = _reply(503, "5.5.1", "Bad sequence of commands")
OUT_OF_STEP = _reply(503, "5.5.0", "Data before the reply it has to wait for")
UNKNOWN_MECHANISM = _reply(504, "5.5.4", "Unknown authentication mechanism")
WRONG_LOGIN = _reply(535, "5.7.8", "Authentication failed")
NEEDS_TLS = _reply(538, "5.7.11", "Encryption is needed first")
NOT_YOUR_ADDRESS = _reply(553, "5.7.1", "Sender address is not yours")
TOO_BIG = _reply(552, "5.3.4", "Message too big")
BAD_SENDER = _reply(553, "5.1.7", "Bad sender address")
BAD_RECIPIENT = _reply(553, "5.1.3", "Bad recipient address")
NEEDS_SMTPUTF8 = _reply(553, "5.6.7", "Non-ASCII address without SMTPUTF8")
NO_VALID_RECIPIENTS = _reply(554, "5.5.1", "No valid recipients")
BAD_LINE_ENDS = _reply(554, "5.6.11", "Message has characters that are not allowed")
LONG_LINES = _reply(554, "5.6.0", "Message has lines that are too long")
UNKNOWN_PARAMETER = _reply(555, "5.5.4", "Unknown parameter")

START_DATA = b"354 End data with <CR><LF>.<CR><LF>\r\n"


def wire(reply: Reply, mail_id: str = "") -> bytes:
    """One reply line as it goes out, ASCII whatever the text was made from, with the id if given.

    An id that the text has already is not told twice.
    """
    text = reply.text
    if mail_id and mail_id not in text:
        text = f"{text} (id {mail_id})"
    line = f"{reply.code} {reply.enhanced} {text}".encode("ascii", "replace")
    return line.replace(b"\r", b" ").replace(b"\n", b" ") + b"\r\n"
