"""Many tasks as one entry of the log: written by the client, read by those who run them.

Such an entry is a message.  Its header has ``kind`` "add", ``id`` (made by the
client, so that adding again adds nothing), ``count``, ``targets`` (what the tasks
run, each different one once) and ``allow`` (the user's types that their arguments
may hold).  Sections:

    index       16 bytes for each task: which target; 1 where its value is a message of its
                own, as it has arrays or comes with code; where in ``values`` it ends
    values      the arguments of each task, one behind the other
    priority    optional: 4 bytes for each task, signed
    after       optional: for each dependency the task and what it comes after, 8 bytes
                each, signed; counted from 0 in this entry where it is the task, and
                where it is negative: -1 stands for task 0 of this entry, -2 for task 1
"""

import struct
from typing import Any, Container, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .errors import FormatError
from .values import encode
from .wire import Header, Message, Section, parse

INDEX = struct.Struct(">IIQ")
PRIORITY = struct.Struct(">i")
AFTER = struct.Struct(">qq")

Targets = Sequence[Tuple[Header, List[Any], Dict[str, Any]]]


class TaskWriter:
    """Puts an entry together, task by task."""

    def __init__(self, identity: str, allowed: Sequence[str]) -> None:
        self._header = {"kind": "add", "format": 1, "id": identity, "allow": list(allowed)}
        self._allowed: Container[str] = frozenset(allowed)
        self._targets: List[Header] = []
        self._numbers: Dict[str, int] = {}
        self._index: List[bytes] = []
        self._values: List[bytes] = []
        self._end = 0
        self._priorities: List[int] = []
        self._after: List[bytes] = []

    def __len__(self) -> int:
        return len(self._index)

    def add(
        self,
        target: Header,
        key: str,
        arguments: "tuple[List[Any], Dict[str, Any]]",
        priority: int = 0,
        after: Sequence[int] = (),
        sections: Sequence[Section] = (),
    ) -> None:
        """Add a task; ``key`` is the same for the same target.  Raises ValueRefused.

        ``sections`` are those that its request has besides its arguments.
        """
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._targets)
            self._targets.append(target)
        message = Message({})
        encode(message, "value", arguments, self._allowed)
        message.sections.extend(sections)
        whole = len(message.sections) > 1
        value = message.to_bytes() if whole else bytes(message.sections[0][1][0])
        self._end += len(value)
        self._values.append(value)
        self._after += [AFTER.pack(len(self._index), one) for one in after]
        self._index.append(INDEX.pack(number, whole, self._end))
        self._priorities.append(priority)

    def message(self) -> Message:
        """Return the entry."""
        message = Message(dict(self._header, count=len(self._index), targets=self._targets))
        message.add("index", b"".join(self._index))
        message.add("values", b"".join(self._values))
        if any(self._priorities):
            message.add("priority", b"".join(map(PRIORITY.pack, self._priorities)))
        if self._after:
            message.add("after", b"".join(self._after))
        return message


class StoredTask(NamedTuple):
    """A task as it was added."""

    target: Header
    value: memoryview
    whole: bool
    """Whether ``value`` is a message, and not just the section ``value`` of one."""

    def request(self, header: Header) -> Message:
        """Return the request that runs it; ``header`` is what else the request's header holds."""
        message = parse(self.value) if self.whole else Message({}, [("value", [self.value])])
        message.header = dict(header, target=self.target)
        return message


class TaskReader:
    """Reads the tasks of an entry."""

    def __init__(self, entry: Message) -> None:
        self.header = entry.header
        self._index = entry.get("index")
        self._values = entry.get("values")

    def __getitem__(self, offset: int) -> StoredTask:
        target, whole, end = INDEX.unpack_from(self._index, offset * INDEX.size)
        start = INDEX.unpack_from(self._index, (offset - 1) * INDEX.size)[2] if offset else 0
        return StoredTask(self.header["targets"][target], self._values[start:end], bool(whole))


def check_tasks(entry: Message) -> None:
    """Raise FormatError where an entry that adds tasks does not hold together."""
    header = entry.header
    count, targets = header.get("count"), header.get("targets")
    if header.get("kind") != "add" or not isinstance(header.get("id"), str) or not isinstance(count, int):
        raise FormatError("this adds no tasks")
    if header.get("format") != 1:
        raise FormatError("the tasks are of format {!r}, not 1".format(header.get("format")))
    if not isinstance(targets, list) or not all(isinstance(one, dict) and "kind" in one for one in targets):
        raise FormatError("the tasks do not say what they run")
    index, values = entry.get("index"), entry.get("values")
    if len(index) != count * INDEX.size:
        raise FormatError("the index of {} tasks has {} bytes".format(count, len(index)))
    before = 0
    for target, _, end in INDEX.iter_unpack(index):
        if target >= len(targets) or not before <= end <= len(values):
            raise FormatError("the index of the tasks leads outside of them")
        before = end
    for task, other in read_after(entry):
        if not 0 <= task < count or other < -task:
            raise FormatError("a task comes after one that is not there")


def read_after(entry: Message) -> "Iterator[tuple[int, int]]":
    """Yield each dependency of an entry: the task and what it comes after, as the module's docstring has it."""
    return AFTER.iter_unpack(bytes(entry.get("after")))


def read_priorities(entry: Message) -> Optional[List[int]]:
    """Return the priority of each task of an entry; None where all are 0."""
    if not entry.has("priority"):
        return None
    return [priority for (priority,) in PRIORITY.iter_unpack(bytes(entry.get("priority")))]
