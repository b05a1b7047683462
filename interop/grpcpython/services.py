"""The services of the plugin: the application's, and those that a host expects
of every plugin (docs/protocol.md, sections 12 and 16).
"""

import sys
import threading

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BytesValue, StringValue, UInt32Value

# No code is generated: every message here is a wrapper from protobuf, or looks
# like one on the wire.

# grpc.health.v1.HealthCheckResponse.ServingStatus
SERVING, NOT_SERVING = 1, 2


class Health:
    """Says whether the plugin is healthy."""

    serving = True

    def check(self, request, context):
        if request.value not in ("", "plugin"):
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.value}")
        return UInt32Value(value=SERVING if self.serving else NOT_SERVING)


def add(server, version, stop):
    """Adds all services to the server, and returns its Health. version is what
    the host and the plugin have agreed on; stop is called when the host asks
    for the end.
    """
    health = Health()
    server.add_generic_rpc_handlers(
        (
            _service(
                "interop.v1.Interop",
                Echo=_unary(BytesValue, _echo),
                Count=_server_streaming(UInt32Value, _count),
                Version=_unary(Empty, lambda *_: UInt32Value(value=version)),
                Print=_unary(StringValue, _print),
            ),
            # HealthCheckRequest is like a StringValue, HealthCheckResponse like
            # a UInt32Value: one field of that type with the number 1.
            _service("grpc.health.v1.Health", Check=_unary(StringValue, health.check)),
            # The host calls this to ask the plugin to end (§16). Without it,
            # the host would have to send SIGTERM or SIGKILL.
            _service("plugin.GRPCController", Shutdown=_unary(Empty, _shutdown(stop))),
            # plugin.GRPCStdio is for plugins that redirect their standard
            # output. This plugin does not: the host reads its output from the
            # pipe.
        )
    )
    return health


def _echo(request, _):
    return request


def _count(request, _):
    """Yields 0 to n-1, at the pace at which the host reads, until it cancels."""
    for value in range(request.value):
        yield UInt32Value(value=value)


_print_lock = threading.Lock()  # calls are handled by several threads


def _print(request, _):
    with _print_lock:
        for stream in (sys.stdout, sys.stderr):
            stream.write(request.value)
            stream.flush()
    return Empty()


def _shutdown(stop):
    def shutdown(_, __):
        stop()
        return Empty()

    return shutdown


def _service(name, **methods):
    return grpc.method_handlers_generic_handler(name, methods)


def _unary(request, handler):
    """Makes a method of a function from message to message. An exception
    becomes the call's status; the process lives on (§11).
    """
    return grpc.unary_unary_rpc_method_handler(
        handler,
        request_deserializer=request.FromString,
        response_serializer=_serialize,
    )


def _server_streaming(request, handler):
    return grpc.unary_stream_rpc_method_handler(
        handler,
        request_deserializer=request.FromString,
        response_serializer=_serialize,
    )


def _serialize(message):
    return message.SerializeToString()
