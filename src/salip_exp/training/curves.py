"""Learning curves, as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

CSV, PNG = "curves.csv", "curves.png"
COLUMNS = ("epoch", "rate", "train_loss", "val_loss", "val_dice", "seconds")


def table(history: Sequence[Mapping[str, float]]) -> str:
    """The rows as CSV, numbers with six digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([f"{row[name]:.6g}" for name in COLUMNS] for row in history)
    return stream.getvalue()


def picture(history: Sequence[Mapping[str, float]], best_epoch: int) -> bytes:
    """Losses and validation Dice as the bytes of a PNG; a line marks the epoch whose weights were kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for name, label in (("train_loss", "training"), ("val_loss", "validation")):
        losses.plot(epochs, [row[name] for row in history], label=label)
    scores.plot(epochs, [row["val_dice"] for row in history], color="tab:green")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend(frameon=False)
    scores.set(xlabel="epoch", ylabel="validation Dice")
    for axes in (losses, scores):
        axes.axvline(best_epoch, color="grey", linewidth=1, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=150, format="png")
    return stream.getvalue()
