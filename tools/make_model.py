#!/usr/bin/env python3
"""Makes a GGUF model of the llama architecture with random weights, of any shape and type.

For benchmarks of shapes whose real weights cannot be shipped, and for test models small enough to
be committed. The weights are scaled so that activations stay near 1 and the logits' standard
deviation is about 3: a flat output would hide errors.

Needs the PyPI packages gguf and numpy. F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 are written
directly; the K types need the peer's llama-quantize (tools/peer/build.sh), which is run with --pure,
so that every matrix has the type that is asked for.

  tools/make_model.py --preset 1b --type Q4_0 --vocab-from MODEL.gguf out.gguf
  tools/make_model.py --layers 2 --width 256 --ffn 512 --heads 4 --kv-heads 2 --type Q4_K out.gguf
"""

import argparse
import os
import pathlib
import subprocess
import sys

import gguf
import numpy as np

DIRECT = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
BY_LLAMA_CPP = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS")

PRESETS = {
    # The shape of Llama 3.2 1B with SmolLM2's vocabulary.
    "1b": dict(layers=16, width=2048, ffn=8192, heads=32, kv_heads=8, context=8192),
    # The shape of SmolLM2-135M, the default model.
    "135m": dict(layers=30, width=576, ffn=1536, heads=9, kv_heads=3, context=8192),
    "tiny": dict(layers=2, width=256, ffn=512, heads=4, kv_heads=2, context=512),
}

# The most frequent merges of English byte-level BPE, in order: a synthetic vocabulary takes as many as it has room for.
MERGES = (
    "Ġ t|Ġ a|i n|h e|Ġ Ġ|r e|o n|e r|Ġt he|a t|Ġ s|Ġ o|e n|Ġ c|e s|Ġ w|n d|i t|o r|i s|a l|Ġ p|in g|Ġ f|a n|e d|"
    "Ġ b|o u|a r|Ġ in|Ġo f|Ġ m|Ġa nd|i on|i c|Ġ d|Ġt o|ĠĠ ĠĠ|l e|r o|a s|en t|Ġ h|Ġt h|c t|Ġ e|Ġ re|e l|o m|i l|"
    "s t|Ġ l|Ġ n|e t|i m|v e|o l|at ion|Ġ g|i d|Ġ T|s e|Ġ is|u r").split("|")
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def byte_characters():
    """GPT-2's printable stand-ins for the 256 byte values, in vocabulary order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def write_synthetic_vocabulary(writer, size, pre):
    """256 bytes, three special tokens and the merges that still fit."""
    merges = MERGES[: size - 256 - len(SPECIALS)]
    tokens = [*SPECIALS, *byte_characters(), *(m.replace(" ", "") for m in merges)]
    if len(tokens) != size:
        sys.exit(f"--vocab must be between {256 + len(SPECIALS)} and {256 + len(SPECIALS) + len(MERGES)}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIALS) + [1] * (size - len(SPECIALS)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def copy_vocabulary(writer, source, pre):
    """Copies every tokenizer.* entry of a model; returns the vocabulary's size."""
    reader = gguf.GGUFReader(source)
    size = 0
    for key, field in reader.fields.items():
        if not key.startswith("tokenizer."):
            continue
        value = field.contents()
        if key == "tokenizer.ggml.pre" and pre:
            value = pre
        if key == "tokenizer.ggml.tokens":
            size = len(value)
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, value, field.types[0], sub)
    return size


def rope_factors(head_dim, base, factor=8.0, low=1.0, high=4.0, original=64):
    """Llama 3's frequency factors, with an original context so short that a test's few positions feel them."""
    inverse = base ** (-np.arange(0, head_dim, 2) / head_dim)
    wavelength = 2 * np.pi / inverse
    smooth = np.clip((original / wavelength - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def tensors(a, vocab):
    """Yields (name, shape, standard deviation); a deviation of None marks a norm."""
    head = a.head_dim or a.width // a.heads
    q, kv = a.heads * head, a.kv_heads * head
    yield "token_embd.weight", (vocab, a.width), 3 / a.width**0.5
    for i in range(a.layers):
        b = f"blk.{i}."
        yield b + "attn_norm.weight", (a.width,), None
        yield b + "attn_q.weight", (q, a.width), 1.5 / a.width**0.5
        yield b + "attn_k.weight", (kv, a.width), 1.5 / a.width**0.5
        yield b + "attn_v.weight", (kv, a.width), 1 / a.width**0.5
        yield b + "attn_output.weight", (a.width, q), 1 / q**0.5
        yield b + "ffn_norm.weight", (a.width,), None
        yield b + "ffn_gate.weight", (a.ffn, a.width), 1 / a.width**0.5
        yield b + "ffn_up.weight", (a.ffn, a.width), 1 / a.width**0.5
        yield b + "ffn_down.weight", (a.width, a.ffn), 2 / a.ffn**0.5
    yield "output_norm.weight", (a.width,), None
    if a.untied:
        yield "output.weight", (vocab, a.width), 3 / a.width**0.5


def write_model(a, path, kind):
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=a.width >= 1024)
    head = a.head_dim or a.width // a.heads
    writer.add_type("model")
    writer.add_name(a.name or f"random {a.layers}x{a.width}")
    writer.add_block_count(a.layers)
    writer.add_context_length(a.context)
    writer.add_embedding_length(a.width)
    writer.add_feed_forward_length(a.ffn)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(a.kv_heads)
    writer.add_rope_dimension_count(head)
    if a.head_dim:
        writer.add_key_length(head)
        writer.add_value_length(head)
    writer.add_rope_freq_base(a.rope_base)
    writer.add_layer_norm_rms_eps(1e-5)
    ftype = {"F32": "ALL_F32", "MXFP4": "MOSTLY_MXFP4_MOE"}.get(kind, f"MOSTLY_{kind}")
    writer.add_file_type(gguf.LlamaFileType[ftype])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if a.vocab_from:
        vocab = copy_vocabulary(writer, a.vocab_from, a.pre)
    else:
        vocab = a.vocab
        write_synthetic_vocabulary(writer, vocab, a.pre or "smollm")
    writer.add_vocab_size(vocab)

    if a.rope_factors:
        writer.add_tensor("rope_freqs.weight", rope_factors(head, a.rope_base))
    rng = np.random.default_rng(a.seed)
    qtype = gguf.GGMLQuantizationType[kind]
    for name, shape, deviation in tensors(a, vocab):
        if deviation is None:
            weights = rng.uniform(0.8, 1.2, shape).astype(np.float32)
            writer.add_tensor(name, weights)
            continue
        weights = rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
        if kind == "F32":
            writer.add_tensor(name, weights)
        elif kind == "F16":
            writer.add_tensor(name, weights.astype(np.float16))
        else:
            data = gguf.quants.quantize(weights, qtype)
            writer.add_tensor(name, data, raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantizer(given):
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    path = pathlib.Path(given) if given else cache / "edgelora/peer/bin/llama-quantize"
    if not path.exists():
        sys.exit("a K type needs llama-quantize: run tools/peer/build.sh or name it with --quantize")
    return path


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--preset", choices=PRESETS, help="a shape; the options below override its parts (default: tiny)")
    p.add_argument("--type", default="Q4_0", choices=DIRECT + BY_LLAMA_CPP, help="of every matrix (default: %(default)s)")
    for name in ("layers", "width", "ffn", "heads", "kv-heads", "context"):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--head-dim", type=int, help="when it is not width / heads")
    p.add_argument("--vocab", type=int, default=320, help="size of the synthetic byte-level vocabulary (default: %(default)s)")
    p.add_argument("--vocab-from", metavar="MODEL", help="copy the vocabulary of this GGUF instead")
    p.add_argument("--pre", help="tokenizer.ggml.pre (default: smollm, or as in --vocab-from)")
    p.add_argument("--untied", action="store_true", help="an output matrix of its own")
    p.add_argument("--rope-factors", action="store_true", help="a rope_freqs tensor, as Llama 3 has")
    p.add_argument("--rope-base", type=float, default=10000.0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--name", help="general.name")
    p.add_argument("--quantize", metavar="PROGRAM", help="the llama-quantize to use for types that the gguf package cannot make")
    a = p.parse_args()
    for key, value in PRESETS[a.preset or "tiny"].items():
        if getattr(a, key) is None:
            setattr(a, key, value)
    if a.heads % a.kv_heads or (not a.head_dim and a.width % a.heads):
        p.error("heads must be a multiple of kv-heads, and width of heads")

    a.out.parent.mkdir(parents=True, exist_ok=True)
    if a.type in DIRECT:
        write_model(a, a.out, a.type)
    else:
        tool = quantizer(a.quantize)
        full = a.out.with_suffix(".f32.part")
        write_model(a, full, "F32")
        kind = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}.get(a.type, a.type)
        subprocess.run([tool, "--pure", full, a.out, kind], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        full.unlink()
    kinds = {t.tensor_type.name for t in gguf.GGUFReader(a.out).tensors if len(t.shape) > 1}
    if kinds != {a.type}:
        sys.exit(f"{a.out}: matrices came out as {', '.join(sorted(kinds))}")
    print(f"{a.out}: {a.out.stat().st_size} bytes, {a.type}")


if __name__ == "__main__":
    main()
