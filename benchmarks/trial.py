"""What one more trial of a sweep costs when the networks' work is done: per image, after everything that was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from clock import Times
from contestant import method
from networks import Networks
from processes import Answer

from salip_exp.cache._base import Stage
from salip_exp.cache.store import MemoryStore
from salip_exp.config import Config
from salip_exp.data.case import Case


class RememberingStore(MemoryStore):
    """A memory store of which a copy can be made that has forgotten one stage."""

    def without(self, forgotten: Stage) -> RememberingStore:
        """A store with the same entries but those of a stage."""
        copy = RememberingStore(self._budget)
        for (stage, key), arrays in self._entries.items():
            if stage is not forgotten:
                copy.put(stage, key, arrays)
        return copy


def marginal(
    networks: Networks,
    configs: Sequence[Config],
    cases: Sequence[Case],
    store: RememberingStore,
    naive: tuple[float, float],
) -> Iterator[Answer]:
    """Seconds of trials that find every network's work in the store.

    Args:
        naive: mean wall and processor seconds of the reference's trial on an image.
    """
    cold = store.without(Stage.clean)
    for setting, memo in (("small regions not yet cleaned", cold), ("small regions cleaned before", store)):
        times = Times()
        for config in configs:
            runner = method(config, networks, memo)
            for case in cases:
                with times.measured():
                    runner.predict(case)
            assert not runner.counters.encoder_calls + runner.counters.decoded_points + runner.counters.clip_images
        yield {
            "benchmark": "trial",
            "setting": f"a trial on an image, all networks' work kept, {setting}",
            "who": "salip_exp",
            "unit": "ms",
            "value": 1e3 * median(times.wall),
            "minimum": 1e3 * min(times.wall),
            "cpu": 1e3 * median(times.cpu),
            "n": len(times.wall),
            "ratio": naive[1] / (sum(times.cpu) / len(times.cpu)),
            "ratio_of": f"reference / salip_exp, means of cpu; mean {1e3 * sum(times.wall) / len(times.wall):.1f} ms",
        }
