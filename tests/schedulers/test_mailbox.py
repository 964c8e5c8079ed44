"""A mailbox as a job of a real Slurm, on a node that is another host."""

import socket
from pathlib import Path

from sremote.client import Client
from sremote.testing_needs import eventually
from tests.kit.slurm import NODES


def test_calls_go_through_one_job_on_a_node(client: Client) -> None:
    with client.mailbox(walltime=600, scheduler="slurm", longest_pause=0.1) as mailbox:
        nodes = {client.call("socket", "gethostname") for _ in range(3)}
        assert nodes <= set(NODES)
        assert mailbox.job
    assert client.call("socket", "gethostname") == socket.gethostname()
    eventually(lambda: not Path(mailbox.folder).exists())
