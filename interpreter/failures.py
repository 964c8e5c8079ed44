"""Exceptions as data: what a response says of the exception that a function raised."""

import contextlib
import os
import traceback
from typing import Any, Dict

from .errors import ValueRefused
from .values import encode, type_name
from .wire import Message

_HERE = os.path.dirname(os.path.abspath(__file__))


def describe(error: BaseException, response: Message, allowed: Any = ()) -> Dict[str, Any]:
    """Return an exception as the ``error`` object of a response's header.

    Its arguments and attributes go beside it as the section ``error``, where they
    are plain data.  Keys: type (``module:Class``), bases (the same for the classes
    it derives from, nearest first), text, traceback.
    """
    with contextlib.suppress(ValueRefused):
        encode(response, "error", (error.args, dict(vars(error))), allowed)
    return {
        "type": type_name(type(error)),
        "bases": [type_name(kind) for kind in type(error).__mro__[1:-1]],
        "text": _text(error),
        "traceback": _traceback(error),
    }


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be shown)"


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_HERE + os.sep):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        return "(the traceback cannot be shown)"
