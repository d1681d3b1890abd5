"""SAM's mask decoder for a grid of points on one image: what is the same for every point is computed once.

`MaskDecoder` repeats the image for each prompt before its transformer, so that the first layer adds positions to, and
projects, the same 4096 image tokens again for every point; and it keeps them in a layout in which every later sum
crosses memory in strides. Here they are shared until attention makes them differ, and lie in one piece.

The arithmetic is the reference's, operation by operation; only its repetitions are left out. Still, another matrix
product may round the last bit another way, so `_is_exact` compares both on a few points, once for every network and
process, and `decode_points` takes the reference where they differ.
"""

from __future__ import annotations

import logging
import math
from typing import Any
from weakref import WeakKeyDictionary

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock, TwoWayTransformer
from torch import Tensor
from torch.nn import Linear, functional

from salip_exp.networks.packages import Sam

_log = logging.getLogger(__name__)

_PROBES = 4
_exact: WeakKeyDictionary[MaskDecoder, bool] = WeakKeyDictionary()


def decode_grid(net: Sam, features: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
    """Three masks of every point, from the shared decoder where it is exact, else from the reference's.

    Args:
        features: (1, C, h, w), of one image.
        sparse: (P, n, C), embedded points.
        dense: (P, C, h, w), the same for every point: no mask is given.

    Returns:
        Low-resolution logits (P, 3, 4 h, 4 w) and predicted IoU (P, 3).
    """
    if _is_exact(net, features, sparse, dense):
        return _shared(net, features, sparse, dense)
    return _reference(net, features, sparse, dense)


def _is_exact(net: Sam, features: Tensor, sparse: Tensor, dense: Tensor) -> bool:
    """Whether the shared decoder gives the reference's bits for the first points; asked once for every decoder."""
    decoder = net.mask_decoder
    if not _is_plain(decoder) or len(sparse) < _PROBES:
        return False
    if decoder not in _exact:
        few = features, sparse[:_PROBES], dense[:_PROBES]
        pairs = zip(_shared(net, *few), _reference(net, *few), strict=True)
        _exact[decoder] = all(torch.equal(ours, theirs) for ours, theirs in pairs)
        if not _exact[decoder]:
            _log.info("the shared decoder rounds otherwise than the reference on this machine, and is not used")
    return _exact[decoder]


def _is_plain(decoder: Any) -> bool:
    """Whether a decoder is the public one, computing as it was built to: neither wrapped nor compiled."""
    return (
        type(decoder) is MaskDecoder
        and type(decoder.transformer) is TwoWayTransformer
        and "forward" not in vars(decoder)
        and decoder._compiled_call_impl is None
    )


def _reference(net: Sam, features: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
    low, predicted_iou = net.mask_decoder(
        image_embeddings=features,
        image_pe=net.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    return low, predicted_iou


def _shared(net: Sam, features: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
    """`MaskDecoder.predict_masks`, without token 0's mask."""
    decoder = net.mask_decoder
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat((own.expand(len(sparse), -1, -1), sparse), dim=1)
    image = features + dense[:1]
    answers, keys = _attended(decoder.transformer, image, net.prompt_encoder.get_dense_pe(), tokens)
    height, width = image.shape[-2:]
    upscaled = _upscaled(decoder, keys.transpose(1, 2).reshape(len(sparse), -1, height, width))
    count = decoder.num_mask_tokens
    heads = [decoder.output_hypernetworks_mlps[i](answers[:, 1 + i]) for i in range(count)]
    masks = (torch.stack(heads, dim=1) @ upscaled.flatten(2)).view(len(sparse), count, *upscaled.shape[-2:])
    return masks[:, 1:], decoder.iou_prediction_head(answers[:, 0])[:, 1:]


def _attended(transformer: TwoWayTransformer, image: Tensor, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """`TwoWayTransformer.forward`: tokens (P, n, C) and image tokens (P, h w, C) after attending to each other."""
    keys, place = (each.flatten(2).permute(0, 2, 1).contiguous() for each in (image, position))
    queries = tokens
    for number, layer in enumerate(transformer.layers):
        queries, keys = _layer(layer, queries, keys, tokens, place, first=number == 0)
    last = transformer.final_attn_token_to_image
    queries = transformer.norm_final_attn(queries + last(q=queries + tokens, k=keys + place, v=keys))
    return queries, keys


def _layer(
    layer: TwoWayAttentionBlock, queries: Tensor, keys: Tensor, tokens: Tensor, place: Tensor, first: bool
) -> tuple[Tensor, Tensor]:
    """`TwoWayAttentionBlock.forward`; in the first layer `keys` are one image's, and go to all points at the end."""
    if layer.skip_first_layer_pe:
        queries = layer.self_attn(q=queries, k=queries, v=queries)
    else:
        asked = queries + tokens
        queries = queries + layer.self_attn(q=asked, k=asked, v=queries)
    queries = layer.norm1(queries)
    placed = keys + place  # serves both directions: keys do not change in between
    to_image = layer.cross_attn_token_to_image
    k, v = _projected(to_image.k_proj, placed, first), _projected(to_image.v_proj, keys, first)
    queries = layer.norm2(queries + _attention(to_image, to_image.q_proj(queries + tokens), k, v))
    queries = layer.norm3(queries + layer.mlp(queries))
    to_tokens = layer.cross_attn_image_to_token
    q = _projected(to_tokens.q_proj, placed, first)
    answer = _attention(to_tokens, q, to_tokens.k_proj(queries + tokens), to_tokens.v_proj(queries))
    return queries, layer.norm4(keys + answer)


def _projected(projection: Linear, tokens: Tensor, first: bool) -> Tensor:
    """A linear layer. In the first layer the reference's input is not contiguous, and torch adds the bias apart."""
    if not first:
        projected: Tensor = projection(tokens)
        return projected
    return functional.linear(tokens, projection.weight).add_(projection.bias)


def _attention(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`Attention.forward` after the projections; what is shared by all points is repeated only here, as a view."""
    points = max(len(q), len(k))
    q, k, v = (attention._separate_heads(each.expand(points, -1, -1), attention.num_heads) for each in (q, k, v))
    weights = torch.softmax(q @ k.permute(0, 1, 3, 2) / math.sqrt(q.shape[-1]), dim=-1)
    answer: Tensor = attention.out_proj(attention._recombine_heads(weights @ v))
    return answer


def _upscaled(decoder: MaskDecoder, image: Tensor) -> Tensor:
    grow, norm, bend, grow_again, bend_again = decoder.output_upscaling
    upscaled: Tensor = bend_again(grow_again(bend(_norm2d(norm, grow(image)))))
    return upscaled


def _norm2d(norm: LayerNorm2d, image: Tensor) -> Tensor:
    """`LayerNorm2d.forward` in place: one new tensor where the reference makes six."""
    centred = image - image.mean(1, keepdim=True)
    spread = centred.pow(2).mean(1, keepdim=True)
    centred /= torch.sqrt(spread + norm.eps)
    centred *= norm.weight[:, None, None]
    centred += norm.bias[:, None, None]
    return centred
