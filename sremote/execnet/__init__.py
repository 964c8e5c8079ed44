"""The names of execnet 2.1 over sremote's sessions: a program that uses it runs by changing the import.

from sremote import execnet

gateway = execnet.makegateway("ssh=user@host")
channel = gateway.remote_exec("channel.send(channel.receive() + 1)")
"""

from sremote.execnet.channel import Channel, MultiChannel
from sremote.execnet.errors import DataFormatError, DumpError, HostNotFound, LoadError, RemoteError, TimeoutError  # noqa: A004
from sremote.execnet.gateway import Gateway
from sremote.execnet.group import Group, default_group, makegateway, set_execmodel
from sremote.execnet.rsync import RSync
from sremote.execnet.serial import dump, dumps, load, loads
from sremote.execnet.spec import XSpec

__version__ = "2.1.2"
"""The version of execnet whose names these are."""

__all__ = [
    "Channel",
    "DataFormatError",
    "DumpError",
    "Gateway",
    "Group",
    "HostNotFound",
    "LoadError",
    "MultiChannel",
    "RSync",
    "RemoteError",
    "TimeoutError",
    "XSpec",
    "__version__",
    "default_group",
    "dump",
    "dumps",
    "load",
    "loads",
    "makegateway",
    "set_execmodel",
]
