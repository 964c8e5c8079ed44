"""What a remote call raised, where the caller asked for it in this form."""

from __future__ import annotations

from sremote.interpreter.errors import SremoteError


class RemoteException(SremoteError):
    """A remote call raised an exception: ``orig`` is that, ``text`` its traceback over there."""

    def __init__(self, orig: BaseException, text: str) -> None:
        super().__init__(f"{type(orig).__name__}: {orig}")
        self.orig = orig
        self.text = text
