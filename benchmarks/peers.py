"""The peers, each reduced to what is compared: connect over ssh, call a function with a small number, hang up.

Each reaches the server with the ssh program, as it does by itself, in the way that is
fastest for it.
"""

from __future__ import annotations

import abc
import operator
from typing import Any, ClassVar

from benchmarks.place import Place


class Peer(abc.ABC):
    """A connection to the server; made by naming the class."""

    name: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, place: Place) -> None:
        """Connect, so that calls can follow."""

    @abc.abstractmethod
    def call(self, value: int) -> int:
        """Have the host negate a number."""

    @abc.abstractmethod
    def close(self) -> None:
        """Hang up."""


class Execnet(Peer):
    name = "execnet"

    def __init__(self, place: Place) -> None:
        import execnet

        self._group = execnet.Group()
        self._gateway = self._group.makegateway(f"ssh={place.server.name}//python=python3")
        self._channel = self._gateway.remote_exec(
            "from operator import neg\nfor value in channel:\n    channel.send(neg(value))\n"
        )

    def call(self, value: int) -> int:
        self._channel.send(value)
        answer: int = self._channel.receive()
        return answer

    def close(self) -> None:
        self._group.terminate(timeout=5)


class Mitogen(Peer):
    name = "mitogen"

    def __init__(self, place: Place) -> None:
        import mitogen.master

        self._broker = mitogen.master.Broker()
        router = mitogen.master.Router(self._broker)
        self._context = router.ssh(
            hostname=place.server.name, python_path="python3", check_host_keys="enforce", compression=False
        )

    def call(self, value: int) -> int:
        answer: int = self._context.call(operator.neg, value)
        return answer

    def close(self) -> None:
        self._broker.shutdown()
        self._broker.join()


class Rpyc(Peer):
    name = "rpyc"

    def __init__(self, place: Place) -> None:
        from plumbum import SshMachine
        from rpyc.utils.zerodeploy import DeployedServer

        self._machine = SshMachine(place.server.name, scp_opts=["-F", str(place.server.config_file)])
        self._server = DeployedServer(self._machine, python_executable="python3")
        self._connection = self._server.classic_connect()
        self._function: Any = self._connection.modules.operator.neg

    def call(self, value: int) -> int:
        answer: int = self._function(value)
        return answer

    def close(self) -> None:
        self._connection.close()
        self._server.close()
        self._machine.close()


class EasyCluster(Peer):
    name = "EasyCluster"

    def __init__(self, place: Place) -> None:
        import easycluster

        self._client = easycluster.Client(
            host=place.server.name, port=place.server.port, ssh=str(place.ssh), rpython="python3"
        )
        self._client.import_module("operator")

    def call(self, value: int) -> int:
        answer: int = self._client.call("operator.neg", value)
        return answer

    def close(self) -> None:
        self._client.close()


ALL: tuple[type[Peer], ...] = (Execnet, Mitogen, Rpyc, EasyCluster)
