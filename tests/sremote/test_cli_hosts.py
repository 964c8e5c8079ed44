"""``sremote hosts``: the hosts file from the command line."""

from pathlib import Path

from tests.kit.program import sremote, sremote_json


def test_an_added_host_is_listed_and_shown(client_home: Path) -> None:
    done = sremote(
        "hosts", "add", "lab", "openssh://lab7", "--root", "/scratch", "--option", "key_file=~/.ssh/id", "--trust"
    )
    assert done.stdout == "lab is openssh://lab7 now. See whether it works: sremote doctor lab\n"
    sremote("hosts", "add", "here", "local:")
    assert sremote("hosts").stdout == "lab   openssh://lab7\nhere  local:\n"
    shown = sremote("hosts", "show", "lab").stdout
    assert (
        shown
        == "address    openssh://lab7\nroot       /scratch\ntrust      True\nconnector  {'key_file': '~/.ssh/id'}\n"
    )


def test_an_empty_list_says_how_to_add_one(client_home: Path) -> None:
    done = sremote("hosts", "list")
    assert done.stdout == ""
    assert (
        done.stderr
        == f"No hosts in {client_home}/.config/sremote/hosts.toml. Add one: sremote hosts add NAME user@host\n"
    )


def test_a_removed_host_is_gone() -> None:
    sremote("hosts", "add", "lab", "user@lab7")
    assert "nothing on the host itself was changed" in sremote("hosts", "remove", "lab").stdout
    assert sremote("hosts").stdout == ""


def test_every_answer_has_a_json_form(client_home: Path) -> None:
    file = str(client_home / ".config/sremote/hosts.toml")
    entry = {"address": "user@lab7", "login_env": True, "connector": {"port": 2222}}
    added = sremote_json("hosts", "add", "lab", "user@lab7", "--login-env", "--option", "port=2222")
    assert added == {"file": file, "name": "lab", **entry}
    assert sremote_json("hosts") == {"file": file, "hosts": {"lab": entry}}
    assert sremote_json("hosts", "list") == {"file": file, "hosts": {"lab": entry}}
    assert sremote_json("hosts", "show", "lab") == {"name": "lab", **entry}
    assert sremote_json("hosts", "remove", "lab") == {"file": file, "name": "lab"}


def test_a_name_that_is_taken_or_not_there_is_a_usage_error() -> None:
    sremote("hosts", "add", "lab", "user@lab7")
    assert "Give --replace" in sremote("hosts", "add", "lab", "local:", status=2).stderr
    sremote("hosts", "add", "lab", "local:", "--replace")
    assert "Did you mean 'lab'?" in sremote("hosts", "show", "lba", status=2).stderr
    assert "Did you mean 'lab'?" in sremote("hosts", "remove", "lba", status=2).stderr


def test_a_broken_file_is_told_with_its_line(client_home: Path) -> None:
    folder = client_home / ".config/sremote"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text("[hosts.a]\naddress = \n")
    error = sremote_json("hosts", status=2)["error"]
    assert error["message"].startswith(f"{folder}/hosts.toml:2: ")
