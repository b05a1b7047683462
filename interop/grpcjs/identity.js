// The plugin's one-time certificate (docs/protocol.md, section 10). Node.js makes keys
// and signatures, but no certificates: they are written here in DER.

import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const hour = 3600 * 1000;

// makeIdentity returns a new key and a certificate for it, both in PEM. field is the
// certificate as field 6 of the answer has it: DER in base64 without padding.
export function makeIdentity() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(attribute('2.5.4.10', 'Plugwire'), attribute('2.5.4.3', 'localhost'));
  const algorithm = sequence(oid('1.2.840.10045.4.3.2')); // ECDSA with SHA-256
  const signed = sequence(
    tagged(0, integer(Buffer.of(2))), // X.509 v3
    integer(Buffer.concat([Buffer.of(1), randomBytes(15)])), // the serial number, which is not negative
    algorithm,
    name,
    sequence(time(Date.now() - hour), time(Date.now() + 30 * 365 * 24 * hour)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(
      3,
      sequence(
        extension('2.5.29.17', false, sequence(der(0x82, Buffer.from('localhost')))), // subject alternative name
        extension('2.5.29.19', true, sequence(der(0x01, Buffer.of(0xff)))), // CA: true
        // digitalSignature, keyEncipherment, keyAgreement, keyCertSign
        extension('2.5.29.15', true, bits(Buffer.of(0b10101100), 2)),
        // clientAuth, serverAuth
        extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.2'), oid('1.3.6.1.5.5.7.3.1'))),
      ),
    ),
  );
  const certificate = sequence(signed, algorithm, bits(sign('sha256', signed, privateKey), 0));
  const base64 = certificate.toString('base64');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    certificate: `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    field: base64.replace(/=+$/, ''),
  };
}

// der writes a value: its tag, its length, and its content.
function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}

const sequence = (...parts) => der(0x30, ...parts);
const tagged = (number, value) => der(0xa0 + number, value);
const integer = (bytes) => der(0x02, bytes);
const bits = (bytes, unused) => der(0x03, Buffer.of(unused), bytes);

function oid(text) {
  const [first, second, ...rest] = text.split('.').map(Number);
  const bytes = rest.flatMap((number) => {
    const groups = [number & 0x7f];
    for (let left = number >> 7; left > 0; left >>= 7) {
      groups.unshift((left & 0x7f) | 0x80);
    }
    return groups;
  });
  return der(0x06, Buffer.of(first * 40 + second, ...bytes));
}

// attribute is a set with one part of a name.
function attribute(type, value) {
  return der(0x31, sequence(oid(type), der(0x0c, Buffer.from(value))));
}

function extension(type, critical, value) {
  const flag = critical ? [der(0x01, Buffer.of(0xff))] : [];
  return sequence(oid(type), ...flag, der(0x04, value));
}

// time writes a date of X.509: with two digits for the year until 2049.
function time(milliseconds) {
  const text = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, '');
  return text < '2050' ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text));
}
