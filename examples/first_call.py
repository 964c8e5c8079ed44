"""A first call: a standard function by name, its error, and a command.

    python examples/first_call.py [HOST]

HOST is ``local:`` unless given: ``user@host``, ``openssh://host``, a name of your hosts file.
"""

import sys

import sremote


def main(host: str = "local:") -> None:
    with sremote.connect(host) as client:
        print("Python there:", client.call("platform", "python_version"))
        print("The hypotenuse:", client.call("math", "hypot", [3, 4]))

        # A mapping alone is keyword arguments.
        print(client.call("textwrap", "fill", {"text": "A short text for a narrow column", "width": 16}))

        try:
            client.call("json", "loads", ["[1, 2"])
        except ValueError as error:  # what the function raised there is raised here
            print("It raised:", error)

        listing = client.run(["uname", "-s"])
        print("Its kernel:", listing.stdout.decode().strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
