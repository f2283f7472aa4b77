"""The public header reads as documentation: all that it declares has a comment, and what comments refer to is there."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).parents[2]


def complaints(tmp_path, header):
    settings = (ROOT / "tools/Doxyfile").read_text() + f"\nINPUT = {header}\nOUTPUT_DIRECTORY = {tmp_path}\nGENERATE_HTML = NO\nGENERATE_XML = YES\n"
    return subprocess.run(["doxygen", "-"], input=settings, cwd=ROOT, capture_output=True, text=True, timeout=60).stderr


def test_all_that_the_header_declares_is_documented(tmp_path):
    assert complaints(tmp_path, ROOT / "include/edgelora.h") == ""


def test_what_has_no_comment_or_refers_to_nothing_is_found(tmp_path):
    text = (ROOT / "include/edgelora.h").read_text()
    declared = "/** Frees what it is given.\n * @param r what it is given */\nEL_API void el_undone(void *p);\nEL_API int el_untold(void);\n"
    (tmp_path / "edgelora.h").write_text(text.replace("/** @} */", declared + "/** @} */", 1))
    told = complaints(tmp_path, tmp_path / "edgelora.h")
    assert "el_untold" in told and "argument 'r'" in told
