"""A program of the command line, run to its end: what it prints, and how it ends."""

import os
import subprocess

from conftest import BENCH, BINARY


class Program:
    def __init__(self, path):
        self.path, self.name = path, path.name

    def __call__(self, *args, stdin=b"", env=None, stdout=subprocess.PIPE, timeout=300):
        """Runs it. Its outputs are bytes."""
        return subprocess.run([self.path, *map(str, args)], input=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=timeout,
                              env={**os.environ, **(env or {})})

    def done(self, *args, **kwargs):
        """What a run that must succeed prints."""
        r = self(*args, **kwargs)
        assert r.returncode == 0, r.stderr.decode()
        return r.stdout

    def refused(self, *args, status, **kwargs):
        """What a run that must fail says; it prints no result."""
        r = self(*args, **kwargs)
        assert r.returncode == status, (r.returncode, r.stderr.decode())
        assert r.stdout == b""
        message = r.stderr.decode()
        assert message.startswith(f"{self.name}: "), message
        return message


edgelora, bench = Program(BINARY), Program(BENCH)
