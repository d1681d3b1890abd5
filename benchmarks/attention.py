"""SAM's attention with relative positions, by every way there is to compute it, one beside the other.

    python benchmarks/attention.py                                # ViT-H on a GPU: bfloat16 and float32
    python benchmarks/attention.py --device cpu --sam vit_b tiny  # whole encoder too

`reference` is segment_anything's; `bias` gives its relative positions to scaled-dot-product attention as a tensor;
`low rank` is the package's (`networks._attention`), `low rank, narrow` the same without zeros beside the values, which
flash kernels need and others do not; `flex` is FlexAttention, on a GPU alone. All compute the same blocks on the same
tokens, in turn; each says how far it lies from the reference in float64. Rows go to results/attention-<device>.csv.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from clock import in_turn
from gpu import wait
from networks import VARIANTS, sam_of
from rows import Results, Row, device_name
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

from salip_exp.networks._attention import LowRankAttention, attend_by_low_rank

Work = Callable[[Tensor], Tensor]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@torch.no_grad()
def main() -> None:
    """Every variant, precision and kind of block, then whole encoders."""
    args = arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here: nothing is measured")
    torch.manual_seed(0)
    device = torch.device(args.device)
    results = Results(args.results / f"attention-{device.type}.csv")
    for variant in args.sam:
        net = sam_of(variant, device).net
        randomise(net.image_encoder)
        for precision in args.precision:
            for row in (*blocks(variant, net, precision, args), *encoders(variant, net, precision, args)):
                results.add(row)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", nargs="+", default=["vit_h"], choices=VARIANTS)
    parser.add_argument("--precision", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"), help="folder of the CSV")
    return parser.parse_args()


def randomise(encoder: torch.nn.Module) -> None:
    """Give every block relative positions that matter: a new network's are zero."""
    for name, table in encoder.named_parameters():
        if "rel_pos" in name:
            torch.nn.init.normal_(table, std=0.1)


def blocks(variant: str, net: torch.nn.Module, precision: str, args: argparse.Namespace) -> Iterator[Row]:
    """One block of each kind."""
    of_kind = {block.window_size: block for block in net.image_encoder.blocks}
    side = net.image_encoder.img_size // 16
    for window, block in of_kind.items():
        size, count = (window, (-(-side // window)) ** 2) if window else (side, 1)
        width = block.attn.proj.in_features
        tokens = torch.randn(count, size, size, width, device=net.device)
        kind = f"{count} windows of {size} x {size}" if window else f"global, {size} x {size}"
        yield from compared(variant, f"{kind}, {precision}", ways(block.attn, net.device), tokens, precision, args)


def encoders(variant: str, net: torch.nn.Module, precision: str, args: argparse.Namespace) -> Iterator[Row]:
    """The whole encoder, the reference's and by low rank."""
    low_rank = copy.deepcopy(net.image_encoder)
    attend_by_low_rank(low_rank)
    side = net.image_encoder.img_size
    pixels = torch.randn(1, 3, side, side, device=net.device)
    found: dict[str, torch.nn.Module] = {"reference": net.image_encoder, "low rank": low_rank}
    yield from compared(variant, f"encoder, {precision}", found, pixels, precision, args)


def ways(attention: Attention, device: torch.device) -> dict[str, torch.nn.Module | Work]:
    """Every way to compute a block's attention; the reference first."""
    low_rank = LowRankAttention(attention)
    found: dict[str, torch.nn.Module | Work] = {"reference": attention, "bias": partial(by_bias, attention)}
    found |= {"low rank": low_rank, "low rank, narrow": partial(narrow, low_rank)}
    if device.type == "cuda":
        found["flex"] = partial(by_flex, attention, torch.compile(flex_attention, dynamic=False))
    return found


def by_bias(attention: Attention, tokens: Tensor) -> Tensor:
    """Relative positions as a tensor of the logits' size."""
    q, k, v, rows, columns = parts_of(attention, tokens)
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(-2)
    return joined(attention, functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)), tokens)


def by_flex(attention: Attention, flex: Callable[..., Tensor], tokens: Tensor) -> Tensor:
    """Relative positions looked up by a kernel that torch makes."""
    q, k, v, rows, columns = parts_of(attention, tokens)
    width = tokens.shape[2]

    def placed(score: Tensor, image: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + rows[image, head, query, key // width] + columns[image, head, query, key % width]

    return joined(attention, flex(q, k, v, score_mod=placed), tokens)


def narrow(low_rank: LowRankAttention, tokens: Tensor) -> Tensor:
    """By low rank, values of their own width."""
    q, k, v = parts_of(low_rank, tokens)[:3]
    queries, keys, _ = low_rank.augmented(q, k, v)
    return joined(low_rank, functional.scaled_dot_product_attention(queries, keys, v, scale=1.0), tokens)


def parts_of(attention: Attention | LowRankAttention, tokens: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys, values (B, heads, N, c), and what the queries say of rows and columns (B, heads, N, h or w)."""
    batch, height, width, _ = tokens.shape
    qkv = attention.qkv(tokens).reshape(batch, height * width, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)
    if isinstance(attention, LowRankAttention):
        return q, k, v
    grid = q.unflatten(2, (height, width))
    tables = get_rel_pos(height, height, attention.rel_pos_h), get_rel_pos(width, width, attention.rel_pos_w)
    rows = torch.einsum("bnhwc,hkc->bnhwk", grid, tables[0]).flatten(2, 3)
    return q, k, v, rows, torch.einsum("bnhwc,wkc->bnhwk", grid, tables[1]).flatten(2, 3)


def joined(attention: Attention | LowRankAttention, answer: Tensor, tokens: Tensor) -> Tensor:
    """Heads side by side, projected."""
    projected: Tensor = attention.proj(answer.transpose(1, 2).reshape(tokens.shape))
    return projected


def compared(
    variant: str,
    setting: str,
    found: dict[str, torch.nn.Module | Work],
    tokens: Tensor,
    precision: str,
    args: argparse.Namespace,
) -> Iterator[Row]:
    """Milliseconds of each in turn, how far it is from the reference in float64, and what it held on a GPU."""
    exact = copy.deepcopy(found["reference"]).double()(tokens.double())  # type: ignore[union-attr]
    works = {name: partial(computed, work, tokens, precision) for name, work in found.items()}
    told = {name: f"{distance(work(), exact):.1e} from float64{held(work, tokens)}" for name, work in works.items()}
    times = in_turn(works, args.repeats)
    on_gpu = tokens.device.type == "cuda"
    first = times["reference"].figures()
    for name, each in times.items():
        figures = {key: value if key == "n" else 1e3 * value for key, value in each.figures().items()}
        of = "value" if on_gpu else "cpu"  # the processor's time where other work shares it
        ratio = {
            "ratio": 1e3 * first[of] / figures[of],
            "ratio_of": f"reference / {name}{'' if on_gpu else ', of cpu'}",
        }
        place = {"side": tokens.shape[-2], "setting": setting, "who": name, "threads": torch.get_num_threads()}
        where = {"processor": device_name(tokens.device)}
        yield Row("attention", variant, unit="ms", work=told[name], **place, **where, **figures, **ratio)


def computed(work: Work, tokens: Tensor, precision: str) -> Tensor:
    """The answer, when it is there."""
    with torch.autocast(tokens.device.type, DTYPES[precision], enabled=precision != "float32"):
        answer = work(tokens)
    wait(tokens.device)
    return answer


def distance(answer: Tensor, exact: Tensor) -> float:
    """Norm of the difference, of the exact answer's."""
    return float((answer.double() - exact).norm() / exact.norm())


def held(work: Callable[[], Tensor], tokens: Tensor) -> str:
    """What a GPU held at most meanwhile."""
    if tokens.device.type != "cuda":
        return ""
    torch.cuda.reset_peak_memory_stats(tokens.device)
    before = torch.cuda.memory_allocated(tokens.device)
    work()
    return f", {(torch.cuda.max_memory_allocated(tokens.device) - before) >> 20} MiB"


if __name__ == "__main__":
    main()
