"""Procedural anatomy of a human head: a label volume that differs with every seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp.data._phantoms.sculpt import STEP_MM, Canvas, Field, Point, Sculptor, blend, union

_NAMES = (
    "air", "skin", "scalp", "muscle", "bone", "marrow", "csf", "sulcal_csf", "grey_matter", "white_matter",
    "ventricle", "deep_grey", "cerebellum_grey", "cerebellum_white", "brainstem", "spinal_cord", "eye", "lens",
    "orbital_fat", "optic_nerve", "sinus_air", "mucosa", "dura", "face_fat", "tongue", "cartilage",
)  # fmt: skip
LABELS: dict[str, int] = {name: number for number, name in enumerate(_NAMES)}


def _part(*names: str) -> tuple[int, ...]:
    return tuple(LABELS[name] for name in names)


PARTS: dict[str, tuple[int, ...]] = {
    "brain": _part(
        "sulcal_csf", "grey_matter", "white_matter", "ventricle", "deep_grey", "cerebellum_grey", "cerebellum_white",
        "brainstem",
    ),
    "head": tuple(number for number in LABELS.values() if number),
    "intracranial": _part(
        "csf", "sulcal_csf", "grey_matter", "white_matter", "ventricle", "deep_grey", "cerebellum_grey",
        "cerebellum_white", "brainstem", "dura",
    ),
    "cerebrum": _part("sulcal_csf", "grey_matter", "white_matter", "ventricle", "deep_grey"),
    "grey_matter": _part("grey_matter"),
    "white_matter": _part("white_matter"),
    "ventricles": _part("ventricle"),
    "deep_grey": _part("deep_grey"),
    "cerebellum": _part("cerebellum_grey", "cerebellum_white"),
    "brainstem": _part("brainstem"),
    "csf": _part("csf", "sulcal_csf", "ventricle"),
    "skull": _part("bone", "marrow"),
    "scalp": _part("skin", "scalp"),
    "eyes": _part("eye", "lens"),
    "orbits": _part("eye", "lens", "orbital_fat", "optic_nerve"),
    "sinuses": _part("sinus_air"),
    "face": _part("skin", "muscle", "face_fat", "mucosa", "tongue", "cartilage"),
    "muscle": _part("muscle", "tongue"),
}  # fmt: skip

_ORIGIN: Point = (-93.0, -116.0, -118.0)
_SIZE: Point = (186.0, 232.0, 216.0)


def anatomy(rng: np.random.Generator, voxel_mm: float | Point = 1.5) -> NDArray[np.uint8]:
    """State volume of one random head, whole down to the upper neck.

    Shape (X, Y, Z) in RAS+ axes over a field of view of 186 x 232 x 216 mm; values are those of `LABELS`. The same
    generator state gives the same head at any voxel size.

    Args:
        rng: source of randomness; all of the head's variation comes from it.
        voxel_mm: voxel size, one number or one per axis.
    """
    voxel: Point = (voxel_mm, voxel_mm, voxel_mm) if isinstance(voxel_mm, float | int) else voxel_mm
    clay = Sculptor(rng, _ORIGIN, _SIZE)
    canvas = Canvas(_SIZE, voxel)
    brain = _brain_shapes(clay)
    inner = _cranial_cavity(clay, brain)
    _paint_soft_tissue(clay, canvas, inner)
    _paint_face(clay, canvas)
    _paint_skull(clay, canvas, inner, brain["tentorium"])
    _paint_cavities(clay, canvas, inner)
    _paint_cerebrum(clay, canvas, brain)
    _paint_cerebellum(clay, canvas, brain)
    _paint_deep(clay, canvas)
    return canvas.labels


def _brain_shapes(clay: Sculptor) -> dict[str, Field]:
    """Signed distances of cerebrum, cerebellum, brainstem and cord, which keep a gap between each other."""
    main = clay.ball((24, -8, 24), (42, 78, 45), medial=0.5)
    frontal = clay.ball((13, 42, 9), (31, 41, 31), medial=0.6)
    occipital = clay.ball((16, -58, 8), (33, 36, 30), medial=0.4)
    parietal = clay.ball((26, -30, 28), (37, 46, 38), medial=0.8)
    temporal = union(clay.ball((43, 14, -23), (20, 30, 17)), clay.ball((43, -22, -16), (21, 36, 18)))
    medial = clay.ball((26, -10, -18), (13, 28, 13))
    cerebrum = blend(blend(blend(main, frontal, 8), blend(occipital, parietal, 8), 8), blend(temporal, medial, 6), 5)
    cerebellum = blend(clay.ball((23, -57, -37), (29, 27, 18)), clay.ball((0, -54, -34), (12, 23, 20)), 8)
    midbrain = clay.tube([(0, -14, -4), (0, -22, -20)], [13, 13])
    stem = union(midbrain, clay.ball((0, -21, -33), (17, 13, 15)), clay.tube([(0, -28, -40), (0, -38, -64)], [10, 7]))
    cord = clay.tube([(0, -38, -62), (0, -44, -90), (0, -46, -125)], [6.5, 5.5, 5.5])
    stem = blend(stem, clay.tube([(8, -22, -34), (22, -48, -36)], [7, 7]), 4)
    tentorium = clay.rng.uniform(1.5, 3.0)
    dura = np.maximum(np.abs(cerebellum - 0.5 * tentorium) - 0.4, clay.y + 25)
    cerebrum = np.maximum(cerebrum, tentorium - cerebellum)
    cerebrum = np.maximum(cerebrum, np.where(clay.z < -6, 2.0 - stem, -50.0))
    return {"cerebrum": cerebrum, "cerebellum": cerebellum, "stem": stem, "cord": cord, "tentorium": dura}


def _cranial_cavity(clay: Sculptor, brain: dict[str, Field]) -> Field:
    """Inner surface of the skull with the spinal canal: the brain's hull and the fluid around it."""
    fluid = clay.rng.uniform(1.2, 3.5) + 0.8 * clay.noise(45) + 0.03 * np.clip(clay.z - 20, 0, 60)
    vault = clay.ball((0, -6, 24), (64, 84, 44))
    hull = blend(blend(brain["cerebrum"], vault, 12), blend(brain["cerebellum"], brain["stem"], 5), 7)
    return blend(hull - np.maximum(fluid, 0.6), brain["cord"] - clay.rng.uniform(3, 5), 6)


def _paint_soft_tissue(clay: Sculptor, canvas: Canvas, inner: Field) -> None:
    """Outline of head, face and neck, layered from the outside: skin, fat, then muscle with planes of fat."""
    cover = clay.rng.uniform(9.5, 15.0) + 1.2 * clay.noise(50) + 0.05 * np.clip(-clay.z, 0, 40)
    face = blend(clay.ball((0, 48, -50), (61, 44, 58)), clay.ball((0, 58, -96), (42, 38, 32)), 14)
    nose = clay.tube([(0, 90, -28), (0, 103, -54)], [5, 9])
    lips = clay.ball((0, 88, -82), (24, 13, 14))
    neck = np.maximum(clay.ball((0, -26, -118), (60, 58, 88)), clay.z + 34)
    ears = clay.ball((81, -14, -30), (5, 15, 26))
    head = blend(blend(inner - cover, face, 16), blend(neck, clay.ball((40, 20, -70), (32, 40, 40)), 14), 16)
    lids = clay.ball((32, 69, -38), (18, 16, 15))
    head = union(blend(blend(head, nose, 9), union(lips, lids), 8), ears)
    fat = clay.rng.uniform(3.5, 7.5) + 1.5 * clay.noise(40) + 0.05 * np.clip(-20 - clay.z, 0, 60)
    canvas.paint(head, LABELS["skin"])
    canvas.paint(head + 1.8, LABELS["scalp"])
    canvas.paint(head + 1.8 + np.maximum(fat, 1.0), LABELS["muscle"])
    planes = np.abs(clay.noise(13)) - 0.2 - 0.15 * clay.noise(40)
    canvas.paint(planes, LABELS["face_fat"], [LABELS["muscle"]])
    vault = np.maximum(inner - 16, -clay.z + 4 - 0.3 * clay.y)  # above the brow only fat lies between skin and bone
    canvas.paint(vault, LABELS["scalp"], [LABELS["muscle"], LABELS["face_fat"]])
    temporalis = np.maximum(clay.ball((68, 22, -12), (10, 34, 36)), head + 4)
    masseter = np.maximum(clay.ball((52, 26, -74), (8, 20, 28)), head + 6)
    canvas.paint(union(temporalis, masseter), LABELS["muscle"])
    canvas.paint(np.maximum(clay.ball((42, 42, -62), (12, 18, 22)), head + 3), LABELS["face_fat"])
    canvas.paint(clay.ball((81, -14, -30), (2, 10, 20)), LABELS["cartilage"])


def _paint_face(clay: Sculptor, canvas: Canvas) -> None:
    """Jaw, palate, tongue, vertebrae and skull base: what lies below the brain."""
    jaw = clay.tube([(0, 84, -108), (24, 72, -106), (46, 22, -96), (50, 12, -52)], [6, 5.5, 5, 4])
    palate = np.maximum(clay.ball((0, 60, -66), (24, 32, 9)), clay.z + 66 - 4)
    teeth = np.abs(clay.tube([(4, 88, -80), (20, 74, -80), (27, 52, -78)], [9, 9, 8])) - 2.0
    vertebrae = clay.tube([(0, -20, -66), (0, -22, -125)], [10, 10])
    discs = np.maximum(vertebrae, np.abs((clay.z + clay.rng.uniform(0, 16)) % 16 - 8) - 1.8)
    arches = np.maximum(clay.tube([(0, -62, -78), (0, -66, -122)], [7, 8]), 3.0 - np.abs(clay.z % 16 - 8))
    clivus = clay.tube([(0, 22, -30), (0, -8, -58)], [10, 8])
    petrous = clay.tube([(14, 2, -42), (52, -18, -42)], [8, 13])
    cheek = clay.tube([(38, 66, -46), (62, 34, -44), (66, 4, -42)], [5, 3.5, 3])
    bones = union(jaw, palate, vertebrae, arches, clivus, petrous, cheek)
    canvas.paint(clay.ball((0, 50, -86), (22, 32, 18)), LABELS["tongue"])
    canvas.paint(union(bones, teeth), LABELS["bone"])
    spongy = bones + 2.2 + 1.2 * clay.noise(14)
    canvas.paint(spongy, LABELS["marrow"], [LABELS["bone"]])
    canvas.paint(discs, LABELS["cartilage"])


def _paint_skull(clay: Sculptor, canvas: Canvas, inner: Field, tentorium: Field) -> None:
    """Bone around the cranial cavity, with marrow between its tables where thick; dura and fluid inside."""
    thick = clay.rng.uniform(5.0, 8.0) + 1.2 * clay.noise(45) + 0.4 * clay.noise(15)
    thick = np.maximum(thick - 2.5 * np.clip((clay.ax - 55) / 15, 0, 1), 2.2)
    table = clay.rng.uniform(1.3, 2.2)
    canvas.paint(inner - thick, LABELS["bone"])
    diploe = np.abs(inner - 0.5 * thick) - 0.5 * thick + table + 0.5 * np.abs(clay.noise(12))
    canvas.paint(diploe, LABELS["marrow"])
    canvas.paint(inner, LABELS["csf"])
    falx = np.maximum(clay.ax - 0.5, np.maximum(-inner - 12, 10 - clay.z))
    lining = -inner - clay.rng.uniform(0.4, 1.0)
    canvas.paint(union(falx, tentorium, lining), LABELS["dura"], [LABELS["csf"]])


def _paint_cavities(clay: Sculptor, canvas: Canvas, inner: Field) -> None:
    """Orbits with eyes, and the air spaces with their bony walls and mucosa."""
    outside = 1.0 - inner  # nothing here may open the cranial cavity
    eye = clay.ball((32, 67, -37), (12, 12, 12))
    orbit = clay.tube([(32, 64, -37), (26, 52, -36), (14, 34, -32)], [15, 12, 4])
    nerve = clay.tube([(31, 57, -37), (12, 34, -31)], [2.6, 2.4])
    muscles = np.abs(clay.tube([(31, 59, -37), (15, 38, -33)], [11, 4])) - 1.2
    canvas.paint(np.maximum(orbit - 1.8, outside), LABELS["bone"])
    canvas.paint(np.maximum(orbit, outside), LABELS["orbital_fat"])
    canvas.paint(np.maximum(np.maximum(muscles, orbit), outside), LABELS["muscle"])
    canvas.paint(np.maximum(nerve, outside), LABELS["optic_nerve"])
    canvas.paint(eye, LABELS["eye"])
    canvas.paint(clay.ball((32, 76, -37), (5, 2.5, 5)), LABELS["lens"])
    nasal = clay.tube([(0, 87, -56), (0, 66, -48), (0, 40, -48)], [7, 15, 11])
    maxillary = clay.ball((28, 62, -56), (12, 15, 15), jitter=2.0)
    sphenoid = clay.ball((0, 34, -33), (11, 11, 8), jitter=3.0)
    frontal = clay.ball((9, 84, -10), (11, 6, 12), jitter=3.0)
    throat = clay.tube([(0, 34, -52), (0, 14, -66), (0, 8, -125)], [8, 6, 7])
    mastoid = np.maximum(clay.ball((54, -26, -46), (10, 14, 15)), 0.4 - clay.noise(7))
    sinuses = np.maximum(union(maxillary, sphenoid, frontal), outside)
    canvas.paint(np.maximum(sinuses - 1.6, outside), LABELS["bone"])
    canvas.paint(np.maximum(nasal, outside), LABELS["mucosa"])
    turbinates = 0.5 - np.abs(clay.noise(9)) * 1.4
    mouth = clay.ball((0, 60, -71), (18, 24, 2.0))
    air = union(sinuses, np.maximum(nasal + 2.0, turbinates), throat, mastoid, mouth)
    canvas.paint(np.maximum(air, outside), LABELS["sinus_air"])


def _sulci(clay: Sculptor, mm: float) -> Field:
    """Signed distance (mm) to a labyrinth of sheets that run from the surface towards each hemisphere's centre."""
    side = np.where(clay.x < 0, -1.0, 1.0)
    dx, dy, dz = clay.ax - 26, 0.8 * (clay.y + 5), clay.z - 14
    reach = 0.45 + 0.55 * 50.0 / np.maximum(np.sqrt(dx * dx + dy * dy + dz * dz), 12.0)
    block = clay.noise(mm) - 0.4 * clay.noise(mm * 3)
    bend = [4.0 * clay.noise(20) for _ in range(3)]
    coarse = [side * (26 + dx * reach) + bend[0], dy * reach + bend[1], 14 + dz * reach + bend[2]]
    index = [(c - o) / STEP_MM for c, o in zip(coarse, _ORIGIN, strict=True)]
    sheet: Field = ndimage.map_coordinates(block, index, order=1, mode="mirror")
    gx, gy, gz = np.gradient(sheet, STEP_MM)
    slope = np.sqrt(gx * gx + gy * gy + gz * gz)
    distance: Field = sheet / np.maximum(slope, 0.05)
    return distance


def _fissures(clay: Sculptor) -> Field:
    """Distance (mm) to the longitudinal fissure and the Sylvian fissures."""
    core = np.sqrt(((clay.y + 4) / 42) ** 2 + ((clay.z - 3) / 26) ** 2)
    inside = np.maximum(0.0, (1.0 - core) * 28)
    long = np.sqrt(clay.ax**2 + inside**2)
    level = clay.z + 4 + 0.32 * (clay.y - 8) + 2.0 * clay.noise(30)
    ends = np.maximum(0, 40 - clay.ax) ** 2 + np.maximum(0, np.abs(clay.y - 2) - 38) ** 2
    fissure: Field = np.minimum(long + 0.5, np.sqrt(level**2 + ends))
    return fissure


def _paint_cerebrum(clay: Sculptor, canvas: Canvas, brain: dict[str, Field]) -> None:
    """Folded cortex: grey matter lines the surface and every sulcus, white matter fills the rest."""
    rng, solid = clay.rng, brain["cerebrum"]
    block = canvas.block(solid < 0)
    outer = -canvas.fine(solid, block)
    fissure = canvas.fine(_fissures(clay), block)
    depth = np.minimum(outer, fissure)
    deep = canvas.fine(rng.uniform(13, 19) + 4.0 * clay.noise(25), block)
    primary = canvas.fine(_sulci(clay, 10.0), block) ** 2 + np.maximum(0.0, depth - deep) ** 2
    secondary = canvas.fine(_sulci(clay, 7.5), block) ** 2 + np.maximum(0.0, depth - 0.45 * deep) ** 2
    width = rng.uniform(0.5, 1.3) + 0.3 * canvas.fine(clay.noise(14), block)
    gap = np.minimum(np.sqrt(np.minimum(primary, secondary)), fissure - 0.4) - width
    cortex = rng.uniform(2.5, 3.4)
    label = np.where(np.minimum(gap, outer) < cortex, LABELS["grey_matter"], LABELS["white_matter"])
    label[gap < 0] = LABELS["sulcal_csf"]
    view = canvas.labels[block]
    view[outer > 0] = label[outer > 0]


def _paint_cerebellum(clay: Sculptor, canvas: Canvas, brain: dict[str, Field]) -> None:
    """Cerebellum with its fan of folia, and the brainstem and cord."""
    solid = brain["cerebellum"]
    block = canvas.block(solid < 0)
    back, up = -40.0 - clay.y + 0.1 * clay.ax, clay.z + 36.0
    angle = canvas.fine(np.arctan2(up, np.maximum(back, 2.0)) + 0.10 * clay.noise(20), block)
    radius = canvas.fine(np.sqrt(back * back + up * up), block)
    rate = clay.rng.uniform(13, 18)
    fold = np.abs(np.sin(rate * angle)) / rate * np.maximum(radius, 8.0)
    depth = -canvas.fine(solid, block)
    gap = np.sqrt(fold**2 + np.maximum(0.0, depth - clay.rng.uniform(7, 10)) ** 2)
    label = np.where(np.minimum(gap, depth) < 1.7, LABELS["cerebellum_grey"], LABELS["cerebellum_white"])
    label[(gap < 0.3) & (depth < 6)] = LABELS["sulcal_csf"]
    view = canvas.labels[block]
    view[depth > 0] = label[depth > 0]
    canvas.paint(brain["cord"], LABELS["spinal_cord"])
    canvas.paint(brain["stem"], LABELS["brainstem"])


def _paint_deep(clay: Sculptor, canvas: Canvas) -> None:
    """Corpus callosum, basal ganglia, thalamus, hippocampus and the ventricles."""
    core = (np.sqrt(((clay.y + 4) / 42) ** 2 + ((clay.z - 3) / 26) ** 2) - 1.0) * 28
    below = -6.0 - clay.z
    callosum = np.maximum(
        np.maximum(np.abs(core + 2.5) - clay.rng.uniform(2.2, 3.6), clay.ax - 9 - clay.noise(15)), below
    )
    shell = np.sqrt((clay.ax / 19) ** 2 + ((clay.y + 4) / 41) ** 2 + ((clay.z - 3) / 25) ** 2)
    inside = np.maximum((shell - 1.0) * 19, below)
    canvas.paint(union(callosum, inside), LABELS["white_matter"])
    thalamus = clay.ball((9, -14, 3), (9, 15, 9))
    putamen = clay.ball((25, 6, 2), (6, 19, 11))
    caudate = clay.tube([(13, 24, 6), (14, 6, 18), (18, -18, 20)], [7, 4, 2.5])
    hippocampus = clay.tube([(24, -4, -20), (28, -22, -14), (24, -34, -4)], [6, 4.5, 3])
    hypothalamus = clay.ball((0, 4, -8), (8, 10, 6))
    canvas.paint(union(thalamus, putamen, caudate, hippocampus, hypothalamus), LABELS["deep_grey"])
    swell = 2.0 * (float(np.exp(clay.rng.normal(0, 0.35))) - 1.0)
    lateral = clay.tube([(6, 34, 5), (4.5, 16, 14), (6, -12, 20), (20, -36, 15)], [3.8, 4.2, 4.2, 6.0])
    horns = clay.tube([(20, -36, 15), (23, -64, 6)], [5.0, 1.5])
    temporal = clay.tube([(20, -36, 15), (31, -30, -8), (32, -6, -18)], [5, 2.2, 1.6])
    septum = clay.rng.uniform(0.4, 1.0) - clay.ax
    chambers = np.maximum(union(lateral, horns, temporal) - swell, septum)
    third = clay.ball((0, -8, -1), (1.6, 14, 9)) - 0.5 * swell
    fourth = clay.ball((0, -42, -36), (6, 4, 9))
    canvas.paint(union(chambers, third, fourth), LABELS["ventricle"])
