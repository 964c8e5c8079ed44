"""Shows a window of this host on the terminal of a client, over the two streams of a command.

Started as ``python -c START FOLDER COLUMNS LINES ARGV...``; ARGV is what shows the
window, such as ``screen -x``.  It gets a terminal (a pty), whose output goes to
standard output as it is.  Standard input holds frames: a byte, two with the length of
what follows (big endian), and that.  ``d`` is what was typed, ``w`` the terminal's new
size: two bytes each with lines and columns.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

_READ = 1 << 16
_HEAD = struct.Struct(">cH")
_SIZE = struct.Struct(">HH")


def main(columns: str, lines: str, *argv: str) -> int:
    """Run the command on a terminal of that size; return its exit status."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.execvp(argv[0], argv)
        except OSError as error:
            sys.stderr.write("{}: {}\r\n".format(argv[0], error.strerror))
        finally:
            os._exit(127)
    _set_size(master, int(lines), int(columns))
    rest = b""
    while True:
        readable, _, _ = select.select([0, master], [], [])
        if master in readable:
            try:
                data = os.read(master, _READ)
            except OSError:  # EIO: the command has ended
                data = b""
            if not data:
                break
            while data:
                data = data[os.write(1, data) :]
        if 0 in readable:
            data = os.read(0, _READ)
            if not data:
                break  # the client has gone; the end of its terminal tells the command
            rest = _take(master, rest + data)
    os.close(master)
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _take(master: int, data: bytes) -> bytes:
    """Do what the frames in ``data`` say; return what is left of the last one."""
    while len(data) >= _HEAD.size:
        kind, length = _HEAD.unpack_from(data)
        end = _HEAD.size + length
        if len(data) < end:
            break
        payload = data[_HEAD.size : end]
        data = data[end:]
        if kind == b"w":
            _set_size(master, *_SIZE.unpack(payload))
        while kind == b"d" and payload:
            payload = payload[os.write(master, payload) :]
    return data


def _set_size(terminal: int, lines: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
