import pytest

from mri_iahvae.scans.header import Header, HostileHeaderError, parse_header


def space(name, size=(640, 368, 1), fov=(280, 161.42, 4.5)):
    """One space of an encoding; None leaves the fields of view out."""
    x, y, z = size
    text = f"<matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize>"
    if fov is not None:
        text += "<fieldOfView_mm>" + "".join(
            f"<{axis}>{mm}</{axis}>" for axis, mm in zip("xyz", fov, strict=True) if mm is not None
        )
        text += "</fieldOfView_mm>"
    return f"<{name}>{text}</{name}>"


def limits(step=(327, 164)):
    step = f"<minimum>0</minimum><maximum>{step[0]}</maximum><center>{step[1]}</center>"
    return f"<encodingLimits><kspace_encoding_step_1>{step}</kspace_encoding_step_1></encodingLimits>"


ENCODED = space("encodedSpace")
RECON = space("reconSpace", (320, 320, 1), (140, 140, 3))


def document(*parts, namespace=True):
    xmlns = ' xmlns="http://www.ismrm.org/ISMRMRD"' if namespace else ""
    return f"<ismrmrdHeader{xmlns}><encoding>{''.join(parts)}</encoding></ismrmrdHeader>"


@pytest.mark.parametrize("namespace", [True, False])
def test_a_fastmri_header(namespace):
    """The example of the schema: 328 acquired columns of 368, readout twice oversampled."""
    header = parse_header(document(ENCODED, RECON, limits(), namespace=namespace))
    assert header == Header(
        encoded=(640, 368),
        recon=(320, 320),
        padding=(20, 348),
        encoded_fov=(280.0, 161.42, 4.5),
        recon_fov=(140.0, 140.0, 3.0),
        thickness=3.0,
    )
    assert header.pixel == (0.4375, 0.4375)


def test_pixels_need_not_be_square():
    encoded = space("encodedSpace", (512, 300, 1), (384, 150, 5))
    header = parse_header(document(encoded, space("reconSpace", (256, 320, 1), (192, 160, 5))))
    assert header.pixel == (0.75, 0.5)  # height along readout (x), width along phase encoding (y)


def test_pixels_of_an_image_that_the_scanner_interpolates():
    """k-space of 213 columns holds 213 pixels of the field of view, whatever the scanner makes of them."""
    encoded = space("encodedSpace", (640, 213, 1), (440, 220, 5))
    header = parse_header(document(encoded, space("reconSpace", (320, 320, 1), (220, 220, 5))))
    assert header.pixel == (440 / 640, 220 / 213)


def test_whole_numbers_with_decimals():
    decimals = document(
        space("encodedSpace", ("640.0", "368.000", "1.")),
        space("reconSpace", ("320.0", "320.0", "1.0"), (140, 140, 3)),
        limits(("327.0", "164.0")),
    )
    assert parse_header(decimals) == parse_header(document(ENCODED, RECON, limits()))


@pytest.mark.parametrize("size", ["640.5", "-640", "6e2", "0", "0.0", "65537", "", "many", "1" * 5000])
def test_sizes_that_are_none(size):
    with pytest.raises(ValueError, match="no usable encodedSpace matrix size"):
        parse_header(document(space("encodedSpace", (size, 368, 1)), RECON))


def test_a_header_that_is_silent_about_geometry():
    header = parse_header(
        document(space("encodedSpace", fov=None), space("reconSpace", (320, 320, 1), fov=None))
    )
    assert header == Header((640, 368), (320, 320), None)
    assert header.pixel is None


@pytest.mark.parametrize("mm", [0, -140, "nan", "inf", "1e9", "wide", "", "9" * 400])
def test_lengths_that_cannot_be_are_not_stated(mm):
    header = parse_header(document(space("encodedSpace", fov=(mm, 161.42, 4.5)), RECON))
    assert header.encoded_fov == (None, 161.42, 4.5)


def test_the_encoded_space_steps_in():
    """Where reconSpace has no field of view; the oversampled image has the same pixels."""
    header = parse_header(document(ENCODED, space("reconSpace", (320, 320, 1), (140, None, None))))
    assert header.recon_fov == (140.0, None, None)
    assert header.pixel == pytest.approx((280 / 640, 161.42 / 368))
    assert header.thickness == 4.5


@pytest.mark.parametrize(("depth", "thickness"), [(1, 96.0), (48, 2.0)])
def test_the_depth_of_a_slab_is_that_of_its_partitions(depth, thickness):
    recon = space("reconSpace", (320, 320, depth), (140, 140, 96))
    assert parse_header(document(ENCODED, recon)).thickness == thickness


@pytest.mark.parametrize("step", [(367, 185), (368, 184), (327, 500)])
def test_encoding_limits_that_do_not_fit(step):
    with pytest.raises(ValueError, match="do not fit 368 columns"):
        parse_header(document(ENCODED, RECON, limits(step)))


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]>' + document(ENCODED, RECON),
        '<! entity b "c">' + document(ENCODED, RECON),
        document(ENCODED, RECON) + " " * 2**20,
    ],
)
def test_hostile_xml_is_refused_unparsed(text):
    with pytest.raises(HostileHeaderError):
        parse_header(text)
