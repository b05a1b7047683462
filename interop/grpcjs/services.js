// The services of the plugin: the application's, and those that a host expects
// of every plugin (docs/protocol.md, sections 12 and 16).

import { Readable } from 'node:stream';

import grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

// No code is generated: all messages here are, or look on the wire like, the
// wrappers that come with protobuf.
const wrappers = protobuf.Root.fromJSON(protobuf.common.get('google/protobuf/wrappers.proto'));
const Empty = protobuf.Type.fromJSON('Empty', { fields: {} });
const Bytes = wrappers.lookupType('google.protobuf.BytesValue');
const Text = wrappers.lookupType('google.protobuf.StringValue');
const UInt32 = wrappers.lookupType('google.protobuf.UInt32Value');

// grpc.health.v1.HealthCheckResponse.ServingStatus
const SERVING = 1;
const NOT_SERVING = 2;

// addServices adds all services to the server. What it returns says whether
// the plugin is healthy; stop is called when the host asks for the end.
export function addServices(server, version, stop) {
  add(server, 'interop.v1.Interop', {
    Echo: unary(Bytes, Bytes, (request) => request),
    Count: serverStreaming(UInt32, UInt32, numbers),
    Version: unary(Empty, UInt32, () => ({ value: version })),
    Print: unary(Text, Empty, print),
  });

  // HealthCheckRequest is like a StringValue, HealthCheckResponse like a
  // UInt32Value: one field of that type with the number 1.
  const health = { serving: true };
  add(server, 'grpc.health.v1.Health', {
    Check: unary(Text, UInt32, ({ value: service }) => {
      if (service !== '' && service !== 'plugin') {
        throw Object.assign(new Error(`no service ${service}`), { code: grpc.status.NOT_FOUND });
      }
      return { value: health.serving ? SERVING : NOT_SERVING };
    }),
  });

  // By this the host asks for the end (§16). Without it, it would have to send
  // SIGTERM or SIGKILL.
  add(server, 'plugin.GRPCController', {
    Shutdown: unary(Empty, Empty, () => {
      stop();
      return {};
    }),
  });

  // plugin.GRPCStdio is for plugins that have taken their standard output away
  // from the process. This one has not: the host reads it from the pipe.
  return health;
}

// numbers yields 0 to n-1.
function* numbers({ value: n }) {
  for (let value = 0; value < n; value++) {
    yield { value };
  }
}

// print writes a text to both of the process's streams, and returns when it is
// on its way to the host.
async function print({ value: text }) {
  await Promise.all([write(process.stdout, text), write(process.stderr, text)]);
  return {};
}

function write(stream, text) {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

// add gives the server a service whose methods come from unary and
// serverStreaming.
function add(server, service, methods) {
  const definition = {};
  const handlers = {};
  for (const [name, { request, response, responseStream, handler }] of Object.entries(methods)) {
    definition[name] = {
      path: `/${service}/${name}`,
      requestStream: false,
      responseStream,
      requestSerialize: (message) => request.encode(message).finish(),
      requestDeserialize: (bytes) => request.decode(bytes),
      responseSerialize: (message) => response.encode(message).finish(),
      responseDeserialize: (bytes) => response.decode(bytes),
    };
    handlers[name] = handler;
  }
  server.addService(definition, handlers);
}

// unary makes a method of a function from message to message. What the function
// throws becomes the call's status; the process lives on (§11).
function unary(request, response, call) {
  const handler = async ({ request: message }, done) => {
    let answer;
    try {
      answer = await call(message);
    } catch (error) {
      done({ code: error.code ?? grpc.status.INTERNAL, details: error.message });
      return;
    }
    done(null, answer);
  };
  return { request, response, responseStream: false, handler };
}

// serverStreaming makes a method of a generator. It goes on at the pace at which
// the host reads, and ends when the host cancels.
function serverStreaming(request, response, generate) {
  const handler = (call) => {
    const source = Readable.from(generate(call.request));
    call.on('cancelled', () => source.destroy());
    source.pipe(call);
  };
  return { request, response, responseStream: true, handler };
}
