"""The picture of the ratios is drawn from what is saved, and says what was measured."""

import json
import re

import compare
import plot_ratios

BARS = [["b100", "append rate", "records/s", {"ours": [30, 10, 20], "peer": [5, 5, 5]}]]


def test_the_picture_is_what_is_saved():
    groups = plot_ratios.groups_of(json.loads(plot_ratios.SAVED.read_text()))
    assert plot_ratios.PICTURE.read_text() == plot_ratios.draw(groups)
    assert list(groups) == list(plot_ratios.GROUPS)


def test_a_ratio_is_of_medians_and_above_1_where_ours_is_better():
    times = ["c", "JSON p50", "ms", {"ours": [4], "peer": [2]}]
    (bars,) = plot_ratios.groups_of([*BARS, times]).values()
    assert [bar.ratio for bar in bars] == [4, 0.5]


def test_what_only_one_of_them_has_is_left_out():
    assert plot_ratios.groups_of([["b100", "append rate", "records/s", {"ours": [1]}]]) == {}


def test_every_text_is_inside_the_picture():
    picture = plot_ratios.PICTURE.read_text()
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', picture).groups())
    texts = re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)<', picture)
    assert texts
    for x, y, text in texts:
        # A letter takes 8 px at most.
        assert float(x) + 8 * len(text) < width
        assert 0 < float(y) < height


def test_the_rows_that_it_shows_are_measured():
    assert {row for labels in plot_ratios.GROUPS.values() for row, _ in labels} <= set(compare.ROWS)
