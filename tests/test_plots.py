import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from bcnmf_dask import plots
from bcnmf_dask.errors import InputError

IMAGES = np.arange(7 * 12, dtype=float).reshape(7, 12)
USAGES = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
LABELS = ["ctrl", "stim", "ctrl", "stim"]


def history(first=10.0, change=(np.nan, 0.5, 0.0), background=(8.0, 4.0, 2.0)):
    return pd.DataFrame(
        {
            "iteration": [1, 2, 3],
            "target_divergence": [first, first / 2, first / 4],
            "background_divergence": background,
            "basis_change": change,
        }
    )


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def overlapping(figure):
    """Pairs of titles and axis labels that lie on one another once the figure is drawn."""
    FigureCanvasAgg(figure).draw()
    texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[i + 1 :] if one.overlaps(other)]


def test_components_are_drawn_as_their_pictures():
    figure = plots.component_images(IMAGES, (3, 4))
    drawn = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(drawn) == 7
    for image, weights in zip(drawn, IMAGES, strict=True):
        np.testing.assert_array_equal(image.get_array(), weights.reshape(3, 4))
        assert image.get_cmap().name == "gray"
        assert image.get_clim() == (0, weights.max())
        assert image.axes.get_aspect() == 1


def test_components_are_numbered_or_titled():
    assert titles(plots.component_images(IMAGES[:2], (3, 4))) == ["component 0", "component 1"]
    assert titles(plots.component_images(IMAGES[:2], (3, 4), titles=["NMF", "bcNMF"])) == ["NMF", "bcNMF"]


def test_long_titles_do_not_overlap():
    long = ["a title that is much wider than the picture below it"] * 7
    assert overlapping(plots.component_images(IMAGES, (3, 4), titles=long)) == []


@pytest.mark.parametrize("components", [IMAGES[0], IMAGES[:, :-1], IMAGES[:0]], ids=["1-D", "cut off", "none"])
def test_components_that_are_no_pictures_are_refused(components):
    with pytest.raises(InputError, match=r"components has shape .* 3 x 4 pixels need \(n_components, 12\)"):
        plots.component_images(components, (3, 4))


def test_too_few_titles_are_refused():
    with pytest.raises(InputError, match=r"titles has 1 entries for 7 components\. Give one title per"):
        plots.component_images(IMAGES, (3, 4), titles=["NMF"])


def test_cells_lie_at_their_usages():
    figure = plots.usage_scatter({"NMF": USAGES, "bcNMF": USAGES * 2}, LABELS)
    assert titles(figure) == ["NMF", "bcNMF"]
    assert legend(figure) == ["ctrl (n = 2)", "stim (n = 2)"]
    ctrl, stim = figure.axes[1].collections
    np.testing.assert_array_equal(ctrl.get_offsets(), [[2, 4], [10, 12]])
    np.testing.assert_array_equal(stim.get_offsets(), [[6, 8], [14, 16]])
    assert overlapping(figure) == []


def test_cells_without_a_label_are_left_out():
    figure = plots.usage_scatter({"NMF": USAGES}, np.array(["b", None, np.nan, "a"], dtype=object))
    assert legend(figure) == ["a (n = 1)", "b (n = 1)"]


def test_many_labels_stay_distinct():
    figure = plots.usage_scatter({"NMF": np.ones((20, 2))}, np.arange(20))
    looks = {
        (tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in figure.axes[0].collections
    }
    assert len(looks) == 20


@pytest.mark.parametrize("usages", [USAGES[:, :1], USAGES[:3], np.ones((4, 3)), np.ones(4)])
def test_usages_that_do_not_fit_the_labels_are_refused(usages):
    with pytest.raises(InputError, match=r"usages_by_title\['NMF'\] has shape .* need \(4, 2\)\. Choose two"):
        plots.usage_scatter({"NMF": usages}, LABELS)


def test_a_scatter_of_nothing_is_refused():
    with pytest.raises(InputError, match="usages_by_title is empty"):
        plots.usage_scatter({}, [])


def test_convergence_is_relative_to_the_first_sweep():
    figure = plots.convergence({"NMF": history(), "bcNMF": history(first=40.0)})
    assert titles(figure) == ["target divergence", "background divergence", "basis change per sweep"]
    assert legend(figure) == ["NMF", "bcNMF"]
    for line in (*figure.axes[0].lines, *figure.axes[1].lines):
        np.testing.assert_array_equal(line.get_xydata(), [[1, 1], [2, 0.5], [3, 0.25]])
    assert figure.axes[2].get_yscale() == "log"
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), [np.nan, 0.5, np.nan])
    assert overlapping(figure) == []


def test_the_background_panel_needs_a_background():
    figure = plots.convergence({"NMF": history(background=np.nan)})
    assert titles(figure) == ["target divergence", "basis change per sweep"]


def test_a_basis_that_stood_still_can_be_drawn(tmp_path):
    figure = plots.convergence({"NMF": history(first=0.0, change=0.0)})
    plots.save(figure, tmp_path / "still.png")
    assert np.isnan(figure.axes[2].lines[0].get_ydata()).all()


def test_a_fit_of_one_sweep_shows_a_dot(tmp_path):
    figure = plots.convergence({"NMF": history().iloc[:1]})
    plots.save(figure, tmp_path / "dot.png")
    assert figure.axes[0].lines[0].get_marker() == "."
    assert figure.axes[0].get_xticks().tolist().count(1) == 1


def test_histories_of_nothing_are_refused():
    with pytest.raises(InputError, match="histories is empty"):
        plots.convergence({})
    with pytest.raises(InputError, match=r"histories\['NMF'\] has no sweep to draw"):
        plots.convergence({"NMF": history().iloc[:0]})


def test_saved_pictures_have_150_dots_per_inch_and_replace_older_ones(tmp_path):
    path = tmp_path / "scatter.png"
    path.write_text("older")
    figure = plots.usage_scatter({"NMF": USAGES}, LABELS)
    plots.save(figure, path)
    height, width = imread(path).shape[:2]
    assert (width, height) == tuple((figure.get_size_inches() * 150).astype(int))
    assert [entry.name for entry in tmp_path.iterdir()] == ["scatter.png"]


def test_a_picture_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"picture '.*images.scatter\.png' cannot be written \(No such file"):
        plots.save(plots.usage_scatter({"NMF": USAGES}, LABELS), tmp_path / "images" / "scatter.png")


def test_pyplot_is_never_imported():
    # Its global state and its choice of a screen have no place on a cluster.
    code = "import sys, bcnmf_dask.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
