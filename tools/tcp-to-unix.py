"""Hands connections to a free port of 127.0.0.1 on to a Unix socket, and prints the port.

A schema-driven tester speaks TCP only, and banger no TCP at all.
"""

import asyncio
import sys


async def copy(reader, writer):
    try:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(socket):
    async def hand_on(reader, writer):
        try:
            theirs = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, theirs[1]), copy(theirs[0], writer))

    server = await asyncio.start_server(hand_on, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main(sys.argv[1]))
