"""Twenty trials against the loop one would write: the public generator, CLIP and SamPredictor anew for every trial."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip.clip import _transform
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from salip_exp._settings.tuning import AREA
from salip_exp._tuning.choosing import winner
from salip_exp._tuning.database import Database
from salip_exp._tuning.study import make_study
from salip_exp._tuning.trials import read_trials
from salip_exp.cache.store import MemoryStore
from salip_exp.config import (
    AreaConfig,
    AreaSpace,
    AreaUnit,
    RealSpace,
    RetrievalConfig,
    SpaceConfig,
    ViewConfig,
    ViewFit,
    WholeSpace,
)
from salip_exp.networks.packages import clip

TRIALS = 20
SPACE = SpaceConfig(
    points_per_side=WholeSpace(choices=[2, 4]),
    pred_iou_thresh=RealSpace(choices=[0.2, 0.4, 0.6]),
    stability_score_thresh=RealSpace(low=0.1, high=0.6),
    box_nms_thresh=RealSpace(choices=[0.7, 0.8, 0.9]),
    crop_nms_thresh=RealSpace(choices=[0.7, 0.9]),
    crop_n_layers=WholeSpace(choices=[0, 1]),
    min_mask_region_area=WholeSpace(choices=[0, 20]),
    area=AreaSpace(pools=False, low=300, high=3000, unit=AreaUnit.pixels),
)


def records_of(sam, image, values):
    settings = {name.removeprefix("sam."): value for name, value in values.items() if name != AREA}
    try:
        found = SamAutomaticMaskGenerator(sam, **settings).generate(image)
    except IndexError:  # the reference raises where no mask survives in any crop
        return []
    # Trial 0 leaves the threshold as it is configured: a share of the image, where the others have pixels.
    largest = values.get(AREA, AreaConfig().threshold * image.shape[0] * image.shape[1])
    return [each for each in found if 0 < each["area"] < largest]


def crop_of(image, record):
    x, y, w, h = record["bbox"]
    return Image.fromarray((image * record["segmentation"][..., None])[y : y + h + 1, x : x + w + 1])


def text_of(net, sentences):
    text = net.encode_text(clip.tokenize(sentences))
    return (text / text.norm(dim=-1, keepdim=True)).mean(dim=0)


@torch.no_grad()
def naive_dsc(sam, net, sentences, case, values) -> float:
    records = records_of(sam, case.image, values)
    if not records:
        return 0.0
    transform = _transform(net.visual.input_resolution)
    views = [net.encode_image(transform(crop_of(case.image, each))[None])[0] for each in records]
    text = text_of(net, sentences)
    scores = [torch.cosine_similarity(view, text, dim=0).item() for view in views]
    x, y, w, h = records[int(np.argmax(scores))]["bbox"]
    predictor = SamPredictor(sam)
    predictor.set_image(case.image)
    box = np.array([x, y, x + w, y + h])
    mask = predictor.predict(box=box, multimask_output=False)[0][0] if w and h else np.zeros(case.mask.shape, bool)
    return 2 * (mask & case.mask).sum() / (mask.sum() + case.mask.sum())


@pytest.mark.ci
def test_the_same_dsc_of_every_trial_and_the_same_winner(stubs, blob_sam, random_clip, tmp_path):
    config = stubs.config(n_trials=TRIALS, space=SPACE)
    config.view = ViewConfig(fit=ViewFit.center_crop)
    config.retrieval = RetrievalConfig(max_overlap=1.0)
    study = make_study(config, tmp_path, stubs.StubLab(blob_sam, random_clip, store=MemoryStore(2**28)))
    database = Database(study.url, study.name, config.tuning)
    study.worker(database).run(lambda number, value: None)
    trials = read_trials(database, study.space, study.total)
    database.close()
    cases = study.images
    naive = [
        np.mean([naive_dsc(blob_sam, random_clip, stubs.SENTENCES, case, each.values) for case in cases])
        for each in trials
    ]
    assert len({each.value for each in trials}) > 5
    assert [each.value for each in trials] == pytest.approx(naive, abs=1e-6)
    assert winner(trials, config).number == int(np.argmax(naive))
    assert sum(each.work.encoder_calls for each in trials) == 5 * 5
