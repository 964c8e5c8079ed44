"""The benchmark of launches, in a short form: what it measures happens."""

from pathlib import Path

import pytest

from benchmarks.launches import hosts, many_components, many_files, seconds_to_start
from sremote.launcher import LaunchOptions, make_plan
from sremote.launcher.inspection import inspect
from tests.kit.sessions import session_folders


def test_components_start_on_all_hosts_and_a_second_launch_copies_nothing(
    tmp_path: Path, client_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session_folders() as variables, hosts(tmp_path / "hosts", 2) as servers:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        names = [server.name for server in servers]
        options = LaunchOptions(screen="short", grace=1.0)
        result = make_plan(many_components(tmp_path, names, 6), options).run()
        assert seconds_to_start(result) > 0
        assert {(each.host, each.state) for each in result.components} == {(name, "running") for name in names}

        config = many_files(tmp_path, names, 20)
        sent = [[each.files_sent for each in make_plan(config, options).run().hosts] for _ in range(2)]
        assert sent == [[20, 20], [0, 0]]
        with inspect(options, names) as launch:
            assert launch.stop() == []
