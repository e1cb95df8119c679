"""docs/journey.svg: well formed, self-contained, readable in light and dark, and no text runs out of its box."""

from xml.etree import ElementTree as ET

from markdown_pages import ROOT

SVG = "{http://www.w3.org/2000/svg}"
PATH = ROOT / "docs" / "journey.svg"
PICTURE = ET.fromstring(PATH.read_text())
CHARACTER = 0.56  # widest usual share of the font size, on average, in sans-serif fonts


def test_it_describes_itself():
    assert PICTURE.find(f"{SVG}title").text
    assert PICTURE.find(f"{SVG}desc").text
    assert PICTURE.get("role") == "img"


def test_it_loads_nothing_and_knows_both_colour_schemes():
    text = PATH.read_text()
    assert text.count("http") == 1, "only the name space"
    assert "<script" not in text
    assert "prefers-color-scheme: dark" in text
    light, dark = text.split("@media", 1)
    for name in ("box", "chain", "agree", "outside", "label", "line", "check", "tip", "checktip"):
        assert f".{name} " in light
        assert f".{name} " in dark or f".{name}," in dark


def test_all_stations_of_the_journey_are_there_in_order():
    heads = [item.text for item in PICTURE.iter(f"{SVG}text") if item.get("class") == "head"]
    stations = [
        "node",
        "measure",
        "Commitments",
        "evaluators 1 … n",
        "Ephemera",
        "Evaluations",
        "Rewards",
    ]
    assert [head for head in heads if head in stations] == stations
    assert heads[-1] == "anyone"


def test_texts_stay_inside_their_boxes():
    for group in PICTURE.iter(f"{SVG}g"):
        box = group.find(f"{SVG}rect")
        left, top = float(box.get("x")), float(box.get("y"))
        right, bottom = left + float(box.get("width")), top + float(box.get("height"))
        for text in group.iter(f"{SVG}text"):
            size = 16 if text.get("class") == "head" else 13
            half = len(text.text) * size * CHARACTER / 2
            middle, base = float(text.get("x")), float(text.get("y"))
            assert left <= middle - half, text.text
            assert middle + half <= right, text.text
            assert top + size <= base <= bottom - 4, text.text


def test_everything_is_inside_the_picture():
    _, _, width, height = map(float, PICTURE.get("viewBox").split())
    for item in PICTURE.iter():
        if item.tag in {f"{SVG}rect", f"{SVG}text"}:
            assert 0 <= float(item.get("x")) <= width
            assert 0 <= float(item.get("y")) <= height
            assert float(item.get("x")) + float(item.get("width", 0)) <= width
            assert float(item.get("y")) + float(item.get("height", 0)) <= height
