"""aiosmtpd as bench/compare runs it: aiosmtpd_server.py discard|store STORE. Prints "ready PORT",
and at SIGTERM "messages N passed 0"."""

import asyncio
import os
import signal
import sys

from aiosmtpd.smtp import SMTP

WORK, STORE = sys.argv[1:3]


class Handler:
    messages = 0

    async def handle_DATA(self, server, session, envelope):  # the name is aiosmtpd's
        del server, session
        Handler.messages += 1
        if WORK == "store":
            with open(os.path.join(STORE, str(Handler.messages)), "wb") as file:
                file.write(envelope.content)
                file.flush()
                os.fsync(file.fileno())
        return "250 Ok"


def main():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    handler = Handler()
    server = loop.run_until_complete(loop.create_server(
        lambda: SMTP(handler, loop=loop, data_size_limit=26214400, hostname="bench.example"),
        "127.0.0.1", 0, backlog=1024))
    loop.add_signal_handler(signal.SIGTERM, loop.stop)
    print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)
    loop.run_forever()
    print(f"messages {Handler.messages} passed 0", flush=True)


if __name__ == "__main__":
    main()
