"""The picture in README is what a terminal shows today, but for the figures."""

import html
import re
from pathlib import Path

import record

README = Path(__file__).parents[2] / "README.md"


def words_of(drawing):
    """What can be read in a picture, without its figures: line by line, as the lines may differ in length."""
    texts = re.findall(r"<text [^>]*>(.*?)</text>", drawing)
    return re.sub(r"[\d.]+", "0", html.unescape("".join(texts))).replace("\xa0", " ").split()


def test_the_picture_shows_what_a_terminal_shows():
    assert words_of(record.draw(record.record())) == words_of(record.PICTURE.read_text())


def test_it_refers_to_nothing_elsewhere_and_names_no_place_of_this_machine():
    drawing = re.sub(r"<!--.*?-->", "", record.PICTURE.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"https?://[^\s\"<]+", drawing)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"/(tmp|home|root|work|Users)/", drawing)


def test_readme_begins_with_it():
    first_screen = "\n".join(README.read_text().splitlines()[:12])
    assert "](tests/screens/readme.svg)" in first_screen
    assert record.PICTURE.stat().st_size < 64 * 1024
