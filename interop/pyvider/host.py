"""A host on pyvider-rpcplugin for plugins of plugins/dataprocessor.

Usage: host.py TASK COMMAND...

It starts the plugin of the command, performs the task, asks the plugin to end
and prints what a test wants to know as one JSON object on a line. A task that does
not find what it expects ends the program with an exception.

calls    makes every call of the service
failure  calls a handler that fails, and one that prints after that
stop     stops the plugin during a call
crash    calls a handler that ends the plugin
idle     makes a call that takes as long as 5 pings
hold     prints a first object with the plugin's pid and waits for a signal
"""

import asyncio
import json
import pathlib
import signal
import sys

import dataprocessor_pb2 as pb
import dataprocessor_pb2_grpc as rpc
import grpc
from pyvider.rpcplugin import configure, plugin_client
from pyvider.rpcplugin.client import handshake
from pyvider.rpcplugin.config import rpcplugin_config

CASES = json.loads((pathlib.Path(__file__).parent / "cases.json").read_text())

# In bytes; gRPC's default limit is 4 MiB, and the service accepts 2 MiB.
LARGE = 1 << 20

# In seconds: how long a plugin may take to start and to end on a machine that is
# busy with other things.
PATIENCE = 60


async def calls(stub, client):
    stored = []
    for case in CASES:
        request = pb.ProcessRequest(data=case["data"], options=case.get("options"), tags=case.get("tags"))
        result, code, _ = await process(stub, request)
        assert (result, code) == (case.get("result"), case.get("code")), f"{case}: {result}, {code}"
        if result is not None:
            stored.append(result)
    stored.append("x" * LARGE)
    result, _, _ = await process(stub, pb.ProcessRequest(data=stored[-1]))
    assert result == stored[-1], f"{len(result or '')} of {LARGE} bytes"
    for query, limit in (("", 0), ("", 2), ("hello", 0), ("nothing of it", 0)):
        wanted = [data for data in reversed(stored) if query in data][: limit or 10]
        got = [item.data async for item in stub.StreamResults(pb.StreamRequest(query=query, limit=limit))]
        assert got == wanted, f"query {query!r}, limit {limit}: {len(got)} items, want {len(wanted)}"
    status = await stub.GetStatus(pb.StatusRequest())
    assert status.status == "healthy", status


async def failure(stub, client):
    _, code, details = await process(stub, pb.ProcessRequest(data="on purpose", options={"fail": ""}))
    result, _, _ = await process(stub, pb.ProcessRequest(data="a word from the plugin", options={"print": ""}))
    return {"result": result, "code": code, "details": details}


async def stop(stub, client):
    call = await waiting(stub)
    await client.shutdown_plugin()
    result, code, details = await call
    return {"result": result, "code": code, "details": details}


async def crash(stub, client):
    call = await waiting(stub)
    _, code, details = await process(stub, pb.ProcessRequest(data="x", options={"exit": ""}))
    _, code_of_other, _ = await call
    return {"code": code, "details": details, "code_of_other": code_of_other}


async def idle(stub, client):
    wait = {"sleep": f"{5 * rpcplugin_config.plugin_grpc_keepalive_time_ms}ms"}
    result, code, details = await process(stub, pb.ProcessRequest(data="x", options=wait))
    return {"result": result, "code": code, "details": details}


async def hold(stub, client):
    print(json.dumps({"pid": client._process.pid}), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


async def waiting(stub):
    """Starts a call that goes on until the plugin stops, and returns when the
    plugin has it."""
    call = asyncio.create_task(process(stub, pb.ProcessRequest(data="waiting", options={"wait": ""})))
    while not [item async for item in stub.StreamResults(pb.StreamRequest(query="waiting"))]:
        await asyncio.sleep(0.01)
    return call


async def process(stub, request):
    """Calls ProcessData and returns its result, or the code and the text of the
    error."""
    try:
        return (await stub.ProcessData(request)).result, None, None
    except grpc.aio.AioRpcError as error:
        return None, error.code().name, error.details()


async def main(task, *command):
    configure(magic_cookie="plugwire", handshake_timeout=2 * PATIENCE)
    # The library reads for 2 s at a time and loses an answer that comes between
    # two reads, which can happen on a busy machine.
    handshake.DEFAULT_HANDSHAKE_INNER_TIMEOUT = PATIENCE
    client = plugin_client(command=list(command))
    await client.start()
    plugin = client._process.process
    said = {"endpoint": client.target_endpoint, "version": client._protocol_version, "tls": client._server_cert is not None}
    try:
        said |= await task(rpc.DataProcessorStub(client.grpc_channel), client) or {}
        await client.shutdown_plugin()
        # close sends SIGTERM, so the plugin ends normally.
        said["exit"] = await asyncio.to_thread(plugin.wait, PATIENCE)
    finally:
        await client.close()
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    tasks = {task.__name__: task for task in (calls, failure, stop, crash, idle, hold)}
    asyncio.run(main(tasks[sys.argv[1]], *sys.argv[2:]))
