"""Functions and objects of a living process on a host, used as if they were here.

from sremote.objects import define_common

define_common("def add(a, b): return a + b")
with client.objects() as remote:
    remote.add(3, 4)
"""

from sremote.interpreter.object_exports import ServerObject, make_server_class, make_singleton
from sremote.interpreter.object_proxies import DefaultRemoteProxy, RemoteProxy, SelfIterProxy
from sremote.objects.client import ObjectClient
from sremote.objects.definitions import define_common
from sremote.objects.errors import RemoteException
from sremote.objects.groups import ClientGroup, call_method_multi, call_multi, eval_multi, execblock_multi
from sremote.objects.responses import SINGLE, NonblockingResponse
from sremote.objects.threaded import ThreadedObjectClient

__all__ = [
    "SINGLE",
    "ClientGroup",
    "DefaultRemoteProxy",
    "NonblockingResponse",
    "ObjectClient",
    "RemoteException",
    "RemoteProxy",
    "SelfIterProxy",
    "ServerObject",
    "ThreadedObjectClient",
    "call_method_multi",
    "call_multi",
    "define_common",
    "eval_multi",
    "execblock_multi",
    "make_server_class",
    "make_singleton",
]
