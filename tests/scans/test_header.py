import re

import pytest

from mri_iahvae.scans.header import Header, HostileHeaderError, parse_header


def space(name, size=(640, 368, 1), fov=(280, 161.42, 4.5)):
    """One space of an encoding; None leaves the fields of view out."""
    x, y, z = size
    text = f"<matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize>"
    if fov is not None:
        lengths = [f"<{axis}>{mm}</{axis}>" for axis, mm in zip("xyz", fov, strict=True) if mm is not None]
        text += f"<fieldOfView_mm>{''.join(lengths)}</fieldOfView_mm>"
    return f"<{name}>{text}</{name}>"


def limits(step=(327, 164)):
    """Maximum, centre, and minimum."""
    last, centre, first = (*step, 0)[:3]
    step = f"<minimum>{first}</minimum><maximum>{last}</maximum><center>{centre}</center>"
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


def test_a_header_without_geometry():
    recon = space("reconSpace", (320, 320, 1), fov=None)
    header = parse_header(document(space("encodedSpace", fov=None), recon))
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


@pytest.mark.parametrize(
    ("step", "padding"),
    [((367, 185), (0, 368)), ((368, 184), None), ((327, 500), None), ((327, 400), None)],
)
def test_encoding_limits_that_do_not_fit_are_left_out(step, padding):
    """Limits as wide as k-space fit in one way only."""
    header = parse_header(document(ENCODED, RECON, limits(step)))
    assert header.padding == padding
    assert header.thickness == 3
    assert len(header.warnings) == 1
    assert "do not fit" in header.warnings[0]


@pytest.mark.parametrize(
    ("step", "padding", "first_line"),
    [
        ((328, 165, 1), (20, 348), 1),  # counted from 1
        ((368, 185, 1), (0, 368), 1),
        ((367, "", 0), (0, 368), 0),  # no centre, and no need of it
        ((327, "", 0), None, 0),
        ((0, 0, 0), None, 0),  # nothing known
    ],
)
def test_encoding_limits_in_their_own_count(step, padding, first_line):
    header = parse_header(document(ENCODED, RECON, limits(step)))
    assert (header.padding, header.first_line, header.warnings) == (padding, first_line, ())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("center", "middle"),
        ("maximum", "-1"),
        ("encodedSpace/fieldOfView_mm/y", "161,42"),
        ("reconSpace/matrixSize/z", "one"),
        ("reconSpace/matrixSize/x", "wide"),
    ],
)
def test_a_field_that_cannot_be_used_costs_itself(name, text):
    *outer, field = name.split("/")
    around = r".*?".join(["", *(f"<{each}>" for each in outer), f"<{field}>"])
    plain = document(ENCODED, RECON, limits())
    header = parse_header(re.sub(f"({around})[^<]*", rf"\g<1>{text}", plain, count=1))
    assert f"{field} is '{text}'" in header.warnings[0]
    assert header.encoded == (640, 368)
    assert header.recon_fov == (140.0, 140.0, 3.0)
    assert header.recon == ((640, 368) if "Size/x" in name else (320, 320))


DECLARATION = '<?xml version="1.0" encoding="{}"?>'


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "\n\t {}",
        "\ufeff{}\n",
        DECLARATION.format("ISO-8859-1") + "{}",
        "\n " + DECLARATION.format("UTF-16") + "\n<!-- made by hand -->{}",
        '<?xml version="1.1"?>{}',
        "{}\0\0",
        "{}\0 rest of a buffer",
        "ï»¿{}",  # a mark of UTF-8, taken for Latin-1
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "Universitätsklinikum",
        "Radiology & Nuclear Medicine",
        "&uuml;",
        "a\x01\0b",
        "T1 <3 mm",
        "<b>",
        "<!-- <encoding></encoding> -->",
    ],
)
def test_what_stands_around_the_fields_is_ignored(text, name):
    site = f"<institutionName>{name}</institutionName>"
    plain = document(ENCODED, RECON, limits())
    assert parse_header(text.format(plain.replace("<encoding>", site + "<encoding>"))) == parse_header(plain)


def test_prefixes_of_namespaces():
    plain = document(ENCODED, RECON, limits(), namespace=False)
    root = '<i:ismrmrdHeader xmlns:i="http://www.ismrm.org/ISMRMRD">'
    named = root + re.sub(r"(</?)", r"\1i:", plain.removeprefix("<ismrmrdHeader>"))
    assert parse_header(named) == parse_header(plain)


def test_the_encoding_is_chosen_by_number_or_size():
    other = "<encoding>{}</encoding>".format(space("encodedSpace", (64, 32, 1)) + RECON)
    broken = "<encoding><trajectory>spiral</trajectory></encoding>"
    both = document(ENCODED, RECON, limits()).replace("</ismrmrdHeader>", f"{broken}{other}</ismrmrdHeader>")
    assert parse_header(both) == parse_header(document(ENCODED, RECON, limits()))
    assert parse_header(both, 2) == parse_header(both, size=(64, 32))
    assert parse_header(both, 2).encoded == (64, 32)
    assert parse_header(both, 2).padding is None
    assert parse_header(both, size=(7, 7)).encoded == (640, 368)
    with pytest.raises(ValueError, match="no usable encodedSpace"):
        parse_header(both, 1)
    with pytest.raises(ValueError, match="no encoding number 3 among 3"):
        parse_header(both, 3)


@pytest.mark.parametrize(
    ("encoded", "recon", "image", "pixel"),
    [
        # matrices and fields of view along rows (readout) and columns
        ([(256, 512), (80, 256)], [(128, 256), (128, 256)], (128, 80), (2.0, 3.2)),  # phase resolution 62.5 %
        ([(512, 460), (228, 204.54)], [(512, 230), (432, 194.06)], (256, 216), (460 / 512, 204.54 / 228)),
        ([(256, 512), (160, 320)], [(256, 256), (256, 256)], (128, 128), (2.0, 2.0)),  # and oversampled
        # 1.5 times in the readout
        ([(256, 384), (128, 192)], [(128, 256), (128, 192)], (170, 128), (1.5, 1.5)),
        ([(640, 280), (368, 161.42)], [(320, 140), (320, 140)], (320, 320), (0.4375, 0.4375)),
        # more than there is
        ([(64, 200), (64, 200)], [(128, 300), (64, 200)], (64, 64), (200 / 64, 200 / 64)),
        ([(64, 200), (64, None)], [(32, 100), (48, 150)], (32, 48), (3.125, 3.125)),  # no length: by matrices
        ([(64, 200), (64, None)], [(32, 100), (96, 150)], (32, 64), None),  # of an interpolated image
    ],
)
def test_lengths_decide_on_image_and_pixel(encoded, recon, image, pixel):
    spaces = [
        space(name, (*(n for n, _ in axes), 1), (*(mm for _, mm in axes), 5))
        for name, axes in (("encodedSpace", encoded), ("reconSpace", recon))
    ]
    header = parse_header(document(*spaces))
    assert header.image == image
    assert header.pixel == (pixel and pytest.approx(pixel))


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
