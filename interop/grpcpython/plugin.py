#!/usr/bin/python3
"""A plugin for Python, on grpcio. It shows how the plugin's side of
docs/protocol.md is implemented in another language; §5 is section 5 there.

It knows the part of the protocol that is go-plugin's, which is all that a
plugin needs, and therefore runs under hosts of both. They call such a plugin
foreign; §16 says what that means. This one is for Unix.

On Debian: apt-get install python3-grpcio python3-cryptography
"""

import contextlib
import os
import pathlib
import secrets
import select
import shutil
import signal
import sys
import tempfile
import threading
from concurrent import futures

import grpc

import identity
import services

# §2: a hint for people who start the program by hand.
COOKIE_NAME, COOKIE_VALUE = "PLUGIN_MAGIC_COOKIE", "plugwire"

# The versions of the application's protocol that this plugin serves.
VERSIONS = (1, 2)

# §11: gRPC's own limit for received messages is 4 MiB.
MAX_MESSAGE = 256 * 1024 * 1024

# §13: how long calls in flight may take after the host has asked the plugin to
# end.
DRAIN_SECONDS = 7.5

# How many calls are handled at a time; each has a thread.
WORKERS = 16

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # otherwise grpcio would share a port that another plugin already uses.
    ("grpc.so_reuseport", 0),
)


def main():
    if os.environ.get(COOKIE_NAME) != COOKIE_VALUE:
        refuse(
            "This is a plugin, meant to be started by its host application, "
            f"which sets {COOKIE_NAME}={COOKIE_VALUE}."
        )
    # §13: a terminal sends SIGINT to the plugin too, but the host decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # SIGTERM is blocked here, before there are other threads, so that it stays
    # pending in all of them until sigwait. A signal handler could run at the
    # wrong moment.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    version = choose_version()
    own, credentials = make_credentials()
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS), options=OPTIONS)
    health = services.add(server, version, stop)
    network, address, remove = listen(server, credentials)
    server.start()
    threading.Thread(target=end_with_host, args=(remove,), daemon=True).start()

    # §6: one line in one write, and nothing on standard output before it.
    answer = [1, version, network, address, "grpc", own.field if own else ""]
    if os.environ.get("PLUGIN_MULTIPLEX_GRPC"):
        answer.append("false")
    with contextlib.suppress(BrokenPipeError):  # end_with_host ends the plugin then
        print(*answer, sep="|", flush=True)

    signal.sigwait({signal.SIGTERM})
    # §13: refuse new calls, and let those in flight end. The program then exits
    # with code 0.
    health.serving = False
    server.stop(DRAIN_SECONDS).wait()
    remove()
    os._exit(0)  # does not wait for a handler that goes on


def stop():
    """Begins what a SIGTERM from outside does too."""
    os.kill(os.getpid(), signal.SIGTERM)


def end_with_host(remove):
    """Ends the plugin when its host has died: nobody reads its standard output
    and standard error any more (§16).
    """
    for output in (sys.stdout, sys.stderr):
        poll = select.poll()
        poll.register(output, 0)  # for errors only
        poll.poll()
    remove()
    os._exit(1)


def refuse(reason):
    """Ends the program as §5 says: to a foreign host, and this plugin takes
    every host for one, the reason is a text on standard error and exit code 1.
    """
    sys.exit(reason)


def choose_version():
    """Returns the highest version that the host has too. If there is none it
    returns the lowest own one: a go-plugin host can explain the mismatch only
    if it gets an answer (§5, step 4).
    """
    items = os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "").split(",")
    offered = {int(item) for item in items if item.strip().isdecimal()}
    return max(offered.intersection(VERSIONS), default=min(VERSIONS))


def make_credentials():
    """Returns the plugin's identity and the server's credentials: those of
    mutual TLS if the host sent a certificate, otherwise none (§5, step 8).

    The host's certificate is the only one in the pool of roots, so that the
    client must have it, or one that its key has signed. The grpcio of PyPI is
    built with BoringSSL, which does not take the P-521 certificates of
    go-plugin's hosts from a client; that of Debian is built with OpenSSL.

    On a unix socket without TLS, the directory's mode keeps other users out.
    """
    host = os.environ.get("PLUGIN_CLIENT_CERT")
    if not host:
        return None, None
    try:
        identity.check(host)
    except ValueError as error:
        refuse(f"PLUGIN_CLIENT_CERT: {error}")
    own = identity.Identity()
    return own, grpc.ssl_server_credentials(
        [(own.key, own.certificate)],
        root_certificates=host.encode(),
        require_client_auth=True,
    )


def listen(server, credentials):
    """Listens on the first of the host's transports that there is here (§5,
    steps 5 and 7). Returns network, address, and a function to clean up with.
    """
    ours = {"unix": listen_unix, "tcp": listen_tcp}
    offered = os.environ.get("PLUGIN_TRANSPORTS") or ",".join(ours)
    for name in offered.split(","):
        if name in ours:
            return ours[name](server, credentials)
    refuse(f"The host offers the transports {offered}, and this plugin has {','.join(ours)}.")


def listen_unix(server, credentials):
    """Makes a socket in the host's directory, or in one of its own (§8,
    unix/1).
    """
    given = os.environ.get("PLUGIN_UNIX_SOCKET_DIR")
    directory = given or tempfile.mkdtemp(prefix="plugin-")
    address = os.path.join(directory, "plugin-" + secrets.token_hex(4))
    try:
        bind(server, "unix:" + address, credentials)
    except RuntimeError as error:
        refuse(f"Cannot listen: {error}")
    os.chmod(address, 0o600)

    def remove():  # grpcio may have removed the socket already
        if given:
            pathlib.Path(address).unlink(missing_ok=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)

    return "unix", address, remove


def listen_tcp(server, credentials):
    """Takes the first free port of the host's range, or any if there is no
    range (§8, tcp/1).
    """
    lowest, highest = port_number("PLUGIN_MIN_PORT"), port_number("PLUGIN_MAX_PORT")
    for port in range(lowest, highest + 1):
        try:
            bound = bind(server, f"127.0.0.1:{port}", credentials)
        except RuntimeError:
            continue
        return "tcp", f"127.0.0.1:{bound}", lambda: None
    refuse(f"No port from {lowest} to {highest} is free.")


def port_number(variable):
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() and int(text) <= 65535 else 0


def bind(server, target, credentials):
    """Returns the port, if the target has any. Versions of grpcio differ in
    whether a failure is an exception or the port 0.
    """
    if credentials:
        port = server.add_secure_port(target, credentials)
    else:
        port = server.add_insecure_port(target)
    if port == 0:
        raise RuntimeError(f"cannot bind to {target}")
    return port


if __name__ == "__main__":
    main()
