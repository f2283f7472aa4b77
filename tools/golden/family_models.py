"""The tiny random models of tools/golden/families.py: keys and tensors of a file for each family.

Keys and tensor names are what llama.cpp's converter writes for the family, and every part that it can have is there. Sizes
are the smallest at which each part still shows in the logits: windows shorter than the 64 positions, patterns of
layers that are passed more than once, limits ("caps") and scales that bite. Quantised types alternate, so that both of the
engine's packed layouts are met in attention and in the feed-forward.
"""

import pathlib
import sys
import zlib

import gguf
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import make_model  # noqa: E402

VOCAB = 288
WIDTH = 64
HEAD = 32


class Tiny:
    """A model in the making: keys without the family's prefix, and tensors by name as (array, type)."""

    def __init__(self, name, arch, layers, seed=0, **keys):
        self.name, self.arch, self.layers = name, arch, layers
        self.rng = np.random.default_rng(zlib.crc32(name.encode()) + seed)
        self.keys = {"block_count": layers, "context_length": 512, "embedding_length": WIDTH,
                     "attention.layer_norm_rms_epsilon": 1e-5, **keys}
        self.tensors = {}

    def matrix(self, name, rows, cols, kind, spread=1.0):
        """Random weights by which inputs of size 1 become outputs of size spread. rows may be (experts, rows)."""
        shape = (*np.atleast_1d(rows), cols)
        weights = (self.rng.standard_normal(shape) * spread / cols**0.5).astype(np.float32)
        self.tensors[name + ".weight"] = weights, kind

    def vector(self, name, size, low=0.75, high=1.25):
        self.tensors[name] = self.rng.uniform(low, high, size).astype(np.float32), "F32"

    def bias(self, name, size, spread=0.5):
        self.tensors[name + ".bias"] = (self.rng.standard_normal(size) * spread).astype(np.float32), "F32"

    def ends(self, kind="Q8_0", vocab=VOCAB, untied=None):
        self.vocab = vocab
        self.matrix("token_embd", vocab, WIDTH, kind, 3)
        self.vector("output_norm.weight", WIDTH)
        if untied:
            self.matrix("output", vocab, WIDTH, untied, 3)

    def attention(self, i, heads, kv_heads, head=HEAD, kinds=("Q4_0", "Q8_0"), biases="", spread=1.5, joined=False, own=True,
                  value=True):
        """kinds: of q and k, and of v and output; biases: of which of q, k, v, o. own: k and v at all."""
        b, q, kv = f"blk.{i}.", heads * head, kv_heads * head
        if joined:
            self.matrix(b + "attn_qkv", q + 2 * kv, WIDTH, kinds[0], spread)
        else:
            self.matrix(b + "attn_q", q, WIDTH, kinds[0], spread)
            if own:
                self.matrix(b + "attn_k", kv, WIDTH, kinds[0], spread)
            if own and value:
                self.matrix(b + "attn_v", kv, WIDTH, kinds[1])
        self.matrix(b + "attn_output", WIDTH, q, kinds[1], 1.5)
        for part, size in (("q", q), ("k", kv), ("v", kv)):
            if part in biases:
                self.bias(b + "attn_" + part, size)
        if "o" in biases:
            self.bias(b + "attn_output", WIDTH)

    def feed_forward(self, i, width, kinds=("Q4_0", "Q8_0"), biases=False, joined=False):
        b = f"blk.{i}."
        if joined:
            self.matrix(b + "ffn_up", 2 * width, WIDTH, kinds[0], 1.3)
        else:
            self.matrix(b + "ffn_gate", width, WIDTH, kinds[0], 1.3)
            self.matrix(b + "ffn_up", width, WIDTH, kinds[0], 1.3)
        self.matrix(b + "ffn_down", WIDTH, width, kinds[1], 1.5)
        if biases:
            for part, size in (("gate", width), ("up", width), ("down", WIDTH)):
                self.bias(b + "ffn_" + part, size)

    def experts(self, i, count, width, kinds, biases=False, shared=0):
        b = f"blk.{i}."
        self.matrix(b + "ffn_gate_inp", count, WIDTH, "F32", 3)
        self.matrix(b + "ffn_gate_exps", (count, width), WIDTH, kinds[0], 1.3)
        self.matrix(b + "ffn_up_exps", (count, width), WIDTH, kinds[0], 1.3)
        self.matrix(b + "ffn_down_exps", (count, WIDTH), width, kinds[1], 2)
        if biases:
            self.bias(b + "ffn_gate_inp", count)
            for part, size in (("gate", width), ("up", width), ("down", WIDTH)):
                self.bias(f"{b}ffn_{part}_exps", (count, size))
        if shared:
            self.matrix(b + "ffn_gate_shexp", shared, WIDTH, kinds[0], 1.3)
            self.matrix(b + "ffn_up_shexp", shared, WIDTH, kinds[0], 1.3)
            self.matrix(b + "ffn_down_shexp", WIDTH, shared, kinds[1], 1.5)

    def norms(self, i, *names, size=WIDTH, low=0.75, high=1.25):
        for name in names:
            self.vector(f"blk.{i}.{name}.weight", size, low, high)

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(path, self.arch)
        writer.add_type("model")
        writer.add_name("tiny " + self.name.replace("phi3", "phi 3"))  # by that name the peer looks for real tokens
        for key, value in self.keys.items():
            add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
                   list: writer.add_array}[type(value)]
            add(f"{self.arch}.{key}", value)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        make_model.write_synthetic_vocabulary(writer, self.vocab, "qwen2" if self.arch.startswith("qwen") else "smollm")
        for name, (array, kind) in self.tensors.items():
            if kind in ("F32", "F16"):
                writer.add_tensor(name, array.astype({"F32": np.float32, "F16": np.float16}[kind]))
            else:
                kind = gguf.GGMLQuantizationType[kind]
                writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def heads(n, kv, ff, **more):
    return {"attention.head_count": n, "attention.head_count_kv": kv, "feed_forward_length": ff, **more}


def sizes(head=HEAD, rotated=None):
    """What the converter writes of heads whose size is not width / heads; rotated: what it writes for llama and its kin."""
    lengths = {"attention.key_length": head, "attention.value_length": head} if head else {}
    return {**lengths, "rope.dimension_count": rotated} if rotated else lengths


def llama(name, layers=2, rope=None, factors=(), biases=False):
    m = Tiny(name, "llama", layers, **heads(4, 2, 96), **sizes(HEAD, HEAD), **{"vocab_size": VOCAB, "rope.freq_base": 10000.0}, **(rope or {}))
    m.ends()
    for factor, values in factors:
        m.tensors[factor + ".weight"] = np.asarray(values, np.float32), "F32"
    for i in range(layers):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 4, 2, biases="qkvo" if biases else "")
        m.feed_forward(i, 96, biases=biases)
    return m


def growing(last):
    """Frequency factors from 1 to last."""
    return np.linspace(1, last, HEAD // 2)


def llama_linear():
    return llama("llama-linear", 1, rope={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0})


def llama_yarn():
    return llama("llama-yarn", 1, rope={"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 64})


def llama3():
    return llama("llama3", factors=[("rope_freqs", make_model.rope_factors(HEAD, 10000.0))])


def llama_longrope():
    return llama("llama-longrope", 1, factors=[("rope_factors_long", growing(24)), ("rope_factors_short", growing(3))],
                 rope={"rope.scaling.type": "longrope", "rope.scaling.original_context_length": 256, "rope.scaling.attn_factor": 1.19})


def llama_biases():
    return llama("llama-biases", biases=True)


def qwen2():
    m = Tiny("qwen2", "qwen2", 3, **heads(2, 1, 96), **{"rope.freq_base": 1000000.0})
    m.ends()
    for i in range(3):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 2, 1, biases="qkv", kinds=[("Q4_0", "Q8_0"), ("Q8_0", "Q4_0"), ("F16", "Q4_1")][i])
        m.feed_forward(i, 96, kinds=[("Q4_0", "Q8_0"), ("Q8_0", "Q4_0"), ("Q4_0", "Q4_0")][i])
    return m


def qwen3(name="qwen3", layers=3, experts=0):
    ff = {"expert_count": experts, "expert_used_count": 3, "expert_feed_forward_length": 32} if experts else {}
    m = Tiny(name, name, layers, **heads(4, 2, 96), **sizes(), **{"rope.freq_base": 1000000.0}, **ff)
    m.ends(vocab=VOCAB - 3, untied="Q4_0")
    for i in range(layers):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 4, 2)
        m.norms(i, "attn_q_norm", "attn_k_norm", size=HEAD, low=1.0, high=1.8)
        if experts:
            m.experts(i, experts, 32, ("Q4_0", "Q8_0") if i else ("Q8_0", "Q4_0"))
        else:
            m.feed_forward(i, 96)
    return m


def qwen3moe():
    return qwen3("qwen3moe", 2, experts=8)


def gemma2():
    m = Tiny("gemma2", "gemma2", 5, **heads(4, 2, 64), **sizes(),
             **{"attention.sliding_window": 11, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0})
    m.ends()
    for i in range(5):
        m.norms(i, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        m.attention(i, 4, 2, spread=2)
        m.feed_forward(i, 64)
    return m


def gemma3():
    m = Tiny("gemma3", "gemma3", 7, **heads(4, 1, 64), **sizes(),
             **{"attention.sliding_window": 13, "rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0,
                "rope.scaling.type": "linear", "rope.scaling.factor": 4.0})
    m.ends()
    for i in range(7):
        m.norms(i, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        m.attention(i, 4, 1, kinds=("Q4_0", "Q8_0") if i % 2 else ("Q8_0", "Q4_0"))
        m.norms(i, "attn_q_norm", "attn_k_norm", size=HEAD, low=1.0, high=1.8)
        m.feed_forward(i, 64)
    return m


def gemma4():
    """Window layers have heads of 32, full ones of 64 with one key/value head and no v; the last three share keys and are twice as wide."""
    layers, full = 8, (2, 4, 7)
    swa = [i not in full for i in range(layers)]
    m = Tiny("gemma4", "gemma4", layers, **heads(2, [2 if s else 1 for s in swa], [64] * 5 + [128] * 3), **sizes(64, 64),
             **{"attention.key_length_swa": 32, "attention.value_length_swa": 32, "rope.dimension_count_swa": 32,
                "attention.sliding_window": 10, "attention.sliding_window_pattern": swa, "attention.shared_kv_layers": 3,
                "embedding_length_per_layer_input": 32, "rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0,
                "final_logit_softcapping": 6.0})
    m.ends()
    m.tensors["rope_freqs.weight"] = np.array([1.0] * 8 + [1e30] * 24, np.float32), "F32"
    m.matrix("per_layer_token_embd", VOCAB, 32 * layers, "Q4_0", 16)
    m.matrix("per_layer_model_proj", 32 * layers, WIDTH, "Q4_0", 8)
    m.vector("per_layer_proj_norm.weight", 32)
    for i in range(layers):
        own, head = i < layers - 3, 32 if swa[i] else 64
        m.norms(i, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm")
        m.attention(i, 2, 2 if swa[i] else 1, head=head, own=own, value=swa[i], kinds=("Q4_0", "Q8_0" if i % 2 else "Q4_0"))
        m.norms(i, "attn_q_norm", *(["attn_k_norm"] if own else []), size=head, low=0.4, high=0.7)
        m.feed_forward(i, 64 if own else 128, kinds=("Q4_0", "Q8_0" if i % 2 else "Q4_0"))
        m.matrix(f"blk.{i}.inp_gate", 32, WIDTH, "Q8_0")
        m.matrix(f"blk.{i}.proj", WIDTH, 32, "Q8_0")
        m.vector(f"blk.{i}.layer_output_scale.weight", 1, 0.6, 0.9)
    return m


def mistral3():
    m = Tiny("mistral3", "mistral3", 3, **heads(4, 2, 96), **sizes(HEAD, HEAD),
             **{"vocab_size": VOCAB, "rope.freq_base": 10000.0, "rope.scaling.type": "yarn", "rope.scaling.factor": 16.0,
                "rope.scaling.original_context_length": 16, "rope.scaling.yarn_beta_fast": 0.2, "rope.scaling.yarn_beta_slow": 0.04,
                "rope.scaling.yarn_log_multiplier": 0.4, "attention.temperature_scale": 0.4})
    m.ends(untied="Q8_0")
    for i in range(3):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 4, 2)
        m.feed_forward(i, 96)
    return m


def phi3():
    """Rotates 24 of 32; the window that the file names is not applied; the factors are the long ones above 256 positions."""
    m = Tiny("phi3", "phi3", 3, **heads(2, 1, 96),
             **{"rope.dimension_count": 24, "rope.freq_base": 10000.0, "rope.scaling.original_context_length": 256,
                "rope.scaling.attn_factor": 1.19, "attention.sliding_window": 20})
    m.ends(untied="Q4_0")
    m.tensors["rope_factors_long.weight"] = np.linspace(1, 24, 12).astype(np.float32), "F32"
    m.tensors["rope_factors_short.weight"] = np.linspace(1, 3, 12).astype(np.float32), "F32"
    for i in range(3):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 2, 1, joined=True)
        m.feed_forward(i, 96, joined=True)
    return m


GRANITE = {"vocab_size": VOCAB, "rope.freq_base": 10000.0, "attention.scale": 0.11, "embedding_scale": 3.0, "residual_scale": 0.4,
           "logit_scale": 1.6}


def granite():
    m = Tiny("granite", "granite", 3, **heads(2, 1, 96), **sizes(None, HEAD), **GRANITE)
    m.ends()
    for i in range(3):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 2, 1, spread=2)
        m.feed_forward(i, 96)
    return m


def granitemoe():
    m = Tiny("granitemoe", "granitemoe", 2, **heads(2, 1, 32), **sizes(None, HEAD), **GRANITE,
             **{"expert_count": 8, "expert_used_count": 2, "expert_shared_feed_forward_length": 64})
    m.ends()
    for i in range(2):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 2, 1, spread=2)
        m.experts(i, 8, 32, ("Q4_0", "Q8_0") if i else ("Q8_0", "Q4_0"), shared=64)
    return m


def smollm3():
    m = Tiny("smollm3", "smollm3", 5, **heads(4, 1, 64), **sizes(None, 16), **{"vocab_size": VOCAB, "rope.freq_base": 5000000.0})
    m.ends()
    for i in range(5):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, 4, 1, head=16)
        m.feed_forward(i, 64)
    return m


def olmo2(name="olmo2", layers=3, **keys):
    m = Tiny(name, "olmo2", layers, **heads(2, 1, 96), **{"rope.freq_base": 500000.0, **keys})
    m.ends(untied="Q8_0")
    for i in range(layers):
        m.attention(i, 2, 1)
        m.norms(i, "attn_q_norm", low=1.0, high=1.8)
        m.norms(i, "attn_k_norm", size=HEAD, low=1.0, high=1.8)
        m.feed_forward(i, 96)
        m.norms(i, "post_attention_norm", "post_ffw_norm")
    return m


def olmo3():
    """The family's form with windows, whose rotation is not scaled."""
    return olmo2("olmo3", 5, **{"attention.sliding_window": 12, "attention.sliding_window_pattern": [(i + 1) % 4 != 0 for i in range(5)],
                                "rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 64,
                                "rope.scaling.attn_factor": 1.4})


def openelm():
    q, kv, ff = [4, 8, 8, 12], [2, 2, 4, 3], [32, 64, 96, 128]
    m = Tiny("openelm", "openelm", 4, **heads(q, kv, ff), **sizes(16, 16), **{"rope.freq_base": 10000.0})
    m.ends()
    for i in range(4):
        m.norms(i, "attn_norm", "ffn_norm")
        m.attention(i, q[i], kv[i], head=16, joined=True, kinds=("Q4_0", "Q8_0" if i % 2 else "Q4_0"))
        m.norms(i, "attn_q_norm", "attn_k_norm", size=16, low=1.0, high=1.8)
        m.feed_forward(i, ff[i])
    return m


def gpt_oss():
    m = Tiny("gpt-oss", "gpt-oss", 3, **heads(4, 2, 32), **sizes(),
             **{"rope.freq_base": 150000.0, "rope.scaling.type": "yarn", "rope.scaling.factor": 32.0,
                "rope.scaling.original_context_length": 64, "attention.sliding_window": 14, "expert_count": 8, "expert_used_count": 3,
                "expert_feed_forward_length": 32})
    m.ends(untied="Q8_0")
    for i in range(3):
        m.norms(i, "attn_norm", "post_attention_norm")
        m.attention(i, 4, 2, kinds=("Q8_0", "Q8_0"), biases="qkvo")
        m.tensors[f"blk.{i}.attn_sinks.weight"] = m.rng.uniform(-1, 3, 4).astype(np.float32), "F32"
        m.experts(i, 8, 32, ("MXFP4", "MXFP4"), biases=True)
        # Some of gate's and up's values have to reach the activation's limits of 7; down's has to count beside what that makes.
        for part, more in (("gate", 8), ("up", 8), ("down", 4)):
            m.tensors[f"blk.{i}.ffn_{part}_exps.bias"][0][...] *= more
    return m


MODELS = {m.__name__.replace("_", "-"): m for m in (
    qwen2, gemma3, qwen3, gemma2, mistral3, phi3, granite, smollm3, olmo2, olmo3, gemma4, openelm, qwen3moe, granitemoe, gpt_oss,
    llama_linear, llama_yarn, llama3, llama_longrope, llama_biases)}
