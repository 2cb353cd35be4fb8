"""What a task calls its images."""

import pytest

from mri_iahvae.results.figures import Titles
from mri_iahvae.results.wording import image_names, panel_titles


def test_records_keep_their_names_and_people_read_those_of_the_task():
    assert image_names("reconstruct") == {"zero-filled": "zero-filled", "reconstruction": "reconstruction"}
    assert image_names("denoise") == {"zero-filled": "noisy", "reconstruction": "denoised"}


@pytest.mark.parametrize(("task", "before"), [("reconstruct", "zero-filled"), ("denoise", "noisy")])
def test_k_space_of_several_coils_is_that_of_the_combined_image(task, before):
    titles = panel_titles(task, 8)
    assert titles.measured == f"k-space of the combined {before} image,\nmeasured bins only"
    assert titles.completed == "k-space of the combined result,\nall bins"
    assert [titles.zero_filled, titles.reconstruction] == list(image_names(task).values())


def test_one_coil():
    assert panel_titles("reconstruct", 1) == Titles()
    assert panel_titles("denoise", 1) == Titles("noisy", "denoised", "noisy k-space", "denoised k-space")
