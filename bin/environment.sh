# Sourced by the scripts beside it: finds a Python and makes virtual environments from it.

# find_python VERSION…: print the first of these Pythons that is here and can make a virtual environment.
find_python() {
    for version in "$@"; do
        for candidate in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
            if "$candidate" -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

# client_python: print a Python that sremote's client runs on, or say that there is none.
client_python() {
    find_python 3.11 3.12 3.13 3.14 || {
        echo "No Python 3.11 or newer with ensurepip was found on PATH or in ~/.pyenv/versions." >&2
        echo "Install one (Debian: apt-get install python3 python3-venv) and run this again." >&2
        return 1
    }
}

# make_environment DIRECTORY PYTHON PROJECT: install PROJECT (".", ".[test]") there as editable,
# unless that was done with the same pyproject.toml already.
make_environment() {
    stamp="$PWD $2 $3 $(cksum <pyproject.toml)"
    if [ "$(cat "$1/stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    "$1/bin/python" -c "" 2>/dev/null || "$2" -m venv --clear "$1"
    case $3 in
    # uv takes a fifth of pip's time, which counts for the many packages of the tests.
    *test*) "$1/bin/python" -m pip install -qq uv && "$1/bin/python" -m uv pip install -q --editable "$3" ;;
    *) false ;;
    esac || "$1/bin/python" -m pip install -qq --editable "$3"
    echo "$stamp" >"$1/stamp"
}
