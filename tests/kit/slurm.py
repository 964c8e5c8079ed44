"""A real Slurm on this machine: its own munge, a controller, two nodes of two cores; no systemd, no cgroups.

The nodes have host names of their own, so that to their jobs they are other hosts than
the one where these tests run, with its file system.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.kit.requirements import need_program

START_TIMEOUT = 60.0
"""Seconds that it may take until both nodes are idle."""
NODES = ("n1", "n2")


class Slurm:
    """A cluster, running from ``start`` to ``stop``.

    folder        all that it writes; its path is short, as munge's socket is in it
    environment   what commands need to reach it
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._forgetful = False
        for name in ("state", "log", "run", "munge", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir()
        folder.chmod(0o755)
        (folder / "munge").chmod(0o711)
        key = folder / "munge" / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        (folder / "plugstack.conf").touch()
        (folder / "cgroup.conf").write_text(f"CgroupPlugin={_cgroup_plugin()}\n")
        self._configure(_free_ports(1 + len(NODES)))

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead its commands to it."""
        return {"SLURM_CONF": str(self.configuration)}

    def start(self) -> None:
        """Start everything, and wait until both nodes are idle."""
        munge = self.folder / "munge"
        self._start(
            "munged",
            *(need_program("munged", "munge"), "--foreground", "--force", f"--key-file={munge}/munge.key"),
            *(f"--socket={munge}/socket", f"--pid-file={self.folder}/run/munged.pid"),
            *(f"--log-file={self.folder}/log/munged.log", f"--seed-file={munge}/seed", "--num-threads=2"),
        )
        self._await(lambda: (munge / "socket").exists())
        self._start("slurmctld", need_program("slurmctld", "slurmctld"), "-D", "-c")
        self.start_nodes()
        self._await(lambda: set(self._node_states()) == {"idle"})

    def stop(self) -> None:
        """End everything, running jobs too."""
        for name in [*NODES, "slurmctld", "munged"]:
            self._kill(name)
        self._kill_steps()

    def clear(self) -> None:
        """Cancel all jobs, and wait until the nodes are free; one that Slurm has put aside is taken back."""
        self.run("scancel", "--user=root")
        self._await(lambda: not self.run("squeue", "-h", "-t", "pending,running,completing").stdout)
        if self._forgetful:  # it gives the ids of forgotten jobs again, and nodes refuse what they have had
            self.kill_nodes()
            self._kill_steps()
            self.start_nodes()
            self._forgetful = False
        if set(self._node_states()) != {"idle"}:
            self.run("scontrol", "update", f"NodeName={','.join(NODES)}", "State=RESUME")
            self._await(lambda: set(self._node_states()) == {"idle"})

    def kill_controller(self) -> None:
        """Kill slurmctld with SIGKILL: what it has not saved yet is gone."""
        self._kill("slurmctld")
        self._forgetful = True

    @contextlib.contextmanager
    def forgetting(self) -> Iterator[None]:
        """Kill slurmctld with SIGKILL at the end and start it again: it has saved nothing of what was done in here."""
        state, before = self.folder / "state", self.folder / "state.before"
        shutil.copytree(state, before)
        yield
        self.kill_controller()
        shutil.rmtree(state)
        before.rename(state)
        self.start_controller()

    def stop_controller(self) -> None:
        """Have slurmctld save everything and end."""
        self._daemons["slurmctld"].terminate()
        self._daemons.pop("slurmctld").wait()

    def start_controller(self) -> None:
        """Start slurmctld again, with what it had saved, and wait until it answers."""
        self._start("slurmctld", need_program("slurmctld", "slurmctld"), "-D")
        self._await(lambda: self.run("scontrol", "ping").stdout.rstrip().endswith("UP"))

    def await_saved(self, name: str) -> None:
        """Wait until the controller has saved that there is a job of that name; it saves every 5 seconds."""
        state = self.folder / "state" / "job_state"
        self._await(lambda: state.exists() and name.encode() in state.read_bytes())

    def kill_nodes(self) -> None:
        """Kill both nodes' slurmd with SIGKILL; jobs that run go on."""
        for node in NODES:
            self._kill(node)

    def start_nodes(self) -> None:
        """Start both nodes' slurmd, where the host has the name of the node."""
        alone = [need_program("unshare", "util-linux"), "--uts", "sh", "-c", 'hostname "$1"; shift; exec "$@"', "sh"]
        for node in NODES:
            self._start(node, *alone, node, need_program("slurmd", "slurmd"), "-D", "-N", node)

    def run(self, *argv: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return subprocess.run(
            argv,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=check,
        )

    def step_daemons(self) -> list[int]:
        """Return the processes that watch over running jobs."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                # They are renamed "slurmstepd: [12.batch]", and keep what slurmd had in its environment.
                environment = (path.parent / "environ").read_bytes()
                if path.read_bytes().startswith(b"slurmstepd") and str(self.configuration).encode() in environment:
                    found.append(int(path.parent.name))
        return found

    def _node_states(self) -> list[str]:
        return self.run("sinfo", "-h", "-N", "-o", "%t").stdout.split()

    def _kill_steps(self) -> None:
        for pid in self.step_daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _start(self, name: str, *argv: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                argv,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _kill(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is not None:
            daemon.kill()
            daemon.wait()

    def _await(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not ready():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-2000:] for path in sorted((self.folder / "log").iterdir()))
                raise RuntimeError(f"Slurm does not start; ended: {dead}\n{logs}")
            time.sleep(0.05)

    def _configure(self, ports: list[int]) -> None:
        host = os.uname().nodename.partition(".")[0]
        here = self.folder
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=2000 State=UNKNOWN"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        self.configuration.write_text(
            f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={here}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool.%n
SlurmctldPidFile={here}/run/slurmctld.pid
SlurmdPidFile={here}/run/slurmd.%n.pid
SlurmctldLogFile={here}/log/slurmctld.log
SlurmdLogFile={here}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
PlugStackConfig={here}/plugstack.conf
MailProg=/bin/true
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=2
OverTimeLimit=0
SlurmdParameters=config_overrides
{nodes}
PartitionName=debug Nodes={",".join(NODES)} Default=YES MaxTime=60 State=UP
PartitionName=long Nodes={",".join(NODES)} MaxTime=INFINITE State=UP
"""
        )


@contextlib.contextmanager
def slurm_cluster() -> Iterator[Slurm]:
    """A running Slurm.  Skips where this is not root, or Slurm is not installed."""
    if os.getuid() != 0:
        pytest.skip("Slurm's daemons need root here")
    need_program("squeue", "slurm-client")
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        slurm = Slurm(Path(folder))
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()


def _cgroup_plugin() -> str:
    """Return the setting that leaves cgroups alone: ``disabled`` is known from 23.11 on."""
    version = subprocess.run([need_program("slurmctld", "slurmctld"), "-V"], capture_output=True, text=True).stdout
    return "disabled" if tuple(map(int, version.split()[1].split(".")[:2])) >= (23, 11) else "cgroup/v1"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]
