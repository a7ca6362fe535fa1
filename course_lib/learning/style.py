"""The look of checks, hints and quizzes: stylesheet rules, and small HTML builders."""

from __future__ import annotations

import re
import sys
from html import escape

from course_lib.core.palette import LIGHT

RULES = """
.course-learn{max-width:760px}
.course-learn .learn-text{font-size:15px;line-height:1.5;margin:4px 0 6px;max-width:68ch}
.course-learn .learn-faint{color:var(--faint);font-size:13px;font-variant-numeric:tabular-nums;margin:0}
.course-learn code,.course-learn .learn-text code{font-family:var(--jp-code-font-family,monospace);font-size:.92em;
  background:var(--jp-layout-color2,transparent);color:inherit;padding:1px 4px;border-radius:3px}
.course-learn .learn-line{border-left:3px solid var(--line);padding:3px 0 3px 12px;margin:6px 0;max-width:80ch}
.course-learn .learn-line b{font-weight:600}
.course-learn .learn-right{border-color:var(--holds)} .course-learn .learn-right b{color:var(--holds-text)}
.course-learn .learn-wrong{border-color:var(--threshold)} .course-learn .learn-wrong b{color:var(--threshold-text)}
.course-learn .learn-hint{border-color:var(--kept)} .course-learn .learn-hint b{color:var(--kept-text)}
.course-learn .widget-radio,.course-learn .widget-checkbox,.course-learn .widget-radio-box{width:auto;height:auto;
  max-width:100%;overflow:visible}
.course-learn .widget-radio-box label,.course-learn .widget-checkbox label{height:auto;width:auto;white-space:normal;
  line-height:1.45;font-size:14px;color:var(--ink);align-items:flex-start;margin:0 0 7px;max-width:68ch;cursor:pointer}
.course-learn .widget-radio-box label{display:flex;flex-direction:row-reverse;justify-content:flex-end}
.course-learn>.jupyter-button{align-self:flex-start}
.course-learn .course-control{max-width:460px}
.course-learn .widget-radio-box input,.course-learn .widget-checkbox input{flex:0 0 auto;margin:3px 8px 0 1px}
.course-learn .widget-radio-box input{position:relative;top:-2px}
.course-learn .widget-radio-box{margin:0}
.course-learn .widget-label-basic span{white-space:normal}
.course-learn .widget-button,.course-learn .jupyter-button{height:30px;line-height:28px;width:auto;padding:0 14px;
  border-radius:4px;font-size:13.5px;margin:4px 8px 4px 0}
.course-learn .jupyter-button.mod-primary{background:var(--kept-text);color:var(--paper)}
.course-learn .learn-dots{display:flex;flex-wrap:wrap;gap:4px;margin:6px 0 8px}
.course-learn .learn-dots i{width:14px;height:6px;border-radius:3px;background:var(--cut)}
.course-learn .learn-dots i.right{background:var(--holds)}
.course-learn .learn-dots i.wrong{background:var(--threshold)}
.course-learn .learn-dots i.now{outline:2px solid var(--faint);outline-offset:1px}
.course-learn ol.learn-list{margin:6px 0;padding-left:24px} .course-learn ol.learn-list>li{margin:0 0 12px}
.course-learn .learn-options{margin:4px 0 0;padding-left:0;list-style:none}
.course-learn .learn-options li{margin:2px 0}
.course-learn .learn-options li::before{content:"○";color:var(--faint);margin-right:8px}
.course-learn .learn-options.several li::before{content:"☐"}
.course-learn details{margin:4px 0} .course-learn summary{cursor:pointer;color:var(--faint);font-size:13px}
.course-learn table.learn-map td,.course-learn table.learn-map th{text-align:left;vertical-align:top}
.course-learn table.learn-map .verdict,.course-learn table.learn-map .figure{white-space:nowrap}
.course-learn table.learn-map .figure{text-align:right}
.course-learn table.learn-map th:first-child{width:46%}
.course-learn a{color:var(--kept-text)}
"""


def stylesheet() -> str:
    """The panels' stylesheet and the rules of this module, as ``<style>`` elements."""
    from course_lib.widgets.theme import stylesheet as panels

    return f"{panels()}<style>{RULES}</style>"


def page(body: str) -> str:
    """A self-contained HTML output: stylesheet and frame around ``body``."""
    return f'{stylesheet()}<div class="course-panel course-learn">{body}</div>'


def rich(text: str) -> str:
    """Escaped text in which `` `code` `` and ``*emphasis*`` are marked up."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False).strip())
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", marked)


def bare(text: str) -> str:
    """The same text without markup, for plain-text outputs."""
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"\1", text.replace("`", "").strip())


def line(kind: str, lead: str, text: str) -> str:
    """One line with a coloured edge, a bold lead, and rich text; ``kind`` is right, wrong, hint or empty."""
    classes = f"learn-line learn-{kind}" if kind else "learn-line"
    return f'<div class="{classes}"><b>{escape(lead)}</b> {rich(text)}</div>'


def soften(colour: str) -> None:
    """Let JupyterLab show the next error as a line with a coloured edge instead of a red background.

    The error itself is unchanged; other front ends show it as usual.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return
    from IPython.display import HTML, display

    mark = f"course-edge-{colour}"
    error = '[data-mime-type="application/vnd.jupyter.stderr"]'
    style = (
        f".jp-OutputArea-child:has(.{mark}){{height:0;overflow:hidden}}"
        f".jp-OutputArea-child:has(.{mark})+.jp-OutputArea-child {error}{{background:transparent;padding-left:12px;"
        f"border-left:3px solid {LIGHT[colour]}}}"
        f".jp-OutputArea-child:has(.{mark})+.jp-OutputArea-child {error} pre"
        "{font-family:var(--jp-ui-font-family);font-size:14px;line-height:1.5;color:var(--jp-ui-font-color1);"
        "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere}"
    )
    display(HTML(f'<style>{style}</style><span class="{mark}"></span>'))
