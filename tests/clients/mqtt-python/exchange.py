"""aiomqtt: publishes three messages of each QoS, in both versions, and prints what comes back."""

import asyncio
import sys

import aiomqtt


async def exchange(host, port, version):
    will = aiomqtt.Will("async/will", b"gone", qos=1)
    async with aiomqtt.Client(host, int(port), protocol=version, identifier=f"async-{version}", will=will) as client:
        for qos in range(3):
            await client.subscribe("async/+", qos=qos)
            for number in range(3):
                await client.publish("async/topic", f"{number}", qos=qos)
            received = []
            async for message in client.messages:
                received.append(message.payload.decode())
                if len(received) == 3:
                    break
            print(f"version {version}, QoS {qos}: {' '.join(received)}", flush=True)


async def main(host, port):
    for version in (aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311):
        await exchange(host, port, version)


asyncio.run(main(*sys.argv[1:]))
