"""edgelora router profile: the table, what survives a kill, and what is refused."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import BINARY, MODEL, ROOT

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
TINY_LORA = ROOT / "tests" / "golden" / "lora" / "tiny.gguf"
HELDOUT = ROOT / "tools" / "demo" / "heldout"

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")
needs_model = pytest.mark.skipif(not MODEL.exists(), reason="the default model is missing (EDGELORA_MODEL)")

# Scores that tell answers apart, from a command that is slow enough to be ended in the middle.
SLOW = 'command:n=$(cksum | cut -c1-3); sleep 0.02; echo "0.$n"'


def command(prompts, output, *options):
    return [BINARY, "router", "profile", "-m", TINY, "--adapter", f"one={TINY_LORA}", "--adapter", f"t/two={TINY_LORA}", "--prompts",
            prompts, "-o", output, "-n", "8", *options]


def profile(prompts, output, *options, timeout=300):
    r = subprocess.run(list(map(str, command(prompts, output, *options))), capture_output=True, text=True, timeout=timeout)
    return r.returncode, r.stdout, r.stderr


def table(prompts, output, *options):
    status, _, said = profile(prompts, output, *options)
    assert status == 0, said
    return output.read_bytes()


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"prompt {i}, with a comma\nand \"quotes\"", "task": "t", "expected": f"{i}"} for i in range(30)]
    rows += [{"prompt": f"open question {i}"} for i in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_table_has_a_row_a_prompt_in_their_order_and_the_base_first(prompts, tmp_path):
    status, out, said = profile(prompts, tmp_path / "t.csv")
    assert status == 0, said
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    asked = [json.loads(line) for line in prompts.read_text().splitlines()]
    assert list(rows[0]) == ["prompt", "task", "score_base", "score_one", "score_t/two"]
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in asked]
    assert [row["task"] for row in rows] == [row.get("task", "") for row in asked]
    assert all(0 <= float(row[f"score_{name}"]) <= 1 for row in rows for name in ("base", "one", "t/two"))
    # One adapter under two names answers the same; where nothing is expected, the base's own answer is.
    assert all(row["score_one"] == row["score_t/two"] for row in rows)
    assert all(row["score_base"] == "1" for row in rows[30:])
    assert "40 prompts, 3 candidates" in out
    assert not (tmp_path / "t.csv.part").exists() and not (tmp_path / "t.csv.new").exists()


def test_csv_and_jsonl_hold_the_same(prompts, tmp_path):
    table(prompts, tmp_path / "t.csv", "--scorer", "f1")
    lines = table(prompts, tmp_path / "t.jsonl", "--scorer", "f1").decode().splitlines()
    with open(tmp_path / "t.csv", newline="") as file:
        for row, line in zip(csv.DictReader(file), map(json.loads, lines), strict=True):
            assert (row["prompt"], row["task"]) == (line["prompt"], line["task"])
            assert line["scores"] == {name: float(row[f"score_{name}"]) for name in ("base", "one", "t/two")}


def test_prompts_in_csv_are_the_same_prompts(prompts, tmp_path):
    with open(tmp_path / "p.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["expected", "prompt", "task"])
        for row in map(json.loads, prompts.read_text().splitlines()):
            out.writerow([row.get("expected", ""), row["prompt"], row.get("task", "")])
    assert table(tmp_path / "p.csv", tmp_path / "a.csv") == table(prompts, tmp_path / "b.csv")


def ended(prompts, output, sig, lines, *options):
    """Starts a run and ends it when its journal has some lines. (exit status, what it said)."""
    journal = output.with_name(output.name + ".part")
    process = subprocess.Popen(list(map(str, command(prompts, output, *options))), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            break
        time.sleep(0.005)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(sig)
    _, said = process.communicate(timeout=60)
    assert not output.exists()
    return process.returncode, said


@pytest.mark.parametrize("slots", ["1", "16"])
def test_a_run_that_was_killed_goes_on_and_gives_the_same_table(prompts, tmp_path, slots):
    whole = table(prompts, tmp_path / "whole.csv", "--scorer", SLOW)
    output, journal = tmp_path / "t.csv", tmp_path / "t.csv.part"
    for lines in (5, 50):
        status, _ = ended(prompts, output, signal.SIGKILL, lines, "--scorer", SLOW, "--slots", slots)
        assert status == -signal.SIGKILL
    with open(journal, "ab") as file:
        file.write(b'{"row":1,"adapt')  # as if the kill had come in the middle of a line
    known = journal.read_bytes().count(b"\n") - 1
    status, _, said = profile(prompts, output, "--scorer", SLOW, "--slots", slots)
    assert status == 0, said
    assert f"{known} of 120 answers: going on" in said
    assert output.read_bytes() == whole
    assert not journal.exists()


def test_ctrl_c_keeps_what_is_there_and_says_how_to_go_on(prompts, tmp_path):
    status, said = ended(prompts, tmp_path / "t.csv", signal.SIGINT, 8, "--scorer", SLOW)
    assert status == 130
    assert "of 120 answers are kept in" in said and "the same command goes on" in said
    assert table(prompts, tmp_path / "t.csv", "--scorer", SLOW) == table(prompts, tmp_path / "u.csv", "--scorer", SLOW)


def test_a_journal_of_other_arguments_is_refused_with_what_differs(prompts, tmp_path):
    output = tmp_path / "t.csv"
    ended(prompts, output, signal.SIGKILL, 8, "--scorer", SLOW)
    for options, differs in ((["--scorer", "f1"], "--scorer was command:"), (["--scorer", SLOW, "-n", "9"], "--max-tokens was 8, and is 9"),
                             (["--scorer", SLOW, "--limit", "3"], "--limit was 0, and is 3"),
                             (["--scorer", SLOW, "--adapter", f"three={TINY_LORA}"], "adapter three was not there")):
        status, _, said = profile(prompts, output, *options)
        assert status == 1 and differs in said and "--restart" in said, said
    prompts.write_text(prompts.read_text() + '{"prompt": "one more"}\n')
    status, _, said = profile(prompts, output, "--scorer", SLOW)
    assert status == 1 and "prompts was" in said, said
    status, _, said = profile(prompts, output, "--restart")
    assert status == 0 and "going on" not in said, said


def test_the_lines_own_scorer_counts(tmp_path):
    prompts = tmp_path / "p.jsonl"
    rows = [{"prompt": "x", "expected": ""}, {"prompt": "x", "expected": "", "scorer": "contains"}]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with open(tmp_path / "t.csv", "wb") as file:
        file.write(table(prompts, tmp_path / "t.csv", "--scorer", "command:echo 0.5"))
    with open(tmp_path / "t.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["score_base"] == "0.5" and second["score_base"] == "1"


BAD_PROMPTS = [
    ("", "there are no prompts in it"),
    ('{"prompt": "a"}\n{"prompt": \n', "p.jsonl: line 2: not JSON"),
    ('{"prompt": "a"}\n{"question": "b"}\n', 'p.jsonl: line 2: "prompt" is missing'),
    ('{"prompt": "a"}\n{"prompt": "' + "long " * 3000 + '"}\n', "p.jsonl: line 2: the prompt has"),
    ('{"prompt": "a", "expected": "x", "scorer": "command"}\n', "line 1: the scorer is a command, and the command line has none"),
    ('{"prompt": "a", "expected": "x", "scorer": "json"}\n', "line 1: the scorer is json, and the expected answer is no JSON"),
]


@pytest.mark.parametrize("text, said", BAD_PROMPTS)
def test_bad_prompts_are_refused_before_anything_runs(tmp_path, text, said):
    (tmp_path / "p.jsonl").write_text(text)
    status, out, err = profile(tmp_path / "p.jsonl", tmp_path / "t.csv")
    assert status == 1 and out == "" and said in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl"]


def test_a_prompt_of_a_megabyte_is_refused_with_its_line(tmp_path):
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": "x" * (1 << 20 | 1)}))
    status, _, err = profile(tmp_path / "p.jsonl", tmp_path / "t.csv")
    assert status == 1 and "line 1: the prompt has 1048577 bytes; the limit is 1048576" in err


@pytest.mark.parametrize("options, status, said", [
    (["-o", "t.txt"], 2, "neither in .csv nor in .jsonl"),
    (["--scorer", "best"], 2, "'best' is none of exact"),
    (["--scorer", "command:"], 2, "followed by no command line"),
    (["--adapter", "x=/no/such/adapter"], 1, "/no/such/adapter"),
    (["--adapters", "/no/such/folder"], 1, "/no/such/folder"),
    (["--adapter", f"base={TINY_LORA}"], 1, "an adapter is called 'base'"),
    (["-o", "/no/such/folder/t.csv"], 1, "/no/such/folder/t.csv.part"),
    (["--scorer", "command:exit 4"], 1, "the scorer ended with status 4"),
    (["--scorer", "command:sleep 60", "--scorer-timeout", "1", "--limit", "1"], 1, "the scorer took longer than 1000 ms"),
])
def test_what_cannot_be_done_is_said(prompts, tmp_path, options, status, said):
    got, _, err = profile(prompts, tmp_path / "t.csv", "--slots", "1", *options)
    assert got == status and said in err, err
    assert not (tmp_path / "t.csv").exists()


def test_without_adapters_there_is_nothing_to_profile(prompts, tmp_path):
    (tmp_path / "empty").mkdir()
    for options, status, said in (([], 2, "adapters are needed"), (["--adapters", tmp_path / "empty"], 1, "no adapters to profile")):
        r = subprocess.run([BINARY, "router", "profile", "-m", TINY, "--prompts", prompts, "-o", tmp_path / "t.csv", *options],
                           capture_output=True, text=True, timeout=60)
        assert r.returncode == status and said in r.stderr, r.stderr


@needs_model
def test_demo_adapters_score_in_their_own_trades(tmp_path):
    prompts = tmp_path / "p.jsonl"
    with open(prompts, "w") as file:
        for name in ("sql", "sentiment", "shell"):
            for line in (HELDOUT / f"{name}.jsonl").read_text().splitlines()[:6]:
                file.write(json.dumps({**json.loads(line), "task": name}) + "\n")
        file.write(json.dumps({"prompt": "What is the capital of France?", "task": "other"}) + "\n")
    r = subprocess.run([BINARY, "router", "profile", "-m", MODEL, "--adapters", ROOT / "adapters", "--prompts", prompts, "-o",
                        tmp_path / "t.csv", "-n", "40"], capture_output=True, text=True, timeout=600, env=os.environ)
    assert r.returncode == 0, r.stderr
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("sql", "sentiment", "shell"):
        own = [row for row in rows if row["task"] == name]
        assert sum(float(row[f"score_{name}"]) for row in own) >= 4
        assert sum(float(row[f"score_{other}"]) for row in own for other in ("base", "headline", "redact")) <= 1
    assert rows[-1]["score_base"] == "1" and float(rows[-1]["score_sql"]) < 0.5


def test_a_changed_adapter_is_another_set_up(prompts, tmp_path):
    adapter = tmp_path / "own.gguf"
    shutil.copy(TINY_LORA, adapter)
    options = ["--scorer", SLOW, "--adapter", f"own={adapter}"]
    ended(prompts, tmp_path / "t.csv", signal.SIGKILL, 8, *options)
    os.utime(adapter, (1, 1))
    status, _, said = profile(prompts, tmp_path / "t.csv", *options)
    assert status == 1 and "adapter own was" in said, said
