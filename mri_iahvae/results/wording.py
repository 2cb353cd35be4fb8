"""What a task calls its images: records name them as `reconstruct` does, reports and figures as their task does."""

from mri_iahvae.results.figures import Titles

_NAMES = {"reconstruct": ("zero-filled", "reconstruction"), "denoise": ("noisy", "denoised")}


def image_names(task: str) -> dict[str, str]:
    """Names for people of the images that are scored, by their names in records.

    Args:
        task: "reconstruct" or "denoise".
    """
    return dict(zip(_NAMES["reconstruct"], _NAMES[task], strict=True))


def panel_titles(task: str, coils: int) -> Titles:
    """Titles of a figure's panels.

    Args:
        task: "reconstruct" or "denoise".
        coils: of the scan. Several are shown combined: root sums of squares have a k-space that nobody measured.
    """
    before, after = _NAMES[task]
    if coils > 1:
        measured = f"k-space of the combined {before} image,\nmeasured bins only"
        return Titles(before, after, measured, "k-space of the combined result,\nall bins")
    if task == "denoise":
        return Titles(before, after, "noisy k-space", "denoised k-space")
    return Titles(before, after, "measured k-space", "completed k-space")
