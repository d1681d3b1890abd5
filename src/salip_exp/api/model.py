"""SaLIP for Python: made once, called with images."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.spatialimages import SpatialImage
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from salip_exp._runs.candidates import frame_of, table_of
from salip_exp._runs.lab import Lab
from salip_exp._runs.masks import image_of
from salip_exp.api._overrides import configured, of_organ
from salip_exp.api.result import Segmentation
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef, failing
from salip_exp.data.images import picture_of, read_picture, window
from salip_exp.data.loading import is_mirrored, make_case, native_mask, slice_refs
from salip_exp.data.readers._layouts import label_number
from salip_exp.data.volumes import is_volume
from salip_exp.errors import CaseError, DataError
from salip_exp.evaluation._assessment import Assessment, Assessor
from salip_exp.evaluation._repair import Outcome, assessed
from salip_exp.evaluation.flags import REASONS
from salip_exp.methods.base import Prediction

_Readable = ArrayLike | Image.Image | str | Path
"""An array (H, W) or (H, W, 3), a picture of Pillow's, or the path of a picture."""


class SaLIP:
    """The configured method with its networks, ready to segment images one by one.

    It gives, to the bit, what a run with the same configuration gives. It may be shared by threads, which then take
    turns. Nothing is written: results of stages are not kept (`cache="disk"` keeps them), and only official weights
    that are absent are fetched into the cache (`download=False` forbids it).

    Args:
        organ: for tables and, of those that the package knows (brain, fetal head, lungs), for the sentences and for
            how many of them an image holds.
        sentences: how the organ looks, cut out on black; in place of the package's.
        keys: any key of the configuration, dots as two underscores: `sam="tiny"`, `sam__points_per_side=16`,
            `dataset__k=2`, `method="sam_clip"`, `ablation="no_filter"`. Without `sam` and `clip` it takes the
            official ViT-H and ViT-L/14, gigabytes that are fetched once.

    Attributes:
        config: as composed and checked.

    Raises:
        ConfigError: a key does not exist, a value is not possible, or nothing says how the organ looks.
        WeightsError: weights are absent, damaged or of another variant.
        EnvironmentFault: the machine stands in the way.
    """

    config: Config

    def __init__(self, organ: str | None = None, sentences: Sequence[str] = (), **keys: object) -> None:
        self._begin(configured(of_organ(organ, sentences, keys)))

    @classmethod
    def from_config(cls, overrides: Sequence[str]) -> SaLIP:
        """The same by overrides as the command line takes them: `["dataset=xray", "sam=tiny", "clip=tiny"]`.

        Where the data lie is no matter. Raises what making it by keywords raises.
        """
        made = cls.__new__(cls)
        made._begin(configured(overrides))
        return made

    def _begin(self, config: Config) -> None:
        lab = Lab()
        self.config = config
        self._sentences = lab.loaded(config).sentences
        self._method = lab.method(config)
        self._assess = Assessor(config)
        self._turn = threading.Lock()

    def __call__(self, image: _Readable) -> Segmentation:
        """Segment one image.

        Args:
            image: an array (H, W) or (H, W, 3), grey or RGB, a picture of Pillow's, or the path of a picture. What
                is not uint8 is windowed from its minimum to its maximum.

        Raises:
            CaseError: it cannot be read or segmented.
        """
        pixels, notes, path = _read(image)
        case = self._case(pixels, notes, path)
        with self._turn:
            found = self._segmented(case)
        return self._result(pixels, case, found.prediction, found.believed)

    def volume(self, image: str | Path | SpatialImage) -> SpatialImage:
        """Segment a volume slice by slice, as `dataset.volume` says: `dataset__volume__axis="axial"` and so on.

        Args:
            image: the path of a volume, or nibabel's image (which passes through a temporary file).

        Returns:
            nibabel's NIfTI image on the grid of the volume, with its affines and units: 1 is the organ, or the number
            of `dataset.files.label`. Slices that are left out are empty.

        Raises:
            CaseError: it cannot be read, or a slice cannot be segmented.
            DataError: no slice is left.
        """
        if isinstance(image, SpatialImage):
            with TemporaryDirectory(prefix="salip_exp-") as folder:
                path = Path(folder) / "image.nii"
                nib.save(nib.Nifti1Image.from_image(image), path)
                return self.volume(path)
        path, data = Path(image).expanduser(), self.config.dataset
        refs = slice_refs(path.name, data.group, path, None, data)
        if not refs:
            raise DataError(f"{path}: {'no slice is left' if refs.taken is None else refs.taken.why_none(data.volume)}")
        slices, axis, mending = {}, None, self.config.repair.enabled
        for ref in refs:
            case = ref.load()
            assert case.source is not None and case.slice is not None
            with self._turn:
                mask = (self._segmented(case).prediction if mending else self._method.predict(case)).mask
            slices[case.slice], axis = native_mask(mask, case.source.size, data.resize), case.source.axis
        assert axis is not None
        return cast(SpatialImage, image_of(path, axis, is_mirrored(axis, data), slices, label_number(data)))

    def _segmented(self, case: Case) -> Outcome:
        return assessed(self._method.predict(case), self._assess, self.config)

    def _case(self, pixels: NDArray[np.uint8], notes: tuple[str, ...], path: Path) -> Case:
        name = path.stem
        unread = failing(CaseError("E_READ", f"{name} is not read again."))
        ref = CaseRef(name, self.config.dataset.group, name, unread)
        return make_case(ref, self.config.dataset, path, pixels, None, notes=notes)

    def _result(self, pixels: NDArray[np.uint8], case: Case, prediction: Prediction, told: Assessment) -> Segmentation:
        size = pixels.shape[0], pixels.shape[1]
        table = table_of(prediction)
        return Segmentation(
            image=pixels,
            mask=native_mask(prediction.mask, size, self.config.dataset.resize),
            status=str(prediction.status),
            boxes=_grown(prediction.boxes, prediction.mask.shape, size),
            candidates=pd.DataFrame() if table is None else frame_of(table, self._sentences),
            confidence={name: value for name, value in told.scores.items() if value is not None} | told.signals,
            flag=told.flag,
            reason=REASONS.get(told.flag or "", ""),
            seconds=dict(prediction.seconds),
            notes=case.notes,
            _pool=prediction.pool,
            _resize=self.config.dataset.resize,
        )


def _read(image: _Readable) -> tuple[NDArray[np.uint8], tuple[str, ...], Path]:
    """The pixels of an image, uint8 (H, W, 3), notes on what was done to them, and what to call it."""
    if isinstance(image, str | Path):
        path = Path(image).expanduser()
        if is_volume(path):
            raise CaseError("E_DIMS", f"{path} is a volume: give it to .volume(...), which segments its slices.")
        return *read_picture(path), path
    if isinstance(image, Image.Image):
        return *picture_of(image), Path("image")
    return *_of_array(np.asarray(image)), Path("image")


def _of_array(values: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    shaped = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if not shaped or not values.size or values.dtype.kind not in "uif":
        raise CaseError(
            "E_DIMS",
            f"an array of shape {values.shape} and type {values.dtype} is no image: give (H, W), or (H, W, 3) in RGB, "
            "of numbers.",
        )
    notes: tuple[str, ...] = ()
    if values.dtype != np.uint8:
        notes = (f"windowed from {values.dtype}",)
        values = window(values.astype(np.float64), Path("the array"))
    if values.ndim == 2:
        values = np.repeat(values[:, :, None], 3, axis=2)
    return np.array(values, np.uint8, order="C"), notes


def _grown(boxes: NDArray[np.float32], before: tuple[int, ...], after: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes in pixels of another size of their image, far edges inclusive as before."""
    scale = np.array([after[1] / before[1], after[0] / before[0]] * 2, np.float64)
    far = np.array([0.0, 0.0, 1.0, 1.0])
    return np.asarray((boxes + far) * scale - far, np.float32)
