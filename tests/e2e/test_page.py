"""The page for people: what it answers to whom, what stands in it, and, where chromium is, that a browser shows it and
loads it anew, with scripts and without."""

import contextlib
import http.client
import http.server
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
import urllib.request
from html.parser import HTMLParser

from daemon_case import DaemonTest, free_port
from case import main
from rig import FileLeg

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--enable-logging=stderr")
VOID = {"meta", "link", "br", "img", "path", "rect"}


class Document(HTMLParser):
    """Every element that is opened is closed, and what stands in each table cell."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.cells, self.outside = [], [], [], []
        self.text = ""
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.outside += [value for name, value in attributes if name in ("src", "href", "action", "xlink:href")]
        if tag == "td":
            self.cells.append("")
        if tag not in VOID and not (tag == "th" and "th" in self.open[-1:]):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open[-1] == "th" and tag == "tr":
            self.open.pop()
        assert self.open.pop() == tag, f"{tag} is closed"

    def handle_data(self, data):
        self.text += data
        if "td" in self.open:
            self.cells[-1] += data


class Counting(http.server.BaseHTTPRequestHandler):
    """In front of the page: counts who asks, and from some time on does not answer."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        if len(server.asked) > server.answers:
            self.close_connection = True
            return
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{self.path}", timeout=20) as reply:
            body = reply.read()
            self.send_response(reply.status)
            for name in ("Content-Type", "Content-Security-Policy", "Cache-Control"):
                self.send_header(name, reply.headers[name])
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Page(DaemonTest):
    HOSTILE = "<b onclick=alert(1)>\"'&<img src=x onerror=document.title='owned'>"

    def served(self, **settings):
        """A volume with a leg that is out, at a path that would be a script."""
        port = free_port()
        daemon = self.daemon(page=port, **settings)
        folder = self.rig.folder / self.HOSTILE
        folder.mkdir()
        volume = daemon.volume()
        volume.legs = legs = [FileLeg(self.rig, name) for name in "abc"]
        legs[0].path = folder / "a.img"
        volume.conf.unlink()
        volume.create()
        daemon.add(volume)
        daemon.start()
        daemon.wait_serving()
        handle = daemon.client(volume).connect()
        handle.pwrite(b"x" * 4096, 0)
        daemon.ctl("leg", "fail", "vol0", "b")
        return daemon, port

    def ask(self, port, method="GET", path="/", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.addCleanup(connection.close)
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply, reply.read().decode()

    def wait_chart(self, port):
        """The daemon looks at a volume every few seconds."""
        self.rig.wait_until(lambda: "Writes in the last hour" in self.ask(port)[1], "a chart")

    def test_document(self):
        """Proves that the page says who is out and why, is whole HTML with nothing from elsewhere, and that a path is
        text in it; who may read it, and that it only reads."""
        daemon, port = self.served()
        self.wait_chart(port)
        reply, text = self.ask(port)
        document = Document(text)
        self.assertEqual(["data:,"], document.outside)
        self.assertNotIn("img", document.elements)
        self.assertIn(self.HOSTILE, document.text)
        self.assertIn("▲ degraded", document.text)
        self.assertEqual(2, document.cells.count("✓ in-sync"))
        self.assertIn("✗ faulty", document.cells)
        self.assertIn("out of sync in 1 of the last 60 minutes", document.text)
        self.assertIn("svg", document.elements)
        nonce = re.search(r"<script nonce=([0-9a-f]{32})>", text)[1]
        self.assertIn(f"script-src 'nonce-{nonce}'", reply.headers["Content-Security-Policy"])
        self.assertNotIn(nonce, self.ask(port)[1])
        self.assertEqual(("no-store", "nosniff", "same-origin", None), tuple(
            reply.headers[name] for name in ("Cache-Control", "X-Content-Type-Options", "Cross-Origin-Resource-Policy",
                                             "Access-Control-Allow-Origin")))
        head, body = self.ask(port, "HEAD")
        self.assertEqual((200, ""), (head.status, body))
        self.assertEqual(404, self.ask(port, path="/status")[0].status)
        self.assertEqual(404, self.ask(port, path="/metrics")[0].status)
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            refused = self.ask(port, method)[0]
            self.assertEqual((405, "GET, HEAD"), (refused.status, refused.headers["Allow"]), method)
        for host, status in (("localhost:1", 200), ("[::1]", 200), ("evil.example", 403),
                             (f"127.0.0.1.evil.example:{port}", 403)):
            refused, text = self.ask(port, Host=host)
            self.assertEqual(status, refused.status, host)
            self.assertEqual(status == 200, "vol0" in text)
        daemon.stop()

    def test_one_listener(self):
        """Proves that both are served at one place where that is said, and that without the setting there is no page."""
        port = free_port()
        daemon = self.daemon(metrics=port, page=f"127.0.0.1:{port}")
        daemon.volume(legs="a")
        daemon.start()
        self.assertIn("surefoot_build_info", self.ask(port, path="/metrics", Host="prometheus.example")[1])
        self.assertIn("</html>", self.ask(port)[1])
        self.assertEqual(403, self.ask(port, Host="prometheus.example")[0].status)
        daemon.stop()
        del daemon.settings["page"]
        daemon.write_settings()
        daemon.start()
        self.assertEqual(404, self.ask(port)[0].status)
        daemon.stop()

    # -- in a browser --

    def between(self, port, answers):
        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting)
        proxy.port, proxy.answers, proxy.asked = port, answers, []
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
        return proxy

    def browse(self, proxy):
        """What the page has become after half a minute of the browser's own time."""
        with tempfile.TemporaryDirectory(dir=self.rig.folder) as profile:
            result = subprocess.run(
                [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=31000", "--dump-dom",
                 f"http://127.0.0.1:{proxy.server_address[1]}/"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(0, result.returncode, result.stderr)
        said = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
        return result.stdout, said

    def browse_without_scripts(self, port):
        """It loads itself anew for ever: ended when it has done so."""
        proxy = self.between(port, 1000)
        profile = self.rig.folder / "profile"
        (profile / "Default").mkdir(parents=True)
        (profile / "Default/Preferences").write_text('{"profile":{"default_content_setting_values":{"javascript":2}}}')
        browser = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"http://127.0.0.1:{proxy.server_address[1]}/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            self.rig.wait_until(lambda: len(proxy.asked) >= 2, "the page a second time", seconds=60)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
        self.assertEqual({"/"}, set(proxy.asked))

    @unittest.skipUnless(CHROMIUM, "no chromium: the page was not looked at in a browser")
    def test_browser(self):
        """Proves that a browser takes the page without a complaint, runs its script and none of a path, asks again, and
        says so when nobody answers any more; and that without scripts it asks again too."""
        daemon, port = self.served()
        self.wait_chart(port)
        proxy = self.between(port, 1000)
        shown, said = self.browse(proxy)
        self.assertEqual([], said)
        self.assertIn("<title>▲ Surefoot: 1 of 1 not healthy</title>", shown)
        self.assertRegex(shown, r'id="old" hidden')
        self.assertIn("&lt;b onclick=alert(1)&gt;", shown)
        self.assertEqual(["/", "/main", "/main"], proxy.asked[:3])
        proxy = self.between(port, 2)
        shown, said = self.browse(proxy)
        self.assertNotRegex(shown, r'id="old" hidden')
        self.assertIn("✗ faulty", shown)
        self.assertEqual(["/", "/main", "/main"], proxy.asked[:3])
        self.browse_without_scripts(port)
        daemon.stop()


if __name__ == "__main__":
    main()
