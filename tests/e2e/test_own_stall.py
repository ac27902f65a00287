"""Proves R3: a stall of the server itself is not the legs' fault.
Stops the server, with SIGSTOP, in the middle of a load for far longer than the deadline and than
fail_timeout, and lets it go on: every leg stays in sync, no request fails."""

import os
import signal
import time

from case import VolumeTest, main

DEADLINES = {kind + "_deadline": "100ms" for kind in ("read", "write", "flush")}
STALL_S = 2.0


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


class OwnStall(VolumeTest):
    def stalled(self, who):
        volume, server = self.served(fail_timeout="1s", **DEADLINES)
        with self.load(server, mix=(("write", 0.6), ("read", 0.3), ("flush", 0.1))) as load:
            load.run_for(1)
            for _ in range(3):
                pids = who(server.process.pid)
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                time.sleep(STALL_S)
                for pid in reversed(pids):
                    os.kill(pid, signal.SIGCONT)
                load.run_for(1)
        self.assert_load_well(load, server)
        self.assertGreater(load.longest(), STALL_S * 0.9, "it was not stopped at all")
        status = volume.status()
        self.assertEqual([leg["state"] for leg in status["legs"]], ["in-sync"] * 3)
        self.assertEqual(status["requests"]["late_acks"], 0)
        self.assertEqual(status["record"]["change"], 1, "a leg was taken out meanwhile")
        self.stop_and_compare(volume, server)

    def test_the_server_is_stopped(self):
        """Proves it for the server with everything that it runs, as when a machine is suspended."""
        self.stalled(lambda pid: [pid] + children(pid))

    def test_only_the_server_is_stopped(self):
        """Proves it for the server alone: the legs go on meanwhile, and no thread looks."""
        self.stalled(lambda pid: [pid])


main()
