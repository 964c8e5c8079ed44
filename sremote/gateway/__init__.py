"""``sremote gateway``: an HTTP gateway to this machine, for one user, that speaks NEWT and more.

settings    what the gateway is told
access      who may sign in, and the sessions
guard       what every request passes: its size, its time, where it comes from, the log
files       the folders that it may touch, reading and writing
commands    lines for a shell, as NEWT has them
streams     a command with open streams over a WebSocket
queue       the machine's queue, which is Slurm's
newt        the routes of NEWT 1 and 2.0
page        the page for people
jobs        the jobs that it shows
serve       the certificate, the port and the server

Needs the extra ``gateway``: Starlette, uvicorn, websockets, Jinja2, PyOTP.
"""
