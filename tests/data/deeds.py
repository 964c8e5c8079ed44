"""What a user's module may do over there.  Runs on Python 3.6 and newer, and reaches it through PYTHONPATH."""

import atexit
import contextlib
import io
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings

warnings.simplefilter("ignore")

not_callable = 5


class Unknown(Exception):
    """Its class is known here only."""


class Part:
    """Neither plain data nor allowed."""


class Nested:
    @staticmethod
    def inside(value):
        return [value]


def same(*args, **kwargs):
    return [list(args), kwargs]


def give(value):
    return value


def convert(text):
    return int(text)


def note(path, value=None):
    """Append one byte to a file, so that a test can count how often it was run."""
    with open(path, "ab", buffering=0) as file:
        file.write(b"x")
    return value


def note_number(path, number, seconds=0):
    """Append a number's line to a file, take a while, and return the number."""
    with open(path, "ab", buffering=0) as file:
        file.write(b"%d\n" % number)
    time.sleep(seconds)
    return number


def note_and_wait(path, until, value=None):
    note(path)
    while not os.path.exists(until):
        time.sleep(0.01)
    return value


def who():
    return {"version": list(sys.version_info[:2]), "main": sorted(vars(sys.modules["__main__"])), "argv0": sys.argv[0]}


def surroundings():
    return {"cwd": os.getcwd(), "env": dict(os.environ), "path": sys.path}


# How it ends


def raise_unknown(*args):
    error = Unknown(*args)
    error.code = 7
    error.part = Part()
    raise error


def raise_with_a_part():
    raise ValueError(Part(), "second")


def raise_long(length):
    raise ValueError("x" * length)


def leave(code=None):
    sys.exit(code)


def leave_at_once(code):
    os._exit(code)


def die(number):
    os.kill(os.getpid(), number)
    time.sleep(60)


def crash():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import ctypes

    ctypes.string_at(0)


def exhaust_memory():
    limit = 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return bytearray(4 << 30)


def fill_cgroup(tasks):
    """Join a control group that is too small for it, and use more memory than it has."""
    with open(tasks, "w") as file:
        file.write(str(os.getpid()))
    return len(bytearray(b"x") * (256 << 20))


def recurse():
    return recurse()


def part_inside():
    return {"fine": 1, "rows": [0, (Part(),)]}


def code_inside():
    return [give]


def code_of_this_call():
    return lambda: 5


def interrupt():
    raise KeyboardInterrupt


# What it prints


def print_both(out, err):
    print(out)
    print(err, file=sys.stderr)


def print_unfinished():
    sys.stdout.write("no newline")
    sys.stderr.write("here neither")


def write_descriptors():
    os.write(1, b"\x00\xff\xfe out\n")
    os.write(2, b"\x80 err\n")


def run_child():
    subprocess.check_call(["sh", "-c", "echo child; echo child-error >&2"])


def print_much(size):
    block = b"0123456789abcde\n" * 65536
    for _ in range(size // len(block)):
        sys.stdout.buffer.write(block)


def print_by_thread_and_atexit():
    def later():
        time.sleep(0.05)
        print("thread")

    threading.Thread(target=later).start()
    atexit.register(print, "atexit", end="")
    return "returned"


def close_output():
    sys.stdout.write("before")
    sys.stdout.close()
    return "done"


def replace_output():
    global kept
    kept = sys.stdout
    kept.write("to the first")
    sys.stdout = io.StringIO()
    sys.stdout.write("to nowhere")


def forget_output():
    sys.stdout = sys.stderr = None
    return "done"


def print_past_the_replacement():
    with contextlib.redirect_stdout(None):
        sys.__stdout__.write("past it")


def print_then_die():
    os.write(1, b"last words")
    os.kill(os.getpid(), signal.SIGKILL)


def read_input():
    return sys.stdin.read()


# What it does to its process


def upset_process(directory):
    os.chdir(directory)
    os.umask(0o777)
    for number in (0, 1, 2):
        os.close(number)
    return "done"


def use_up_descriptors():
    files = []
    with contextlib.suppress(OSError):
        while True:
            files.append(os.dup(0))
    return len(files) > 0


def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return "x" * (4 * size)


def fork_and_return():
    return "child" if os.fork() == 0 else (os.wait(), "parent")[1]


def fork_and_raise():
    if os.fork() == 0:
        raise ValueError("in the child")
    os.wait()
    return "parent"


def fork_and_exit_late(path):
    """Return while a child of it still has to write a file."""
    if os.fork() == 0:
        time.sleep(0.2)
        note(path)
        sys.exit(3)
    return "parent"


def leave_a_daemon(path):
    """Leave a process behind that holds the output open until a file appears."""
    subprocess.Popen(["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.05; done', path], start_new_session=True)
    return "done"


def square(number):
    return number * number


def use_processes():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(4))


def spawn_processes():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(square, range(4))


def sleep_with_children(pids, stubborn=False):
    """Start a child, note both process ids, and sleep for long; ``stubborn`` ones ignore SIGTERM."""
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(100)"])
    with open(pids + ".new", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(pids + ".new", pids)
    time.sleep(100)


def parent():
    return os.getppid()


def kill_parent(path, until):
    """Kill the process that oversees this one, and go on."""
    os.kill(os.getppid(), signal.SIGKILL)
    return note_and_wait(path, until, "finished alone")


def fill(path):
    """Use up all the space there is."""
    with contextlib.suppress(OSError), open(path, "ab", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
