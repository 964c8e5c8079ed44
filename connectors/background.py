"""Jobs as background processes of a host, where no batch system is asked.

A job is a folder; its script runs in a session of its own, and goes on when the line drops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sremote.connectors.base import Connector
from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem
from sremote.connectors.errors import HostError
from sremote.connectors.shell import command_line

# The process that runs the script writes its own number, and the status once it has ended.
_SUBMIT = """
mkdir -p -m 700 "$1" && cd "$1" || exit
setsid sh -c '
    trap "" HUP
    echo $$ >process.part && mv process.part process
    sh -c "$1" </dev/null >>batch 2>&1
    echo $? >status.part && mv status.part status
' sh "$2" </dev/null >/dev/null 2>&1 &
"""
_LOOK = """
for folder; do
    cd "$folder" 2>/dev/null || continue
    if [ -f status ]; then echo "$folder ended $(cat status)"
    elif [ ! -f process ]; then echo "$folder queued"
    elif kill -0 "$(cat process)" 2>/dev/null; then echo "$folder running"
    elif [ -f status ]; then echo "$folder ended $(cat status)"
    else echo "$folder gone"; fi
done
"""
_CANCEL = """
for folder; do
    cd "$folder" 2>/dev/null && [ -f process ] && [ ! -f status ] || continue
    kill -TERM "-$(cat process)" 2>/dev/null; echo 143 >status
done
exit 0
"""
_LINE = re.compile(r"(.*) (ended|queued|running|gone) ?(\d*)")
_TERMINATED = 128 + 15


class BackgroundProcesses(BatchSystem):
    """A host's own processes as a batch system, through a connector that can execute commands.

    Whatever resources a script asks for, it gets what the host has.  A job's id is its folder.
    """

    name = "background processes"

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._folders: dict[str, str] = {}

    def submit(self, script: BatchScript) -> str:
        text = "\n".join(line for line in (script.resources.preamble, command_line(script.command)) if line)
        self._folders[script.name] = script.folder
        done = self._connector.execute(["sh", "-c", _SUBMIT, "sh", script.folder, text])
        if done.status != 0:
            said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise HostError(f"{self._connector.name}: cannot start a process: {said}")
        return script.folder

    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        done = self._connector.execute(["sh", "-c", _LOOK, "sh", *ids])
        names = {folder: name for name, folder in self._folders.items()}
        found = {}
        for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
            if (match := _LINE.fullmatch(line)) is None:
                continue
            folder, how, number = match.groups()
            status = int(number) if number else None
            state = {"queued": BatchState.QUEUED, "running": BatchState.RUNNING}.get(how, BatchState.FAILED)
            if status is not None:
                state = {0: BatchState.COMPLETED, _TERMINATED: BatchState.CANCELLED}.get(status, BatchState.FAILED)
            found[folder] = BatchJob(folder, names.get(folder, ""), state, exit_status=status)
        return found

    def find(self, name: str) -> BatchJob | None:
        folder = self._folders.get(name)
        return None if folder is None else self.jobs([folder]).get(folder)

    def cancel(self, ids: Sequence[str]) -> None:
        self._connector.execute(["sh", "-c", _CANCEL, "sh", *ids])
