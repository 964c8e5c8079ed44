"""A muddler: the clients run with a lower priority."""


def muddle(config):
    for component in config.all_components():
        if component.name.startswith("client"):
            component.args = ["-n", "5", "./" + component.executable, *component.args]
            component.executable = "/usr/bin/nice"
