"""Mixtures of experts with a module for each matrix, as transformers 4 had them (qwen3moe), and as Unsloth loads gpt-oss.

transformers 5 has one parameter for all experts, of which PEFT trains pairs alone. DoRA, biases of B and biases were
trained where each expert had modules of its own, and such adapters are around. The replaced block computes what the
original does; its values are the original's.
"""

import torch
from torch import nn
from torch.nn import functional


def linear(weight, bias=None):
    """weight: [out, in]"""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(weight.dtype)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer


class Expert(nn.Module):
    def __init__(self, of, i):
        super().__init__()
        gate, up = of.gate_up_proj[i].chunk(2)
        self.gate_proj, self.up_proj, self.down_proj, self.act = linear(gate), linear(up), linear(of.down_proj[i]), of.act_fn

    def forward(self, x):
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class QwenBlock(nn.Module):
    """transformers 4.57, Qwen3MoeSparseMoeBlock with norm_topk_prob"""

    def __init__(self, of):
        super().__init__()
        self.gate = linear(of.gate.weight)
        self.top_k = of.gate.top_k
        self.experts = nn.ModuleList(Expert(of.experts, i) for i in range(of.experts.num_experts))

    def forward(self, hidden):
        x = hidden.reshape(-1, hidden.shape[-1])
        weights, chosen = torch.topk(functional.softmax(self.gate(x), dim=-1), self.top_k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            row, place = torch.where(chosen == i)
            out.index_add_(0, row, expert(x[row]) * weights[row, place, None])
        return out.reshape(hidden.shape)


class GptOssExperts(nn.Module):
    """unsloth_zoo's GptOssExperts: gate_up_projs and down_projs"""

    def __init__(self, of):
        super().__init__()
        n = range(of.num_experts)
        self.gate_up_projs = nn.ModuleList(linear(of.gate_up_proj[i].T, of.gate_up_proj_bias[i]) for i in n)
        self.down_projs = nn.ModuleList(linear(of.down_proj[i].T, of.down_proj_bias[i]) for i in n)
        self.apply_gate = of._apply_gate

    def forward(self, x, chosen, weights):
        out = torch.zeros_like(x)
        for i, (gate_up, down) in enumerate(zip(self.gate_up_projs, self.down_projs)):
            row, place = torch.where(chosen == i)
            out.index_add_(0, row, down(self.apply_gate(gate_up(x[row]))) * weights[row, place, None])
        return out


def apart(model):
    model.config.model_type = "experts_apart"  # of those that PEFT knows it would turn modules into parameters
    with torch.no_grad():
        for layer in model.model.layers:
            if hasattr(layer.mlp, "gate"):
                layer.mlp = QwenBlock(layer.mlp)
            else:
                layer.mlp.experts = GptOssExperts(layer.mlp.experts)
    return model
