#!/bin/sh
# Runs one request:        interpreter.sh REQUEST RESPONSE
# Says what is here:       interpreter.sh --probe MARKER ROOT SHARED DIGEST ENVIRONMENT
# Serves a stream:         interpreter.sh --serve BOOTSTRAP ROOT SHARED DIGEST ENVIRONMENT REQUIRED FRAMES
# Unpacks itself, runs:    FILE --unpacked ROOT SHARED DIGEST ENVIRONMENT REQUIRED ARGUMENTS...
# All else:                goes to the Python beside this file; see main.py.
#
# SREMOTE_PYTHON names the Python to use.  Without it the first on PATH that is
# 3.6 or newer is taken.  Plain POSIX sh: no bash, no csh.

pythons='python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9
python3.8 python3.7 python3.6 python pypy3'

usable() {
    path=$(command -v "$1" 2>/dev/null) || return 1
    "$path" -c 'import sys; sys.exit(sys.version_info < (3, 6))' </dev/null >/dev/null 2>&1
}

find_python() {
    if [ -n "$SREMOTE_PYTHON" ]; then
        usable "$SREMOTE_PYTHON"
        return
    fi
    for name in $pythons; do
        usable "$name" && return
    done
    return 1
}

# Sets `root` and `shared` to absolute paths, `interpreter` to the folder of this digest, and
# SREMOTE_PYTHON to the environment's Python, which stays what it is when the environment changes.
look() {
    root=$1 shared=$2 digest=$3 environment=$4
    case $root in /*) ;; *) root=${HOME%/}/$root ;; esac
    case $shared in '') shared=$root ;; /*) ;; *) shared=${HOME%/}/$shared ;; esac
    interpreter=$shared/interpreter/$digest
    [ -f "$interpreter/__main__.py" ] || interpreter=$root/interpreter/$digest
    if [ -n "$environment" ] && folder=$(cd -P "$shared/env/$environment" 2>/dev/null && pwd) &&
        [ -x "$folder/bin/python" ]; then
        SREMOTE_PYTHON=$folder/bin/python
    else
        environment=
    fi
}

probe() {
    marker=$1
    shift
    look "$@"
    printf '\n%s\nhome=%s\nroot=%s\ninterpreter=%s\n' "$marker" "$HOME" "$root" "$interpreter"
    [ -f "$interpreter/__main__.py" ] && echo pushed=yes
    [ -n "$environment" ] && echo environment=yes
    if find_python; then
        "$path" -c '
import os, platform, sys
print("python=" + (sys.executable or sys.argv[1]))
print("version=%d.%d.%d" % sys.version_info[:3])
print("implementation=" + sys.implementation.name)
print("platform=" + platform.platform())
print("hostname=" + platform.node())
' "$path" </dev/null
    fi
    printf '%s\n' "$marker"
}

serve() {
    bootstrap=$1 required=$6 frames=$7
    shift
    look "$@"
    if [ -z "$environment" ] && [ -n "$required" ]; then exit 98; fi
    if [ -n "$SREMOTE_PYTHON" ]; then set -- "$SREMOTE_PYTHON"; else set -- $pythons; fi
    for name; do
        path=$(command -v "$name" 2>/dev/null) || continue
        "$path" -c "$bootstrap" "$root" "$interpreter" "$environment" "$frames"
        status=$?
        [ $status -eq 99 ] || exit $status
    done
    exit 99
}

# This file has the interpreter's files as a zip behind its end, where nothing else can unpack that.
unpacked() {
    required=$5
    look "$1" "$2" "$3" "$4"
    shift 5
    if [ -z "$environment" ] && [ -n "$required" ]; then exit 98; fi
    find_python || exit 99
    if [ ! -f "$interpreter/__main__.py" ]; then
        "$path" -c '
import io, os, shutil, sys, tempfile, zipfile
target = sys.argv[2]
os.makedirs(os.path.dirname(target), exist_ok=True)
beside = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(target))
try:
    files = zipfile.ZipFile(sys.argv[1]).read("files.zip")
    zipfile.ZipFile(io.BytesIO(files)).extractall(beside)
    os.chmod(beside, 0o755)
    os.rename(beside, target)
except OSError:
    if not os.path.isfile(target + "/__main__.py"):
        raise
finally:
    shutil.rmtree(beside, ignore_errors=True)
' "$0" "$interpreter" || exit 96
    fi
    exec "$path" "$interpreter/__main__.py" "$@"
}

# Python 3.6 takes a host without a locale for an ASCII one.
[ -n "$LC_ALL$LC_CTYPE$LANG" ] || export LC_CTYPE=C.UTF-8

case $1 in
--probe)
    shift
    probe "$@"
    exit 0
    ;;
--serve)
    shift
    serve "$@"
    ;;
--unpacked)
    shift
    unpacked "$@"
    ;;
esac

if [ -z "$SREMOTE_PYTHON" ]; then
    if ! find_python; then
        echo 'sremote: no Python 3.6 or newer on PATH; set SREMOTE_PYTHON to one' >&2
        exit 127
    fi
    SREMOTE_PYTHON=$path
fi
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
exec "$SREMOTE_PYTHON" "$here/__main__.py" "$@"
