"""Learning curves as one PNG."""

from pathlib import Path

from model.whole import part_of

PANELS = (
    ("loss", "training loss"),
    ("gain_db", "held-out gain, dB"),
    ("removal", "removal"),
    ("drift", "drift, levels"),
    ("flicker", "flicker, levels"),
    ("soft_iou", "Soft-IoU"),
)


def draw_curves(history: list[dict[str, float]], path: Path) -> None:
    """Draw every panel over the minutes of training in `history` and write it to `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    minutes = [entry["minutes"] for entry in history]
    for index, (key, title) in enumerate(PANELS):
        axes = figure.add_subplot(2, 3, index + 1)
        axes.plot(minutes, [entry[key] for entry in history], color="#2a6f97")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("minutes", fontsize=8)
        axes.grid(alpha=0.3)
    with part_of(path) as part:
        figure.savefig(part, dpi=90)
