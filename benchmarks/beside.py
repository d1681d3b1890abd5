"""SAM's segment-everything by several packages side by side: the same weights, images, grids and process.

    python benchmarks/beside.py                                   # embedded weights, 256 pixels, 16 x 16 points
    python benchmarks/beside.py --sam vit_h --device cuda --sides 1024 --grids 16 32

    segment_anything       SamAutomaticMaskGenerator, and the reference that masks are counted against
    transformers           pipeline("mask-generation") over its SamModel, SDPA attention (extra `transformers`)
    salip_exp              exact; and around the network of transformers

They take turns, on an image of each phantom set. Official architectures have random weights and draw blobs (`blobs`).
Rows go to benchmarks/results/beside.csv.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from arithmetic import best_ious
from blobs import give_blobs_of_transformers
from gpu import wait
from networks import VARIANTS, frozen, sam_of
from pictures import cases_of, configured
from PIL import Image
from reference import generate
from rows import Results, Row, device_name

from salip_exp.cache.store import NoStore
from salip_exp.cascade.cached_sam import Picture, SamStages
from salip_exp.cascade.pool import Masks, pack
from salip_exp.cascade.work import Counters
from salip_exp.config import Config
from salip_exp.networks._sam_of_transformers import SamOfTransformers
from salip_exp.networks.packages import Sam
from salip_exp.networks.sam import LoadedSam

SETS = ("phantom_hc18", "phantom_xray", "phantom_cc359")
NAMES = (
    *(
        ("image_encoder.", "vision_encoder."),
        ("patch_embed.proj.", "patch_embed.projection."),
        (".blocks.", ".layers."),
    ),
    *((f"neck.{i}.", f"neck.{name}.") for i, name in enumerate(("conv1", "layer_norm1", "conv2", "layer_norm2"))),
    *((f"output_upscaling.{i}.", f"upscale_{name}.") for i, name in ((0, "conv1"), (1, "layer_norm"), (3, "conv2"))),
    *((f"mask_downscaling.{i}.", f"mask_embed.{name}.") for i, name in ((0, "conv1"), (3, "conv2"), (6, "conv3"))),
    *((f"mask_downscaling.{i}.", f"mask_embed.layer_norm{n}.") for i, n in ((1, 1), (4, 2))),
    *(("point_embeddings.", "point_embed."), (".norm", ".layer_norm")),
    ("pe_layer.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
)
"""What tensors are called in segment_anything, and in transformers."""
Make = Callable[[np.ndarray], Masks]


def main() -> None:
    """Measure every package that is here, on every size and grid."""
    args = arguments()
    results = Results(args.results / "beside.csv")
    net = sam_of(args.sam, torch.device(args.device)).net
    for side in args.sides:
        for grid in args.grids:
            for row in rows(args.sam, net, side, grid, args.repeats):
                results.add(row)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", default="tiny", choices=VARIANTS)
    parser.add_argument("--sides", type=int, nargs="+", default=[256])
    parser.add_argument("--grids", type=int, nargs="+", default=[16])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"), help="folder of the CSV")
    return parser.parse_args()


@torch.no_grad()
def rows(variant: str, net: Sam, side: int, grid: int, repeats: int) -> Iterator[Row]:
    """Of each package the milliseconds of an image, and what of its masks is the reference's."""
    seconds, shares = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    counts, device = defaultdict[str, int](int), net.device
    for name in SETS:
        resized = (f"dataset.resize.side={side}", "dataset.resize.mode=squash", f"sam.points_per_side={grid}")
        config = configured(f"dataset={name}", "sam=vit_h", *resized, *thresholds(variant))
        packages, image = generators(variant, net, config), cases_of(config, 1)[0].image
        found = {who: make(image) for who, make in packages.items()}  # the first time is none to be counted
        for who, masks in found.items():
            shares[who].append(float(best_ious(found["segment_anything"], masks).mean()))
            counts[who] += len(masks)
        for _ in range(repeats):
            for who, make in packages.items():
                seconds[who].append(once(partial(make, image), device))
    for who, each in seconds.items():
        told = f"{counts[who]} masks in {len(SETS)} images, IoU {mean(shares[who]):.4f} with the reference's"
        gain = {"ratio": median(seconds["segment_anything"]) / median(each), "ratio_of": f"segment_anything / {who}"}
        place = {"threads": torch.get_num_threads(), "processor": device_name(device), "n": len(each), "work": told}
        value, least = 1e3 * median(each), 1e3 * min(each)
        yield Row("beside", variant, side, f"grid {grid}x{grid}", who, value, "ms", minimum=least, **gain, **place)


def once(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a call, to its end on the device."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def thresholds(variant: str) -> tuple[str, ...]:
    """Scores of blobs are spread evenly: half of them are to pass."""
    return () if variant == "tiny" else ("sam.pred_iou_thresh=0.5", "sam.stability_score_thresh=0.5")


def generators(variant: str, net: Sam, config: Config) -> dict[str, Make]:
    """Every package that is here, by name: from an image, uint8 (H, W, 3), to its masks."""
    made: dict[str, Make] = {
        "segment_anything": partial(_records, partial(generate, net), config),
        "salip_exp": partial(_pool, LoadedSam(net, variant, "the same", net.device), config),
    }
    if find_spec("transformers"):
        twin, processor = of_transformers(net, variant)
        around = LoadedSam(SamOfTransformers(twin, processor).eval(), variant, "the same", net.device)
        made["transformers"] = partial(_pipeline(twin, processor), config)
        made["salip_exp around transformers"] = partial(_pool, around, config)
    return made


def _records(make: Callable[..., list[Mapping[str, Any]]], config: Config, image: np.ndarray) -> Masks:
    return _packed([each["segmentation"] for each in make(image, config.sam)], image)


def _packed(masks: Sequence[Any], image: np.ndarray) -> Masks:
    return pack(np.array(masks, bool).reshape(-1, *image.shape[:2]))


def _pool(loaded: LoadedSam, config: Config, image: np.ndarray) -> Masks:
    return SamStages(loaded, NoStore(), Counters()).pool(Picture(image), config.sam).masks


def _pipeline(net: Any, processor: Any) -> Callable[[Config, np.ndarray], Masks]:
    from transformers import pipeline

    whole = pipeline("mask-generation", model=net, image_processor=processor, device=net.device)

    def make(config: Config, image: np.ndarray) -> Masks:
        sam = config.sam
        found = whole(
            Image.fromarray(image),
            points_per_batch=sam.points_per_batch,
            points_per_crop=sam.points_per_side,
            pred_iou_thresh=sam.pred_iou_thresh,
            stability_score_thresh=sam.stability_score_thresh,
            stability_score_offset=sam.stability_score_offset,
            crops_nms_thresh=sam.box_nms_thresh,
        )["masks"]
        return _packed([np.asarray(each) for each in found], image)

    return make


def of_transformers(net: Sam, variant: str) -> tuple[Any, Any]:
    """A network of transformers with the weights of one of segment_anything, and its processor."""
    from transformers import SamConfig, SamImageProcessor, SamModel

    twin = SamModel(SamConfig(**_shape(net)))
    tensors = {_name(name): tensor for name, tensor in net.state_dict().items() if not name.startswith("pixel_")}
    tensors["shared_image_embedding.positional_embedding"] = tensors[
        "prompt_encoder.shared_embedding.positional_embedding"
    ]
    twin.load_state_dict(tensors, strict=True)
    if variant != "tiny":
        give_blobs_of_transformers(twin)
    side = net.image_encoder.img_size
    processor = SamImageProcessor(size={"longest_edge": side}, pad_size={"height": side, "width": side})
    return frozen(twin, net.device), processor


def _shape(net: Sam) -> dict[str, dict[str, Any]]:
    """The three sections of transformers' description."""
    encoder, decoder = net.image_encoder, net.mask_decoder
    block, size = encoder.blocks[0], encoder.patch_embed.proj
    windows = [each.window_size for each in encoder.blocks]
    layer = decoder.transformer.layers[0]
    return {
        "vision_config": {
            **{"hidden_size": size.out_channels, "output_channels": encoder.neck[0].out_channels},
            "num_pos_feats": net.prompt_encoder.embed_dim // 2,
            **{"num_hidden_layers": len(encoder.blocks), "num_attention_heads": block.attn.num_heads},
            **{
                "image_size": encoder.img_size,
                "patch_size": size.kernel_size[0],
                "mlp_dim": block.mlp.lin1.out_features,
            },
            **{"window_size": max(windows), "global_attn_indexes": [i for i, each in enumerate(windows) if not each]},
        },
        "prompt_encoder_config": {
            **{"hidden_size": net.prompt_encoder.embed_dim, "image_size": encoder.img_size},
            **{
                "patch_size": size.kernel_size[0],
                "mask_input_channels": net.prompt_encoder.mask_downscaling[3].out_channels,
            },
        },
        "mask_decoder_config": {
            **{"hidden_size": decoder.transformer_dim, "num_hidden_layers": len(decoder.transformer.layers)},
            **{"mlp_dim": layer.mlp.lin1.out_features, "num_attention_heads": layer.self_attn.num_heads},
            **{"iou_head_hidden_dim": decoder.iou_prediction_head.layers[0].out_features},
        },
    }


def _name(name: str) -> str:
    """A tensor's name in transformers."""
    for ours, theirs in NAMES:
        name = name.replace(ours, theirs)
    for head in ("iou_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in range(4))):
        for layer, called in (("0", "proj_in"), ("2", "proj_out"), ("1", "layers.0")):
            if f"{head}.layers.{layer}." in name:
                return name.replace(f"{head}.layers.{layer}.", f"{head}.{called}.")
    return name


if __name__ == "__main__":
    main()
