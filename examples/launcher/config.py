"""A web server on the first host, and on every host a client that fetches from it.

sremote launch -c examples/launcher/config.py -a examples/launcher/arguments.py \
    --extra-args "--hosts local:,local: --port 8765" -m examples/launcher/gently.py
"""

# ruff: noqa: F821  # Component, config, util and extra_options are given

server_host, *_ = extra_options.hosts

server = Component()
server.name = "server"
server.host = server_host
server.base_dir = None  # a temporary folder, made for it
server.files = util.recursive_files_dict("site", ".")
server.executable = "/usr/bin/env"
server.args = ["python3", "-m", "http.server", str(extra_options.port), "--bind", "127.0.0.1"]
server.start_index = 1
server.ready = {"port": extra_options.port, "timeout": 30}  # the clients start once it answers
server.on_failure = "stop"  # without it, the others are of no use
config.add_component(server)

client = Component()
client.executable = "fetch.py"
client.files = {"fetch.py": "fetch.py"}
client.start_index = 2
client.wait = True  # the launch ends with the clients; then the server is stopped
for number, host in enumerate(extra_options.hosts, 1):
    client.name = f"client-{number}"
    client.host = host
    client.args = [f"http://127.0.0.1:{extra_options.port}/page.txt", str(extra_options.times)]
    config.add_component(client)  # adds a copy, so it may be changed and added again
