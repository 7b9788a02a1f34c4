"""rcorn-deploy: what it unpacks and refuses, that it can be killed anywhere, and what it sets up for TLS."""

import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

SCRIPT = str(pathlib.Path(__file__).resolve().parents[2] / "packaging/deploy/rcorn-deploy")

# Runs the script and kills it right before, or right after, its Nth change of the disk or program that it starts.
KILLER = """
import os, runpy, shutil, subprocess, sys
count, after = int(sys.argv[1]), sys.argv[2] == "after"
def counted(function):
    def call(*args, **more):
        global count
        count -= 1
        if count == 0 and not after:
            os.kill(os.getpid(), 9)
        result = function(*args, **more)
        if count == 0:
            os.kill(os.getpid(), 9)
        return result
    return call
for module, names in ((os, "replace symlink rename mkdir"), (subprocess, "run"), (shutil, "rmtree")):
    for name in names.split():
        setattr(module, name, counted(getattr(module, name)))
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Stands in for rcorn: it takes every app that does not say "broken".
RCORN = """#!/bin/sh
case "$*" in *check-config*) ! grep -q broken "${2%rcorn.yaml}package/app.py" ;; esac
"""


def load():
    loader = importlib.machinery.SourceFileLoader("rcorn_deploy", SCRIPT)
    spec = importlib.util.spec_from_loader("rcorn_deploy", loader)
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.deploy = load()

    def package(self, *members, name="p.tar.gz"):
        """An archive of (name, text), (name, type, target)."""
        path = self.folder / name
        with tarfile.open(path, "w:gz") as tar:
            for member in members:
                info = tarfile.TarInfo(member[0])
                if len(member) == 2:
                    text = member[1].encode()
                    info.size, info.mode = len(text), 0o6755
                    tar.addfile(info, io.BytesIO(text))
                else:
                    info.type, info.linkname = member[1:]
                    tar.addfile(info)
        return path


class Unpacking(Scratch):
    def unpack(self, *members):
        folder = self.folder / "to"
        folder.mkdir(exist_ok=True)
        self.deploy.unpack(self.package(*members), folder)
        return folder

    def test_an_ordinary_package(self):
        folder = self.unpack(("p", tarfile.DIRTYPE, ""), ("p/a.py", "x"), ("p/b", tarfile.SYMTYPE, "a.py"),
                             ("p/q/c", tarfile.SYMTYPE, "../a.py"), ("p/q/up", tarfile.SYMTYPE, ".."), ("p/d", tarfile.LNKTYPE, "p/a.py"), ("./e", "y"))
        for name in ("p/a.py", "p/b", "p/q/c", "p/d"):
            self.assertEqual((folder / name).read_text(), "x", name)
        self.assertEqual((folder / "p/a.py").stat().st_mode & 0o7777, 0o755)

    def test_nothing_leaves_the_package(self):
        link, hard = tarfile.SYMTYPE, tarfile.LNKTYPE
        (self.folder / "secret").write_text("s")
        for members in (
            [("/tmp/x", "x")], [("../x", "x")], [("a/../../x", "x")], [("..", "x")],
            [("a", link, "/etc")], [("a", link, "..")], [("a/b", link, "../..")], [("a", link, "b/../../x")],
            [("a", hard, "../secret")], [("a", hard, "/etc/passwd")],
            [("a", link, "."), ("a/b", "x")], [("d", link, "."), ("d", "x")],
            [("a", link, "b"), ("c", link, "a/..")], [("a", link, "b"), ("c", hard, "a")],
            [("a", link, "b"), ("c", hard, "a/x")],
            [("a", tarfile.FIFOTYPE, "")], [("a", tarfile.CHRTYPE, "")], [("a", tarfile.BLKTYPE, "")],
        ):
            with self.subTest(members), self.assertRaises(self.deploy.Failure):
                self.unpack(("first", "x"), *members)
        # Not even what came before.
        self.assertEqual(list((self.folder / "to").iterdir()), [])

    def test_what_is_no_archive(self):
        (self.folder / "not.tar.gz").write_text("hello")
        with self.assertRaisesRegex(self.deploy.Failure, "cannot unpack"):
            self.deploy.unpack(self.folder / "not.tar.gz", self.folder)


class Killed(Scratch):
    def setUp(self):
        super().setUp()
        (self.folder / "rcorn").write_text(RCORN)
        (self.folder / "rcorn").chmod(0o755)
        (self.folder / "killer.py").write_text(KILLER)
        self.one = self.package(("p/app.py", "one"), name="one.tar.gz")
        self.two = self.package(("p/app.py", "two"), name="two.tar.gz")
        self.bad = self.package(("p/app.py", "broken"), name="bad.tar.gz")

    def words(self, root, command, *words):
        return [SCRIPT, command, "--root", str(self.folder / root), "--rcorn", str(self.folder / "rcorn"), *words]

    def run_it(self, *words):
        return subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def install(self, root, package):
        return self.words(root, "install", "--service", "none", "--download-url", str(package), "--wsgi-app", "app",
                          "--python", sys.executable, "--keep", "2")

    def text(self, root, name="current"):
        return (self.folder / root / name / "app/app.py").read_text()

    def test_killed_anywhere_the_site_is_whole_and_the_next_call_goes_on(self):
        kills = 0
        for when in ("before", "after"):
            # Each change twice would take long; a number in two is enough with both kinds.
            for number in range(1 if when == "before" else 2, 100, 2):
                root = f"{when}{number}"
                done = self.run_it(*self.install(root, self.one))
                self.assertEqual(done.returncode, 0, done.stdout)
                killed = self.run_it(str(self.folder / "killer.py"), str(number), when, *self.install(root, self.two))
                if killed.returncode == 0:
                    break
                kills += 1
                self.assertEqual(killed.returncode, -9, killed.stdout)
                self.assertIn(self.text(root), ("one", "two"))
                self.assertTrue((self.folder / root / "current/release.json").exists())
                again = self.run_it(*self.install(root, self.two))
                self.assertEqual(again.returncode, 0, again.stdout)
                self.assertEqual((self.text(root), self.text(root, "previous")), ("two", "one"))
                self.assertEqual(len(os.listdir(self.folder / root / "releases")), 2)
                self.assertFalse((self.folder / root / "pending").exists())
                self.assertFalse((self.folder / root / "incoming").exists())
        self.assertGreater(kills, 8)

    def test_a_broken_package_changes_nothing_and_rollback_toggles(self):
        self.assertEqual(self.run_it(*self.words("r", "rollback")).returncode, 1)
        for package, code in ((self.one, 0), (self.bad, 1), (self.two, 0), (self.bad, 1)):
            self.assertEqual(self.run_it(*self.install("r", package)).returncode, code, package)
        self.assertEqual(self.text("r"), "two")
        for expected in ("one", "two"):
            self.assertEqual(self.run_it(*self.words("r", "rollback")).returncode, 0)
            self.assertEqual(self.text("r"), expected)
        listed = self.run_it(*self.words("r", "list")).stdout
        self.assertEqual(len(listed.splitlines()), 2, listed)

    def test_only_one_at_a_time(self):
        self.assertEqual(self.run_it(*self.install("r", self.one)).returncode, 0)
        import fcntl
        with open(self.folder / "r/lock") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            done = self.run_it(*self.install("r", self.two))
        self.assertEqual(done.returncode, 75, done.stdout)
        self.assertIn("another deployment is in progress", done.stdout)

    def test_wrong_words(self):
        for words in (["deploy"], ["deploy", "--root", "x"], ["nonsense"],
                      ["deploy", "--root", "x", "--download-url", "y", "--keep", "1"]):
            self.assertEqual(self.run_it(SCRIPT, *words).returncode, 2, words)
        done = self.run_it(*self.words("r", "deploy", "--download-url", str(self.one)))
        self.assertEqual(done.returncode, 1)
        self.assertIn("rcorn-deploy install", done.stdout)
        done = self.run_it(*self.install("r", self.one), "--env", "not a pair")
        self.assertIn("not NAME=VALUE", done.stdout)
        done = self.run_it(*self.install("r", self.one), "--app-dir", "../..")
        self.assertIn("the package has no directory", done.stdout)

    def test_the_former_name_of_install_still_works(self):
        words = ["first" if word == "install" else word for word in self.install("r", self.one)]
        done = self.run_it(*words)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.text("r"), "one")

    def test_it_remembers_what_a_release_was_made_from(self):
        words = self.install("r", self.one) + ["--env", "A=b c", "--env", 'Q="$x" ü']
        self.assertEqual(self.run_it(*words).returncode, 0)
        self.assertEqual(self.run_it(*self.install("r", self.two)).returncode, 0)
        facts = json.loads((self.folder / "r/current/release.json").read_text())
        self.assertEqual(facts["envs"], ["A=b c", 'Q="$x" ü'])
        text = (self.folder / "r/current/rcorn.yaml").read_text()
        self.assertIn('raw_env: {"A": "b c", "Q": "\\"$x\\" ü"}', text)


class Tls(Scratch):
    """With systemd: what is written and run, with programs that stand in for it and for rcorn."""

    def setUp(self):
        super().setUp()
        self.said = self.folder / "said"
        for name in ("cert.pem", "key 50%.pem"):
            (self.folder / name).touch()

    def site(self, *words):
        options = self.deploy.parse([
            "install", "--root", "/srv/blog", "--run-dir", "/run/rcorn-blog", "--download-url", "x", "--service", "systemd",
            "--service-dir", str(self.folder), "--unit-dir", str(self.folder / "units"), *words])
        site = self.deploy.Site(options)
        site.is_running = lambda: self.is_running
        site.wait_for_service = lambda look: None
        return site

    def set_up(self, *words):
        """Returns what systemctl was asked."""
        self.said.write_text("")
        os.environ["SYSTEMCTL"] = f"sh -c 'echo $* >> {self.said}' sh"
        self.addCleanup(os.environ.pop, "SYSTEMCTL", None)
        self.site(*words).set_up_systemd()
        return self.said.read_text().splitlines()

    def test_the_unit_gets_a_drop_in_with_the_certificate(self):
        tls = ("--tls", str(self.folder / "cert.pem"), str(self.folder / "key 50%.pem"))
        enable, restart = "enable --now rcorn@blog", "restart rcorn@blog"
        self.is_running = False
        self.assertEqual(self.set_up(*tls), ["daemon-reload", enable])
        text = (self.folder / "units/rcorn@blog.service.d/tls.conf").read_text()
        self.assertIn(f"\nLoadCredential=tls.crt:{self.folder}/cert.pem\n", text)
        self.assertIn(f"\nLoadCredential=tls.key:{self.folder}/key 50%%.pem\n", text)
        self.assertNotIn("letsencrypt", text.partition("[Service]")[2])
        words = (self.folder / "blog.env").read_text()
        place = "/run/credentials/rcorn@blog.service/tls"
        self.assertIn(f"--bind https://:443 --certfile {place}.crt --keyfile {place}.key --bind :80 --redirect-https", words)
        # Again: nothing has changed. Then it has: the credentials are read at a start only.
        self.is_running = True
        self.assertEqual(self.set_up(*tls), [enable])
        other = (*tls[:2], tls[1])
        self.assertEqual(self.set_up(*other), ["daemon-reload", enable, restart])
        # Without TLS it goes.
        self.assertEqual(self.set_up(), ["daemon-reload", enable, restart])
        self.assertFalse((self.folder / "units/rcorn@blog.service.d/tls.conf").exists())
        self.assertNotIn("https", (self.folder / "blog.env").read_text())

    def test_redirection_is_left_out_if_that_is_asked_for(self):
        tls = ("--tls", str(self.folder / "cert.pem"), str(self.folder / "key 50%.pem"))
        words = self.site(*tls, "--redirect-listen", "none", "--tls-listen", "[::]:8443").tls_arguments()
        self.assertEqual(words[:2], ["--bind", "https://[::]:8443"])
        self.assertNotIn("--redirect-https", words)


if __name__ == "__main__":
    unittest.main()
