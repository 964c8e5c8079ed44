"""EasyCluster's names over sremote's sessions: a master script runs with ``from sremote.easycluster import *``.

What it had wrong works here: requests of any size, Python 3.13, ``Client.from_spec``.
Its server is ``sremote serve``, with a key file of its own form.
"""

from types import ModuleType

from sremote.easycluster.client import DEFINITIONS, AutoThreadingClient, Client, ThreadedClient
from sremote.easycluster.specs import (
    add_key_options,
    decode_key,
    generate_key,
    key_from_options,
    parse_connection_spec,
    read_key_file,
    write_key_file,
)
from sremote.objects import (
    SINGLE,
    ClientGroup,
    DefaultRemoteProxy,
    NonblockingResponse,
    RemoteException,
    RemoteProxy,
    SelfIterProxy,
    ServerObject,
    call_method_multi,
    call_multi,
    definitions,
    eval_multi,
    execblock_multi,
    make_server_class,
    make_singleton,
)

__all__ = [
    "SINGLE",
    "AutoThreadingClient",
    "Client",
    "ClientGroup",
    "DefaultRemoteProxy",
    "NonblockingResponse",
    "RemoteException",
    "RemoteProxy",
    "SelfIterProxy",
    "ServerObject",
    "ThreadedClient",
    "add_key_options",
    "call_method_multi",
    "call_multi",
    "decode_key",
    "define_common",
    "definitions_module",
    "eval_multi",
    "execblock_multi",
    "generate_key",
    "key_from_options",
    "make_server_class",
    "make_singleton",
    "parse_connection_spec",
    "read_key_file",
    "write_key_file",
]


def define_common(code: str, name: str = DEFINITIONS, local: bool = True) -> ModuleType:
    """Define functions and classes on both sides; see ``sremote.objects.define_common``."""
    return definitions.define_common(code, name, local)


def definitions_module(name: str = DEFINITIONS, keep_source: bool = True) -> ModuleType:  # noqa: ARG001 - it was there
    """Return the module of common code of that name; its source is always kept."""
    return definitions.definitions_module(name)


definitions_module()
