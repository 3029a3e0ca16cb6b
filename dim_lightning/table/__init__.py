"""Tables of runs: a file that lists them, what of them is missing, and how near they come.

```
definition  the file -> Table, or a refusal that names the key
values      what the values of the file have to be
transfers   other data sets that the runs are tested on as well
cell        a row with one of its seeds: a run that the table asks for
protocol    whether a test measured what the table asks for
runs        how far each row and seed is, read off the folders of its runs
commands    the commands that make them
floors      which tests measure a floor, and whether these give the same
runner      starts what is missing, each command a process of its own
figures     the paper's numbers, ours, and the differences
mixed       rows whose runs were not trained on the same pictures or by the same code
notes       what is said below a table: how to read it, how its runs were made
report      table.md, table.csv, table.html
page        the template of table.html
```
"""
