"""Runs what ``remote_exec`` sends, each in a thread of its own or in the main one, with its channel."""

import linecache
import os
import queue
import sys
import textwrap
import threading
import time
from typing import Any, Callable, Container, Dict, Mapping, Optional, Set

from .channel import Channel
from .channels import Channels, Write
from .errors import FormatError, ValueRefused
from .execution import AllowedTypes
from .functions import Refusal, load_function
from .values import decode
from .wire import Message

NAME = "__channelexec__"
"""What sent code finds as its ``__name__``."""


class ExecModel:
    """How code over there runs beside other code: with threads, by the names that execnet's programs use."""

    Lock = staticmethod(threading.Lock)
    RLock = staticmethod(threading.RLock)
    Event = staticmethod(threading.Event)
    sleep = staticmethod(time.sleep)
    get_ident = staticmethod(threading.get_ident)
    queue = queue

    def __init__(self, backend: str) -> None:
        self.backend = "thread" if backend == "main_thread_first" else backend

    def start(self, function: Callable[..., Any], args: Any = ()) -> None:
        """Run a function in a thread."""
        threading.Thread(target=function, args=args, daemon=True).start()


class FarGateway:
    """What a channel's ``gateway`` is over there."""

    def __init__(self) -> None:
        self.id = ""
        self.execmodel = ExecModel("thread")
        self._channels: Optional[Channels] = None

    def newchannel(self) -> Channel:
        """Make a channel; the client has its end of it once it is sent to it."""
        assert self._channels is not None
        return self._channels.new()


class FarChannels(Channels):
    """The channels at the far end; the client's values are as trusted as its code."""

    def __init__(self, write: Write) -> None:
        gateway = FarGateway()
        super().__init__(write, first=2, owner=gateway)
        gateway._channels = self
        self._allowed: "frozenset[str]" = frozenset()
        self._types: Mapping[str, type] = {}
        self.executing: Set[int] = set()
        """The channels whose code runs."""

    def allow(self, names: Any) -> None:
        """Let more of the user's types travel."""
        if not self._allowed.issuperset(names):
            self._allowed |= frozenset(names)
            self._types = AllowedTypes(self._allowed)

    def allowed(self) -> Container[str]:
        return self._allowed

    def types(self) -> Mapping[str, type]:
        return self._types

    def remote_exec(self, request: Message, channel: Channel, settle: Callable[[], None]) -> None:
        """Run what a request asks for with its channel, then close that; ``settle`` comes before."""
        error: Optional[BaseException] = None
        try:
            self._load(request)(channel)
        except EOFError as caught:
            error = None if channel.isclosed() else caught
        except BaseException as caught:
            error = caught
        settle()
        self.executing.discard(channel.number)
        channel.close(error)

    def _load(self, request: Message) -> "Callable[[Channel], object]":
        """Return what is to be called with the channel.  Raises Refusal."""
        header = request.header
        self.allow(header.get("allow") or ())
        space: Dict[str, Any] = {"__name__": NAME}
        if header["target"]["kind"] == "text":
            text = bytes(request.get("source")).decode("utf-8")
            return lambda channel: _execute(text, header["target"]["file"], space, channel)
        function = load_function(request, self._types, space)
        try:
            arguments, keywords = decode(request, "value", self._types)
        except (FormatError, ValueRefused) as error:
            raise Refusal("arguments", "the arguments cannot be read here: {}".format(error)) from None
        return lambda channel: function(channel, *arguments, **keywords)


def _execute(text: str, file: str, space: Dict[str, Any], channel: Channel) -> None:
    text = textwrap.dedent(text)
    space["channel"] = channel
    # Tracebacks show the lines of the text though no file holds them here.
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    exec(compile(text, file, "exec"), space)


def describe_process(channel: Channel) -> None:
    """Send what the process is: executable, version_info, platform, cwd, pid."""
    channel.send(
        {
            "executable": sys.executable,
            "version_info": tuple(sys.version_info),
            "platform": sys.platform,
            "cwd": os.getcwd(),
            "pid": os.getpid(),
        }
    )


def describe_channels(channel: Channel) -> None:
    """Send how many channels there are, and how many run code, this one aside."""
    channels: Any = channel.gateway._channels
    channel.send(
        {
            "numchannels": len(channels) - 1,
            "numexecuting": len(channels.executing) - 1,
            "execmodel": channel.gateway.execmodel.backend,
        }
    )


def set_up(folder: str, nice: int, bytecode: bool) -> int:
    """Enter a folder, made where it is missing, and lower the priority; return the process's number.

    The priority is that of the calling thread, and of those that it starts.
    """
    sys.path.insert(0, "")
    sys.dont_write_bytecode = not bytecode
    if folder:
        folder = os.path.expanduser(folder)
        os.makedirs(folder, exist_ok=True)
        os.chdir(folder)
    if nice:
        os.nice(nice)
    return os.getpid()
