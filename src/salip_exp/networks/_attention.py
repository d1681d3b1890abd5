"""SAM's image encoder by plain scaled-dot-product attention, which a GPU computes without the N x N matrix of a block.

SAM adds to the logit of query i and key j the relative position of their rows and of their columns, q_i.Rh[y_i, y_j] +
q_i.Rw[x_i, x_j] (Li et al. 2022, MViTv2, https://arxiv.org/abs/2112.01526). Given as a bias it is a matrix as large as
the logits, in every block. But it has rank h + w at most: with the one-hot row and column of each key appended to it,
and what the query says of every row and column appended to that, one dot product is the whole logit,

    [s q_i, q_i.Rh[y_i], q_i.Rw[x_i]] . [k_j, onehot(y_j), onehot(x_j)].

Exact but for the order of the sums. A GPU's flash kernels want heads of one width for queries, keys and values, in
multiples of eight: ViT-H's 80 become 208 in its global blocks and 112 in its windows, filled up with zeros.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor, nn
from torch.nn import functional

_ALIGNED = 8


def attend_by_low_rank(net: nn.Module) -> None:
    """Put plain attention in the place of every block's attention that has relative positions; weights are shared."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if type(child) is Attention and child.use_rel_pos:
                setattr(module, name, LowRankAttention(child))


class LowRankAttention(nn.Module):
    """`segment_anything`'s `Attention` on tokens (B, h, w, C), of the same parameters and as exact."""

    rows: Tensor
    columns: Tensor
    places: Tensor

    def __init__(self, of: Attention) -> None:
        super().__init__()
        self.num_heads, self.scale, self.qkv, self.proj = of.num_heads, of.scale, of.qkv, of.proj
        height, width = ((len(table) + 1) // 2 for table in (of.rel_pos_h, of.rel_pos_w))
        each = torch.cat([torch.eye(height).repeat_interleave(width, 0), torch.eye(width).repeat(height, 1)], dim=1)
        head = of.rel_pos_h.shape[1]
        each = functional.pad(each, (0, -(head + height + width) % _ALIGNED)).to(of.rel_pos_h)
        self.register_buffer("rows", get_rel_pos(height, height, of.rel_pos_h).detach(), persistent=False)
        self.register_buffer("columns", get_rel_pos(width, width, of.rel_pos_w).detach(), persistent=False)
        self.register_buffer("places", each, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, h, w, C) after attending to each other."""
        batch, height, width, _ = tokens.shape
        parts = self.qkv(tokens).reshape(batch, height * width, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        answer = functional.scaled_dot_product_attention(*self.augmented(*parts.unbind(0)), scale=1.0)
        answer = answer[..., : parts.shape[-1]].transpose(1, 2).reshape(batch, height, width, -1)
        attended: Tensor = self.proj(answer)
        return attended

    def augmented(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, h w, c) with relative positions in the dot product (B, heads, h w, d)."""
        grid = q.unflatten(2, (len(self.rows), len(self.columns)))
        of_rows = torch.einsum("bnhwc,hkc->bnhwk", grid, self.rows).flatten(2, 3)
        of_columns = torch.einsum("bnhwc,wkc->bnhwk", grid, self.columns).flatten(2, 3)
        keys = torch.cat([k, self.places.to(k.dtype).expand(*k.shape[:2], -1, -1)], dim=-1)
        queries = torch.cat([q * self.scale, of_rows, of_columns], dim=-1)
        wide = keys.shape[-1]
        return (
            functional.pad(queries, (0, wide - queries.shape[-1])),
            keys,
            functional.pad(v, (0, wide - v.shape[-1])),
        )
