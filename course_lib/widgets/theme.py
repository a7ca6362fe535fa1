"""The stylesheet of the panels, scoped to ``.course-panel``, in the colours of JupyterLab's theme."""

from __future__ import annotations

from pathlib import Path

from course_lib.core.palette import DARK, DARK_THEMES, LIGHT, inverted

RULES = "\n" + Path(__file__).with_name("panel.css").read_text(encoding="utf-8")


def stylesheet() -> str:
    """The ``<style>`` element of every panel and of its static HTML."""
    surfaces = (
        "--ink:var(--jp-ui-font-color1,{});--faint:var(--jp-ui-font-color2,{});"
        "--paper:var(--jp-layout-color1,{});--line:var(--jp-border-color2,{});"
    )
    light = surfaces.format("#1F2933", "#5B6773", "#FFFFFF", "#D5DBE1") + _variables(LIGHT)
    dark = surfaces.format("#E6E9EC", "#A3ADB7", "#111417", "#353D45") + _variables(DARK)
    dark_panels = ",".join(f"{theme} .course-panel" for theme in DARK_THEMES)
    dark_images = inverted(".course-panel img")
    return f"<style>.course-panel{{{light}}}{dark_panels}{{{dark}}}{dark_images}{RULES}{_colour_classes()}</style>"


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name.replace('_', '-')}:{value};" for name, value in colours.items())


def _colour_classes() -> str:
    marks = [name for name in LIGHT if not name.endswith("_text")]
    return "".join(
        f".course-panel .{name}{{fill:var(--{name});stroke:none}}"
        f".course-panel .line.{name}{{fill:none;stroke:var(--{name})}}"
        f".course-panel .{name}-text,.course-panel svg text.{name}-text"
        f"{{color:var(--{name}-text,var(--faint));fill:var(--{name}-text,var(--faint))}}"
        for name in marks
    )
