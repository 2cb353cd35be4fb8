"""Fields of scanner and sequence, from headers in fastMRI's style."""

import pytest

from mri_iahvae.scans.protocol import protocol

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<subjectInformation><patientName>Doe^Jane</patientName><patientID>123</patientID></subjectInformation>
<acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor><systemModel>Prisma_fit</systemModel>
<systemFieldStrength_T>2.893620</systemFieldStrength_T><institutionName>A hospital</institutionName>
</acquisitionSystemInformation><!-- <TR>1</TR> -->
<sequenceParameters><TR>2800</TR><TE>32</TE><TI>100</TI><flipAngle_deg>140</flipAngle_deg>
<sequence_type>TurboSpinEcho</sequence_type><echo_spacing>10.8</echo_spacing></sequenceParameters></ismrmrdHeader>"""


def test_fields_have_the_names_and_units_of_bids_and_name_nobody():
    assert protocol(HEADER) == {
        "Manufacturer": "SIEMENS",
        "ManufacturersModelName": "Prisma_fit",
        "PulseSequenceType": "TurboSpinEcho",
        "MagneticFieldStrength": 2.89362,
        "RepetitionTime": 2.8,
        "EchoTime": 0.032,
        "InversionTime": 0.1,
        "FlipAngle": 140,
    }


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("<TE>32</TE>", "<TE>32</TE><TE>64</TE>", "EchoTime"),
        ("<TR>2800</TR>", "<TR>0</TR>", "RepetitionTime"),
        ("<TR>2800</TR>", "<TR>soon</TR>", "RepetitionTime"),
        ("<TR>2800</TR>", "<TR>9e99</TR><", None),
        (">140<", ">-140<", "FlipAngle"),
        ("SIEMENS", "A &amp; B", "Manufacturer"),
        ("SIEMENS", "S" * 65, "Manufacturer"),
        ("SIEMENS", "", "Manufacturer"),
    ],
)
def test_what_cannot_be_used_is_left_out(before, after, name):
    found = protocol(HEADER.replace(before, after))
    assert name not in found
    assert len(found) >= 7


def test_prefixes_are_fine_and_floods_are_not():
    prefixed = HEADER.replace("<TR>", "<ns:TR>").replace("</TR>", "</ns:TR>")
    assert protocol(prefixed) == protocol(HEADER)
    assert protocol(HEADER + " " * 2**20) == {}
    assert protocol("") == {}
