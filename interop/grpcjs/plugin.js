// A plugin for Node.js, on @grpc/grpc-js. It shows how the plugin's side of
// docs/protocol.md is implemented in another language; §5 is section 5 there.
//
// It knows the part of the protocol that is go-plugin's, which is all that a
// plugin needs, and therefore runs under hosts of both. They call such a plugin
// foreign; §16 says what that means.
//
// npm ci installs what it needs.

import { randomBytes, X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import grpc from '@grpc/grpc-js';

import { makeIdentity } from './identity.js';
import { addServices } from './services.js';

// §2: a hint for people who start the program by hand.
const cookie = { name: 'PLUGIN_MAGIC_COOKIE', value: 'plugwire' };

// The versions of the application's protocol that this plugin serves.
const versions = [1, 2];

// §11: gRPC's own limit for what is received is 4 MiB.
const maxMessage = 256 * 1024 * 1024;

// §13: how long calls in flight may take once the host has asked for the end.
const drainMilliseconds = 7500;

const env = process.env;

async function main() {
  if (env[cookie.name] !== cookie.value) {
    throw new Error(
      `This is a plugin, meant to be started by its host application, which sets ${cookie.name}=${cookie.value}.`,
    );
  }
  // §13: a terminal sends SIGINT to the plugin too, but the host decides.
  process.on('SIGINT', () => {});

  const version = chooseVersion();
  const identity = env.PLUGIN_CLIENT_CERT ? makeIdentity() : null;
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessage,
    'grpc.max_send_message_length': maxMessage,
  });
  const health = addServices(server, version, stop);
  const listener = await listen(server, credentials(identity));
  process.on('SIGTERM', stop);
  endWithHost(end);

  // §6: one line in one write, and nothing on standard output before it.
  const answer = [1, version, listener.network, listener.address, 'grpc', identity ? identity.field : ''];
  if (env.PLUGIN_MULTIPLEX_GRPC) {
    answer.push(false);
  }
  process.stdout.write(answer.join('|') + '\n', (error) => error && end(1));

  function stop() {
    // §13: no new calls, and those in flight may end. Asking again changes nothing.
    health.serving = false;
    server.tryShutdown(() => end(0));
    setTimeout(() => end(0), drainMilliseconds);
  }

  function end(code) {
    listener.remove();
    process.exit(code);
  }
}

// endWithHost ends the plugin when its host has died. Node.js cannot wait until nobody
// reads what the plugin prints, as §16 says. But the plugin then has another parent.
function endWithHost(end) {
  const host = process.ppid;
  setInterval(() => process.ppid !== host && end(1), 500);
  // A host may close an output: what the plugin prints there is then lost.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
}

// chooseVersion returns the highest version that the host has too. If there is
// none it returns the lowest own one: a go-plugin host can explain the mismatch
// only if it gets an answer (§5, step 4).
function chooseVersion() {
  const offered = (env.PLUGIN_PROTOCOL_VERSIONS ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => /^\d+$/.test(item))
    .map(Number);
  const common = versions.filter((version) => offered.includes(version));
  return common.length > 0 ? Math.max(...common) : Math.min(...versions);
}

// credentials returns those of mutual TLS if the host sent a certificate (§5,
// step 8). Its certificate is then the only one in the pool of roots, so that
// the client must have it, or one that its key has signed. On a unix socket
// without TLS, the directory's mode keeps other users out: Node.js does not
// tell the peer of a socket.
function credentials(identity) {
  if (!identity) {
    return grpc.ServerCredentials.createInsecure();
  }
  const host = new X509Certificate(env.PLUGIN_CLIENT_CERT); // throws if it is none
  return grpc.ServerCredentials.createSsl(
    Buffer.from(host.toString()),
    [{ private_key: Buffer.from(identity.key), cert_chain: Buffer.from(identity.certificate) }],
    true, // the client's certificate is required
  );
}

// listen listens on the first of the host's transports that there is here (§5,
// steps 5 and 7).
async function listen(server, creds) {
  const ours = process.platform === 'win32' ? ['tcp'] : ['unix', 'tcp'];
  const offered = env.PLUGIN_TRANSPORTS ? env.PLUGIN_TRANSPORTS.split(',') : ours;
  const network = offered.find((name) => ours.includes(name));
  switch (network) {
    case 'unix':
      return listenUnix(server, creds);
    case 'tcp':
      return listenTCP(server, creds);
    default:
      throw new Error(`The host offers the transports ${offered}, and this plugin has ${ours}.`);
  }
}

// listenUnix makes a socket in the host's directory, or in one of its own (§8,
// unix/1).
async function listenUnix(server, creds) {
  const own = env.PLUGIN_UNIX_SOCKET_DIR ? null : mkdtempSync(join(tmpdir(), 'plugin-'));
  const address = join(own ?? env.PLUGIN_UNIX_SOCKET_DIR, `plugin-${randomBytes(4).toString('hex')}`);
  await bind(server, `unix:${address}`, creds);
  chmodSync(address, 0o600);
  return {
    network: 'unix',
    address,
    remove: () => rmSync(own ?? address, { recursive: true, force: true }),
  };
}

// listenTCP takes the first free port of the host's range, or any if there is
// no range (§8, tcp/1).
async function listenTCP(server, creds) {
  const min = portNumber(env.PLUGIN_MIN_PORT);
  const max = portNumber(env.PLUGIN_MAX_PORT);
  let reason = `there is no port from ${min} to ${max}`;
  for (let port = min; port <= max; port++) {
    try {
      const bound = await bind(server, `127.0.0.1:${port}`, creds);
      return { network: 'tcp', address: `127.0.0.1:${bound}`, remove: () => {} };
    } catch (error) {
      reason = error.message;
    }
  }
  throw new Error(`Cannot listen: ${reason}`);
}

function portNumber(text) {
  const port = Number(text);
  return Number.isInteger(port) && port >= 0 && port <= 65535 ? port : 0;
}

function bind(server, target, creds) {
  return new Promise((resolve, reject) => {
    server.bindAsync(target, creds, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

// §5: to a foreign host, and this plugin takes every host for one, the reason of
// a refusal is a text on standard error and exit code 1.
main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
