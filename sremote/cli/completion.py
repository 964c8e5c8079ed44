"""``sremote completion``: what a shell needs to complete commands, options and hosts."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sremote.cli.options import State, common_options
from sremote.cli.output import print_json


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
@click.pass_obj
@click.pass_context
def completion(ctx: click.Context, state: State, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash   eval "$(sremote completion bash)"           in ~/.bashrc
    zsh    eval "$(sremote completion zsh)"            in ~/.zshrc
    fish   sremote completion fish | source            in ~/.config/fish/config.fish
    """
    from sremote.cli import COMPLETION_VARIABLE

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "sremote", COMPLETION_VARIABLE).source()
    if state.json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
