# Starts the interpreter at the far end of a stream.  The client sends this text with
# the command, so it is short; and older Pythons can read it, to turn themselves down
# with status 99, on which interpreter.sh tries the next one.
#
# Arguments: root, the interpreter's folder, name of the environment that this Python belongs to, and the
# first frames of the stream in base64.
import sys

if sys.version_info < (3, 6):
    sys.exit(99)

import base64
import json
import os
import struct

HEAD, BUNDLE, HELLO = struct.Struct(">BII"), 5, 6
root, home, environment, first = sys.argv[1:5]
start = os.path.join(home, "__main__.py")


def say_hello(missing):
    system = os.uname()
    text = json.dumps(
        {
            "home": os.path.expanduser("~"),
            "root": root,
            "interpreter": home,
            "python": sys.executable,
            "version": list(sys.version_info[:3]),
            "implementation": sys.implementation.name,
            "platform": "-".join((system.sysname, system.release, system.machine)),
            "hostname": system.nodename,
            "environment": environment or None,
            "missing": missing,
        }
    ).encode()
    os.write(1, HEAD.pack(HELLO, 0, len(text)) + text)


def receive_bundle(data):
    """Install the bundle that comes next; return what came before and behind it."""
    position = 0
    while True:
        if len(data) - position >= HEAD.size:
            kind, _, length = HEAD.unpack_from(data, position)
            end = position + HEAD.size + length
            if len(data) >= end:
                if kind == BUNDLE:
                    install(data[position + HEAD.size : end])
                    return data[:position] + data[end:]
                position = end
                continue
        more = os.read(0, 1 << 17)
        if not more:
            sys.exit(0)
        data += more


def install(bundle):
    import io
    import shutil
    import zipfile

    beside = "{}.{}.{}.partial".format(home, os.uname().nodename, os.getpid())
    try:
        os.makedirs(beside, 0o755)
        files = zipfile.ZipFile(io.BytesIO(bundle)).read("files.zip")
        zipfile.ZipFile(io.BytesIO(files)).extractall(beside)
        os.rename(beside, home)
    except OSError as error:
        if not os.path.isfile(start):
            os.write(2, "sremote: cannot install the interpreter in {}: {}\n".format(root, error).encode())
            sys.exit(96)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


missing = not os.path.isfile(start)
say_hello(missing)
first = base64.b64decode(first)
if missing:
    first = receive_bundle(first)
space = {"__name__": "sremote_start", "__file__": start}
with open(start) as file:
    exec(compile(file.read(), start, "exec"), space)
sys.path[:1] = []  # the working directory
space["load"]()
from sremote_interpreter.serve import serve  # noqa: E402

serve(root, first)
