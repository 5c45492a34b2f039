"""Words for an error that can always be sent, whatever the class of the error does.

User code raises objects of its own classes. Their text may hold half a surrogate pair (the name of
a file that is not UTF-8), may be larger than any message, or may itself raise.
"""

from __future__ import annotations

from typing import Final

TEXT_BYTES_MAX: Final = 64 * 2**10
"""More of an error's message, or of its stack, nobody reads; and both must fit into a reply."""


def message_of(error: BaseException) -> str:
    """What the error says."""
    try:
        return sendable(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # `__str__` is the user's, and may even call `sys.exit`
        return f"the text of the error cannot be had: its __str__ raised {type(failure).__name__}"


def sendable(text: str) -> str:
    """The text as UTF-8 can hold it, at most `TEXT_BYTES_MAX` of it."""
    raw = text[: TEXT_BYTES_MAX + 1].encode("utf-8", "replace")
    if len(raw) <= TEXT_BYTES_MAX:
        return raw.decode()
    return raw[:TEXT_BYTES_MAX].decode("utf-8", "ignore") + "\n..."
