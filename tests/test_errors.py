"""Texts of errors."""

from dim_lightning.errors import printable


def test_what_a_terminal_would_obey_is_spelt():
    assert printable("caf\u00e9 \u732b.jpg\nnext") == "caf\u00e9 \u732b.jpg\nnext"
    assert printable("x\x1b]52;c;aGk=\x07.jpg") == r"x\x1b]52;c;aGk=\x07.jpg"
    assert printable("a\rb\udcff") == r"a\rb\udcff"
