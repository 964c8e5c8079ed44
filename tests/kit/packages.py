"""Small packages, projects that build without a download, and an index of them on a loopback port."""

import contextlib
import threading
import zipfile
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BACKEND = '''
import zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "{distribution}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel_directory + "/" + name, "w") as archive:
        archive.write("{module}.py")
        info = "{distribution}-{version}.dist-info/"
        archive.writestr(info + "METADATA", """{metadata}""")
        wheel = "Wheel-Version: 1.0\\nGenerator: kit\\nRoot-Is-Purelib: {pure}\\nTag: {tag}\\n"
        archive.writestr(info + "WHEEL", wheel)
        archive.writestr(info + "RECORD", "")
    return name

def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError
'''


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    script: bool = False,
) -> Path:
    """Make a wheel whose module ``name`` has VERSION and ``hello()``; with ``script`` a program of that name too."""
    distribution = name.replace("-", "_")
    path = folder / f"{distribution}-{version}-{tag}.whl"
    info = f"{distribution}-{version}.dist-info"
    files = {
        f"{distribution}.py": _module(version),
        f"{info}/METADATA": _metadata(name, version, requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: kit\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {distribution}:hello\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD")))
    return path


def make_project(folder: Path, name: str, version: str, *, tag: str = "py3-none-any", text: str = "") -> Path:
    """Make a project in ``folder`` whose build needs nothing but Python; ``text`` is added to its module."""
    distribution = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{distribution}.py").write_text(_module(version) + text)
    metadata = _metadata(name, version, ())
    (folder / "PKG-INFO").write_text(metadata)
    (folder / "backend.py").write_text(
        _BACKEND.format(
            distribution=distribution,
            module=distribution,
            version=version,
            tag=tag,
            metadata=metadata,
            pure=tag.endswith("-any"),
        )
    )
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return folder


def make_sdist(folder: Path, name: str, version: str, *, tag: str = "py3-none-any") -> Path:
    """Make a source distribution that builds a wheel of ``tag``."""
    import tarfile

    title = f"{name.replace('-', '_')}-{version}"
    project = make_project(folder / f"{title}.project", name, version, tag=tag)
    path = folder / f"{title}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(project, title)
    return path


@contextlib.contextmanager
def package_index(folder: Path) -> Iterator[str]:
    """Serve the wheels and sdists of ``folder``, as they are at each question; gives the index's URL."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            place = self.path.strip("/").split("/")
            if place[0] != "simple":
                super().do_GET()
                return
            files = [path.name for path in folder.iterdir() if _name_of(path) == place[-1]]
            page = "".join(f'<a href="/{file}">{file}</a><br>' for file in sorted(files)).encode()
            self.send_response(200 if files else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        finally:
            server.shutdown()
            thread.join()


def _name_of(path: Path) -> str:
    if path.suffix not in (".whl", ".gz"):
        return ""
    return path.name.split("-")[0].replace("_", "-").lower()


def _module(version: str) -> str:
    return f"VERSION = {version!r}\n\ndef hello():\n    print('hello from', VERSION)\n"


def _metadata(name: str, version: str, requires: Sequence[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {requirement}" for requirement in requires)]) + "\n"
