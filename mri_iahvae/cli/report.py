"""The report on a scan, as text for a person."""

from typing import Any

from mri_iahvae.words import counted

_FORMS = {
    "nmse": "#.3g",
    "psnr": ".4f",
    "ssim": ".4f",
}  # of low noise the fourth decimal of NMSE is its first digit


def report_text(report: dict[str, Any]) -> str:
    """A report of `pipeline.stream.run_file` as several lines, without the warnings."""
    from mri_iahvae.results.report import image_names

    fractions = {name: report[f"fraction_{name}"] for name in ("measured", "completed", "zero")}
    if report["task"] == "denoise" and not fractions["completed"]:
        del fractions["completed"]  # denoising completes nothing unless bins are missing
    bins = "k-space of the coils" if "coils" in report else "k-space"
    slices = counted(report["slices"], "slice")
    numbers = ", ".join(f"{fraction:.1%} {name}" for name, fraction in fractions.items())
    rate = report["true_acceleration"]
    sampled = "nothing measured" if rate is None else f"true acceleration {rate:.2f}x"
    lines = [
        f"{report['input']}: {slices}, {bins} {numbers}",
        f"  mask: {report['mask']}: {sampled}",
        f"  {_method(report)}",
    ]
    if "notes" in report:
        lines.append(f"  {report['notes']}")
    if "noise_sigma" in report:
        lines.append(f"  noise sigma {report['noise_sigma']:.4g} per part ({report['noise_source']})")
    names = image_names(report["task"])
    for name, scores in report["scores"].items():
        nmse, psnr, ssim = (
            "not defined" if scores[key] is None else f"{scores[key]:{form}}" for key, form in _FORMS.items()
        )
        psnr += " dB" * (scores["psnr"] is not None)
        lines.append(f"  {names[name]:15} NMSE {nmse}  PSNR {psnr}  SSIM {ssim}")
    if "compared" in report:
        lines.append(f"  compared: {report['compared']}")
    if report["scores"]:
        lines.append(f"  scored against {report['scored_against']}")
    written = (
        "output",
        "report",
        "picture",
        "contact_sheet",
        "gif",
        "cine",
        "profile",
        "nifti",
        "sidecar",
        "dicom",
    )
    return "\n".join([*lines, *(f"  {report[name]}" for name in written if name in report)])


def _method(report: dict[str, Any]) -> str:
    words = [f"method {report['method']}"]
    if any(report["steps_used"]):
        numbers = " ".join(f"{steps:.3g}" for steps in report["steps_used"])
        words.append(f"mean steps at scales 1, 2, 4 ...: {numbers}")
    if report["samples"]:
        samples = counted(report["samples"], "posterior sample")
        words.append(f"{samples} at temperature {report['temperature']:g}")
    return "; ".join(words)
