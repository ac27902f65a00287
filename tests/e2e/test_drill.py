"""A drill: a leg of a healthy volume is kept from answering, its clients go on, and it is whole again by itself."""

import json
import os
import signal

from case import VolumeTest, main
from rig import MIB, CommandFailed, FileLeg

BLOCK = 4096


class Drill(VolumeTest):
    def drill(self, volume, *words, seconds=120):
        return self.rig.ctl("--control", volume.control, "drill", volume.name, *words, seconds=seconds)

    def events(self, volume):
        said = self.rig.ctl("--control", volume.control, "events", "--json")
        return [json.loads(line) for line in said.splitlines()]

    def launch_drill(self, volume, *words):
        return self.rig.spawn([self.rig.surefootctl, "--control", volume.control, "drill", volume.name, *words],
                              text=True)

    def test_clients_go_on(self):
        """On each door and for every kind of request: none fails, the leg leaves, and comes back whole."""
        volume, server = self.served(size=32 * MIB)
        load = self.load(server, blocks=24 * MIB // BLOCK)
        load.start()
        said = self.drill(volume, "b", "--for", "2s")
        load.stop()
        self.assert_load_well(load, server)
        self.assertIn("leg b does not answer for 2s", said)
        self.assertIn("leg b: in-sync -> late", said)
        self.assertIn("the leg answers again", said)
        self.assertIn("-> in-sync", said)
        self.assertRegex(said, r"writes +\d+ +p50 .*, longest ")
        self.assertRegex(said, r"errors +0 +answered without the leg: [1-9]")
        kinds = [(event["event"], event.get("leg"), event.get("to")) for event in self.events(volume)]
        self.assertLess(kinds.index(("drill", "b", "begins")), kinds.index(("leg-state", "b", "late")))
        self.assertIn(("drill", "b", "ends"), kinds)
        self.stop_and_compare(volume, server)

    def test_it_says_when_nothing_was_tried(self):
        volume, _ = self.served(size=16 * MIB)
        self.assertIn("no request came in that time", self.drill(volume, "a", "--for", "300ms"))
        self.assertEqual("healthy", volume.status()["state"])

    def test_refusals(self):
        """Whatever would make more than a drill of it is refused, with the reason."""
        volume, server = self.served(size=16 * MIB, min_legs=2)
        for words, reason in ((("x",), "has no leg x"), (("a", "--for", "1h"), "may last from"),
                              (("a", "--for", "soon"), "not a time"), (("--cancel",), "no drill is under way")):
            with self.assertRaises(CommandFailed) as failed:
                self.drill(volume, *words)
            self.assertIn(reason, failed.exception.output)
        self.rig.ctl("--control", volume.control, "leg", "fail", volume.name, "c")
        with self.assertRaises(CommandFailed) as failed:
            self.drill(volume, "a")
        self.assertIn("needs a healthy volume", failed.exception.output)
        self.rig.ctl("--control", volume.control, "leg", "return", volume.name, "c")
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_the_last_leg_that_is_needed(self):
        volume, _ = self.served(size=16 * MIB, legs=[FileLeg(self.rig, "a"), FileLeg(self.rig, "b")], min_legs=2)
        with self.assertRaises(CommandFailed) as failed:
            self.drill(volume, "a")
        self.assertIn("fewer than min_legs", failed.exception.output)

    def test_it_ends_at_once(self):
        """When it is cancelled, interrupted, or another leg leaves; never is the volume kept from serving."""
        volume, server = self.served(size=16 * MIB)
        client = server.connect()
        drill = self.launch_drill(volume, "a", "--for", "600s")
        volume.wait_for(lambda status: volume.leg("a", status)["drill_ms"] > 0, "a drill")
        self.drill(volume, "--cancel")
        self.rig.wait_until(lambda: drill.poll() is not None, "the end of the drill")

        drill = self.launch_drill(volume, "a", "--for", "600s")
        volume.wait_for(lambda status: volume.leg("a", status)["drill_ms"] > 0, "a drill")
        client.pwrite(b"d" * BLOCK, 0)
        volume.wait_leg("a", "late")
        os.kill(drill.pid, signal.SIGINT)
        self.rig.wait_until(lambda: drill.poll() is not None, "the end of the drill")
        volume.wait_all_in_sync()

        drill = self.launch_drill(volume, "a", "--for", "600s")
        volume.wait_for(lambda status: volume.leg("a", status)["drill_ms"] > 0, "a drill")
        self.rig.ctl("--control", volume.control, "leg", "fail", volume.name, "c")
        volume.wait_for(lambda status: volume.leg("a", status)["drill_ms"] == 0, "the end of the drill")
        ends = [event for event in self.events(volume) if event["event"] == "drill" and event["to"] == "ends"]
        self.assertEqual(["cancelled by the operator", "cancelled by the operator", "another leg is not in sync"],
                         [event["reason"] for event in ends])
        self.rig.ctl("--control", volume.control, "leg", "return", volume.name, "c")
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)

    def test_a_stop_ends_it(self):
        volume, server = self.served(size=16 * MIB)
        client = server.connect()
        self.launch_drill(volume, "a", "--for", "600s")
        volume.wait_for(lambda status: volume.leg("a", status)["drill_ms"] > 0, "a drill")
        client.pwrite(b"s" * BLOCK, 0)
        server.stop()
        self.assertIn("a drill ends", server.log())

    def test_another_server(self):
        """A server that dies during a drill is no success, and the leg answers the next one."""
        volume, server = self.served(size=16 * MIB)
        drill = self.launch_drill(volume, "a", "--for", "600s")
        volume.wait_for(lambda status: volume.leg("a", status)["drill_ms"] > 0, "a drill")
        server.kill()
        self.rig.wait_until(lambda: drill.poll() is not None, "the end of the program")
        self.assertEqual(1, drill.returncode)
        server = volume.serve()
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
