"""What an ISMRMRD header says of scanner and sequence, under the names of BIDS.

Names of people and places stand in the same header. Nothing is read but the fields named here.
"""

import re

from mri_iahvae.scans.header import number_above_zero, without_comments

_MAX_CHARACTERS, _MAX_WORD = 2**20, 64
_WORDS = {
    "systemVendor": "Manufacturer",
    "systemModel": "ManufacturersModelName",
    "sequence_type": "PulseSequenceType",
}
_NUMBERS = {  # and how much of BIDS's unit theirs is: times are in ms, in BIDS in s
    "systemFieldStrength_T": ("MagneticFieldStrength", 1.0),
    "TR": ("RepetitionTime", 1e-3),
    "TE": ("EchoTime", 1e-3),
    "TI": ("InversionTime", 1e-3),
    "flipAngle_deg": ("FlipAngle", 1.0),
}


def protocol(header: str) -> dict[str, str | float]:
    """Fields by the name in BIDS: words, tesla, seconds, degrees.

    A field that is missing, of several values (one for each echo), no number above zero, or no plain text is left out.

    Args:
        header: XML, which may be broken elsewhere; beyond 2**20 characters nothing is read.
    """
    if len(header) > _MAX_CHARACTERS:
        return {}
    header = without_comments(header)
    found: dict[str, str | float] = {}
    for element, name in _WORDS.items():
        text = _only(header, element)
        if text.isprintable() and not set(text) & set("&<>") and 0 < len(text) <= _MAX_WORD:
            found[name] = text
    for element, (name, unit) in _NUMBERS.items():
        if number := number_above_zero(_only(header, element)):
            found[name] = float(f"{number * unit:.9g}")  # 2800 ms are 2.8 s
    return found


def _only(header: str, element: str) -> str:
    """The text of the only element of a name; empty where there are none or several."""
    found = re.findall(rf"<(?:[\w.-]+:)?{element}\s*>([^<]*)<", header)
    return found[0].strip() if len(found) == 1 else ""
