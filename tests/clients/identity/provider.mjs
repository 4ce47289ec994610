// An OpenID provider that a test leads: commands in, events out, one JSON object a line.
//
// It is a real one: discovery, keys and a token endpoint over HTTP on a free port of the loopback address.
// Tokens are issued by the grant of client credentials, for any resource, which is their audience, and to people
// whose names are all good, with a code of a device or of a browser. With `rotate` it goes on with a new key, on the
// same port, and takes the old one back. With `lifetime` tokens hold for so many seconds. `grants` says how often
// tokens were given, in which way, and how often they were taken back. `forge` makes a token of any claims as
// somebody else would: signed with the provider's key, with one of a stranger, with the provider's public key as a
// shared secret, or not at all.

import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { createInterface } from 'node:readline';
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';

// A module for `import` alone, which does not look into NODE_PATH.
const { resolve } = createRequire(import.meta.url);
const { default: Provider } = await import(pathToFileURL(resolve('oidc-provider')));

// What it has to say to people goes where events do not.
console.info = console.error;
console.log = console.error;

const AUDIENCE = 'urn:mq';
const CLIENT = { client_id: 'sensor', client_secret: 'sensor-secret' };
// What a command line is to a provider: it can keep no secret (RFC 8252).
const NATIVE = {
    client_id: 'mq',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/'],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
};
const grants = {};
let lifetime = 300;

function say(event, fields) {
    process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function newKey(kind) {
    const [type, options, alg] = {
        RS256: ['rsa', { modulusLength: 2048 }, 'RS256'],
        ES256: ['ec', { namedCurve: 'P-256' }, 'ES256'],
        EdDSA: ['ed25519', {}, 'EdDSA'],
    }[kind];
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig' };
}

function providerWith(issuer, key) {
    const signed = { id_token_signed_response_alg: key.alg };
    const provider = new Provider(issuer, {
        jwks: { keys: [key] },
        clients: [{
            ...CLIENT,
            ...signed,
            grant_types: ['client_credentials'],
            redirect_uris: [],
            response_types: [],
        }, { ...NATIVE, ...signed }],
        findAccount: (_context, name) => ({ accountId: name, claims: () => ({ sub: name }) }),
        features: {
            clientCredentials: { enabled: true },
            deviceFlow: { enabled: true },
            revocation: { enabled: true },
            resourceIndicators: {
                enabled: true,
                defaultResource: () => AUDIENCE,
                getResourceServerInfo: (_context, resource) => ({
                    scope: 'send',
                    audience: resource,
                    accessTokenFormat: 'jwt',
                    accessTokenTTL: lifetime,
                    jwt: { sign: { alg: key.alg } },
                }),
            },
        },
        extraTokenClaims: (_context, token) => ({
            ...token.kind === 'ClientCredentials' && { sub: CLIENT.client_id },
            realm_access: { roles: ['mq-sender', 'other'] },
        }),
    });
    const count = (kind) => { grants[kind] = (grants[kind] ?? 0) + 1; };
    provider.on('grant.success', (context) => count(context.oidc.params.grant_type));
    provider.on('grant.revoked', () => count('revoked'));
    return provider.callback();
}

// A token of these claims, which holds for five minutes unless they say otherwise (RFC 7515, 7519).
function forge(issuer, key, { claims, by }) {
    const seconds = Math.floor(Date.now() / 1000);
    const { d, ...open } = key;
    const algorithm = { nobody: 'none', secret: 'HS256' }[by] ?? 'RS256';
    const header = { alg: algorithm, kid: key.kid };
    const payload = { iss: issuer, aud: AUDIENCE, sub: CLIENT.client_id, iat: seconds, exp: seconds + 300 };
    for (const [name, value] of Object.entries(claims)) {
        // What is a time is said as seconds from now.
        payload[name] = typeof value === 'number' ? seconds + value : value;
    }
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part(header)}.${part(payload)}`;
    const signatures = {
        provider: () => sign('sha256', text, createPrivateKey({ key, format: 'jwk' })),
        stranger: () => sign('sha256', text, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
        secret: () => {
            const secret = createPublicKey({ key: { kty: open.kty, n: open.n, e: open.e }, format: 'jwk' });
            return createHmac('sha256', secret.export({ type: 'spki', format: 'pem' })).update(text).digest();
        },
        nobody: () => Buffer.alloc(0),
    };
    return `${text}.${signatures[by]().toString('base64url')}`;
}

let answer;
const server = createServer((asked, response) => answer(asked, response));

async function token(issuer, resource = AUDIENCE) {
    const { client_id: id, client_secret: secret } = CLIENT;
    const form = new URLSearchParams({ grant_type: 'client_credentials', resource }).toString();
    const asking = request(`${issuer}/token`, {
        method: 'POST',
        auth: `${id}:${secret}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': form.length },
    });
    asking.end(form);
    const [response] = await once(asking, 'response');
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) {
        text += chunk;
    }
    if (response.statusCode !== 200) {
        throw new Error(text);
    }
    return JSON.parse(text).access_token;
}

server.listen(0, '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    let key = newKey('RS256');
    answer = providerWith(issuer, key);
    say('ready', { issuer, audience: AUDIENCE });
    const lines = createInterface({ input: process.stdin });
    lines.on('line', async (line) => {
        const { do: command, ...options } = JSON.parse(line);
        try {
            if (command === 'token') {
                say('token', { token: await token(issuer, options.resource) });
            } else if (command === 'forge') {
                say('token', { token: forge(issuer, key, options) });
            } else if (command === 'lifetime') {
                ({ seconds: lifetime } = options);
                say('lifetime', {});
            } else if (command === 'grants') {
                say('grants', { grants });
            } else if (command === 'rotate') {
                key = newKey(options.kind);
                answer = providerWith(issuer, key);
                say('rotated', {});
            }
        } catch (error) {
            say('failed', { reason: String(error) });
        }
    });
    // Whoever leads it is gone.
    lines.on('close', () => process.exit(0));
});
