"""What a running qemu is told: its machine protocol, JSON lines on a socket."""

import json
import socket


class Qmp:
    def __init__(self, path):
        self.path = str(path)
        self.socket = None
        self.events = []

    def _connect(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(self.path)
        self.lines = self.socket.makefile("r")
        self.lines.readline()  # the greeting
        self.tell("qmp_capabilities")

    def tell(self, command, **arguments):
        if self.socket is None:
            self._connect()
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.lines.readline())
            if "event" in answer:
                self.events.append(answer)
                continue
            if "error" in answer:
                raise RuntimeError(f"qemu: {command} {arguments}: {answer['error']}")
            return answer["return"]

    def has_said(self, event, **data):
        """Since the start.  Asking makes it read what has come."""
        self.tell("query-name")
        return any(said["event"] == event and data.items() <= said.get("data", {}).items()
                   for said in self.events)

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None
