// An MQTT client that a test leads: commands in, events out, one JSON object a line.
//
// The same commands and events as ../mqtt-python/peer.py, so that one test runs with either library.

'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const mqtt = require('mqtt')
const readline = require('node:readline')

// As MQTT.js calls them.
const NAMES = {
  payload_format: 'payloadFormatIndicator',
  message_expiry: 'messageExpiryInterval',
  content_type: 'contentType',
  response_topic: 'responseTopic',
  correlation_data: 'correlationData',
  subscription_identifier: 'subscriptionIdentifier',
  session_expiry: 'sessionExpiryInterval',
  assigned_client_id: 'assignedClientIdentifier',
  server_keep_alive: 'serverKeepAlive',
  request_problem_information: 'requestProblemInformation',
  request_response_information: 'requestResponseInformation',
  response_information: 'responseInformation',
  will_delay: 'willDelayInterval',
  server_reference: 'serverReference',
  reason_string: 'reasonString',
  receive_maximum: 'receiveMaximum',
  topic_alias_maximum: 'topicAliasMaximum',
  topic_alias: 'topicAlias',
  maximum_qos: 'maximumQoS',
  retain_available: 'retainAvailable',
  user_properties: 'userProperties',
  maximum_packet_size: 'maximumPacketSize',
  wildcard_subscription_available: 'wildcardSubscriptionAvailable',
  subscription_identifier_available: 'subscriptionIdentifiersAvailable',
  shared_subscription_available: 'sharedSubscriptionAvailable',
  authentication_method: 'authenticationMethod'
}
const FLAGS = new Set(['payload_format', 'request_problem_information', 'request_response_information',
  'retain_available', 'wildcard_subscription_available', 'subscription_identifier_available',
  'shared_subscription_available'])

function say (event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

function propertiesOf (values) {
  const properties = {}
  for (const [name, value] of Object.entries(values ?? {})) {
    if (name === 'user_properties') {
      // MQTT.js keeps the order of the values of one name, and no other.
      properties.userProperties = {}
      for (const [key, text] of value) (properties.userProperties[key] ??= []).push(text)
    } else if (name === 'correlation_data') {
      properties.correlationData = Buffer.from(value, 'hex')
    } else {
      properties[NAMES[name]] = FLAGS.has(name) ? value !== 0 : value
    }
  }
  return properties
}

function told (properties) {
  const values = {}
  for (const [name, attribute] of Object.entries(NAMES)) {
    const value = properties?.[attribute]
    if (value === undefined || value === null) continue
    if (name === 'user_properties') {
      values[name] = Object.entries(value).flatMap(([key, texts]) => [texts].flat().map(text => [key, text]))
    } else if (name === 'subscription_identifier') {
      values[name] = [value].flat()
    } else if (Buffer.isBuffer(value)) {
      values[name] = value.toString('hex')
    } else {
      values[name] = FLAGS.has(name) ? Number(value) : value
    }
  }
  return values
}

// A password that is proven and not sent (RFC 5802), in packets of 5.0 (4.12).
class Scram {
  constructor ({ hash, user, password }) {
    Object.assign(this, { hash, password, method: `SCRAM-${hash.toUpperCase().replace('SHA', 'SHA-')}` })
    this.nonce = crypto.randomBytes(18).toString('base64')
    this.first = `n=${user},r=${this.nonce}`
  }

  // What the server says last proves that it knows the password, too.
  final (challenge) {
    const [nonce, salt, count] = challenge.split(',').map(part => part.slice(2))
    if (!nonce.startsWith(this.nonce)) throw new Error('the nonce of another exchange')
    const size = crypto.createHash(this.hash).digest().length
    const salted = crypto.pbkdf2Sync(this.password, Buffer.from(salt, 'base64'), Number(count), size, this.hash)
    const hmac = (key, text) => crypto.createHmac(this.hash, key).update(text).digest()
    const key = hmac(salted, 'Client Key')
    const bare = `c=${Buffer.from('n,,').toString('base64')},r=${nonce}`
    const said = `${this.first},${challenge},${bare}`
    const signature = hmac(crypto.createHash(this.hash).update(key).digest(), said)
    this.expected = `v=${hmac(hmac(salted, 'Server Key'), said).toString('base64')}`
    return `${bare},p=${Buffer.from(key.map((byte, index) => byte ^ signature[index])).toString('base64')}`
  }
}

let client
let version
let byServer
let count = 0
const held = new Map()

const commands = {
  connect ({ host, port, version: wanted = 5, client_id: clientId = '', clean = true, keep_alive: keepalive = 60,
    will, properties, hold = false, websocket = false, user, password, resume = false, tls, scram }) {
    byServer = undefined
    if (resume) {
      // The same client: it remembers what is under way. Of QoS 2 it hands on what it has stored when the
      // PUBREL comes.
      Object.assign(client.options, { clean, host, hostname: host, port })
      client.reconnect({ incomingStore: client.incomingStore, outgoingStore: client.outgoingStore })
      return
    }
    version = wanted
    const options = {
      clientId,
      protocolVersion: version,
      clean,
      keepalive,
      reconnectPeriod: 0,
      connectTimeout: 20000,
      username: user,
      password,
      // What is to be sent after a connection ends belongs to a test.
      queueQoSZero: false
    }
    if (version === 5) options.properties = propertiesOf(properties)
    const proof = scram && new Scram(scram)
    if (proof) {
      options.properties.authenticationMethod = proof.method
      options.properties.authenticationData = Buffer.from(`n,,${proof.first}`)
    }
    if (will) {
      options.will = { topic: will.topic, payload: Buffer.from(will.payload ?? '', 'hex'), qos: will.qos ?? 0, retain: will.retain ?? false }
      if (version === 5) options.will.properties = propertiesOf(will.properties)
    }
    if (hold) {
      options.customHandleAcks = (_topic, _message, _packet, done) => held.set(count + 1, done)
    }
    if (tls) {
      options.ca = fs.readFileSync(tls.ca)
      if (tls.certificate) Object.assign(options, { cert: fs.readFileSync(tls.certificate), key: fs.readFileSync(tls.key) })
    }
    const scheme = (websocket ? 'ws' : 'mqtt') + (tls ? 's' : '')
    client = mqtt.connect(`${scheme}://${host}:${port}${websocket ? '/mqtt' : ''}`, options)
    if (proof) {
      client.handleAuth = (packet, answer) => answer(null, {
        cmd: 'auth',
        reasonCode: 0x18,
        properties: {
          authenticationMethod: proof.method,
          authenticationData: Buffer.from(proof.final(packet.properties.authenticationData.toString()))
        }
      })
    }
    client.on('connect', connack => say('connected', {
      is_proven: proof && connack.properties?.authenticationData?.toString() === proof.expected,
      reason: connack.reasonCode ?? connack.returnCode ?? 0,
      session_present: connack.sessionPresent,
      properties: told(connack.properties)
    }))
    client.on('message', (topic, payload, packet) => {
      count += 1
      say('message', {
        number: count,
        topic,
        payload: payload.toString('hex'),
        qos: packet.qos,
        retain: packet.retain,
        dup: packet.dup,
        id: packet.messageId ?? 0,
        properties: told(packet.properties)
      })
    })
    client.on('disconnect', packet => {
      byServer = { reason: packet.reasonCode ?? 0, properties: told(packet.properties) }
    })
    client.on('error', error => {
      if (typeof error.code === 'number') say('connected', { reason: error.code, session_present: false, properties: {} })
      else process.stderr.write(`${error}\n`)
    })
    client.on('close', () => say('disconnected', {
      by_server: byServer !== undefined, reason: byServer?.reason ?? null, properties: byServer?.properties ?? {}
    }))
  },

  subscribe ({ filters, identifier }) {
    const map = {}
    for (const [filter, options] of filters) {
      map[filter] = { qos: options.qos ?? 0, nl: options.no_local ?? false, rap: options.retain_as_published ?? false, rh: options.retain_handling ?? 0 }
    }
    const options = version === 5 && identifier ? { properties: { subscriptionIdentifier: identifier } } : {}
    client.subscribe(map, options, (error, granted, packet) => {
      if (error && !packet) return say('subscribed', { reasons: [error.code ?? 128], properties: {} })
      say('subscribed', { reasons: packet?.granted ?? granted.map(one => one.qos), properties: told(packet?.properties) })
    })
  },

  unsubscribe ({ filters }) {
    client.unsubscribe(filters, {}, (_error, packet) => {
      say('unsubscribed', { reasons: [packet?.granted ?? []].flat(), properties: told(packet?.properties) })
    })
  },

  publish ({ topic, payload = '', qos = 0, retain = false, properties, count = 1 }) {
    for (let index = 0; index < count; index++) {
      const content = payload === '' && count > 1 ? Buffer.from(String(index + 1)) : Buffer.from(payload, 'hex')
      const options = { qos, retain }
      if (version === 5) options.properties = propertiesOf(properties)
      client.publish(topic, content, options, (error, packet) => {
        if (error && error.code === undefined) return process.stderr.write(`${error}\n`)
        say('published', { reason: error?.code ?? packet?.reasonCode ?? 0, properties: told(packet?.properties) })
      })
    }
  },

  acknowledge ({ number }) {
    held.get(number)(0)
    held.delete(number)
  },

  disconnect ({ reason = 0, properties }) {
    client.end(false, version === 5 ? { reasonCode: reason, properties: propertiesOf(properties) } : {})
  },

  cut () {
    client.stream.destroy()
  }
}

readline.createInterface({ input: process.stdin })
  .on('line', line => {
    const command = JSON.parse(line)
    commands[command.do](command)
  })
  .on('close', () => process.exit(0))
