"""What an installation is made of: the version, the source archive, the systemd unit."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT

VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)


@pytest.fixture
def source(tmp_path):
    """A repository with what the version and the archive are made by, one commit in it."""
    root = tmp_path / "source"
    (root / "tools").mkdir(parents=True)
    for name in ("version", "dist", "lib.sh"):
        shutil.copy(ROOT / "tools" / name, root / "tools")
    (root / "meson.build").write_text("project('edgelora', 'c',\n  version: '1.2.3',\n)\n")
    (root / ".gitignore").write_text("/build/\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def git(root, *words):
    person = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "a"), ("EMAIL", "a@example.org"))}
    done = run("git", "-C", root, *words, env={**os.environ, **person, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def version(root):
    return run(root / "tools/version").stdout.strip()


def test_the_version_is_the_tags_and_tells_how_far_it_is_from_it(source):
    commit = git(source, "rev-parse", "--short=7", "HEAD")
    assert version(source) == f"1.2.3-dev.1+g{commit}"
    git(source, "tag", "v1.2.3")
    assert version(source) == "1.2.3"
    (source / "meson.build").open("a").write("# more\n")
    assert version(source) == "1.2.3+dirty"
    git(source, "commit", "-qam", "second")
    commit = git(source, "rev-parse", "--short=7", "HEAD")
    assert version(source) == f"1.2.3+1.g{commit}"


def test_a_source_without_its_repository_has_the_number_alone(source, tmp_path):
    shutil.rmtree(source / ".git")
    assert version(source) == "1.2.3"
    git(tmp_path, "init", "-q")  # another repository around it says nothing
    assert version(source) == "1.2.3"


def test_an_archive_is_all_that_is_committed_the_same_bytes_each_time_and_knows_its_version(source, tmp_path):
    first, name = [run(source / "tools/dist").stdout.strip() for _ in range(2)]
    assert first == name
    data = (source / name).read_bytes()
    (source / name).unlink()
    (source / "notes").write_text("not committed")
    assert run(source / "tools/dist").stdout.strip() == name
    assert (source / name).read_bytes() == data
    files = run("tar", "-tzf", source / name).stdout.split()
    top = name.split("/")[-1].removesuffix(".tar.gz")
    assert sorted(f for f in files if not f.endswith("/")) == sorted(f"{top}/{f}" for f in [*git(source, "ls-files").split(), "VERSION"])
    subprocess.run(["tar", "-xzf", source / name, "-C", tmp_path], check=True)
    assert version(tmp_path / top) == version(source)


def test_the_program_tells_the_version_that_it_was_built_of():
    said = run(BINARY, "--version").stdout
    assert re.fullmatch(rf"edgelora {re.escape(VERSION)}(-dev\.\d+\+g[0-9a-f]+|\+\d+\.g[0-9a-f]+)?([.+]dirty)?\n", said), said


@pytest.fixture
def unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    text = (ROOT / "deploy/systemd/edgelora.service.in").read_text()
    path = tmp_path / "edgelora.service"
    path.write_text(text.replace("@bindir@", str(BINARY.parent)).replace("@sysconfdir@", "/etc"))
    return path


def test_systemd_finds_nothing_wrong_with_the_unit(unit):
    done = run("systemd-analyze", "--man=no", "verify", unit)
    assert done.returncode == 0 and not done.stdout + done.stderr, done


def test_the_unit_exposes_no_more_than_it_needs(unit):
    assert run("systemd-analyze", "security", "--offline=true", "--threshold=12", unit).returncode == 0  # 1.2 of 10


def test_a_server_without_a_model_says_so_and_is_not_started_again(unit, tmp_path):
    config = tmp_path / "edgelora.yaml"
    shutil.copy(ROOT / "deploy/edgelora.yaml", config)
    done = run(BINARY, "serve", "--config", config, env={"XDG_CACHE_HOME": str(tmp_path)})
    assert "no model" in done.stderr and "'model' in the configuration" in done.stderr
    (prevented,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit.read_text(), re.M)
    assert str(done.returncode) in prevented.split()
