"""The forward pass of each model family in numpy, in float64: the exact logits of a GGUF file.

One decoder for all of them; FAMILIES says in which parts a family differs, and everything else is read from the file's
keys and from which tensors it has. Weights are dequantised by the gguf package. It shares no code with the peer, and
families.py checks that the peer says the same when its weights are F32. Rows stay in the order of the file, so that
rotation is of neighbours for families whose converter reorders rows, and of halves for the others.
"""

import math

import gguf
import numpy as np

# pairs: which values of a head rotate together. windows: the period of the pattern of windowed layers when no key says it.
# scaled_input: embeddings times sqrt(width). act: of the feed-forward, SiLU if not said.
GEMMA = {"pairs": "halves", "scaled_input": True, "act": "gelu"}
FAMILIES = {
    "llama": {"pairs": "neighbours"},
    "qwen2": {"pairs": "halves"},
    "qwen3": {"pairs": "halves"},
    "qwen3moe": {"pairs": "halves"},
    "gemma2": {**GEMMA, "windows": 2, "attention_cap": 50.0, "final_cap": 30.0},
    "gemma3": {**GEMMA, "windows": 6, "window_base": 10000.0, "window_unscaled": True},
    "gemma4": {**GEMMA, "windows": 0, "window_base": 10000.0, "window_unscaled": True, "final_cap": 30.0, "score_scale": 1.0,
               "value_norm": True, "factors_on": "full"},
    "mistral3": {"pairs": "neighbours", "yarn_keys": True},
    "phi3": {"pairs": "halves", "windows": None},
    "granite": {"pairs": "neighbours", "scales": True},
    "granitemoe": {"pairs": "neighbours", "scales": True},
    "smollm3": {"pairs": "neighbours", "unrotated": 4},
    "olmo2": {"pairs": "halves", "windows": 4, "window_plain": True},
    "openelm": {"pairs": "halves"},
    "gpt-oss": {"pairs": "halves", "windows": 2, "act": "oai", "router": "after"},
}


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)))


def half_gelu(x):
    """As the peer has it on a CPU: between -10 and 10 from a table of F16, by F16."""
    table = gelu(x.astype(np.float16).astype(np.float64)).astype(np.float16).astype(np.float64)
    return np.where(x <= -10, 0.0, np.where(x >= 10, x, table))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def glu(kind, gate, up):
    """kind: silu, gelu, half_gelu or oai"""
    if kind == "oai":  # gpt-oss: a limit on both, SiLU with a slope of 1.702, and the other half plus one
        gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
        return gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
    return ACTIVATIONS[kind](gate) * up


ACTIVATIONS = {"silu": silu, "gelu": gelu, "half_gelu": half_gelu}


class Model:
    def __init__(self, path, dtype=np.float64):
        """dtype: float32 halves what a large model takes, and is off by some 1e-5 of the logits' deviation."""
        reader = gguf.GGUFReader(path)
        self.keys = {k: f.contents() for k, f in reader.fields.items() if not k.startswith(("GGUF.", "tokenizer."))}
        self.arch = self.keys["general.architecture"]
        self.family = {"act": "silu", **FAMILIES[self.arch]}
        self.w = {}
        for t in reader.tensors:
            shape = [int(n) for n in reversed(t.shape)]
            self.w[t.name] = gguf.quants.dequantize(t.data, t.tensor_type).reshape(shape).astype(dtype)
        self.n_layers, self.width = self.key("block_count"), self.key("embedding_length")
        self.loras = {}
        self.least_margin = np.inf  # of the experts chosen over those that were not

    def key(self, name, default=None):
        return self.keys.get(f"{self.arch}.{name}", default)

    def by_layer(self, name, layer, default=None):
        value = self.key(name, default)
        return value[layer] if isinstance(value, list) else value

    def add_lora(self, path):
        """A GGUF LoRA: A, B and the scale of each of its tensors."""
        reader = gguf.GGUFReader(path)
        alpha = reader.get_field("adapter.lora.alpha").contents()
        parts = {t.name: t.data.reshape([int(n) for n in reversed(t.shape)]).astype(np.float64) for t in reader.tensors}
        for name, a in parts.items():
            if name.endswith(".lora_a"):
                base = name.removesuffix(".lora_a")
                self.loras[base] = (a, parts[base + ".lora_b"], alpha / a.shape[-2])

    def linear(self, x, name):
        """x: [rows, in] -> [rows, out], with the bias and the adapter if there are any."""
        y = x @ self.w[name + ".weight"].T
        if name + ".weight" in self.loras:
            a, b, scale = self.loras[name + ".weight"]
            y = y + scale * (x @ a.T) @ b.T
        return y + self.w.get(name + ".bias", 0.0)

    def expert(self, x, name, e):
        """x: [in] -> [out], by one matrix of a stack."""
        y = self.w[name + ".weight"][e] @ x
        if name + ".weight" in self.loras:
            a, b, scale = self.loras[name + ".weight"]
            y = y + scale * b[e] @ (a[e] @ x)
        return y + self.w[name + ".bias"][e] if name + ".bias" in self.w else y

    def norm(self, x, name):
        weight = self.w[name] if name else 1.0
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.key("attention.layer_norm_rms_epsilon")) * weight

    def windowed(self, layer):
        """How many positions a layer sees, or 0 for all of them."""
        period, window = self.family.get("windows"), self.key("attention.sliding_window", 0)
        if period is None or not window:
            return 0
        pattern = self.key("attention.sliding_window_pattern", period)
        on = pattern[layer] if isinstance(pattern, list) else pattern == 0 or layer % pattern < pattern - 1
        return window if on else 0

    def rotation(self, layer, positions, ctx):
        """Cosines and sines, [positions, pairs], already times the magnitude."""
        f, window = self.family, self.windowed(layer)
        dims = self.key("rope.dimension_count", self.head_size(layer))
        if window:
            dims = self.key("rope.dimension_count_swa", dims)
        base = self.key("rope.freq_base", 10000.0)
        kind, factor = self.key("rope.scaling.type", "linear"), self.key("rope.scaling.factor", 0) or 1.0
        original = self.key("rope.scaling.original_context_length", self.key("context_length"))
        magnitude = self.key("rope.scaling.attn_factor", 1.0)
        if window and f.get("window_plain"):
            kind, factor, magnitude = "none", 1.0, 1.0
        elif window:
            base = self.key("rope.freq_base_swa", f.get("window_base", base))
            if f.get("window_unscaled"):
                factor = 1.0
        if kind == "none":
            factor = 1.0
        pair = np.arange(dims // 2)
        theta = positions[:, None] * base ** (-2.0 * pair / dims)
        if not (window and f.get("factors_on") == "full"):
            names = ["rope_freqs"] if kind != "longrope" and self.arch != "phi3" else []
            if kind == "longrope" or self.arch == "phi3":
                names = ["rope_factors_long" if ctx > original else "rope_factors_short"]
            for name in names:
                theta = theta / self.w.get(name + ".weight", np.ones(dims // 2))
        angle = theta / factor
        if kind == "yarn":
            fast, slow = 32.0, 1.0
            if f.get("yarn_keys"):
                fast, slow = self.key("rope.scaling.yarn_beta_fast", fast), self.key("rope.scaling.yarn_beta_slow", slow)
            edge = lambda turns: dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))  # noqa: E731
            low, high = max(0, math.floor(edge(fast))), min(dims - 1, math.ceil(edge(slow)))
            keep = 1 - np.clip((pair - low) / max(0.001, high - low), 0, 1)
            angle = angle * (1 - keep) + theta * keep
            grown = lambda m: 0.1 * m * math.log(factor) + 1 if factor > 1 else 1.0  # noqa: E731
            magnitude *= grown(1.0)
            if f.get("yarn_keys"):
                magnitude /= grown(self.key("rope.scaling.yarn_log_multiplier", 0.0))
        return np.cos(angle) * magnitude, np.sin(angle) * magnitude

    def rotate(self, x, cos, sin):
        """x: [rows, heads, size]; what is beyond the rotated part stays."""
        n, out = cos.shape[1], x.copy()
        cos, sin = cos[:, None], sin[:, None]
        first, second = (np.s_[..., :n], np.s_[..., n : 2 * n])
        if self.family["pairs"] == "neighbours":
            first, second = np.s_[..., 0 : 2 * n : 2], np.s_[..., 1 : 2 * n : 2]
        a, b = x[first], x[second]
        out[first], out[second] = a * cos - b * sin, a * sin + b * cos
        return out

    def head_size(self, layer):
        size = self.key("attention.key_length", self.width // self.by_layer("attention.head_count", 0))
        return self.key("attention.key_length_swa", size) if self.windowed(layer) else size

    def heads(self, layer):
        n = self.by_layer("attention.head_count", layer)
        return n, self.by_layer("attention.head_count_kv", layer, n)

    def qkv(self, h, layer, own):
        """q, k, v as [rows, heads, size], with their norms, not rotated; k and v None if the layer has none of its own."""
        b, size, (n_q, n_kv), rows = f"blk.{layer}.", self.head_size(layer), self.heads(layer), len(h)
        if b + "attn_qkv.weight" in self.w:
            joined = self.linear(h, b + "attn_qkv")
            q, k, v = np.split(joined, [n_q * size, (n_q + n_kv) * size], 1)
        else:
            q = self.linear(h, b + "attn_q")
            k = self.linear(h, b + "attn_k") if own else None
            v = (self.linear(h, b + "attn_v") if b + "attn_v.weight" in self.w else k) if own else None
        whole = self.w.get(b + "attn_q_norm.weight", np.ones(size)).size != size  # over the whole width: before the split
        out = []
        for x, n, name in ((q, n_q, "attn_q_norm.weight"), (k, n_kv, "attn_k_norm.weight")):
            has = b + name in self.w and x is not None
            if has and whole:
                x = self.norm(x, b + name)
            x = None if x is None else x.reshape(rows, n, size)
            out.append(self.norm(x, b + name) if has and not whole else x)
        if v is not None:
            v = v.reshape(rows, n_kv, size)
            if self.family.get("value_norm"):
                v = self.norm(v, None)
        return (*out, v)

    def attention(self, q, k, v, layer):
        rows, size, window = len(q), q.shape[-1], self.windowed(layer)
        group = q.shape[1] // k.shape[1]
        k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
        scale = self.key("attention.scale", 0) if self.family.get("scales") else self.family.get("score_scale", 0)
        scores = np.einsum("ihd,jhd->hij", q, k) * (scale or 1 / math.sqrt(size))
        if "attention_cap" in self.family:
            cap = self.key("attn_logit_softcapping", self.family["attention_cap"])
            scores = cap * np.tanh(scores / cap)
        ago = np.arange(rows)[:, None] - np.arange(rows)
        scores[:, (ago < 0) | ((ago >= window) if window else False)] = -np.inf
        sinks = self.w.get(f"blk.{layer}.attn_sinks.weight")
        if sinks is not None:  # one more score that has no value
            scores = np.concatenate([scores, np.broadcast_to(sinks[:, None, None], (len(sinks), rows, 1))], -1)
        p = softmax(scores)[..., :rows]
        return np.einsum("hij,jhd->ihd", p, v).reshape(rows, -1)

    def experts(self, h, layer):
        b, used = f"blk.{layer}.", self.key("expert_used_count")
        logits = self.linear(h, b + "ffn_gate_inp")
        order = np.argsort(-logits, 1, kind="stable")
        ranked = np.take_along_axis(logits, order, 1)
        if used < logits.shape[1]:
            self.least_margin = min(self.least_margin, (ranked[:, used - 1] - ranked[:, used]).min())
        # Softmax over all with the chosen ones' sum made 1 again is softmax over the chosen ones.
        weights = softmax(ranked[:, :used])
        out = np.zeros_like(h)
        for row in range(len(h)):
            for expert, weight in zip(order[row, :used], weights[row]):
                act = glu(self.family["act"], self.expert(h[row], b + "ffn_gate_exps", expert), self.expert(h[row], b + "ffn_up_exps", expert))
                out[row] += weight * self.expert(act, b + "ffn_down_exps", expert)
        if b + "ffn_up_shexp.weight" in self.w:
            act = glu(self.family["act"], self.linear(h, b + "ffn_gate_shexp"), self.linear(h, b + "ffn_up_shexp"))
            out = out + self.linear(act, b + "ffn_down_shexp")
        return out

    def feed_forward(self, h, layer):
        b = f"blk.{layer}."
        if b + "ffn_gate_inp.weight" in self.w:
            return self.experts(h, layer)
        up = self.linear(h, b + "ffn_up")
        gate, up = (self.linear(h, b + "ffn_gate"), up) if b + "ffn_gate.weight" in self.w else np.split(up, 2, 1)
        return self.linear(glu(self.family["act"], gate, up), b + "ffn_down")

    def layer_inputs(self, ids, x):
        """gemma4's second embedding: what each layer gets of each token, [layers, rows, size]; None if there is none."""
        size = self.key("embedding_length_per_layer_input", 0)
        if not size:
            return None
        split = lambda y: y.reshape(len(ids), self.n_layers, size)  # noqa: E731
        own = split(self.w["per_layer_token_embd.weight"][ids]) * math.sqrt(size)
        made = split(x @ self.w["per_layer_model_proj.weight"].T) / math.sqrt(self.width)
        return ((self.norm(made, "per_layer_proj_norm.weight") + own) / math.sqrt(2)).swapaxes(0, 1)

    def logits(self, ids, ctx=256):
        """The logits after each of ids, [rows, vocabulary], in a context of ctx positions."""
        f, position = self.family, np.arange(len(ids), dtype=np.float64)
        x = self.w["token_embd.weight"][ids]
        if f.get("scaled_input"):
            x = x * math.sqrt(self.width)
        scale = lambda name: (self.key(name, 0) or 1.0) if f.get("scales") else 1.0  # noqa: E731
        x = x * scale("embedding_scale")
        inputs = self.layer_inputs(ids, x)
        cache, own_layers = {}, self.n_layers - self.key("attention.shared_kv_layers", 0)
        for i in range(self.n_layers):
            b = f"blk.{i}."
            h = self.norm(x, b + "attn_norm.weight") if b + "attn_norm.weight" in self.w else x
            q, k, v = self.qkv(h, i, i < own_layers)
            if not (f.get("unrotated") and (i + 1) % f["unrotated"] == 0) and self.key("rope.scaling.finetuned", True):
                cos, sin = self.rotation(i, position, ctx)
                q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin) if k is not None else None
            if f.get("yarn_keys") and self.key("attention.temperature_scale", 0):
                floor = self.key("rope.scaling.original_context_length", self.key("context_length"))
                q = q * (1 + self.key("attention.temperature_scale") * np.log(np.floor(position / floor) + 1))[:, None, None]
            if k is None:
                k, v = cache[own_layers - (2 if self.windowed(i) else 1)]
            cache[i] = k, v
            a = self.linear(self.attention(q, k, v, i), b + "attn_output")
            before = "ffn_norm.weight"
            if b + before not in self.w and b + "post_ffw_norm.weight" not in self.w:
                before = "post_attention_norm.weight"  # gpt-oss: that name for the norm before the feed-forward
            elif b + "post_attention_norm.weight" in self.w:
                a = self.norm(a, b + "post_attention_norm.weight")
            x = x + scale("residual_scale") * a
            h = self.norm(x, b + before) if b + before in self.w else x
            y = self.feed_forward(h, i)
            if b + "post_ffw_norm.weight" in self.w:
                y = self.norm(y, b + "post_ffw_norm.weight")
            x = x + scale("residual_scale") * y
            if inputs is not None:
                y = self.linear(glu(f["act"], self.linear(x, b + "inp_gate"), inputs[i]), b + "proj")
                x = x + self.norm(y, b + "post_norm.weight")
            x = x * self.w.get(b + "layer_output_scale.weight", 1.0)
        x = self.norm(x, "output_norm.weight")
        out = x @ self.w.get("output.weight", self.w["token_embd.weight"]).T + self.w.get("output.bias", 0.0)
        out = out / scale("logit_scale")
        cap = self.key("final_logit_softcapping", f.get("final_cap", 0.0))
        return cap * np.tanh(out / cap) if cap else out
