"""ISMRMRD files, written with the `ismrmrd` package, independently of the project."""

import ismrmrd
import numpy as np

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>24</x><y>18</y><z>1</z></matrixSize>
<fieldOfView_mm><x>48</x><y>54</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>12</x><y>18</y><z>1</z></matrixSize>
<fieldOfView_mm><x>24</x><y>54</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>{trajectory}</trajectory></encoding></ismrmrdHeader>"""
FULL = HEADER.format(maximum=17, center=9, trajectory="cartesian")
SHAPE = (3, 2, 24, 18)  # slices, coils, readout, phase
LINE = 12  # centre sample of a whole line


def acquisition(data, flags=(), head=None, **idx):
    """One acquisition; `idx` are counters, `head` other fields of its header."""
    fields = {"center_sample": data.shape[1] // 2, **(head or {})}
    made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data), **fields)
    for name, value in idx.items():
        setattr(made.idx, name, value)
    for flag in flags:
        made.set_flag(flag)
    return made


def lines(kspace, columns=range(18), first=0, **options):
    """Acquisitions of all slices; step 1 counts from `first`."""
    return [
        acquisition(kspace[s, :, :, c], slice=s, kspace_encode_step_1=c - first, **options)
        for s in range(len(kspace))
        for c in columns
    ]


def write_mrd(path, acquisitions, header=FULL):
    path.unlink(missing_ok=True)
    with ismrmrd.Dataset(str(path), mode="w") as file:
        file.write_xml_header(header)
        for one in acquisitions:
            file.append_acquisition(one)
    return path
