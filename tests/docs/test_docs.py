"""The manual says what the programs do: every command, option and key that a program knows is in its
page, in the examples and in the completion.  The lists come from the programs themselves."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ["SUREFOOT_BUILD"]) / "bin"
MAN = ROOT / "docs/man"


def output(*words):
    result = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=20)
    return result.stdout


def words_of(text):
    return set(re.findall(r"[A-Za-z0-9_-]+", text))


def known_keys(program, text, name="test.conf"):
    """The keys that a program lists when it meets one that it does not know."""
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / name
        conf.write_text(text)
        said = output(*(conf if word == "CONF" else word for word in program))
    found = re.search(r"unknown key; known are (.*)", said)
    assert found, f"no list of keys in: {said}"
    return found[1].split()


def volume_keys():
    return known_keys([BIN / "surefootctl", "check", "CONF"], "[volume]\nname = x\nnosuch = 1\n")


def leg_keys():
    return known_keys([BIN / "surefootctl", "check", "CONF"],
                      "[volume]\nname = x\n[leg a]\nnosuch = 1\n")


def refusal(text):
    """What the program says of a volume's file; it is said of the first mistake only."""
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "test.conf"
        conf.write_text(text)
        return output(BIN / "surefootctl", "check", conf)


def refusal_of(key, value, of_leg=False):
    leg = "[leg a]\npath = /nowhere/a\n"
    line = f"{key} = {value}\n"
    return refusal("[volume]\nname = x\n" + (leg + line if of_leg else line + leg))


def bounds(key, of_leg):
    """The least and the most that the program takes, as it says them."""
    said = [refusal_of(key, value, of_leg) for value in ("0", "1ns", "9" * 15, "999999999s")]
    return {bound for line in said for bound in re.findall(r"at (?:least|most) (\w+)", line)}


def complete(*words):
    """What bash completes the last of these words to."""
    script = (f'_init_completion() {{ words=("$@"); }}; complete() {{ :; }}; compopt() {{ :; }}\n'
              f'. {ROOT}/conf/surefootctl.bash-completion\n'
              '_init_completion() { words=("${given[@]}"); cword=$((${#words[@]} - 1));'
              ' cur=${words[cword]}; prev=${words[cword - 1]}; }\n'
              'given=("$@"); _surefootctl; printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["bash", "-c", script, "bash", *words], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=20)
    return result.stdout.split()


def commands():
    """name -> its usage, of surefootctl."""
    found = re.findall(r"^  ([a-z]+) +(.*)$", output(BIN / "surefootctl", "--help"), re.M)
    assert len(found) >= 7, found
    return {name: output(BIN / "surefootctl", name, "--help") for name, _ in found}


def live_keys(of_daemon=True):
    source = (ROOT / "engine/config/keys.c").read_text()
    table = source[source.index("keys[] = {"):]
    table = table[:table.index("};")]
    entries = re.findall(r'\{\.name = "(\w+)",(.*?)\}', table, re.S)
    assert len(entries) >= 15, entries
    return [(name, "LEG(" in rest) for name, rest in entries
            if "LIVE" in rest and (of_daemon or "DAEMON" not in rest)]


class Docs(unittest.TestCase):
    def page(self, name):
        return (MAN / f"{name}.pod").read_text()

    def assert_items(self, page, names, what):
        items = words_of(" ".join(re.findall(r"^=item (.*?)^(?:=|\S)", self.page(page) + "\n=cut",
                                             re.M | re.S)))
        missing = [name for name in names if name not in items]
        self.assertEqual([], missing, f"{page}.pod has no =item for these {what}")

    def test_pod_is_well_formed(self):
        pages = sorted(MAN.glob("*.pod"))
        self.assertGreaterEqual(len(pages), 5)
        for page in pages:
            result = subprocess.run(["podchecker", "-warnings", "-warnings", page],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(0, result.returncode, result.stdout)
            self.assertNotIn("WARNING", result.stdout)

    def test_references_exist(self):
        ours = {page.stem for page in MAN.glob("*.pod")}
        for page in MAN.glob("*.pod"):
            for name in re.findall(r"L<([^(>]+)\(\d\)>", page.read_text()):
                if "surefoot" in name:
                    self.assertIn(name, ours, page.name)

    def test_commands(self):
        page, known = self.page("surefootctl"), commands()
        self.assert_items("surefootctl", known, "commands")
        for name, usage in known.items():
            for option in re.findall(r"--[a-z-]+", usage):
                self.assertIn(option, page, f"an option of {name}")
        for option in re.findall(r"--[a-z-]+", output(BIN / "surefootctl", "--help")):
            self.assertIn(option, page)

    def test_completion(self):
        text = (ROOT / "conf/surefootctl.bash-completion").read_text()
        known = commands()
        commands_line = re.search(r'local commands="([^"]*)"', text)[1]
        self.assertEqual(set(known), set(commands_line.split()))
        options = set(re.findall(r"--[a-z-]+", text))
        for name, usage in known.items():
            for option in re.findall(r"--[a-z-]+", usage):
                self.assertIn(option, options, f"an option of {name}")
        for action in re.findall(r"\b([a-z]+(?:\|[a-z]+)+)\b", "".join(known.values())):
            for word in action.split("|"):
                self.assertIn(word, words_of(text), action)
        self.assertEqual(0, subprocess.run(["bash", "-n", "-c", text]).returncode)

    def test_completion_of_live_keys(self):
        text = (ROOT / "conf/surefootctl.bash-completion").read_text()
        body = text[text.index("_surefootctl_keys()"):text.index("\n_surefootctl()")]
        loops = [set(words.replace("\\", " ").split())
                 for words in re.findall(r"for key in (.*?); do", body, re.S)]
        self.assertEqual([{name for name, leg in live_keys() if not leg},
                          {name for name, leg in live_keys() if leg}], loops)

    def test_keys_of_a_volume(self):
        self.assert_items("surefoot-volume", volume_keys() + leg_keys(), "keys")
        page = self.page("surefoot-volume")
        for name, _ in live_keys():
            item = re.search(rf"^=item [^\n]*B<{name}>.*?\n\n(.*?)\n\n", page, re.M | re.S)
            self.assertTrue(item[1].startswith("I<live>"), f"{name} is live")

    def item(self, page, key):
        found = re.search(rf"^=item [^\n]*B<{key}>.*?(?=^=(?:item|back))", self.page(page), re.M | re.S)
        # Keys that share a text stand in one item.
        return found[0]

    def test_bounds_of_values(self):
        """The page tells the least and the most of every number, as the program has them."""
        numbers = 0
        for of_leg, keys in ((False, volume_keys()), (True, leg_keys())):
            for key in keys:
                for bound in bounds(key, of_leg):
                    numbers += 1
                    self.assertIn(f"C<{bound}>", self.item("surefoot-volume", key), key)
        self.assertGreaterEqual(numbers, 25)

    def test_lengths_of_names(self):
        page = self.page("surefoot-volume")
        volume = re.search(r"1 to (\d+) of", refusal(f"[volume]\nname = {'n' * 100}\n"))[1]
        leg = re.search(r"1 to (\d+) of", refusal(f"[volume]\nname = x\n[leg {'n' * 100}]\n"))[1]
        self.assertIn(f"at most {volume} of", self.item("surefoot-volume", "name"))
        self.assertRegex(page, rf"the name has at most {leg} of")
        self.assertIn(f"NAME has at most {leg} of", self.page("surefootctl"))

    def test_completion_of_values(self):
        """Every word that a key takes, and no key without a value."""
        words = re.search(r'is neither (\w+) nor (\w+)', refusal_of("on_too_few", "x"))
        self.assertEqual({f"on_too_few={word}" for word in words.groups()},
                         set(complete("surefootctl", "set", "vol0", "on_too_few=")))
        words = re.search(r'is neither (\w+) nor (\w+)', refusal_of("slow_leg", "x"))
        self.assertEqual({f"slow_leg={word}" for word in words.groups()},
                         set(complete("surefootctl", "set", "vol0", "slow_leg=")))
        self.assertEqual(["flush_deadline=auto", "flush_deadline=default"],
                         complete("surefootctl", "set", "vol0", "flush_deadline="))
        self.assertEqual(["leg.a.read_timeout=auto"], complete("surefootctl", "set", "vol0", "leg.a.read_timeout=a"))
        self.assertEqual(["on_too_few=suspend"], complete("surefootctl", "set", "vol0", "on_too_few=s"))
        self.assertEqual({f"{name}=" for name, leg in live_keys() if not leg},
                         set(complete("surefootctl", "set", "vol0", "")))
        self.assertEqual(set(commands()), set(complete("surefootctl", "")))

    def test_example_of_a_volume(self):
        text = (ROOT / "conf/vol0.conf").read_text()
        for key in volume_keys() + leg_keys():
            if key in ("read_timeout", "flush_timeout"):
                self.assertIn(key, text)
            else:
                self.assertRegex(text, rf"\b{key} = ", "not in conf/vol0.conf")

    def test_parameters_of_the_plugin(self):
        """What nbdkit's own help for the plugin lists."""
        plugin = Path(os.environ["SUREFOOT_BUILD"]) / "lib/nbdkit-surefoot-plugin.so"
        if os.environ.get("SUREFOOT_SANITIZE"):
            self.skipTest("nbdkit cannot load an instrumented plugin by itself")
        said = output("nbdkit", plugin, "--help")
        keys = re.findall(r"^\[?([a-z][A-Za-z_.]+)\]?=", said, re.M)
        self.assertIn("write_deadline", keys, said)
        page = self.page("nbdkit-surefoot-plugin")
        for key in keys:
            self.assertIn(f"B<{key}=>", page)
        for key, leg in live_keys(of_daemon=False):
            self.assertIn(key, words_of(said), "not in the help of the plugin")
            self.assertIn(f"B<leg.NAME.{key}=>" if leg else f"B<{key}=>", page)

    def test_parts_of_the_tests(self):
        runs = re.search(r"parts=\((format [a-z0-9 ]*)\)", (ROOT / "run").read_text())[1].split()
        told = re.search(r"`\./run test PART` runs one part \(([^)]*)\)", (ROOT / "README.md").read_text())
        self.assertEqual(runs, told[1].split(", "))

    def test_lines_of_the_readme(self):
        """The file of the ten lines is right, and so is what becomes of it as a service."""
        if not (BIN / "surefootd").exists():
            self.skipTest("surefootd is not built")
        text = (ROOT / "README.md").read_text()
        made = re.search(r"cat > (\S+)/(\S+) <<END\n(.*?)\n    END\n", text, re.S)
        change = re.search(r"^    sed -i '(.*)' \S+/volumes\.d/" + re.escape(made[2]) + "$", text, re.M)
        with tempfile.TemporaryDirectory() as folder:
            conf = Path(folder) / "volumes" / made[2]
            conf.parent.mkdir()
            conf.write_text(re.sub(r"(?m)^    ", "", made[3]) + "\n")
            settings = Path(folder) / "surefoot.conf"
            settings.write_text(f"[daemon]\nvolumes = {conf.parent}\nruntime = {folder}\n")
            for expression in ("", change[1]):
                output("sed", "-i", expression, conf)
                result = subprocess.run([BIN / "surefootd", "--check", "-c", settings], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
                self.assertEqual(0, result.returncode, result.stdout + conf.read_text())
            self.assertIn("device = /dev/nbd0", conf.read_text())
            self.assertNotIn("control", conf.read_text())

    def test_files_that_are_named(self):
        """Every file of the repository that README and docs name in backquotes is there."""
        for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
            for name in re.findall(r"`((?:docs|engine|include|plugin|daemon|conf|tests|cmake)/[\w./-]+)`",
                                   page.read_text()):
                self.assertTrue((ROOT / name).exists(), f"{page.name} names {name}")

    def test_layers(self):
        """A folder includes what ARCHITECTURE.md lets it use, and every folder is in that table."""
        text = (ROOT / "docs/ARCHITECTURE.md").read_text()
        allowed = {folder: set(re.findall(r"\w+", uses)) for folder, uses in
                   re.findall(r"^\| `([\w/]+)` \|[^|]*\|([^|]*)\|$", text, re.M)}
        parts = {path.name for path in (ROOT / "engine").iterdir() if path.is_dir()}
        folders = {f"engine/{part}" for part in parts}
        folders |= {"plugin", "daemon/surefootctl", "daemon/surefootd"}
        self.assertEqual(folders, set(allowed))
        for folder, uses in allowed.items():
            for source in sorted((ROOT / folder).rglob("*.[ch]")):
                for name in re.findall(r'#include [<"]([\w/]+)\.h[>"]', source.read_text()):
                    part, _, header = name.partition("/")
                    if part == "surefoot":
                        part = "legs" if header == "legfile" else header
                    if part in parts and f"engine/{part}" != folder:
                        self.assertIn(part, uses, f"{source.relative_to(ROOT)} includes {name}.h: not "
                                                  "in the table of docs/ARCHITECTURE.md")

    def test_pages_are_installed(self):
        listed = re.search(r"set \(pages ([^)]*)\)", (MAN / "CMakeLists.txt").read_text())[1].split()
        self.assertEqual({page.stem for page in MAN.glob("*.pod")},
                         {re.sub(r"\.\d$", "", page) for page in listed})

    def test_daemon(self):
        daemon = BIN / "surefootd"
        if not daemon.exists():
            self.skipTest("surefootd is not built")
        keys = known_keys([daemon, "--check", "-c", "CONF"], "[daemon]\nnosuch = 1\n")
        self.assert_items("surefoot.conf", keys, "keys")
        text = (ROOT / "conf/surefoot.conf").read_text()
        for key in keys:
            if key not in ("nbdkit", "plugin"):
                self.assertRegex(text, rf"(?m)^;?{key} = ", "not in conf/surefoot.conf")
        for option in re.findall(r"--[a-z-]+", output(daemon, "--help")):
            self.assertIn(option, self.page("surefootd"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
