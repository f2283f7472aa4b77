"""edgelora router: train, eval, show, on the tiny model, whose features can tell two kinds of text apart."""

import csv
import json
import random
import re
import subprocess

import pytest
from conftest import BINARY, ROOT
from programs import bench

GOLDEN = ROOT / "tests" / "golden"
TINY = GOLDEN / "tiny" / "q8_0.gguf"
PEFT = GOLDEN / "lora" / "tiny-peft"
HEADER = ["prompt", "task", "score_digits", "score_words", "score_base"]

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")


def edgelora(*args):
    return subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True, timeout=300)


def done(*args):
    r = edgelora(*args)
    assert r.returncode == 0, r.stderr
    return r.stdout


def refused(*args, status=1):
    r = edgelora(*args)
    assert r.returncode == status, (r.returncode, r.stderr)
    assert r.stdout == "" and r.stderr.startswith("edgelora: ")
    return r.stderr


def rows(n, seed):
    """Prompts of digits, of words, and of punctuation, which is nobody's and so the base's."""
    draw = random.Random(seed)
    kinds = {"digits": "0123456789", "words": "abcdefghij", "base": ".,;:-+*/=?"}
    for i in range(n):
        kind = list(kinds)[i % 3]
        text = "".join(draw.choice(kinds[kind]) for _ in range(draw.randint(12, 40)))
        yield [text, kind] + [int(name == "score_" + kind) for name in HEADER[2:]]


def write_table(path, n, seed, header=HEADER):
    with open(path, "w", newline="") as f:
        csv.writer(f).writerows([header, *rows(n, seed)])
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Tables and a router that has learnt from them."""
    folder = tmp_path_factory.mktemp("router")
    train, valid, unseen = (write_table(folder / f"{name}.csv", n, seed)
                            for seed, (name, n) in enumerate([("train", 150), ("valid", 60), ("unseen", 90)]))
    router = folder / "router.gguf"
    report = done("router", "train", "-m", TINY, "--table", train, "--valid", valid, "-o", router, "--max-depth", 2)
    return {"train": train, "valid": valid, "unseen": unseen, "router": router, "report": report, "folder": folder}


def chosen(text):
    return float(re.match(r"chosen (\d\.\d{3}) ± \d\.\d{3}\n", text)[1])


def test_training_says_what_won_and_evaluation_what_it_is_worth(files):
    assert len(re.findall(r"^ \* \d", files["report"], re.MULTILINE)) == 1
    assert "150 prompts to train with, 60 to validate, 3 candidates with the base" in files["report"]
    text = done("router", "eval", "-m", TINY, "--router", files["router"], "--table", files["unseen"])
    assert chosen(text) > 0.9
    assert "random        0.333" in text and "oracle        1.000" in text
    report = json.loads(done("router", "eval", "-m", TINY, "--router", files["router"], "--table", files["unseen"], "--json"))
    assert abs(report["chosen"]["mean"] - chosen(text)) < 0.001
    assert {t["task"]: t["prompts"] for t in report["tasks"]} == {"base": 30, "digits": 30, "words": 30}
    assert report["top_k_recall"][2] == 1


def test_the_same_command_writes_the_same_file_with_any_threads(files):
    again = files["folder"] / "again.gguf"
    done("router", "train", "-m", TINY, "--table", files["train"], "--valid", files["valid"], "-o", again, "--max-depth", 2, "-t", 1)
    assert again.read_bytes() == files["router"].read_bytes()


def test_json_lines_and_csv_train_the_same_router(files):
    lines = files["folder"] / "train.jsonl"
    with open(files["train"], newline="") as f:
        lines.write_text("".join(
            json.dumps({"prompt": r["prompt"], "scores": {k[6:]: float(v) for k, v in r.items() if k.startswith("score_")}}) + "\n"
            for r in csv.DictReader(f)))
    other = files["folder"] / "jsonl.gguf"
    done("router", "train", "-m", TINY, "--table", lines, "--valid", files["valid"], "-o", other, "--max-depth", 2)
    evaluate = ("router", "eval", "-m", TINY, "--table", files["unseen"], "--router")
    assert done(*evaluate, other) == done(*evaluate, files["router"])


def test_show_tells_the_model_the_layer_and_the_candidates(files):
    text = done("router", "show", files["router"])
    for part in ("base ", "fingerprint", "layer", "trained on  train.csv and valid.csv: 150 and 60", "  digits\n", "  base (the base model)\n"):
        assert part in text


def test_a_table_alone_gives_up_a_fifth_to_validate(files):
    report = done("router", "train", "-m", TINY, "--table", files["train"], "-o", files["folder"] / "alone.gguf", "--max-depth", 1)
    assert "120 prompts to train with, 30 to validate" in report


def test_a_router_with_an_adapter_reads_with_it_and_opens_as_that_adapter(files):
    router = files["folder"] / "lora.gguf"
    done("router", "train", "-m", TINY, "--table", files["train"], "-o", router, "--max-depth", 2, "--lora", PEFT)
    assert "with an adapter of its own" in done("router", "show", router)
    assert chosen(done("router", "eval", "-m", TINY, "--router", router, "--table", files["unseen"])) > 0.9
    text = GOLDEN / "text.txt"

    def perplexity(*adapter):
        return float(re.search(rb"perplexity ([0-9.]+) ", bench.done("perplexity", "-m", TINY, "-f", text, "-c", 64, "--chunks", 8, *adapter))[1])

    with_router, with_peft, without = (perplexity("--adapter", f"a={router}", "-a", "a"), perplexity("--adapter", f"a={PEFT}", "-a", "a"),
                                       perplexity())
    assert abs(with_router / with_peft - 1) < 0.002
    assert abs(without / with_peft - 1) > 0.01


def test_candidates_can_be_judged_by_their_examples_alone(files):
    text = done("router", "eval", "-m", TINY, "--router", files["router"], "--table", files["unseen"], "--examples", files["train"])
    assert chosen(text) > 0.8
    assert "best learnt" not in text


def test_candidates_that_only_one_side_knows_are_left_out_and_named(files):
    table = write_table(files["folder"] / "other.csv", 30, 9, ["prompt", "task", "score_digits", "score_new", "score_base"])
    text = done("router", "eval", "-m", TINY, "--router", files["router"], "--table", table)
    assert "not in the router, left out: new" in text and "not in the table, left out: words" in text
    table = write_table(files["folder"] / "none.csv", 30, 9, ["prompt", "task", "score_x", "score_y", "score_z"])
    assert "none of its candidates is in the router" in refused("router", "eval", "-m", TINY, "--router", files["router"], "--table", table)


def test_a_table_that_is_all_alike_trains_a_router_by_examples(files):
    table, router = files["folder"] / "alike.csv", files["folder"] / "alike.gguf"
    table.write_text("prompt,score_base\n" + "".join(f"x {i},1\n" for i in range(40)))
    assert "only examples tell adapters apart" in done("router", "train", "-m", TINY, "--table", table, "-o", router)
    assert "base" in done("router", "show", router)


@pytest.mark.parametrize("table, message", [
    ("prompt,score_a\nx,1\n", "1 rows"),
    ("text,score_a\nx,1\n", "column prompt is missing"),
    ("prompt,score_a\nx,nan\n", "line 2"),
    ("prompt,score_a\n" + "x,1\n" * 40 + "y" * (1 << 20) + "y,1\n", "the limit is 1048576"),
])
def test_bad_tables_are_refused_and_no_file_is_written(tmp_path, table, message):
    path, router = tmp_path / "t.csv", tmp_path / "r.gguf"
    path.write_text(table)
    said = refused("router", "train", "-m", TINY, "--table", path, "-o", router)
    assert message in said
    assert not router.exists()


def test_a_validation_table_must_have_the_same_candidates(files):
    other = write_table(files["folder"] / "valid2.csv", 30, 9, ["prompt", "task", "score_digits", "score_words", "score_third"])
    said = refused("router", "train", "-m", TINY, "--table", files["train"], "--valid", other, "-o", files["folder"] / "x.gguf")
    assert "valid2.csv: column score_base is missing" in said


def test_routers_that_do_not_fit_are_refused(files):
    other = GOLDEN / "tiny" / "untied.gguf"
    assert "this router is for the model" in refused("router", "eval", "-m", other, "--router", files["router"], "--table", files["unseen"])
    assert "no router" in refused("router", "show", TINY)
    cut = files["folder"] / "cut.gguf"
    cut.write_bytes(files["router"].read_bytes()[:-100])
    assert "truncated" in refused("router", "show", cut)


def test_what_is_missing_on_the_command_line_is_said():
    assert "--table" in refused("router", "train", "-o", "x", status=2)
    assert "-o" in refused("router", "train", "--table", "x", status=2)
    assert "--router" in refused("router", "eval", "--table", "x", status=2)
    assert "one router" in refused("router", "show", status=2)
    assert "did you mean 'edgelora router train'" in refused("router", "trian", status=2)
