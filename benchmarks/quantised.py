"""int8 and OpenVINO on a CPU, against exact float32: seconds per image, and what becomes of the final masks.

    python benchmarks/quantised.py [--weights tiny] [--cases 4] [--threads 1] [--ways int8]

`int8`: the linear layers of SAM's encoder and of CLIP, their inputs quantised as they come (torch.ao); the grid decoder
computes with SAM's weights themselves. `openvino`: SAM's encoder compiled by OpenVINO in float32, or in bfloat16 where
the machine has it (`pip install openvino`, which nothing else here needs). Networks of `tiny` are the embedded ones;
others have random weights and blobs, so that of them the time alone says something. Both ways take each image in turn.
Prints a line of JSON for each.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from arithmetic import both, differences
from clock import Times
from networks import WEIGHTS, Networks, load
from pictures import SETS, cases_of, configured

Way = Callable[[Networks], Networks]


def int8(networks: Networks) -> Networks:
    """The linear layers of SAM's encoder and of CLIP in int8."""

    def of(net: Any) -> Any:
        return torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {torch.nn.Linear}, dtype=torch.qint8)

    clip = networks.clip
    return Networks(
        with_encoder(networks, of(networks.sam.net.image_encoder), "int8").sam,
        None if clip is None else replace(clip, net=of(clip.net), arithmetic="int8"),
    )


def with_encoder(networks: Networks, encoder: torch.nn.Module, arithmetic: str) -> Networks:
    """The same networks, but for SAM's encoder."""
    net = copy.copy(networks.sam.net)
    net._modules = {**net._modules, "image_encoder": encoder}
    return replace(networks, sam=replace(networks.sam, net=net, arithmetic=arithmetic))


class OfOpenVino(torch.nn.Module):
    """An encoder that OpenVINO computes, in float32 or bfloat16."""

    def __init__(self, encoder: Any, precision: str) -> None:
        import openvino

        super().__init__()
        side = encoder.img_size
        model = openvino.convert_model(encoder, example_input=torch.zeros(1, 3, side, side))
        hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self.compiled = openvino.compile_model(model, "CPU", hints)
        self.img_size = side

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """As the encoder's own."""
        return torch.from_numpy(self.compiled(image.numpy())[0].copy())


def by_openvino(precision: str) -> Way:
    """SAM's encoder by OpenVINO, all else as it is."""

    def way(networks: Networks) -> Networks:
        encoder = OfOpenVino(networks.sam.net.image_encoder, precision)
        return with_encoder(networks, encoder, f"openvino {precision}")

    return way


WAYS: dict[str, Way] = {"int8": int8, "openvino f32": by_openvino("f32"), "openvino bf16": by_openvino("bf16")}


def main() -> None:
    """One line for each way and data set, one for the encoders alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", choices=WEIGHTS, default="tiny")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--encoders", action="store_true", help="the encoders alone")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    exact = load(told.weights)
    for name in told.ways:
        other = WAYS[name](exact)
        print(json.dumps({"way": name, "weights": told.weights, **encoders(exact, other)}), flush=True)
        for line in () if told.encoders else cascades(exact, other, told.cases):
            print(json.dumps({"way": name, "weights": told.weights, **line}), flush=True)


def encoders(exact: Networks, other: Networks) -> dict[str, float]:
    """Seconds of SAM's encoder, medians of five in turn, and how far its answers are apart, of their spread."""
    nets = [each.sam.net.image_encoder for each in (exact, other)]
    image = torch.randn(1, 3, nets[0].img_size, nets[0].img_size)
    times, found = (Times(), Times()), [torch.empty(0), torch.empty(0)]
    with torch.inference_mode():
        for turn in range(6):
            for which, net in enumerate(nets):
                with times[which].measured():
                    found[which] = net(image)
            if not turn:  # the first is the compilers'
                times = Times(), Times()
    seconds = [each.figures()["value"] for each in times]
    apart = float((found[0] - found[1]).std() / found[0].std())
    return {"encoder_s": seconds[0], "its_s": seconds[1], "gain": seconds[0] / seconds[1], "apart": apart}


def cascades(exact: Networks, other: Networks, cases: int) -> Iterator[dict[str, Any]]:
    """The whole cascade of every data set by both."""
    for dataset in SETS:
        config = configured(f"dataset={dataset}")
        images = cases_of(config, cases)
        pairs, times = both(config, exact, other, images)
        base, its = (each.figures()["value"] for each in times)
        yield {"dataset": dataset, "s": base, "its_s": its, "gain": base / its, **differences(pairs, images)}


if __name__ == "__main__":
    main()
