"""The template of sweep.html."""

from dim_lightning.run.page import page_template

_STYLE = """\
.coordinates text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: var(--soft);
                    paint-order: stroke; stroke: #fff; stroke-width: 3px; }
.coordinates .name { font-weight: 600; fill: var(--ink); }
.coordinates .trial:hover polyline:first-child { stroke: #c2410c; stroke-width: 4; }
.box td { white-space: nowrap; }
tr.failed td, tr.interrupted td { color: var(--faint); }
"""

TEMPLATE = page_template(
    "sweep",
    """<header>
  <h1>{{ title }}</h1>
  <p class="soft">{{ about }}</p>
</header>

<h2>Trials</h2>
<figure>{{ figure | safe }}
<figcaption>A line is a trial, the bluer the better; dashed ones have no value. Point at a line for
its number.</figcaption></figure>
<p></p>
<div class="box"><table>
<tr><th>trial</th><th>{{ metric }}</th>{% for name in names %}<th>{{ name }}</th>{% endfor %}
<th>status</th><th>time</th></tr>
{% for row in rows %}
<tr class="{{ row.status }}">
<td>{% if row.run %}<a href="{{ row.run }}">{{ row.number }}</a>{% else %}{{ row.number }}
{% endif %}</td>
<td{% if loop.first and row.value %} class="best"{% endif %}>{{ row.value }}</td>
{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}
<td>{{ row.status }}</td><td>{{ row.time }}</td></tr>
{% endfor %}
</table></div>

{% if commands %}
<p>With the best trial so far:</p>
<pre>{% for title, command in commands.items() %}# {{ title }}
{{ command }}
{% endfor %}</pre>
{% endif %}

{% for note in notes %}<p class="soft">{{ note }}</p>
{% endfor %}

{% if failures %}
<h2>Failures</h2>
{% for trial in failures %}
<details><summary>trial {{ trial.number }}</summary><pre>{{ trial.error }}</pre></details>
{% endfor %}
{% endif %}

<h2>How it was made</h2>
<details><summary>Sweep file</summary><pre>{{ definition }}</pre></details>
""",
    _STYLE,
)
