"""Adapters from one place for several servers: a folder on a slow file system."""

import concurrent.futures
import time

import pytest
from conftest import BINARY
from shared_folder import PEFT, RESCAN, ask, start  # noqa: F401
from test_metrics_inference import picked

SLOW_FILES = BINARY.parent / "tests" / "slow_files" / "libslow_files.so"


@pytest.mark.long
def test_a_thousand_folders_at_50_ms_a_question_are_looked_through_at_once_and_others_are_served_meanwhile(start, tmp_path):
    """One after the other their three questions each would take 150 s."""
    folder = tmp_path / "slow-share"
    folder.mkdir()
    for i in range(1000):
        (folder / f"a{i:04}").symlink_to(PEFT)
    began = time.monotonic()
    s = start(folder, LD_PRELOAD=SLOW_FILES, SLOW_FILES="slow-share", SLOW_STAT_MS=50)
    assert time.monotonic() - began < 140
    assert len(s.get("/v1/models").json()["data"]) == 1001
    assert ask(s, "a0007").status_code == 200
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        served = 0
        while not served:
            rescan = pool.submit(s.post, RESCAN, {})
            while not rescan.done():
                assert ask(s, "a0007").status_code == 200
                served += not rescan.done()
            assert rescan.result().status_code == 200


@pytest.mark.long
def test_an_adapter_that_is_slow_to_come_holds_up_nobody_else_and_is_told_as_waited_for(start, tmp_path):
    folder, held = tmp_path / "slow-share", tmp_path / "held"
    folder.mkdir()
    for name in ("here", "coming"):
        (folder / name).symlink_to(PEFT)
    s = start(folder, "--lora-info", LD_PRELOAD=SLOW_FILES, SLOW_FILES="slow-share", SLOW_UNTIL_GONE=held)
    assert ask(s, "here").status_code == 200
    held.touch()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(ask, s, "coming")
        try:
            while picked(s)["coming"] != ["coming"]:
                assert not coming.done(), coming.result().text
            assert ask(s, "here").status_code == 200
            assert not coming.done()
        finally:
            held.unlink()
        assert coming.result().status_code == 200
    assert sorted(picked(s)["active"]) == ["coming", "here"] and not picked(s)["coming"]
