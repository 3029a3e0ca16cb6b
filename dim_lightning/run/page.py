"""The template of summary.html, the style that it shares with other pages, and their rendering."""

from typing import Any

_CSS = """\
:root { --ink: #0f172a; --soft: #475569; --faint: #64748b; --line: #e2e8f0; --wash: #f8fafc;
        --accent: #2563a8; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--wash);
       font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 28px 64px; }
h1 { font-size: 28px; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 40px 0 12px; }
p { margin: 4px 0; max-width: 78ch; }
.soft { color: var(--soft); } .faint { color: var(--faint); font-size: 13px; }
.chip { font-size: 13px; font-weight: 600; padding: 2px 10px; border-radius: 99px;
        vertical-align: 5px; margin-left: 10px; background: #e0f2e9; color: #1d6b41; }
.chip.running { background: #e0ecf9; color: #1d4f8b; }
.chip.failed, .chip.interrupted { background: #fdeadb; color: #9a3f0b; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
.command { display: inline-block; background: #fff; border: 1px solid var(--line);
           border-radius: 6px; padding: 6px 12px; margin-top: 10px; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px;
         margin-top: 24px; }
.card, figure, .box { background: #fff; border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 14px 18px; }
.card .value { font-size: 30px; font-weight: 650; letter-spacing: -.02em; line-height: 1.2;
               font-variant-numeric: tabular-nums; }
.card .label { color: var(--soft); font-weight: 600; font-size: 14px; }
.card .note { color: var(--faint); font-size: 12.5px; line-height: 1.4; margin-top: 2px; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 16px; }
figure { margin: 0; padding: 14px 16px; }
figure svg { width: 100%; height: auto; display: block; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 10px; }
.pictures { display: grid; gap: 16px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--soft); font-size: 13px;
     vertical-align: bottom; }
th, td { padding: 7px 12px; border-bottom: 1px solid var(--line); }
td { text-align: right; } th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; } tr.floor td { color: var(--faint); }
td.best { font-weight: 700; color: var(--accent); }
.box { overflow-x: auto; padding: 4px 6px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 20px; margin: 8px 0; }
dt code { color: var(--accent); display: block; }
dd { margin: 0; color: var(--soft); max-width: 80ch; }
details { background: #fff; border: 1px solid var(--line); border-radius: 10px;
          padding: 10px 16px; margin-top: 12px; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; margin: 10px 0 4px; }
@media print { .box, pre { overflow: visible; } .box td { white-space: normal; } }
@media (max-width: 560px) { .grid { grid-template-columns: 1fr; } main { padding: 20px 14px; } }
"""


def page_template(name: str, body: str, style: str = "") -> str:
    """The template of a page, whose `title` is left to be filled in.

    Args:
        name: what the page is, behind the title of its window.
        body: what it shows, a template.
        style: added to what all pages share.
    """
    return _PAGE.replace("NAME", name).replace("STYLE", _CSS + style).replace("BODY", body)


def rendered(template: str, /, **content: Any) -> str:
    """The page that `template` makes of `content`, whose text cannot become markup."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(**content)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} - NAME</title>
<style>
STYLE</style>
</head>
<body>
<main>
BODY</main>
</body>
</html>
"""

TEMPLATE = page_template(
    "Deep InfoMax",
    """<header>
  <h1>{{ title }}<span class="chip {{ status }}">{{ status }}</span></h1>
  <p class="soft">{{ about }}</p>
  <p class="faint">{{ machine }}</p>
  {% if reason %}<p><strong>{{ reason }}</strong></p>{% endif %}
  <code class="command">{{ command }}</code>
</header>

{% if headlines %}
<section class="cards">
{% for item in headlines %}
  <div class="card"><div class="label">{{ item.label }}</div>
  <div class="value">{{ item.value }}</div><div class="note">{{ item.note }}</div></div>
{% endfor %}
</section>
{% endif %}

{% for test in tables if test.accuracies %}
<h2>Offline evaluation on the test images{{ test.of }}{{ test.caveat }}</h2>
<p class="soft">Frozen features, top-1 accuracy in percent, the best of a column in bold. Grey rows
are floors: what raw pixels or an untrained encoder reach.
{%- if test.unsolved %} Ended before they converged: {{ test.unsolved }}.{% endif %}</p>
{% for kind, table in test.accuracies.items() %}
{% if not loop.first %}<details><summary>The same, {{ kind }} accuracy</summary>{% endif %}
<div class="box"><table>
<tr><th>features</th>
{% for column in table.columns %}<th>{{ column }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr{% if row.floor %} class="floor"{% endif %}><td>{{ row.name }}</td>
{% for cell in row.cells %}<td{% if cell.best %} class="best"{% endif %}>{{ cell.text }}</td>
{% endfor %}</tr>
{% endfor %}
</table></div>
{% if not loop.first %}</details>{% endif %}
{% endfor %}
{% endfor %}

{% if curves %}
<h2>Training</h2>
<section class="grid">
{% for svg in curves %}<figure>{{ svg | safe }}</figure>
{% endfor %}
</section>
{% endif %}

{% if pictures %}
<h2>Pictures</h2>
<section class="pictures">
{% for picture in pictures %}
<figure><img src="data:image/png;base64,{{ picture.data }}" alt="{{ picture.caption }}">
<figcaption>{{ picture.caption }}</figcaption></figure>
{% endfor %}
</section>
{% endif %}

<h2>What the numbers mean</h2>
<div class="box" style="padding: 8px 18px"><dl>
{% for entry in glossary %}
<dt>{% for name in entry.names %}<code>{{ name }}</code>{% endfor %}</dt><dd>{{ entry.text }}</dd>
{% endfor %}
</dl></div>

<h2>How it was made</h2>
<details><summary>Configuration</summary><pre>{{ config }}</pre></details>
<details><summary>Environment</summary><pre>{{ environment }}</pre></details>
<details><summary>All figures (result.json)</summary><pre>{{ result }}</pre></details>
""",
)
