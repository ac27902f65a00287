"""The legs are compared while the volume is used: what rotted is found, named, and mended when that is asked for."""

import json
import os

from case import VolumeTest, main
from rig import MIB, CommandFailed, FileLeg

BLOCK = 4096


def data_offset(document):
    """Wherever it stands in what `dump` says of a leg."""
    if isinstance(document, dict):
        if "data_offset" in document:
            return document["data_offset"]
        document = list(document.values())
    found = [data_offset(inner) for inner in document] if isinstance(document, list) else []
    return next((offset for offset in found if offset is not None), None)


class Scrub(VolumeTest):
    def scrub(self, volume, *words):
        return self.rig.ctl("--control", volume.control, "scrub", volume.name, *words, seconds=120)

    def spoil(self, volume, index, offset, data):
        path = volume.legs[index].path
        at = data_offset(json.loads(self.rig.ctl("dump", path, "--json")))
        with open(path, "r+b") as file:
            file.seek(at + offset)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def test_three_legs_under_load(self):
        volume, server = self.served(size=32 * MIB)
        self.assertIn("all alike", self.scrub(volume, "--wait"))
        load = self.load(server, blocks=24 * MIB // BLOCK)
        load.start()
        self.spoil(volume, 2, 30 * MIB, b"rot" * 100)
        with self.assertRaises(CommandFailed) as failed:
            self.scrub(volume, "--wait")
        self.assertIn(f"at {30 * MIB}: c is wrong", failed.exception.output)
        self.assertIn("written anew", self.scrub(volume, "--wait", "--repair"))
        self.assertIn("all alike", self.scrub(volume, "--wait"))
        load.stop()
        self.assert_load_well(load, server)
        scrub = volume.status()["scrub"]
        self.assertEqual(("done", ["a", "b", "c"]), (scrub["state"], scrub["legs"]))
        self.stop_and_compare(volume, server)

    def test_two_legs(self):
        legs = [FileLeg(self.rig, "a"), FileLeg(self.rig, "b")]
        volume, server = self.served(legs=legs, size=16 * MIB)
        client = server.connect()
        client.pwrite(b"x" * 4096, MIB)
        client.flush()
        self.spoil(volume, 1, MIB, b"y" * 512)
        with self.assertRaises(CommandFailed) as failed:
            self.scrub(volume, "--wait", "--repair")
        self.assertIn("none is known to be right", failed.exception.output)
        with self.assertRaises(CommandFailed) as failed:
            self.scrub(volume, "--from", "a")
        self.assertIn("--from is for --repair", failed.exception.output)
        self.assertIn("b was wrong: written anew",
                      self.scrub(volume, "--wait", "--repair", "--from", "a"))
        self.assertEqual(b"x" * 4096, bytes(client.pread(4096, MIB)))
        self.stop_and_compare(volume, server)

    def test_it_is_steered(self):
        volume, server = self.served(size=32 * MIB)
        self.scrub(volume, "--rate", "1M")
        ctl = ("--control", volume.control, "scrub")
        self.rig.ctl(*ctl, "pause", volume.name)
        self.assertEqual("paused", volume.status()["scrub"]["state"])
        with self.assertRaises(CommandFailed) as failed:
            self.scrub(volume)
        self.assertIn("a scrub is under way", failed.exception.output)
        self.rig.ctl(*ctl, "resume", volume.name)
        self.rig.ctl(*ctl, "cancel", volume.name)
        scrub = volume.status()["scrub"]
        self.assertEqual("canceled", scrub["state"])
        self.assertLess(scrub["done_bytes"], scrub["total_bytes"])
        with self.assertRaises(CommandFailed) as failed:
            self.rig.ctl(*ctl, "cancel", volume.name)
        self.assertIn("no scrub is under way", failed.exception.output)
        server.stop()


if __name__ == "__main__":
    main()
