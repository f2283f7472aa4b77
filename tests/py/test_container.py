"""The container file, as far as it goes without building it: what it copies is there, what it installs is what is needed, who runs, how it is asked
whether it is well, and that the server ends where it is the first process."""

import http.server
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import pytest

from conftest import BINARY, ROOT

FOLDER = ROOT / "deploy/container"
HEALTHCHECK = FOLDER / "healthcheck"


def stages():
    """Of each stage, its instructions: (name, what follows)."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Containerfile").read_text(), flags=re.M).replace("\\\n", " ")
    instructions = [(w, " ".join(rest.split())) for w, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]
    found = []
    for word, rest in instructions:
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def packages(stage):
    (install,) = [rest for word, rest in stage if word == "RUN" and "apt-get install" in rest]
    return set(re.search(r"--no-install-recommends ([^&]*)", install)[1].split())


def test_what_is_copied_from_the_source_is_there():
    copied = [rest.split()[:-1] for stage in stages() for word, rest in stage if word == "COPY" and "--from" not in rest]
    assert len(copied) >= 3
    for names in copied:
        assert all((ROOT / name).exists() for name in names), names


def test_the_image_has_the_libraries_that_the_program_needs_and_no_others():
    if not (shutil.which("objdump") and shutil.which("dpkg")):
        pytest.skip("no objdump or dpkg here")
    needed = re.findall(r"NEEDED +(\S+)", subprocess.run(["objdump", "-p", BINARY], capture_output=True, text=True, check=True).stdout)
    ours = [n for n in needed if not re.match(r"lib(c|m|asan|ubsan|tsan|gcc_s|stdc\+\+)\.so|ld-", n)]
    found = subprocess.run(["dpkg", "-S", *(f"*/{n}" for n in ours)], capture_output=True, text=True).stdout
    owners = {line.split(":")[0] for line in found.splitlines()}
    assert len(owners) == len(ours) and owners == packages(stages()[-1])


def test_the_build_and_the_package_install_what_tools_setup_says_a_build_needs():
    setup = (ROOT / "tools/setup").read_text().split("list_missing() {")[1].split('"$what" = build')[0]
    needed = {p for line in re.findall(r"^  need (?:'[^']*'|\S+) (.*)$", setup, re.M) for p in line.split("#")[0].split()}
    assert needed - {"ninja-build"} <= packages(stages()[0])  # which meson depends on
    fields = (ROOT / "deploy/debian/control").read_text().split("Build-Depends:")[1].split("\nStandards")[0]
    assert needed - {"ninja-build", "gcc", "libc6-dev"} <= {p.split()[0] for p in fields.split(",")}  # which every package may assume


def test_nobody_runs_as_root_and_data_are_volumes():
    last = dict(stages()[-1])
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert set(re.findall(r'"([^"]+)"', last["VOLUME"])) == {"/var/lib/edgelora/models", "/var/lib/edgelora/adapters", "/var/cache/edgelora"}
    assert "healthcheck" in last["HEALTHCHECK"] and last["CMD"].startswith("[")


def test_the_containers_configuration_is_one_that_the_program_takes(tmp_path):
    copy = tmp_path / "edgelora.yaml"
    copy.write_text((FOLDER / "edgelora.yaml").read_text().replace("/var/lib/edgelora", str(tmp_path)))
    done = subprocess.run([BINARY, "serve", "--config", copy], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"{tmp_path}/models" in done.stderr, done.stderr  # all is right with it but that no model is there


def check_health(port):
    return subprocess.run([HEALTHCHECK, str(port)], capture_output=True, timeout=60).returncode


def test_the_health_check_knows_a_server_that_answers(fake):
    server = fake()
    assert check_health(server.port) == 0
    server.stop()
    assert check_health(server.port) != 0


def test_the_health_check_knows_a_server_that_is_not_well():
    class Ill(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Ill) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert check_health(server.server_address[1]) != 0


def test_as_the_first_process_of_a_container_it_ends_when_it_is_asked_to():
    """Signals without a handler are not delivered to process 1."""
    inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("there are no process namespaces here")
    command = [*inside, BINARY, "serve", "-m", ROOT / "tests/golden/tiny/q8_0.gguf", "--port", "0", "--memory", "8M"]
    outside = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert any("listening on" in line for line in outside.stderr)
    (first,) = pathlib.Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    outside.stderr.read()
    assert outside.wait(60) == 0
