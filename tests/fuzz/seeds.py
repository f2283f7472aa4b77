#!/usr/bin/env python3
"""Writes the fuzzers' starting inputs: small well-formed files, one folder a target.

Only the standard library is used, and the files are written here field by field, not by the code under test. Beside them is put what
earlier runs found: corpus/NAME.tar.xz, which `make fuzz-long ARGS=--keep` makes.

  tests/fuzz/seeds.py FOLDER
"""

import gzip
import json
import pathlib
import struct
import sys
import tarfile
import zlib

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
TYPES = {  # name: (number, values of a block, bytes of a block)
    "F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74),
    "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50), "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110),
    "IQ2_S": (22, 256, 82), "IQ4_XS": (23, 256, 136), "IQ1_M": (29, 256, 56), "TQ1_0": (34, 256, 54),
    "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17), "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18),
}
LINEAR = {  # of the base in fuzz_lora.c: PEFT's and GGUF's name, inputs, outputs
    "self_attn.q_proj": ("attn_q", 8, 8), "self_attn.k_proj": ("attn_k", 8, 4), "self_attn.v_proj": ("attn_v", 8, 4),
    "self_attn.o_proj": ("attn_output", 8, 8), "mlp.gate_proj": ("ffn_gate", 8, 12), "mlp.up_proj": ("ffn_up", 8, 12),
    "mlp.down_proj": ("ffn_down", 12, 8),
}
EXPERTS = {"gate": (8, 6), "up": (8, 6), "down": (6, 8)}  # of its other base: inputs, outputs; there are three
N_EXPERTS = 3
IS_GGUF, HAS_BASE, HAS_EXPERTS = 1, 2, 4


def string(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def kv(key, kind, value):
    if kind == STRING:
        body = string(value)
    elif kind == ARRAY:
        item, values = value
        body = struct.pack("<IQ", item, len(values))
        body += b"".join(string(v) if item == STRING else struct.pack("<f" if item == F32 else "<I", v) for v in values)
    else:
        body = struct.pack({U32: "<I", F32: "<f", BOOL: "<?", U64: "<Q"}[kind], value)
    return string(key) + struct.pack("<I", kind) + body


def gguf(kvs, tensors, version=3):
    """kvs: (key, kind, value); tensors: (name, shape innermost first, type)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(kvs)) + b"".join(kv(*x) for x in kvs)
    data = b""
    for name, shape, kind in tensors:
        number, block, size = TYPES[kind]
        values = 1
        for n in shape:
            values *= n
        data += b"\0" * (-len(data) % 32)
        out += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, len(data))
        data += bytes(i * 7 & 0x3F for i in range(values // block * size))
    return out + b"\0" * (-len(out) % 32) + data


def header_of_model(path):
    """A model's metadata without its tokenizer, and of its tensors, with one value each, those that say what a layer has."""
    raw, at = path.read_bytes(), 24
    n_tensors, n_kv = struct.unpack_from("<QQ", raw, 8)

    def text():
        nonlocal at
        n, = struct.unpack_from("<Q", raw, at)
        at += 8 + n
        return raw[at - n:at].decode()

    def skip(kind):
        nonlocal at
        if kind == STRING:
            text()
        elif kind == ARRAY:
            item, n = struct.unpack_from("<IQ", raw, at)
            at += 12
            for _ in range(n):
                skip(item)
        else:
            at += (1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8)[kind]

    kept, tensors = [], []
    for _ in range(n_kv):
        begin = at
        key = text()
        at += 4
        skip(struct.unpack_from("<I", raw, at - 4)[0])
        if not key.startswith("tokenizer."):
            kept.append(raw[begin:at])
    for _ in range(n_tensors):
        name = text()
        at += struct.unpack_from("<I", raw, at)[0] * 8 + 16
        if name.endswith((".attn_v.weight", ".layer_output_scale.weight")):
            tensors.append(string(name) + struct.pack("<IQIQ", 1, 1, 0, 32 * len(tensors)))
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(kept)) + b"".join(kept + tensors)
    return out + b"\0" * (-len(out) % 32 + 32 * len(tensors))


def safetensors(tensors, metadata=None):
    """tensors: (name, shape, dtype, bytes of an item)."""
    header = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, shape, dtype, size in tensors:
        n = size
        for d in shape:
            n *= d
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(i * 7 & 0x3F for i in range(at))


def peft(config, tensors, flags=HAS_BASE):
    text = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, **config}).encode()
    return struct.pack("<BH", flags, len(text)) + text + safetensors(tensors, {"format": "pt"})


def pair(layer, module, rank, dtype="F32", size=4):
    _, inputs, outputs = LINEAR[module]
    name = f"base_model.model.model.layers.{layer}.{module}.lora_"
    return [(name + "A.weight", [rank, inputs], dtype, size), (name + "B.weight", [outputs, rank], dtype, size)]


def parameter(module, inputs, outputs, rank=2):
    """A pair for a parameter of all experts."""
    name = f"base_model.model.model.layers.0.{module}.lora_"
    return [(name + "A.weight", [N_EXPERTS * rank, inputs], "F32", 4), (name + "B.weight", [outputs, N_EXPERTS * rank], "F32", 4)]


def experts():
    """Adapters on experts: of parameters, by expert, stacked; with a base and without."""
    both = {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
    for version in ("0.18.0", "0.21.2"):
        turned = version == "0.18.0"
        tensors = parameter("mlp.experts.base_layer", *((12, 8) if turned else (8, 12))) + parameter("mlp.experts", *((8, 6) if turned else (6, 8)))
        for flags in (0, HAS_BASE | HAS_EXPERTS):
            yield f"parameters-{version}-{flags}", peft({**both, "peft_version": version}, tensors, flags)
    single = [(f"base_model.model.model.layers.1.mlp.experts.{e}.{of}_proj.lora_{half}.weight", shape, "F16", 2)
              for e in (0, 2) for of, (i, o) in EXPERTS.items() for half, shape in (("A", [2, i]), ("B", [o, 2]))]
    router = [("base_model.model.model.layers.1.mlp.gate.lora_A.weight", [2, 8], "F32", 4),
              ("base_model.model.model.layers.1.mlp.gate.lora_B.weight", [N_EXPERTS, 2], "F32", 4)]
    keys = [("general.type", STRING, "adapter"), ("adapter.type", STRING, "lora"), ("general.architecture", STRING, "qwen3moe")]
    stacks = [x for of, (i, o) in EXPERTS.items() for x in ((f"blk.0.ffn_{of}_exps.weight.lora_a", [i, 2, N_EXPERTS], "F32"),
                                                            (f"blk.0.ffn_{of}_exps.weight.lora_b", [2, o, N_EXPERTS], "F16"))]
    for flags in (0, HAS_BASE | HAS_EXPERTS):
        yield f"by-expert-{flags}", peft({}, single + router, flags)
        yield f"stacks-{flags}", bytes([IS_GGUF | flags]) + gguf(keys, stacks)


def seeds():
    yield "gguf", "empty", gguf([], [])
    yield "gguf", "kinds", gguf(
        [("general.architecture", STRING, "llama"), ("general.alignment", U32, 32), ("a", F32, 1.5), ("b", BOOL, True),
         ("c", U64, 1 << 40), ("tokens", ARRAY, (STRING, ["a", "b", ""])), ("types", ARRAY, (U32, [1, 2, 3]))],
        [("w", [4, 2], "F32"), ("v", [3], "F16")], version=2)
    for count in (0, 1, 3):  # in memory, a part of three is refused
        yield "gguf", f"split-{count}", gguf([("split.no", U32, 0), ("split.count", U32, count), ("split.tensors.count", U32, 1)],
                                             [("w", [4], "F32")])
    for key, values in (("heads", [4, 4]), ("windows", [1, 0, 1])):
        yield "gguf", f"by-layer-{key}", gguf([("block_count", U32, len(values)), (key, ARRAY, (U32, values))], [])
    for name, (_, block, _) in TYPES.items():
        yield "gguf", name, gguf([("k", U32, 1)], [("w", [block, 2], name), ("n", [1], "F32")])

    for model in sorted((pathlib.Path(__file__).parent.parent / "golden/families").glob("*.gguf")):
        if not model.stem.endswith("-lora"):
            yield "arch", model.stem, header_of_model(model)

    yield "safetensors", "empty", safetensors([])
    yield "safetensors", "two", safetensors([("a", [2, 3], "F32", 4), ("b", [4], "BF16", 2), ("c", [0], "I64", 8),
                                             ("d", [], "X1", 3)], {"format": "pt"})

    yield "table", "csv", b'prompt,task,score_a,score_base\r\n"two\nlines, ""quoted""",x,0.5,1\r\nplain,y,0,1e-1\r\n'
    yield "table", "bom", b"\xef\xbb\xbfprompt,score_a,other\nx,1,\n\n"
    yield "table", "jsonl", b'{"prompt": "a", "task": "t", "scores": {"a": 1, "base": 0.5}}\n{"prompt": "b\\n", "task": "u", "score_a": 0, "score_base": 1}\n'

    every = [t for module in LINEAR for t in pair(1, module, 2)]
    yield "lora", "all", peft({}, every)
    yield "lora", "no-base", peft({}, every, 0)
    yield "lora", "f16", peft({"use_rslora": True}, pair(0, "mlp.down_proj", 2, "F16", 2))
    yield "lora", "patterns", peft({"rank_pattern": {"q_proj": 3}, "alpha_pattern": {r".*\.(0|1)\..*_proj": 2.5}},
                                   pair(0, "self_attn.q_proj", 3) + pair(0, "self_attn.v_proj", 2, "BF16", 2))
    root, linear = "base_model.model.", "base_model.model.model.layers.0.mlp.down_proj."
    down = pair(0, "mlp.down_proj", 2)
    for name, config, tensors in (
            ("dora", {"use_dora": True}, [*down, (linear + "lora_magnitude_vector", [8], "F32", 4)]),
            ("biases", {"bias": "all"}, [*down, (linear + "base_layer.bias", [8], "F16", 2)]),
            ("b-bias", {"lora_bias": True}, [*down, (linear + "lora_B.bias", [8], "BF16", 2)]),
            ("output", {}, [(root + "lm_head.lora_A.weight", [2, 8], "F32", 4), (root + "lm_head.lora_B.weight", [10, 2], "F32", 4),
                            (root + "lm_head.base_layer.weight", [10, 8], "F16", 2)]),
            ("embedding", {}, [(root + "model.embed_tokens.lora_embedding_A", [2, 10], "F32", 4),
                               (root + "model.embed_tokens.lora_embedding_B", [8, 2], "F32", 4)]),
            ("saved", {"modules_to_save": ["lm_head", "embed_tokens", "norm"]}, [
                *down, (root + "lm_head.weight", [10, 8], "F16", 2), (root + "model.embed_tokens.weight", [10, 8], "F16", 2),
                (root + "model.norm.weight", [8], "F32", 4), (root + "model.layers.1.input_layernorm.weight", [8], "F32", 4)]),
            ("tokens", {"trainable_token_indices": [7, 3]},
             [*down, (root + "model.embed_tokens.token_adapter.trainable_tokens_delta", [2, 8], "F32", 4)])):
        yield "lora", name, peft(config, tensors)
    for name, rename in (("wrapped", lambda n: "_orig_mod.module." + n.replace("layers.0.", "layers.0._checkpoint_wrapped_module.")),
                         ("doubled", lambda n: "base_model.model." + n), ("named", lambda n: n.replace(".weight", ".default.weight")),
                         ("multimodal", lambda n: n.replace("model.layers", "language_model.model.layers")),
                         ("saved-by-name", lambda n: n.replace(".lora_A", ".modules_to_save.default").replace("base_model.model.", ""))):
        yield "lora", name, peft({}, [(rename(n), *rest) for n, *rest in pair(0, "mlp.up_proj", 2)])
    mlx = json.dumps({"fine_tune_type": "lora", "num_layers": 1, "model": "m", "lora_parameters": {"rank": 2, "scale": 20.0, "dropout": 0.0, "keys": []}}).encode()
    turned = [(f"model.layers.1.self_attn.q_proj.lora_{x}", shape, "F16", 2) for x, shape in
              (("a", [LINEAR["self_attn.q_proj"][1], 2]), ("b", [2, LINEAR["self_attn.q_proj"][2]]))]
    for flags in (0, HAS_BASE):
        yield "lora", f"mlx-{flags}", struct.pack("<BH", flags, len(mlx)) + mlx + safetensors(turned)
    keys = [("general.type", STRING, "adapter"), ("adapter.type", STRING, "lora"), ("general.architecture", STRING, "llama"),
            ("adapter.lora.alpha", F32, 4.0)]
    tensors = [x for g, i, o in LINEAR.values()
               for x in ((f"blk.0.{g}.weight.lora_a", [i, 2], "F32"), (f"blk.0.{g}.weight.lora_b", [2, o], "F16"))]
    yield "lora", "gguf", bytes([IS_GGUF | HAS_BASE]) + gguf(keys, tensors)
    yield "lora", "gguf-more", bytes([IS_GGUF | HAS_BASE]) + gguf(keys, [
        ("token_embd.weight.lora_a", [2, 10], "F32"), ("token_embd.weight.lora_b", [2, 8], "F32"), ("output.weight.lora_a", [8, 2], "F32"),
        ("output.weight.lora_b", [2, 10], "F32"), ("blk.1.ffn_norm.weight", [8], "F32"), ("output_norm.weight", [8], "F32")])
    yield "lora", "gguf-q8", bytes([IS_GGUF]) + gguf(keys, [("blk.0.attn_q.weight.lora_a", [32, 32], "Q8_0"),
                                                            ("blk.0.attn_q.weight.lora_b", [32, 4], "Q4_0")])

    for name, data in experts():
        yield "lora", "experts-" + name, data

    def router(n_embd, n_columns, background, kind="F32", lora=False):
        keys = [("general.architecture", STRING, "edgelora-router"), ("router.version", U32, 1), ("router.base.name", STRING, "m"),
                ("router.base.architecture", STRING, "llama"), ("router.base.layers", U32, 2), ("router.base.embedding_length", U32, n_embd),
                ("router.base.vocabulary", U32, 64), ("router.base.fingerprint", STRING, "0123456789abcdef"), ("router.base.score", F32, 0.25),
                ("router.max_tokens", U32, 64), ("router.taps", ARRAY, (U32, [0, 1])), ("router.part.taps", ARRAY, (U32, [0, 1])),
                ("router.part.poolings", ARRAY, (STRING, ["unit-mean", "unit-last"])), ("router.dim", U32, 3), ("router.head_parts", U32, 2),
                ("router.candidates", ARRAY, (STRING, ["base", "a", "b"][:n_columns])), ("router.examples.part", U32, 1),
                ("router.examples.slope", F32, 4.0), ("router.examples.offset", F32, -12.0), ("router.examples.background_count", U32, background),
                ("router.top_k", U32, 3), ("router.margin", F32, 0.25), ("router.trained.table", STRING, "t.csv"), ("router.trained.valid", STRING, "")]
        keys += [("router.base.column", U32, 0)] if n_columns else []
        keys += [("router.lora.rank", U32, 2)] if lora else []
        tensors = [("router.projection", [2 * n_embd, 3], kind), ("router.origin", [3], "F32"), ("router.examples.center", [n_embd], "F32"),
                   ("router.examples.scale", [n_embd], "F32"), ("router.examples.background", [n_embd, background], kind)]
        tensors += [("router.weights", [3, n_columns], "F32"), ("router.bias", [n_columns], "F32")] if n_columns else []
        return gguf(keys, tensors)

    yield "router", "trained", router(8, 3, 4)
    yield "router", "half", router(12, 1, 2, "F16")
    yield "router", "examples", router(8, 0, 33, lora=True)

    for i, text in enumerate((b"Hello world, 12345!\n\n  x", "Grüße 你好 👩‍💻\u3000\u0301".encode(), b"<|im_start|>user\nit's<u> aaaa<|im_end|>",
                              bytes(range(256)))):
        yield "tokenizer", f"text{i}", b"t" + bytes([i]) + text
    tokens = ["a", "b", "\u0120", "ab", "<|im_start|>", "<|im_end|>"]
    keys = [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "smollm"),
            ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)), ("tokenizer.ggml.token_type", ARRAY, (U32, [1, 1, 1, 1, 3, 3])),
            ("tokenizer.ggml.merges", ARRAY, (STRING, ["a b"])), ("tokenizer.ggml.bos_token_id", U32, 4),
            ("tokenizer.ggml.eos_token_id", U32, 5), ("tokenizer.ggml.add_bos_token", BOOL, True),
            ("tokenizer.chat_template", STRING, "{{ '<|im_start|>' + role + '\n' + content + '<|im_end|>' }}")]
    yield "tokenizer", "gguf", b"g" + gguf(keys, [])
    spaced = ["<unk>", "<s>", "</s>", "<0x0A>", "<0xFF>", "\u2581", "H", "e", "\u2581H", "He", "l", "\n", "<|im_start|>", "  "]
    for model, more in (("llama", [("tokenizer.ggml.scores", ARRAY, (F32, [-float(i % 5) for i in range(len(spaced))])),
                                   ("general.name", STRING, "phi-3")]),
                        ("gemma4", [("tokenizer.ggml.merges", ARRAY, (STRING, ["H e", "\u2581 H"]))])):
        yield "tokenizer", model, b"g" + gguf([("tokenizer.ggml.model", STRING, model), ("tokenizer.ggml.tokens", ARRAY, (STRING, spaced)),
                                              ("tokenizer.ggml.token_type", ARRAY, (U32, [2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 1, 3, 4])),
                                              *more], [])
    yield "tokenizer", "lists", b"l" + "\n".join(
        ["b", "pllama-bpe", "i\0\0", "3<|im_start|>", "3<|im_end|>", "4<u>", "1ab", "1abab", "ma b", "mab ab", "sabab <u>ab 12",
         "t{{ bos_token }}{{ '<|im_start|>system\\nYes.<|im_end|>' }}{{ '<|im_start|>' }}"]).encode()
    for family in ("{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}<<SYS>>", "<start_of_turn><end_of_turn>{{ content | trim }}",
                   "{{ '<|start_header_id|>' }}<|eot_id|>{%- set date_string = \"26 Jul\" %}Cutting Knowledge Date: December 2023",
                   "<｜User｜><｜Assistant｜><think><｜end▁of▁sentence｜>{{ split('</think>') }}", "[INST][AVAILABLE_TOOLS]"):
        yield "tokenizer", f"family{len(family)}", b"l" + f"b\n3<s>\n3</s>\ni\0\0\nt{family}\ns a</think> ".encode()

    yield "config", "all", (b"# every kind\nflag: true\nint: 32\nu64: 18446744073709551615\nbytes: 4G\nreal: 0.25\ntext: off\npath: keys\n"
                            b"texts: [a, 'b']\npaths:\n  - one\n  - /two\nnamed: [sql=one, b=/two]\nnumbers: 1,2,4\n")
    yield "config", "quoted", b'---\ntext: "a\\u00e9\\n"\npath: |\n  two\n  lines\n...\n'
    yield "config", "extras", b"text: &a [*a, *a]\nint: !!int 1\n<<: {a: b}\n"

    yield "constraint", "gbnf", b'\0root ::= "a" x{2,40} | [^a-c\\n]+ ( "b" | . )* # c\nx ::= "(" x? ")"\0a(())()'
    yield "constraint", "regex", b"\x01^(?:[a-z]{1,60}|\\d+\\.\xc3\xa9?)$|x*\x00abc"
    yield "constraint", "schema", b'\x02{"type":"object","properties":{"a":{"type":"string","maxLength":9}},"required":["a"]}\0{"a":"x"}'
    for path in sorted((pathlib.Path(__file__).parents[1] / "golden" / "templates").glob("*.jinja")):
        yield "template", path.stem, path.read_bytes()

    preset = {"description": "d", "system": "s", "chat_template": "{{ messages }}", "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1,
              "repetition_penalty": 1.1, "repeat_last_n": 64, "frequency_penalty": 0.1, "presence_penalty": -0.1, "max_tokens": 16, "seed": 1,
              "stop": ["\n\n", ";"], "aliases": ["a", "b/c"], "lora_scale": 0.5, "schema": {"type": "object", "properties": {"a": {"type": "array"}}}}
    yield "preset", "all", json.dumps(preset).encode()
    yield "preset", "file", b'{"chat_template": "chat.jinja"}'
    yield "preset", "null", b'{"temperature": null, "stop": [], "schema": {}}'

    yield "prompts", "jsonl", b'{"prompt":"a b","task":"t","expected":["x","{\\"k\\":1}"],"scorer":"json"}\n\n{"prompt":"c","completion":"1"}\n'
    yield "prompts", "csv", b'\xef\xbb\xbfprompt,task,expected,scorer\r\n"a, ""b""\nc",t,yes,f1\r\nd,,,\n'

    event = b'data: {"choices":[{"text":"a","finish_reason":null}],"usage":null}\r\n\r\n'
    last = b'data: {"choices":[{"delta":{"content":"b"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    head = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (event, last, b"data: [DONE]\n\n")) + b"0\r\n\r\n"
    yield "load", "chunked", b"\xf0" + head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    yield "load", "length", b"\x10" + head + b"Content-Length: %d\r\n\r\n" % len(event) + event
    yield "load", "error", b"\x40HTTP/1.0 200 OK\r\n\r\ndata: {\"error\":{\"message\":\"full\"}}\n\n"
    yield "load", "trace", b'\1{"schema": "edgelora-trace/1"}\n{"at": 0.5, "adapter": "a", "input": 3, "output": 4}\n'
    yield "load", "azure", b"\1TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
    yield "load", "csv", b'\1time,adapter,input,output\n5,"a, ""b""",10,20\n1,c,3,0\n0.5,auto,3,4\n'
    yield "load", "models", b'\2{"data":[{"id":"base","parent":null},{"id":"law","parent":"base"}]}'
    yield "load", "lora", b'\3[{"id":0,"path":"p","scale":1.0},{"id":1}]'
    yield "load", "metrics", b"\2edgelora_adapter_hits_total 12\nedgelora_adapter_misses_total 3\n"
    calls = [b'<t>hm</t>\n<c>{"name": "f", "arguments": {"s": "\\u00e9"}}</c> x', b'{"name": "f", "parameters": {}}; {"name": "g", "arguments": "{}"}',
             b'[C][{"name": "f", "arguments": {}}, {"name": "g"}]', b'<c>{"f": {"a": [1]}, "g": {}}</c>', b"<s><c>id!f\n#{}</c></s>",
             b"<c>\n<f=f>\n<p=s>\n1\n</p>\n<p=n>\n1\n</p></f></c>", b"<c>f<p@k:s>1</p><p@n:j>[1]</p></c>",
             b"<x>a</x><c>[f(s='x', n=-1.5), g(a=[None, {'k': True}])]</c>",
             b"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}"]
    for i, text in enumerate(calls):
        yield "answer", f"form{i}", bytes([i, 2]) + text

    yield from http_seeds()
    yield from file_seeds()


# fuzz_http.c's paths, in its order.
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/completion", "/api/chat", "/api/generate", "/v1/embeddings",
         "/embedding", "/api/embed", "/rerank", "/tokenize", "/detokenize", "/infill", "/apply-template", "/v1/route", "/v1/messages/count_tokens",
         "/v1/chat/completions/input_tokens", "/v1/responses/input_tokens", "/api/show", "/api/embeddings", "/lora-adapters", "/v1/load_lora_adapter",
         "/v1/unload_lora_adapter")
TENANT, GZIP, DEFLATE, ZSTD, BYTES = 1, 4, 8, 12, 16  # the second byte


def http_seeds():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "look", "arguments": '{"a": "x"}'}}
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "abcdefghi", "content": "r"},
            {"role": "user", "content": 'say: <think>t</think><tool_call>\n{"name": "look", "arguments": {"a": "x"}}\n</tool_call>'}]
    tools = [{"type": "function", "function": {"name": "look", "description": "d", "parameters": schema, "strict": True}}]
    shape = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    few = {"max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "seed": 1}
    bodies = {
        "/v1/chat/completions": [
            {"messages": talk, "tools": tools, "tool_choice": "auto", "stream": True, "stream_options": {"include_usage": True}, "model": "upper"},
            {"messages": talk[1:2], "n": 2, "logprobs": True, "top_logprobs": 2, "stop": ["x"], "logit_bias": {"5": -1}, "response_format": shape, **few},
            {"messages": talk[1:2], "tools": tools, "tool_choice": {"type": "function", "function": {"name": "look"}}, "parallel_tool_calls": False},
            {"messages": talk[1:2], "model": "auto", "edgelora": {"scores": True, "candidates": ["upper", "more/*"]}, "chat_template_kwargs": {"a": 1}}],
        "/v1/completions": [
            {"prompt": ["ab", [1, 2]], "echo": True, "logprobs": 1, "best_of": 1, "suffix": None, "stream": True, **few},
            {"prompt": "fail this one", "model": "fail", "guided_choice": ["a", "b"], "lora": [{"id": 1, "scale": 0.5}]},
            {"prompt": "ab", "structured_outputs": {"regex": "a+"}, "prompt_logprobs": 1, "allowed_token_ids": [1], "bad_words": ["b"]}],
        "/v1/messages": [
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "tool_result", "tool_use_id": "t", "content": "r"}]}],
             "system": [{"type": "text", "text": "s"}], "max_tokens": 9, "stream": True, "stop_sequences": ["z"], "thinking": {"type": "disabled"},
             "tools": [{"name": "look", "input_schema": schema}], "tool_choice": {"type": "any"}, "model": "upper"},
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]}],
             "max_tokens": 2, "model": "base"}],
        "/v1/responses": [
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "q"}]}, {"type": "function_call", "call_id": "c", "name": "look",
             "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "o"}, {"type": "reasoning", "content": []}],
             "instructions": "i", "tools": [{"type": "function", "name": "look", "parameters": schema}], "stream": True, "text": {"format": shape}},
            {"input": "q", "previous_response_id": "resp_0", "store": True, "metadata": {}, "max_output_tokens": 3, "tool_choice": "none"}],
        "/completion": [{"prompt": ["ab", 7], "n_predict": 3, "n_probs": 2, "grammar": "root ::= [a-z]+", "stream": True, "return_tokens": True, "id_slot": 0},
                        {"prompt": "ab", "json_schema": schema, "response_fields": ["content", "timings/prompt_n"], "samplers": ["top_k"], "cache_prompt": True}],
        "/api/chat": [{"model": "upper:latest", "messages": talk[:2], "format": schema, "options": {"num_predict": 3, "stop": ["x"]}, "think": "high"},
                      {"model": "fake", "messages": [{"role": "user", "content": "q", "images": []}], "stream": False, "tools": tools, "keep_alive": 0}],
        "/api/generate": [{"model": "fake", "prompt": "q", "suffix": "", "system": "s", "template": "", "raw": True, "format": "json", "context": [1]}],
        "/v1/embeddings": [{"input": ["a", [1, 2]], "encoding_format": "base64", "dimensions": 4}],
        "/embedding": [{"content": ["a", "b"], "embd_normalize": 2}],
        "/api/embed": [{"model": "fake", "input": ["a"], "truncate": True}],
        "/rerank": [{"query": "a", "documents": ["b", {"text": "c"}], "top_n": 1, "return_documents": True}, {"query": "a", "texts": ["b"], "raw_scores": True}],
        "/tokenize": [{"content": "a b", "add_special": True, "with_pieces": True}, {"messages": talk[:2]}, {"prompt": "a", "return_token_strs": True}],
        "/detokenize": [{"tokens": [97, 300]}],
        "/infill": [{"input_prefix": "a", "input_suffix": "b", "input_extra": [{"filename": "f", "text": "t"}], "prompt": "p", "n_predict": 2}],
        "/apply-template": [{"messages": talk[:2]}],
        "/v1/route": [{"prompt": "upper it", "top_k": 2}, {"messages": talk[1:2], "scores": True}],
        "/api/show": [{"model": "upper", "verbose": True}],
        "/api/embeddings": [{"model": "fake", "prompt": "a"}],
        "/lora-adapters": [[{"id": 1, "scale": 0.5}]],
        "/v1/load_lora_adapter": [{"lora_name": "x", "lora_path": "/usr/share/doc", "load_inplace": True}],
        "/v1/unload_lora_adapter": [{"lora_name": "x"}],
    }
    bodies["/v1/messages/count_tokens"] = bodies["/v1/messages"][:1]
    bodies["/v1/chat/completions/input_tokens"] = bodies["/v1/chat/completions"][:1]
    bodies["/v1/responses/input_tokens"] = bodies["/v1/responses"][:1]
    for path, asked in bodies.items():
        for i, body in enumerate(asked):
            for how, flags in (("operator", 0), ("tenant", TENANT | BYTES)):
                yield "http", f"{path[1:].replace('/', '-')}-{i}-{how}", bytes([PATHS.index(path), flags]) + json.dumps(body).encode()
    small = json.dumps({"prompt": "a" * 40, "max_tokens": 1}).encode()
    raw = zlib.compressobj(wbits=-15)
    frame = b"\x28\xb5\x2f\xfd\x20" + bytes([len(small)]) + (1 | len(small) << 3).to_bytes(3, "little") + small
    runs = b"\x28\xb5\x2f\xfd\x60\xff\xff" + (3 | 0xffff << 3).to_bytes(3, "little") + b" "
    for name, flags, data in (("gzip", GZIP, gzip.compress(small, mtime=0)), ("gzip-two", GZIP, gzip.compress(small[:9], mtime=0) + gzip.compress(small[9:], mtime=0)),
                              ("gzip-bomb", GZIP, gzip.compress(bytes(1 << 20), mtime=0)), ("deflate", DEFLATE, zlib.compress(small)),
                              ("deflate-bare", DEFLATE, raw.compress(small) + raw.flush()), ("zstd", ZSTD, frame), ("zstd-runs", ZSTD, runs)):
        yield "http", "coded-" + name, bytes([PATHS.index("/v1/completions"), flags]) + data
    for i, text in enumerate((
            "GET /v1/models?limit=1&after=upper\n\n", "GET /v1/adapters?search=u&sort=name&limit=2&offset=1&state=idle\n\n", "GET /v1/adapters/upper\n\n",
            "GET /v1/responses/resp_0/input_items?order=asc\n\n", "DELETE /v1/responses/resp_0\n\n", "GET /metrics\n\n", "GET /slots?fail_on_no_slot=1\n\n",
            "OPTIONS /v1/models\nOrigin: http://localhost:3\nAccess-Control-Request-Headers: a\n\n", "HEAD /health\n\n", "GET /openapi.json\n\n", "GET /\n\n",
            "POST /v1/chat/completions\nOrigin: https://a.example\nHost: b.example\n\n{}", "POST /tokenize\nExpect: 100-continue\nContent-Length: 99999\n\n{}",
            "GET /v1/models/more/1\nx-api-key: key-of-a-tenant\n\n", "GET /api/tags\n\n", "GET /api/ps\n\n", "GET /props\n\n", "GET /v1/stats\n\n",
            "PUT /v1/models\n\n", "GET /no\nContent-Encoding: br\n\n", "GET /queue\n\n", "GET /ready\n\n", "GET /tokenizer_info\n\n")):
        for flags in (0, TENANT, 3):
            yield "http", f"text-{i}-{flags}", bytes([len(PATHS), flags]) + text.encode()


def file_seeds():
    def files(which, *contents):
        return bytes([which]) + b"".join(b"\xff\xff" if c is None else struct.pack("<H", len(c)) + c for c in contents)

    def part(no, count, tensors, total):
        return gguf([("general.architecture", STRING, "llama"), ("split.no", U32, no), ("split.count", U32, count), ("split.tensors.count", U32, total)],
                    [(t, [8], "F32") for t in tensors])

    parts = [part(0, 3, ["a", "b"], 4), part(1, 3, ["c"], 4), part(2, 3, ["d"], 4)]
    yield "files", "split", files(0, *parts)
    yield "files", "split-lacks-one", files(0, parts[0], None, parts[2])
    yield "files", "split-twice", files(0, parts[0], parts[1], part(2, 3, ["c"], 4))
    token = {"content": "<own>", "lstrip": False, "rstrip": True, "normalized": False, "single_word": False, "special": True}
    config = json.dumps({"added_tokens_decoder": {"256": {**token, "content": "<end>"}, "257": token}, "eos_token": "<own>", "bos_token": None,
                         "chat_template": "{{ messages }}"}).encode()
    whole = json.dumps({"added_tokens": [{"id": 257, **token}], "model": {"type": "BPE"}}).encode()
    yield "files", "tokens-config", files(1, config, None, None, None, b"{{ bos_token }}", b'{"eos_token_id": [256, 257]}')
    yield "files", "tokens-json", files(1, b"{}", whole)
    yield "files", "tokens-added", files(1, None, None, b'{"<own>": 257, "x": 258}', b'{"additional_special_tokens": ["<own>"], "eos_token": {"content": "<own>"}}')
    yield "files", "record", files(2, b"edgelora" + bytes(56))
    yield "keys", "two", (b"# who\nkey-of-the-operator-1234\nkey-of-a-tenant-123456 acme/*, sql name=acme rpm=60 tpm=20000 concurrent=4 priority=high\n\n")
    yield "files", "examples", files(3, b'{"prompt": "a"}\n\n{"prompt": "b", "more": [1]}\n')
    yield "files", "description", files(3, None, b"What it is for.\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for target, name, data in seeds():
        folder = pathlib.Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for archive in sorted((pathlib.Path(__file__).parent / "corpus").glob("*.tar.xz")):
        folder = pathlib.Path(sys.argv[1]) / archive.name.removesuffix(".tar.xz")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as kept:
            for member in kept:
                (folder / pathlib.Path(member.name).name).write_bytes(kept.extractfile(member).read())


if __name__ == "__main__":
    main()
