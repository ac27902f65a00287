"""A client that writes sixteen blocks and flushes, in turns, and notes how long each flush took."""

import random
import sys
import time

import nbd

BLOCK, WRITES, PAUSE_S = 4096, 16, 0.01


def main():
    uri, size, seconds, output = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    handle = nbd.NBD()
    handle.connect_uri(uri)
    data = nbd.Buffer.from_bytearray(bytearray(random.randbytes(BLOCK)))
    until = time.monotonic() + seconds
    with open(output, "w") as log:
        while time.monotonic() < until:
            waiting = [handle.aio_pwrite(data, random.randrange(size // BLOCK) * BLOCK)
                       for _ in range(WRITES)]
            while waiting:
                handle.poll(-1)
                waiting = [cookie for cookie in waiting if not handle.aio_command_completed(cookie)]
            began = time.monotonic()
            handle.flush()
            log.write(f"{time.time()} {(time.monotonic() - began) * 1000}\n")
            time.sleep(PAUSE_S)  # it is to ask how long, not to be the load
    handle.shutdown()


main()
