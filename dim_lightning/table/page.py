"""The template of table.html."""

from dim_lightning.run.page import page_template

_STYLE = """\
main { max-width: 1720px; }
.box table { font-size: 13.5px; } .box th, .box td { text-align: right; padding: 6px 8px; }
.box th.name, .box td.name, .box td.state { text-align: left; }
.box th.first, .box td.first { border-left: 1px solid var(--line); }
.box td { white-space: nowrap; } .box td.state { white-space: normal; min-width: 160px; }
td.ours { font-weight: 650; } td.paper, td.difference { color: var(--soft); }
td.below { color: #9a3f0b; } td.above { color: #1d6b41; }
ul { margin: 4px 0 10px; padding-left: 22px; max-width: 110ch; }
tr.open td.state { color: #9a3f0b; }
"""

TEMPLATE = page_template(
    "table",
    """<header>
  <h1>{{ title }}<span class="chip{{ '' if done == asked else ' running' }}">{{ done }} of
  {{ asked }} runs</span></h1>
  <p class="soft">{{ notes[0].text }}</p>
  <code class="command">{{ command }}</code>
</header>

<h2>Table</h2>
<div class="box"><table>
<tr><th class="name" rowspan="2">row</th>
{% for heading, compared in columns %}
<th class="first" {% if compared %}colspan="3" style="text-align: center"
{%- else %}rowspan="2"{% endif %}>{{ heading }}</th>
{% endfor %}
<th class="first" rowspan="2">seeds</th><th rowspan="2">epochs</th><th rowspan="2">training</th>
<th class="name" rowspan="2">state</th></tr>
<tr>{% for heading, compared in columns %}{% if compared %}
<th class="first">ours</th><th>paper</th><th>diff.</th>{% endif %}{% endfor %}</tr>
{% for row in rows %}
<tr class="{{ row.kind }}"><td class="name">{{ row.name }}</td>
{% for figure in row.figures %}
<td class="first ours" title="{{ figure['values'] }}">{{ figure.ours }}</td>
{% if figure.compared %}
<td class="paper">{{ figure.paper }}</td>
<td class="{{ 'below' if figure.difference.startswith('-') else 'above' }}">
{{- figure.difference }}</td>
{% endif %}
{% endfor %}
<td class="first">{{ row.seeds }}</td><td>{{ row.epochs }}</td><td>{{ row.time }}</td>
<td class="state">{{ row.state }}
{% if row.runs %}<span class="faint">{% for name, page in row.runs %}
<a href="{{ page }}">run</a> {% endfor %}</span>{% endif %}</td></tr>
{% endfor %}
</table></div>

<h2>How it was made</h2>
{% for note in notes[1:] %}<p class="soft">{{ note.text }}</p>
{% if note['items'] %}
<ul class="soft">{% for item in note['items'] %}<li>{{ item }}</li>{% endfor %}</ul>
{% endif %}
{% endfor %}
<p class="soft">{{ last.text }} <code>{{ command }}</code></p>
<details><summary>Table file</summary><pre>{{ definition }}</pre></details>
""",
    _STYLE,
)
