"""Exceptions as data: what a response says of the exception that a function raised."""

import os
import traceback
from typing import Any, Dict

from .errors import ValueRefused
from .values import encode, type_name
from .wire import Message

TEXT_LIMIT = 100000
"""Characters of an exception's text, and of its traceback; the middle of a longer one is left out."""
_HERE = os.path.dirname(os.path.abspath(__file__))


def describe(error: BaseException, response: Message, allowed: Any = ()) -> Dict[str, Any]:
    """Return an exception as the ``error`` object of a response's header.

    Its arguments and attributes go beside it as the section ``error``; its text
    stands in for arguments that are not plain data, and attributes that are not are
    left out.  Keys: type (``module:Class``), bases (the same for the classes it
    derives from, nearest first), text, traceback.
    """
    text = _text(error)
    arguments = _arguments(error)
    if not _may_travel(arguments, allowed):
        arguments = (text,)
    attributes = {name: value for name, value in _attributes(error).items() if _may_travel(value, allowed)}
    encode(response, "error", (arguments, attributes), allowed)
    return {
        "type": type_name(type(error)),
        "bases": [type_name(kind) for kind in type(error).__mro__[1:-1]],
        "text": _shortened(text),
        "traceback": _shortened(_traceback(error)),
    }


def _arguments(error: BaseException) -> Any:
    if isinstance(error, OSError) and type(error).__reduce__ is OSError.__reduce__:
        return error.__reduce__()[1]  # with the names of files, which its args lack
    return error.args


def _attributes(error: BaseException) -> Dict[str, Any]:
    attributes = dict(vars(error))
    if isinstance(error, ImportError):
        attributes.update(name=error.name, path=error.path)
    return attributes


def _may_travel(value: Any, allowed: Any) -> bool:
    try:
        encode(Message({}), "", value, allowed)
    except ValueRefused:
        return False
    return True


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


def _shortened(text: str) -> str:
    half = TEXT_LIMIT // 2
    if len(text) <= TEXT_LIMIT:
        return text
    return "{}\n[{} characters left out here]\n{}".format(text[:half], len(text) - 2 * half, text[-half:])
