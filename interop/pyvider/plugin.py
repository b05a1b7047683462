"""The data processor of plugins/dataprocessor on pyvider-rpcplugin.

Usage: plugin.py unix|tcp [verify]

With "verify" the plugin serves nobody but the host that started it, which is
not pyvider-rpcplugin's default.

The tests generate dataprocessor_pb2 and dataprocessor_pb2_grpc from the
sample's .proto file with grpcio-tools.
"""

import asyncio
import hashlib
import os
import sys
import time

import dataprocessor_pb2 as pb
import dataprocessor_pb2_grpc as rpc
import grpc
from pyvider.rpcplugin import configure, plugin_server
from pyvider.rpcplugin.protocol.base import RPCPluginProtocol

SERVICE = "example.DataProcessor"

# In the order in which they are applied.
STEPS = {
    "trim": str.strip,
    "uppercase": str.upper,
    "lowercase": str.lower,
    "reverse": lambda text: text[::-1],
    "sha256": lambda text: hashlib.sha256(text.encode()).hexdigest(),
}

DEFAULT_LIMIT = 10


class DataProcessorProtocol(RPCPluginProtocol):
    """What pyvider-rpcplugin has to know of the service."""

    service_name = SERVICE

    # Without it the library answers with any version from 1 to 7 that the host
    # offers.
    supported_protocol_versions = [1]

    async def get_grpc_descriptors(self):
        return rpc, SERVICE

    async def add_to_server(self, server, handler):
        rpc.add_DataProcessorServicer_to_server(handler, server)


class DataProcessor(rpc.DataProcessorServicer):
    """The service, as dataprocessor.proto describes it."""

    def __init__(self):
        self.started = time.monotonic()
        self.results = []

    async def ProcessData(self, request, context):
        began = time.perf_counter()
        if not request.data:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "data field is required")
        for name, value in request.options.items():
            if name not in STEPS or value not in ("true", "false"):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"option {name!r} is {value!r}")
        result = request.data
        for name, step in STEPS.items():
            if request.options.get(name) == "true":
                result = step(result)
        if request.tags:
            result = f"[{','.join(request.tags)}] {result}"
        self.results.append(pb.ResultItem(id=str(len(self.results) + 1), data=result, timestamp=int(time.time())))
        return pb.ProcessResponse(result=result, processing_time=time.perf_counter() - began)

    async def StreamResults(self, request, context):
        if request.limit < 0:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "limit must not be negative")
        matching = [item for item in reversed(self.results) if request.query in item.data]
        for item in matching[: request.limit or DEFAULT_LIMIT]:
            yield item

    async def GetStatus(self, request, context):
        return pb.StatusResponse(status="healthy", version="0.1.0", uptime=int(time.monotonic() - self.started))


class Misbehaving(DataProcessor):
    """Does what a test asks for with an option that the service does not have."""

    async def ProcessData(self, request, context):
        if "fail" in request.options:
            raise RuntimeError(request.data)
        if "exit" in request.options:
            os._exit(3)
        if "print" in request.options:
            for stream in (sys.stdout, sys.stderr):
                print(request.data, file=stream, flush=True)
            del request.options["print"]
        if "wait" in request.options:
            del request.options["wait"]
            await super().ProcessData(request, context)  # StreamResults looks it up there
            await asyncio.Event().wait()
        return await super().ProcessData(request, context)


async def main(transport, *flags):
    configure(magic_cookie="plugwire")  # the default of Plugwire's hosts
    config = {}
    if "verify" in flags:
        config["PLUGIN_CLIENT_ROOT_CERTS"] = os.environ["PLUGIN_CLIENT_CERT"]
    await plugin_server(DataProcessorProtocol(), Misbehaving(), transport=transport, config=config).serve()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
