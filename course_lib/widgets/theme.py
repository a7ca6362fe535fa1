"""The stylesheet of the panels, scoped to ``.course-panel``, in the colours of JupyterLab's theme."""

from __future__ import annotations

from course_lib.core.palette import DARK, LIGHT

DARK_THEMES = ('body[data-jp-theme-light="false"]', "body.vscode-dark", "html[theme=dark]")

INVERTED = "filter:invert(.92) hue-rotate(180deg)"
RULES = """
.course-panel{box-sizing:border-box;max-width:1160px;padding:14px 16px;border:1px solid var(--line);border-radius:8px;
  color:var(--ink);background:var(--paper);font:14px/1.5 var(--jp-ui-font-family,system-ui,"DejaVu Sans",sans-serif)}
.course-panel .widget-html,.course-panel .widget-html-content{height:auto;line-height:1.5;font-size:14px;
  color:var(--ink);margin:0;min-width:0}
.course-panel .widget-html-content{flex:1 1 auto;width:100%}
.course-panel h4{margin:0;font-size:16px;font-weight:600;color:var(--ink)}
.course-panel .course-subtitle{margin:0;font-size:13px;color:var(--faint)}
.course-panel .course-body{display:flex;flex-flow:row wrap;gap:10px 20px;overflow:visible;margin:8px 0 0}
.course-panel .course-controls{flex:0 0 220px;max-width:220px;overflow:visible}
.course-panel .course-picture{flex:1 1 340px;min-width:0;container-type:inline-size;margin:0}
.course-panel .course-control{margin:0 0 8px;overflow:visible}
.course-panel .course-label,.course-panel .course-label *{font-size:12.5px;line-height:1.5;height:auto;margin:0;
  color:var(--faint)}
.course-panel .course-row{overflow:visible;align-items:center}
.course-panel .course-unit{font-size:12.5px;color:var(--faint);margin:0 0 0 5px;white-space:nowrap}
.course-panel .course-row .widget-inline-hbox>.widget-label,.course-panel .course-list>.widget-label{position:absolute;
  width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.course-panel .course-row input{text-align:right;font-variant-numeric:tabular-nums}
.course-panel .noUi-handle{background:var(--kept);border:2px solid var(--paper);box-shadow:0 0 0 1px var(--kept)}
.course-panel .noUi-handle:focus-visible{outline:2px solid var(--kept);outline-offset:3px}
.course-panel .noUi-target{background:var(--cut)}
.course-panel .course-charts{display:grid;grid-template-columns:minmax(0,1fr);gap:10px 18px;align-items:start}
@container (min-width:600px){.course-panel .course-charts{grid-template-columns:minmax(0,5fr) minmax(0,3fr)}}
.course-panel svg{display:block;width:100%;height:auto;
  font:11.5px var(--jp-ui-font-family,system-ui,"DejaVu Sans",sans-serif);font-variant-numeric:tabular-nums}
.course-panel svg text{fill:var(--faint);paint-order:stroke;stroke:var(--paper);stroke-width:2.5px;
  stroke-linejoin:round}
.course-panel svg text.title{stroke:none} .course-panel svg .title{fill:var(--ink);font-size:12.5px;font-weight:600}
.course-panel .axis{stroke:var(--faint);stroke-width:1;fill:none}
.course-panel .grid{stroke:var(--line);stroke-width:.7;fill:none}
.course-panel .line{fill:none;stroke-width:2} .course-panel .dashed{stroke-dasharray:5 3}
.course-panel .course-numbers{display:flex;flex-wrap:wrap;gap:8px 20px;margin-top:10px;padding-top:10px;
  border-top:1px solid var(--line);font-variant-numeric:tabular-nums}
.course-panel .course-numbers>div{flex:1 1 0;min-width:130px}
.course-panel .course-numbers b{display:block;font-size:20px;font-weight:600;line-height:1.3;white-space:nowrap}
.course-panel .course-numbers span{font-size:12.5px;color:var(--faint)}
.course-panel .course-tag{font-size:11px;border:1px solid var(--line);border-radius:9px;padding:0 7px;margin-left:2px;
  color:var(--faint);white-space:nowrap}
.course-panel table{table-layout:auto;border-collapse:collapse;margin:4px 0;width:100%;font-size:13px;
  font-variant-numeric:tabular-nums}
.course-panel th{font-weight:500;font-size:12.5px;color:var(--faint);text-align:right;padding:4px 8px;
  border-bottom:1px solid var(--line)}
.course-panel td{text-align:right;padding:5px 8px;color:var(--ink);border-bottom:1px solid var(--line);
  background:transparent}
.course-panel th:first-child,.course-panel td:first-child{text-align:left}
.course-panel table tbody tr:nth-child(n),.course-panel table tbody tr:hover{background:transparent}
.course-panel .course-short{white-space:nowrap}
.course-panel .verdict{font-weight:600;width:34%}
.course-panel .course-notice{margin:6px 0 0;font-size:13px;color:var(--threshold-text)}
.course-panel dl.course-static{display:block;margin:0}
.course-panel .course-static dt{float:none;display:block;width:auto;font-size:12.5px;font-weight:400;margin:0;
  color:var(--faint)}
.course-panel .course-static dd{float:none;display:block;width:auto;margin:0 0 8px;padding:0;
  font-variant-numeric:tabular-nums}
.course-panel img{display:block;max-width:100%;height:auto}
.course-panel .course-note{margin:10px 0 0;font-size:12.5px;color:var(--faint)}
"""


def stylesheet() -> str:
    """The ``<style>`` element of every panel and of its static HTML."""
    surfaces = (
        "--ink:var(--jp-ui-font-color1,{});--faint:var(--jp-ui-font-color2,{});"
        "--paper:var(--jp-layout-color1,{});--line:var(--jp-border-color2,{});"
    )
    light = surfaces.format("#1F2933", "#5B6773", "#FFFFFF", "#D5DBE1") + _variables(LIGHT)
    dark = surfaces.format("#E6E9EC", "#A3ADB7", "#111417", "#353D45") + _variables(DARK)
    dark_panels = ",".join(f"{theme} .course-panel" for theme in DARK_THEMES)
    # Stored drawings are images on white: a dark theme inverts them and keeps their hues.
    dark_images = f"{','.join(f'{theme} .course-panel img' for theme in DARK_THEMES)}{{{INVERTED}}}"
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
