"""The typed schema of every configuration key, with its default and the range it may take.

YAML below `conf/` fills it; `validate.py` turns what is wrong into one sentence.
Ranges are written with `key(default, low, high)`: both ends are allowed, None is open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING


class Task(StrEnum):
    """What the command does."""

    run = "run"
    report = "report"
    cache = "cache"
    tune = "tune"
    train = "train"
    experiment = "experiment"
    check = "check"
    export = "export"
    status = "status"
    describe = "describe"
    explore = "explore"


class Side(StrEnum):
    """Which of a pair of organs is the target: the patient's, who faces us in a picture; slices know."""

    both = "both"
    right = "right"
    left = "left"


class ExecutorName(StrEnum):
    """What starts workers."""

    serial = "serial"  # none: this process does the work
    processes = "processes"  # on this machine
    slurm = "slurm"  # jobs of a queue, by submitit
    ray = "ray"  # actors of a cluster


class TrackerName(StrEnum):
    """Who else is told how a run goes; the run folder has it all in any case."""

    none = "none"
    wandb = "wandb"


class TrackerMode(StrEnum):
    """Where wandb keeps what it is told."""

    offline = "offline"  # in the run folder; `wandb sync` sends it later
    online = "online"
    disabled = "disabled"


class Data(StrEnum):
    """Which images an experiment runs on."""

    phantoms = "phantoms"
    real = "real"


class ResizeMode(StrEnum):
    """How images and masks are brought to working size."""

    fit = "fit"  # longest side to `side`, aspect kept
    squash = "squash"  # side x side, aspect ignored (the authors' choice)
    native = "native"  # left as they are


class Interpolation(StrEnum):
    """How images are resampled; masks follow the same grid and are thresholded at one half."""

    area = "area"
    bilinear = "bilinear"


class MaskOrder(StrEnum):
    """How a mask with grey edges becomes a target at working size."""

    threshold_first = "threshold_first"  # cut at half of its maximum, then resized
    resize_first = "resize_first"  # its levels resized, then cut at half of white (the authors' choice)


class Channels(StrEnum):
    """Order of the colour channels that the networks are given; grey images do not notice."""

    rgb = "rgb"
    bgr = "bgr"  # red and blue swapped, as the authors' x-ray reader leaves them


class Axis(StrEnum):
    """Plane that a volume is cut in, after canonical (RAS+) orientation."""

    sagittal = "sagittal"
    coronal = "coronal"
    axial = "axial"


class Display(StrEnum):
    """On which side of an axial or coronal picture the patient's left lies."""

    neurological = "neurological"  # on the left
    radiological = "radiological"  # on the right: the patient faces us


class Windowed(StrEnum):
    """What the grey window of slices is taken from."""

    volume = "volume"  # the non-zero voxels of the whole volume
    slice = "slice"  # all voxels of each slice by itself (the authors' choice)


class Fill(StrEnum):
    """Whether an annotation outline is turned into a filled region."""

    auto = "auto"
    always = "always"
    never = "never"


class MissingMasks(StrEnum):
    """What happens to images without a mask."""

    exclude = "exclude"  # left out by name, and counted
    error = "error"  # exit 3
    predict = "predict"  # predicted without a score


class Layout(StrEnum):
    """Trees that data sets come in; their patterns stand in `data.readers._layouts`."""

    nnunet = "nnunet"
    decathlon = "decathlon"
    bids = "bids"
    brats = "brats"
    totalsegmentator = "totalsegmentator"
    medsam_npz = "medsam_npz"
    coco = "coco"


class NonFinite(StrEnum):
    """What happens to NaN and infinite voxels."""

    fail = "fail"
    replace = "replace"  # type: ignore[assignment]  # hides str.replace, which no one calls on it


class MaskAffine(StrEnum):
    """What the affine of a mask volume is for."""

    check = "check"  # it must place the mask where the image lies
    ignore = "ignore"  # voxels of equal numbers belong together: for those who know that it is wrong


class EmptyTarget(StrEnum):
    """How a case whose target is empty is scored when the prediction is empty too."""

    skip = "skip"
    one = "one"
    zero = "zero"


class ExportForm(StrEnum):
    """What is written of a run."""

    coco = "coco"  # its predictions, as COCO JSON
    candidates = "candidates"  # the masks of all candidates: a stack and a table for each case


class Doubt(StrEnum):
    """Measures of confidence: `confidence`, and the signals that it is made of (`evaluation._confidence`)."""

    confidence = "confidence"  # the DSC that the signals lead to expect
    stability = "stability"  # Dice of the final mask with those of boxes moved by a few percent
    agreement = "agreement"  # Dice of the final mask with the retrieved candidates
    predicted_iou = "predicted_iou"  # SAM's own estimate for the retrieved candidates
    margin = "margin"  # CLIP's score of the retrieved candidates above the best of the others
    pairwise = "pairwise"  # Dice among the final mask and those of moved boxes, of all pairs
    sentences = "sentences"  # share of the retrieved candidates that single sentences retrieve too
    contrast = "contrast"  # CLIP's score of the retrieved candidates above that of sentences of something else
    shape = "shape"  # how compact the mask is
    pair = "pair"  # how alike the two of a pair are
    ensemble = "ensemble"  # Dice among final masks of other boxes, candidates, sentences and contrasts, of all pairs

    @property
    def of_clip(self) -> bool:
        """Whether it is in the scale of CLIP's scores, which is another one for each network."""
        return self in {Doubt.margin, Doubt.contrast}


_FITTED = [each for each in Doubt if each not in {Doubt.confidence, Doubt.ensemble}]
"""The signals of `confidence=default`: one that came later and costs more is asked for by name."""


class RepairStep(StrEnum):
    """What is tried of a flagged prediction."""

    grow = "grow"  # boxes grown by a tenth
    iterate = "iterate"  # the boxes of what the boxes gave
    union = "union"  # all that the boxes and their moves give
    vote = "vote"  # what most of them give
    candidates = "candidates"  # the next candidates by CLIP's score
    pairs = "pairs"  # of two ROIs, pairs of candidates that lie side by side
    points = "points"  # each box with the point deepest inside its candidate
    mask = "mask"  # each box with its candidate as a mask prompt
    grid = "grid"  # the cascade with twice as many points per side
    crops = "crops"  # the cascade with one more layer of crops


_LADDER = [each for each in RepairStep if each not in {"points", "mask", "grid", "crops"}]
"""What `repair=ladder` tries unless it is told: steps that came later are asked for by name."""


class ScoreAt(StrEnum):
    """The size at which predictions are compared with targets."""

    working = "working"  # that of what the networks saw, after resizing
    native = "native"  # that of the image's file


class AreaUnit(StrEnum):
    """Unit of the area threshold."""

    fraction = "fraction"
    pixels = "pixels"


class ViewFit(StrEnum):
    """How a view is brought to CLIP's square input."""

    pad = "pad"  # black to a square first: nothing is lost
    center_crop = "center_crop"  # CLIP's own preprocessing: the long side is cut


class Prototype(StrEnum):
    """Order of averaging and normalising sentence embeddings."""

    normalise_first = "normalise_first"
    mean_first = "mean_first"


class Precision(StrEnum):
    """Floating-point format that CLIP computes in."""

    float32 = "float32"
    float16 = "float16"  # CLIP's own on GPUs: scores in steps of about 1/64 of the logit, so real ties


class Arithmetic(StrEnum):
    """How networks compute."""

    fp32 = "fp32"  # exact: on a CPU to the bit what the public packages give
    bf16 = "bf16"  # faster where the machine has it; masks and scores move a little


class Ties(StrEnum):
    """Which of two candidates with the same score is retrieved."""

    area = "area"  # the larger, then the first
    first = "first"  # the first of the pool, as a stable sort leaves it


class PromptBoxes(StrEnum):
    """Where the boxes of `method=gt_sam` come from."""

    target = "target"  # its components
    outlines = "outlines"  # outer outlines of all that is not zero before the target is cut (the authors' choice)


class CacheMode(StrEnum):
    """Where results of stages are kept."""

    off = "off"  # nowhere
    memory = "memory"  # as long as the process lives
    disk = "disk"  # between runs and processes, with memory in front


class Sampler(StrEnum):
    """How the settings of trials are proposed."""

    none = "none"  # no tuning
    random = "random"  # trial i depends on the seed and on i alone
    tpe = "tpe"  # Optuna's tree-structured Parzen estimator: learns from the trials before
    grid = "grid"  # every combination of lists, in an order drawn with the seed


class Choice(StrEnum):
    """Which trial of a study is taken."""

    robust = "robust"  # the configured settings unless clearly beaten, then the loosest that is as good as the best
    highest = "highest"  # the highest mean on the tuning images, as in the paper


class Objective(StrEnum):
    """What a study makes as large as it can; all but `dsc` need no target."""

    dsc = "dsc"  # mean DSC over the tuning images
    agreement = "agreement"  # Dice of the final mask with the retrieved candidates
    predicted_iou = "predicted_iou"  # SAM's own estimate for the retrieved candidates
    margin = "margin"  # CLIP's score of the retrieved candidates above the best of the others
    stability = "stability"  # Dice of the final mask with those of boxes moved by a few percent


def key(default: Any, low: float | None = None, high: float | None = None, hint: str = "") -> Any:
    """A schema field whose numbers must lie in [low, high]; None leaves an end open. A hint ends the complaint."""
    metadata = {"low": low, "high": high, "hint": hint}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def secret() -> Any:
    """A schema field of an address that may hold a password, None by default; it is hidden wherever it is told."""
    return field(default=None, metadata={"low": None, "high": None, "secret": True})


_UNITS = ", a percentile; numbers in the image's own units are dataset.volume.window=[LOW,HIGH]"


@dataclass
class Resize:
    """Working size of images and masks."""

    mode: ResizeMode = ResizeMode.fit
    side: int = key(256, 16, 4096)
    interpolation: Interpolation = Interpolation.area
    masks: MaskOrder = MaskOrder.threshold_first


@dataclass
class Volume:
    """How NIfTI volumes become slices."""

    axis: Axis = Axis.sagittal
    skip_empty: bool = True  # leave out slices whose target is empty
    resize: bool = True  # slices to working size, as pictures; without it they stay as they are
    trim_mm: float = key(20.0, 0, 200)  # left out at each end of the target's extent
    trim_slices: int = key(0, 0, 10_000)  # the same as a number of the slices that are taken
    per_volume: int | None = key(None, 1, None)  # this many slices, evenly spaced; None: all
    display: Display = Display.neurological
    window_low: float = key(0.5, 0, 50, _UNITS)  # percentiles of the voxels that become 0 and 255
    window_high: float = key(99.5, 50, 100, _UNITS)
    window_of: Windowed = Windowed.volume
    window: Any = None  # in their place: soft_tissue, lung, bone, brain, header, or [low, high] in the image's units
    non_finite: NonFinite = NonFinite.fail
    mask_affine: MaskAffine = MaskAffine.check


@dataclass
class Files:
    """Which files `dataset=folder` takes; globs and patterns with {id}, {subject}, {group} are relative to the root."""

    images: str = "images/**/*"
    masks: str | None = "masks/**/*"
    mask_suffix: str = "_mask"  # of globs: removed from a mask's stem before it is matched to an image's
    layout: Layout | None = None  # in place of images and masks: the patterns of a well-known tree
    channel: str | None = None  # of a layout whose images come in several; None: its first
    table: str | None = None  # in place of all of these: a CSV with the columns image, mask, group, subject
    label: int | str | None = None  # of a mask with several: the one to segment, by number, or by name where files tell
    series: str | None = None  # of DICOM folders with several: the number of one, or most, for that with most slices
    labels: Any = None  # several organs, a run each: {liver: 1, kidneys: {label: 2, k: 2}}, or a list of names
    follow_links: bool = False  # follow symbolic links that leave the root
    dicom_seg: bool = False  # predictions of DICOM series as DICOM-SEG, too


@dataclass
class Phantom:
    """How many phantoms are drawn where the data set is made of them."""

    n: int = key(12, 1, 100_000)  # images, or volumes for brains
    seed: int = key(1234, 0, None)


@dataclass
class DatasetConfig:
    """A data set: where it is, how it is read, which cases are taken."""

    name: str = MISSING
    layout: str = MISSING  # of the files: the reader's name (`data.registry.READERS`)
    root: str | None = None
    phantom: Phantom | None = None  # None: real files
    group: str = "images"  # group of data sets that have only one
    roi: str = "organ"  # name of what is segmented, for tables and pictures
    k: int = key(1, 1, 16)  # how many ROIs an image holds
    side: Side = Side.both  # of paired organs: which one is the target
    resize: Resize = field(default_factory=Resize)
    volume: Volume = field(default_factory=Volume)
    files: Files = field(default_factory=Files)
    fill: Fill = Fill.auto
    channels: Channels = Channels.rgb
    missing_masks: MissingMasks = MissingMasks.exclude
    limit: int | None = key(None, 1, None)  # the first N cases
    sample: int | None = key(None, 1, None)  # N cases drawn with the seed
    subset: str | None = None  # a file of case ids, one a line
    absent: bool = False  # the organ asked for is in no image: every target is empty, with a mask or without


@dataclass
class SamConfig:
    """SAM: which weights, and how segment-everything mode uses them (names as in SamAutomaticMaskGenerator)."""

    name: str = MISSING
    weights: str | None = None  # a file; None: the registry's
    sha256: str | None = None  # of `weights`; None: the registry's
    points_per_side: int = key(32, 1, 256)
    points_per_batch: int = key(64, 1, 65_536)
    pred_iou_thresh: float = key(0.88, 0, 1)
    stability_score_thresh: float = key(0.95, 0, 1)
    stability_score_offset: float = key(1.0, 0, 100)
    box_nms_thresh: float = key(0.7, 0, 1)
    crop_n_layers: int = key(0, 0, 4)
    crop_nms_thresh: float = key(0.7, 0, 1)
    crop_overlap_ratio: float = key(512 / 1500, 0, 0.99)
    crop_n_points_downscale_factor: int = key(1, 1, 16)
    min_mask_region_area: int = key(0, 0, None)


@dataclass
class ClipConfig:
    """CLIP: which weights."""

    name: str = MISSING
    weights: str | None = None
    sha256: str | None = None
    batch_size: int = key(64, 1, 4096)
    precision: Precision = Precision.float32
    min_score: float = key(0.0, 0, 1)  # what a detector finds is taken above it: method=grounded_sam and sam3_text


@dataclass
class TextConfig:
    """A set of visually descriptive sentences, in the YAML or in a file (YAML, JSON, or text with one a line)."""

    name: str = MISSING
    sentences: list[str] = field(default_factory=list)
    file: str | None = None  # takes the place of the set that comes with the data set


@dataclass
class LlmConfig:
    """`task=describe`: the language model that writes sentences; its key is OPENAI_API_KEY of the environment."""

    base_url: str | None = secret()  # of any OpenAI-compatible server; None: OPENAI_BASE_URL, else OpenAI's own
    model: str | None = None
    n: int = key(12, 1, 100)  # sentences
    temperature: float | None = key(1.0, 0, 2)  # None leaves it to the model
    timeout_s: float = key(120.0, 0.1, 3600)  # for one answer
    retries: int = key(3, 0, 20)  # of a request that fails, or that the server puts off
    rounds: int = key(4, 1, 10)  # answers that are asked for, until there are n sentences that can be used


@dataclass
class VdtConfig(TextConfig):
    """The text: one set of sentences for all ROIs of an image, or a set for each of them by its name."""

    parts: dict[str, TextConfig] = field(default_factory=dict)  # instead of sentences: each retrieves one candidate
    llm: LlmConfig = field(default_factory=LlmConfig)


@dataclass
class AreaConfig:
    """Equation 2: candidates larger than the threshold are dropped."""

    enabled: bool = True
    threshold: float = key(0.6, 0, None)
    unit: AreaUnit = AreaUnit.fraction


@dataclass
class ViewConfig:
    """Equation 3: what CLIP is shown of a candidate."""

    kind: str = "crop"  # one of `cascade.options.VIEWS`
    fit: ViewFit = ViewFit.pad
    inclusive: bool = True  # the box's last row and column belong to the crop
    margin: int = key(10, 0, 1000)  # pixels around the box for crop_expand
    box_width: int = key(5, 1, 100)  # thickness as OpenCV has it, which draws 5 as 7 pixels
    contour_width: int = key(3, 1, 100)  # and 3 as 5 pixels
    color: list[int] = key([255, 0, 0], 0, 255)  # of box and contour, RGB
    true_blur: bool = False  # reverse_blur: a Gaussian blur outside the mask, not the authors' veil outside the box


@dataclass
class RetrievalConfig:
    """Equation 4: the k candidates most like the text."""

    prototype: Prototype = Prototype.normalise_first
    max_overlap: float = key(0.5, 0, 1)  # IoU above which a second pick repeats the first; 1 allows any
    ties: Ties = Ties.area


@dataclass
class OrganConfig:
    """Equation 5: box prompts, and the union of what they give."""

    multimask: bool = False
    threshold: float = key(0.0, -100, 100)  # logits above it are organ


@dataclass
class PromptConfig:
    """Ground-truth boxes of `method=gt_sam`."""

    min_component_area: int = key(10, 1, None)  # smaller components of the target are specks, not ROIs
    boxes: PromptBoxes = PromptBoxes.target


@dataclass
class ScoreConfig:
    """How predictions are scored."""

    at: ScoreAt = ScoreAt.working
    doubt: Doubt = Doubt.confidence  # by which cases without a target are sorted, the lowest first
    poor_below: float = key(0.8, 0, 1)  # DSC under which a prediction is poor, for what a confidence is worth
    empty_target: EmptyTarget = EmptyTarget.skip
    tolerance_mm: float = key(2.0, 0, 100)  # of surface Dice: outlines this near agree
    resamples: int = key(2000, 100, 1_000_000)  # random weightings that an interval is read from
    confidence: float = key(0.95, 0.5, 0.999)


def _others() -> dict[str, str]:
    return {
        "brain": "A whole brain in an MR image, cut out along its outer surface on a black background.",
        "head": "A fetal head in an ultrasound image, cut out along the outside of the skull on a black background.",
        "lung": "A lung in a chest x-ray, cut out along its border on a black background.",
        "heart": "A heart in a medical image, cut out along its border on a black background.",
        "liver": "A liver in a medical image, cut out along its border on a black background.",
        "kidney": "A kidney in a medical image, cut out along its border on a black background.",
        "background": "A piece of background without any organ, cut out on a black background.",
    }


@dataclass
class ConfidenceConfig:
    """How good each prediction is believed to be, without its target."""

    name: str = "default"
    signals: list[Doubt] = key(_FITTED)
    by: Doubt = Doubt.confidence  # the signal that is the confidence, as it is; confidence: what the fit makes of them
    contrast: dict[str, str] = field(default_factory=_others)  # sentences of something else, by what they name
    calibration: str | None = None  # folder of a finished run over labelled images; None: phantoms under stress
    level: float = key(0.9, 0.5, 0.999)  # share of subjects whose DSC is to exceed `dsc_at_least`


@dataclass
class RepairConfig:
    """What is done about flagged cases."""

    name: str = "none"
    enabled: bool = False
    steps: list[RepairStep] = key(_LADDER)  # in this order, until one lifts the flag
    margin: float = key(0.05, 0, 1)  # by which the confidence has to rise for a step to be taken


@dataclass
class CacheConfig:
    """Results of stages kept for those who need them again; no result depends on these keys."""

    mode: CacheMode = CacheMode.disk
    folder: str | None = None  # None: SALIP_CACHE, else the user's cache folder
    memory_mb: int = key(512, 1, 1 << 20)  # of each process; the least recently used leave
    disk_gb: float = key(20.0, 0.001, 1e6)  # of all entries on disk, in 10^9 bytes; the least recently used leave
    prune: bool = False  # task=cache: remove damaged entries and leftovers, then go down to disk_gb
    older_than_days: float | None = key(None, 0, 36_500)  # task=cache: remove what was not used for so long
    clear: bool = False  # task=cache: remove every entry; weights stay


@dataclass
class WholeSpace:
    """Where a whole number is searched: a list, or a range with both ends; neither leaves the setting as it is."""

    choices: list[int] | None = None
    low: int | None = None
    high: int | None = None


@dataclass
class RealSpace:
    """Where a number is searched: a list, or a range with both ends; neither leaves the setting as it is."""

    choices: list[float] | None = None
    low: float | None = None
    high: float | None = None


@dataclass
class AreaSpace:
    """Where the area threshold is searched."""

    pools: bool = True  # between the smallest and the largest mask in the pools of the tuning images, as in the paper
    choices: list[float] | None = None
    low: float | None = None
    high: float | None = None
    above_targets: bool = True  # of the pools' range, with labels: what lies above the largest ROI of the tuning images
    unit: AreaUnit = AreaUnit.fraction  # of all of these, and of the winner


@dataclass
class SpaceConfig:
    """The search space: settings of SAM's generator by their names, and the area threshold."""

    points_per_side: WholeSpace = field(default_factory=lambda: WholeSpace(choices=[8, 16, 32]))
    pred_iou_thresh: RealSpace = field(default_factory=lambda: RealSpace(low=0.2, high=0.95))
    stability_score_thresh: RealSpace = field(default_factory=lambda: RealSpace(low=0.2, high=0.95))
    box_nms_thresh: RealSpace = field(default_factory=lambda: RealSpace(low=0.5, high=0.95))
    crop_nms_thresh: RealSpace = field(default_factory=RealSpace)
    crop_n_layers: WholeSpace = field(default_factory=WholeSpace)
    min_mask_region_area: WholeSpace = field(default_factory=WholeSpace)
    area: AreaSpace = field(default_factory=AreaSpace)


@dataclass
class TuningConfig:
    """A study: random settings (or better proposals) tried on a few images, the best of them kept."""

    sampler: Sampler = Sampler.none  # task=tune takes none for random
    n_trials: int = key(100, 1, 1_000_000)  # in total: the same command again continues towards it
    images: int = key(5, 1, 10_000)  # drawn with the seed, from every group in turn
    objective: Objective = Objective.dsc
    choose: Choice = Choice.robust  # the winner among the trials
    configured_first: bool = True  # trial 0 tries the settings as they are configured
    score_tuning_images: bool = False  # the authors score the images that they tuned on
    min_mask_region_area: int | None = key(
        None, 0, None
    )  # in trials alone; the authors tune with another than they use
    space: SpaceConfig = field(default_factory=SpaceConfig)
    held_out: int | None = key(None, 1, None)  # images that the winner is checked on; None: all that are left
    draws: int = key(10, 0, 1000)  # other draws of the tuning images, to see how much the winner depends on them
    storage: str | None = (
        secret()
    )  # an SQL database for many machines, as Optuna writes it; None: study.db in the folder
    n_workers: int = key(1, 1, 256)  # processes
    grace_s: float = key(60.0, 1, 86_400)  # a worker silent for so long is dead, and its trial is taken up again
    lock_wait_s: float = key(30.0, 0.1, 86_400)  # for a database that others hold


@dataclass
class TrackerConfig:
    """wandb beside the run folder; it never stands in a run's way."""

    name: TrackerName = TrackerName.none
    mode: TrackerMode = TrackerMode.offline
    project: str = "salip_exp"
    entity: str | None = None
    study: str | None = None  # runs of one study are grouped by it, after the data set
    images: int = key(12, 0, 108)  # cases shown with their masks
    workspace: bool = False  # whether wandb's server gets a view of the project, by the extra `workspaces`
    patience_s: float = key(10.0, 0.1, 600)  # for a server to begin, and to end; then one warning, and offline

    @property
    def used(self) -> bool:
        """Whether wandb is told anything."""
        return self.name is TrackerName.wandb and self.mode is not TrackerMode.disabled


@dataclass
class SlurmConfig:
    """`executor=slurm`: what each job of the array asks SLURM for; None leaves it to the queue."""

    partition: str | None = None
    account: str | None = None
    time_min: int = key(240, 1, None)  # of one job; one whose time is up is queued again and goes on
    signal_s: int = key(120, 10, 65_535)  # notice before that, for the case at hand
    mem_gb: float | None = key(None, 0.1, 1e6)
    cpus_per_task: int | None = key(None, 1, 65_536)
    gpus_per_task: int | None = key(None, 0, 1024)
    extra: dict[str, str | None] = field(default_factory=dict)  # more of sbatch's options: {qos: high, exclusive: null}
    setup: list[str] = field(default_factory=list)  # lines of shell before the worker: [module load cuda]


@dataclass
class RayConfig:
    """`executor=ray`: which cluster, and what each worker asks it for."""

    address: str | None = None  # of a cluster, auto for this machine's; None: one of its own on this machine
    num_gpus: float | None = key(None, 0, 1024)  # of each worker, 0.5 lets two share one; None: 1 where there are any
    num_cpus: float = key(1.0, 0, 65_536)


@dataclass
class ExecutorConfig:
    """Who does the work of a command: this process, or workers that take shards of it."""

    name: ExecutorName = ExecutorName.serial
    workers: int = key(2, 1, 100_000)  # commands at work at once
    gpus: list[int] = key([], 0, 1023)  # of this machine, one for each of processes in turn; none: all see all
    detach: bool = False  # return when the workers are queued; whoever finishes last writes tables and pages
    shard_cases: int | None = key(None, 1, None)  # of a shard; None: a quarter of a worker's, at most 32
    beat_s: float = key(5.0, 0.05, 3600)  # between two signs of life of a worker
    dead_after_s: float = key(60.0, 0.2, 86_400)  # without one, until its shard is taken over
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    ray: RayConfig = field(default_factory=RayConfig)


@dataclass
class ReportConfig:
    """`task=report`: the dashboard over all runs below `outputs`."""

    watch: bool = False  # serve it on the loopback address and refresh while runs go on
    port: int = key(8765, 0, 65_535)  # 0: any that is free
    strict: bool = False  # exit code 5 where a record cannot be read


@dataclass
class Roots:
    """Where real data lie, for `data=real`; None: below SALIP_DATA, by name."""

    cc359: str | None = None
    hc18: str | None = None
    xray: str | None = None


@dataclass
class Images:
    """How many images the cells of `data=real` score, drawn with the seed, or as many as there are; None: all."""

    cc359: int | None = key(None, 1, None)  # slices
    hc18: int | None = key(200, 1, None)  # the paper's number, of which it gives no list
    xray: int | None = key(800, 1, None)  # the paper's number; the public set has 704 with a mask


@dataclass
class Texts:
    """Files of sentences for `+experiment=sentences`; the cells of those that are not given are missing."""

    authors: str | None = None  # the folder `clip_prompts` of the authors' code
    cc359: str | None = None  # by a language model, as `task=describe` writes them
    hc18: str | None = None
    xray: str | None = None


@dataclass
class Failures:
    """`+experiment=failures`: the pool of cases in which poor predictions are to be known by their confidence."""

    datasets: list[str] = key(["cc359", "xray", "hc18"])
    stress: list[str] = field(default_factory=list)  # names of corruptions; none: all
    severities: list[int] = key([2, 4], 1, 5)  # of each; none: no stress
    cases: int | None = key(12, 1, None)  # of a data set, drawn with the seed; None: all
    runs: list[str] = field(default_factory=list)  # folders of finished runs that join the pool
    coverage: float = key(0.9, 0.01, 1)  # share of the cases that is kept, to see what is left


@dataclass
class ExperimentConfig:
    """`+experiment=NAME`: the tables and figures of a study, and what their cells are told."""

    name: str | None = None
    parts: list[str] = field(default_factory=list)  # table1 ... table6, fig3 ... fig6, ladder, failures
    roots: Roots = field(default_factory=Roots)
    images: Images = field(default_factory=Images)
    texts: Texts = field(default_factory=Texts)
    failures: Failures = field(default_factory=Failures)


@dataclass
class UnetConfig:
    """U-Net, the supervised baseline: its weights for `method=unet`, and how `task=train` makes them."""

    weights: str | None = None  # unet.safetensors of a training; None: of a training below `outputs` like this one
    side: int = key(128, 16, 2048)  # of the square input, in pixels; weights bring their own, and their channels
    channels: list[int] = key([16, 32, 64, 128, 256], 1, 4096)  # of the levels, the finest first
    val: float = key(0.15, 0.01, 0.9)  # share of patients, fetuses or volumes that decide which epoch is kept
    test: float = key(0.2, 0.01, 0.9)  # share that is scored, and seen by nothing before
    epochs: int = key(40, 1, 1_000_000)  # at most
    patience: int = key(20, 1, 1_000_000)  # epochs without a better validation Dice that end the training
    batch: int = key(4, 1, 65_536)
    epoch_images: int = key(100, 1, 1_000_000)  # of an epoch, at least: fewer are gone through several times in one
    rate: float = key(0.002, 1e-8, 10)  # the highest learning rate: it rises first, then falls along a cosine
    average: float = key(0.99, 0, 0.99999)  # moving average of the weights: share of the old at every step


@dataclass
class CheckConfig:
    """`task=check`: what would stop or spoil a run, before it starts."""

    json: bool = False  # findings as JSON on stdout


@dataclass
class ExportConfig:
    """`task=export`: the predictions of a run in a form that other tools read."""

    run: str | None = None  # folder of the run
    form: ExportForm = ExportForm.coco


@dataclass
class StatusConfig:
    """`task=status`: how a run that workers share stands."""

    run: str | None = None  # folder of the run; `task=status FOLDER` says the same


@dataclass
class DescribeConfig:
    """`task=describe`: of which organ a language model writes sentences (`vdt.llm` says which)."""

    organ: str | None = None  # `task=describe organ=liver` says the same
    modality: str | None = None  # such as abdominal CT; `modality=` says the same
    file: str | None = None  # a new YAML; None: in the folder of the command


@dataclass
class ExploreConfig:
    """The page of task=explore."""

    port: int = key(8766, 0, 65_535)  # 0: any that is free
    run: str | None = None  # folder of a run to go on from, with its data, networks and settings
    case: str | None = None  # shown first; None: the first of the data


@dataclass
class Config:
    """Everything a command can be told."""

    task: Task = Task.run
    method: str = "salip"  # one of `methods.traits.METHODS`
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    stress: str | None = None  # every image made worse: NAME:SEVERITY of `data.stress`, e.g. speckle:3
    sam: SamConfig = field(default_factory=SamConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    vdt: VdtConfig = field(default_factory=VdtConfig)
    area: AreaConfig = field(default_factory=AreaConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    organ: OrganConfig = field(default_factory=OrganConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)
    repair: RepairConfig = field(default_factory=RepairConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    shard: str | None = None  # auto: shards of the run in hydra.run.dir as they are free; 3/64: every 64th
    check: CheckConfig = field(default_factory=CheckConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    status: StatusConfig = field(default_factory=StatusConfig)
    describe: DescribeConfig = field(default_factory=DescribeConfig)
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    unet: UnetConfig = field(default_factory=UnetConfig)
    data: Data = Data.phantoms  # of experiments
    tuned: str | None = None  # a study's tuned.yaml: its settings replace those of sam and area
    preset: str = "default"  # name of the preset composed, for the record
    seed: int = key(1234, 0, 2**32 - 1)
    seeds: list[int] = key([], 0, 2**32 - 1)  # the run once with each in the place of `seed`, and their spread
    device: str = "auto"  # the GPU where there is one; cpu, cuda, cuda:1 (the second one), mps
    precision: Arithmetic = Arithmetic.fp32
    compile: bool = False  # torch.compile; the first case takes minutes
    threads: int | None = key(None, 1, 1024)  # of torch on a CPU; None: one per core
    download: bool = True  # fetch official weights that are absent
    outputs: str = "outputs"
    resume: bool = False  # continue the newest unfinished run of the same configuration
    max_failed: float = key(0.0, 0, 1)  # share of cases that may fail before the exit code is 5
    figures: str = "worst:3,median:3,best:3"  # overlay pictures, by rule:count; none for no pictures
    progress: bool = True
