"""Calls through the gateways of facilities, whatever goes wrong there: each runs once, and no secret shows."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import sremote
from sremote.client import Client
from sremote.connectors.batch_work import Patience
from sremote.connectors.check import State
from sremote.connectors.facility import FacilityConnector
from sremote.connectors.through_batch import ThroughBatch
from sremote.doctor import examine
from sremote.errors import HostError, OutcomeUnknown, SignInRefused, SremoteError, UsageError
from sremote.hosts import HostSettings
from tests.kit.facility_host import FacilityHost, Fault
from tests.kit.firecrest_server import FirecrestServer
from tests.kit.iri_server import IriServer
from tests.kit.sfapi_server import SfapiServer
from tests.kit.web import running

SECRET = "s3cret-of-the-robot"
QUICK = Patience(not_found_for=2, first_pause=0.02, longest_pause=0.2, late_file=2, away_for=20)


@dataclass
class Site:
    """A gateway, and how to get there."""

    kind: str
    server: Any
    address: str
    options: dict[str, Any]

    @property
    def host(self) -> FacilityHost:
        host: FacilityHost = self.server.host
        return host

    def connect(self, **options: Any) -> Client:
        client = sremote.connect(self.address, **{**self.options, **options})
        for connector in (client.host.connector, getattr(client.host.connector, "connector", None)):
            if isinstance(connector, ThroughBatch | FacilityConnector):
                connector.patience = replace(QUICK)
        return client


@pytest.fixture(scope="module", params=["sfapi", "firecrest", "iri"])
def running_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    servers: dict[str, tuple[Any, str, str]] = {
        "sfapi": (SfapiServer(), "sfapi:perlmutter", "/api/v1.2"),
        "firecrest": (FirecrestServer(), "firecrest:daint", "/f7t"),
        "iri": (IriServer(), "iri:perlmutter", "/api/v2"),
    }
    server, address, path = servers[request.param]
    server.host.tokens.secrets["robot"] = SECRET
    with running(server.application) as url:
        server.url = url
        options = {
            "url": url + path,
            "client_id": "robot",
            "client_secret_env": "CLIENT_SECRET",
            "token_url": f"{url}/token",
            "root": str(tmp_path_factory.mktemp("root")),
        }
        if request.param == "iri":
            options["filesystem"] = "scratch"
        yield Site(request.param, server, address, options)
        server.host.stop()


@pytest.fixture
def site(running_site: Site, client_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("CLIENT_SECRET", SECRET)
    if running_site.kind == "iri":
        running_site.options["home"] = str(client_home)
    yield running_site
    host = running_site.host
    host.faults, host.unlisted, host.unknown_for, host.tokens.life = [], False, 0, 600.0
    running_site.server.slow = running_site.server.halved = 0


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with site.connect() as client:
        yield client


def append(path: str) -> int:
    with open(path, "a") as file:
        file.write("once\n")
    return 1


def test_calls_commands_and_files_work(client: Client, tmp_path: Path) -> None:
    assert client.call("math", "hypot", [3, 4]) == 5.0
    assert client.call_function(append, str(tmp_path / "log")) == 1
    assert client.run(["sh", "-c", "echo out; exit 3"]).status == 3


def test_a_mailbox_carries_calls(site: Site, client: Client) -> None:
    jobs = len(site.host.jobs)
    with client.mailbox(walltime=600, longest_pause=0.1):
        assert [client.call("math", "sqrt", [n * n]) for n in range(3)] == [0, 1, 2]
    assert len(site.host.jobs) == jobs + 1


COMMAND = r"POST .*/utilities/command/"
SUBMIT = r"POST .*(/compute/jobs/perlmutter|/compute/daint/jobs|/compute/job/c-1)$"
READ = r"(GET|POST) .*/download"
WRITE = r"(PUT|POST) .*/upload"


def faults(kind: str) -> dict[str, list[Fault]]:
    """Return what real gateways have been seen to do, each with what it hits."""
    start = COMMAND if kind == "sfapi" else SUBMIT
    found = {
        "429": [Fault(start, 429, headers={"Retry-After": "0"}), Fault(r"GET ", 429, headers={"Retry-After": "0"})],
        "502": [Fault(r"GET ", 502, times=2)],
        "408 after it was taken": [Fault(start, 408, after=True)],
        "502 after it was taken": [Fault(start, 502, after=True)],
        "503 before it was taken": [Fault(start, 503)],
        "truncated body": [Fault(r"GET .*/tasks/" if kind == "sfapi" else READ, 0)],
    }
    if kind == "sfapi":
        del found["502"], found["503 before it was taken"]
    else:
        found["503 once it was written"] = [Fault(WRITE, 503, after=True)]
        found["408 while reading"] = [Fault(READ, 408)]
    if kind == "iri":
        found["409 while the same is under way"] = [Fault(SUBMIT, 409, headers={"Retry-After": "0"})]
    return found


KINDS = ("sfapi", "firecrest", "iri")
without_commands = pytest.mark.parametrize("running_site", ["firecrest", "iri"], indirect=True)
"""For what concerns gateways where a call is a job."""
only_iri = pytest.mark.parametrize("running_site", ["iri"], indirect=True)


@pytest.mark.parametrize(
    ("running_site", "name"), [(kind, name) for kind in KINDS for name in faults(kind)], indirect=["running_site"]
)
def test_a_fault_of_the_gateway_changes_nothing(site: Site, client: Client, tmp_path: Path, name: str) -> None:
    client.call("math", "sqrt", [16])
    jobs = len(site.host.jobs)
    site.host.faults = faults(site.kind)[name]

    assert client.run(["sh", "-c", f"echo once >>{tmp_path}/log"]).status == 0

    assert (tmp_path / "log").read_text() == "once\n"
    assert len(site.host.jobs) <= jobs + 1
    assert site.host.faults[0].times == 0, "the fault was not met"


def test_a_token_that_is_refused_midway_is_replaced(site: Site, client: Client, tmp_path: Path) -> None:
    client.call("math", "sqrt", [16])
    site.host.tokens.refused.add(site.host.tokens.given[-1])

    assert client.run(["sh", "-c", f"echo once >>{tmp_path}/log"]).status == 0

    assert (tmp_path / "log").read_text() == "once\n"


def test_tokens_that_end_soon_are_replaced_in_time(site: Site, tmp_path: Path) -> None:
    site.host.tokens.life = 31.0  # a second more than what counts as ended
    with site.connect() as client:
        before = len(site.host.tokens.given)
        client.run(["sleep", "2"])
    assert len(site.host.tokens.given) > before


def test_a_client_that_is_no_longer_known_is_said(site: Site, client: Client) -> None:
    client.call("math", "sqrt", [16])
    site.host.tokens.refused.add(site.host.tokens.given[-1])
    site.host.tokens.secrets["robot"] = "another"
    try:
        with pytest.raises(SremoteError, match="refused the client 'robot': invalid_client") as raised:
            client.call("math", "sqrt", [16])
        assert SECRET not in str(raised.value)
    finally:
        site.host.tokens.secrets["robot"] = SECRET


def test_a_wrong_secret_is_said_without_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", "wr0ng-secret")
    with pytest.raises(SignInRefused, match="invalid_client") as raised:
        site.connect()
    assert "wr0ng-secret" not in str(raised.value)


def test_a_job_that_is_not_known_for_a_while_is_waited_for(site: Site, client: Client) -> None:
    client.call("math", "sqrt", [16])
    site.host.unknown_for = 4
    with client.mailbox(walltime=600, longest_pause=0.1):
        assert client.call("math", "sqrt", [16]) == 4.0


@without_commands
def test_a_list_that_lacks_the_job_leads_to_a_second_one_that_does_nothing(
    site: Site, client: Client, tmp_path: Path
) -> None:
    """The answer to the submission is lost, and the list is old: the script goes twice, and the call runs once."""
    client.call("math", "sqrt", [16])
    site.host.unlisted = True
    site.host.faults = [Fault(SUBMIT, 408, after=True)]
    if site.kind == "iri":
        site.server.keys, kept = None, site.server.keys
    try:
        assert client.run(["sh", "-c", f"echo once >>{tmp_path}/log"]).status == 0
    finally:
        if site.kind == "iri":
            site.server.keys = kept
    time.sleep(0.5)
    assert (tmp_path / "log").read_text() == "once\n"


@without_commands
def test_a_file_that_arrives_in_part_is_sent_again(site: Site, client: Client, tmp_path: Path) -> None:
    client.host.connector.connect()
    site.server.halved = 1

    client.host.connector.put(b"0123456789" * 100, str(tmp_path / "file"))

    assert (tmp_path / "file").read_bytes() == b"0123456789" * 100


def test_an_account_that_is_not_known_is_said(site: Site) -> None:
    with site.connect(account="nobody") as client, pytest.raises(SremoteError, match="Invalid account"):
        client.mailbox(walltime=600)


def test_what_jobs_ask_for_comes_from_the_settings(site: Site) -> None:
    with site.connect(account="m1234", queue="debug", walltime="900", checksum="false") as client:
        connector = client.host.connector
        resources = connector.resources if isinstance(connector, FacilityConnector | ThroughBatch) else None
        assert resources is not None
        assert (resources.account, resources.queue, resources.walltime) == ("m1234", "debug", 900)


def test_a_call_takes_few_requests(site: Site, client: Client) -> None:
    client.call("math", "sqrt", [16])
    client.call("math", "sqrt", [16])
    site.host.seen.clear()

    client.call("math", "sqrt", [16])

    questions = ("GET ", "POST /api/v2/filesystem/download", "POST /api/v2/compute/status")
    assert len([request for request in site.host.seen if not request.startswith(questions)]) <= 8


@pytest.mark.parametrize(
    ("running_site", "through_mailbox"),
    [("sfapi", False), ("firecrest", False), ("iri", True)],
    indirect=["running_site"],
    ids=["sfapi", "firecrest", "iri and a mailbox"],
)
def test_no_secret_shows_in_logs_processes_or_files(
    site: Site, client_home: Path, caplog: pytest.LogCaptureFixture, through_mailbox: bool
) -> None:
    processes: set[str] = set()
    looking = threading.Event()

    def look() -> None:
        while not looking.wait(0.02):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for name in ("cmdline", "environ"):
                    if name == "environ" and int(pid) == os.getpid():
                        continue
                    try:
                        processes.add(Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace"))
                    except OSError:
                        continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with caplog.at_level(logging.DEBUG), site.connect() as client:
            if through_mailbox:
                with client.mailbox(walltime=600, longest_pause=0.1):
                    client.call("time", "sleep", [0.3])
            else:
                client.call("time", "sleep", [0.3])
    finally:
        looking.set()
        watcher.join()
    secrets = [*site.host.tokens.given, SECRET]
    files = [
        path.read_bytes() for folder in (client_home, Path(site.options["root"])) for path in folder.rglob("*")
        if path.is_file()
    ]  # fmt: skip
    command_lines = [text for text in processes if "CLIENT_SECRET" not in text]
    for secret in secrets:
        assert secret not in caplog.text
        assert [text for text in command_lines if secret in text] == []
        assert [content for content in files if secret.encode() in content] == []


def refused(**options: Any) -> Callable[[Site], SremoteError]:
    def attempt(site: Site) -> SremoteError:
        given = {**site.options, **options}
        address = given.pop("address", site.address)
        with pytest.raises(SremoteError) as raised:
            sremote.connect(address, **{key: value for key, value in given.items() if value is not None})
        return raised.value

    return attempt


CANNOT_BE = [
    ("sfapi firecrest iri", refused(url="https://127.0.0.1:1/api"), "cannot reach 127.0.0.1:1"),
    ("firecrest", refused(address="firecrest:eiger"), "no system 'eiger'"),
    ("iri", refused(address="iri:frontier"), "no resource 'frontier'"),
    ("iri", refused(home=None), "the home directory is not given"),
    ("sfapi", refused(home="relative"), "is not absolute"),
    ("iri", refused(version=3), "neither 1 nor 2"),
    ("firecrest", refused(client_id=None), "needs a client_id"),
    ("iri", refused(client_secret_env=None), "where its tokens come from"),
    ("sfapi", refused(client_secret_env=None), "there are 0 keys"),
    ("firecrest", refused(nonsense=1), "nonsense"),
    ("firecrest", refused(walltime="half an hour"), "walltime='half an hour' is not a number"),
    ("iri", refused(at_once=0), "at_once=0 is not a number above 0"),
    ("iri", refused(address="iri:"), "names no machine"),
]


@pytest.mark.parametrize(
    ("running_site", "attempt", "complaint"),
    [(kind, attempt, complaint) for kinds, attempt, complaint in CANNOT_BE for kind in kinds.split()],
    indirect=["running_site"],
)
def test_what_cannot_be_is_said(site: Site, attempt: Callable[[Site], SremoteError], complaint: str) -> None:
    error = attempt(site)
    assert complaint in error.message
    assert isinstance(error, UsageError) or "reach" in complaint


@only_iri
def test_version_1_has_other_verbs(site: Site, tmp_path: Path) -> None:
    with site.connect(url=site.options["url"].replace("/v2", "/v1")) as client:
        client.host.connector.put(b"content", str(tmp_path / "folder" / "file"))
        assert client.host.connector.read(str(tmp_path / "folder" / "file")) == b"content"
        assert client.call("math", "sqrt", [16]) == 4.0


@only_iri
def test_a_facility_that_keeps_no_keys_is_sent_none(site: Site, client: Client) -> None:
    kept, site.server.keys = site.server.keys, None
    try:
        assert client.call("math", "sqrt", [16]) == 4.0
    finally:
        site.server.keys = kept


@only_iri
def test_a_file_that_is_too_large_is_said_before_it_goes(client: Client, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="this gateway takes"):
        client.host.connector.put(bytes(6 << 20), str(tmp_path / "file"))


@only_iri
def test_a_facility_without_checksums_is_believed(site: Site, client: Client, tmp_path: Path) -> None:
    site.server.missing = {"checksum", "stat"}
    try:
        client.host.connector.put(b"content", str(tmp_path / "file"))
    finally:
        site.server.missing = set()
    assert (tmp_path / "file").read_bytes() == b"content"


@without_commands
def test_a_job_is_submitted_and_collected(client: Client) -> None:
    assert client.submit("math", "sqrt", [16]).result() == 4.0


@without_commands
def test_the_doctor_looks_by_way_of_jobs(site: Site) -> None:
    options = {key: value for key, value in site.options.items() if key != "root"}
    settings = HostSettings(site.address, root=site.options["root"], connector={**options, "longest_pause": 0.2})

    checks = {check.name: check for check in examine(settings)}

    assert [check for check in checks.values() if check.state is State.FAILED] == []
    assert checks["Python found"].state is State.OK


@without_commands
def test_a_gateway_that_goes_away_leaves_the_outcome_unknown(site: Site, client: Client) -> None:
    client.call("math", "sqrt", [16])
    assert isinstance(client.host.connector, ThroughBatch)
    client.host.connector.patience = replace(QUICK, away_for=0.5)
    site.host.faults = [Fault(r"GET .*/compute/|/download", 502, times=1000)]

    with pytest.raises(OutcomeUnknown, match="may have been running"):
        client.call("math", "sqrt", [16])
