"""What a table file may say, and what it is told when it says something else."""

from pathlib import Path

import pytest
from table_files import CONTENT, write_table

from dim_lightning.errors import InputError
from dim_lightning.table.definition import chosen, read_table

PAPER = Path(__file__).parents[2] / "experiments" / "paper"
ROW = CONTENT["rows"][0]


def test_rows_have_what_the_file_says(tmp_path):
    table = read_table(write_table(tmp_path))
    dim, vae, random, pixels = table.rows
    assert (table.name, table.runs, table.title) == ("small", "small", "Small")
    assert (dim.folder, dim.seeds, dim.paper) == ("dim_l_jsd", (0, 1), {"Y": 66.96})
    assert (dim.config, dim.overrides) == (tmp_path / "dim.yaml", {"trainer.max_epochs": 4})
    assert (vae.seeds, vae.from_memory, dim.from_memory) == ((0,), {"Y"}, set())
    assert (random.floor, pixels.floor) == ("random", "pixels")
    assert pixels.config is None
    assert pixels.seeds == ()


def test_the_papers_numbers_from_memory_may_be_those_of_some_headings(tmp_path):
    row = {**ROW, "paper": {"Y": 66.96, "kNN Y": 60}}
    marked = [(True, {"Y", "kNN Y"}), (["kNN Y"], {"kNN Y"}), ([], set()), (False, set())]
    for given, headings in marked:
        path = write_table(tmp_path, rows=[{**row, "from_memory": given}])
        assert read_table(path).rows[0].from_memory == headings


def test_later_overrides_win_and_stand_behind(tmp_path):
    common = {"data.source": "CIFAR100", "trainer.max_epochs": 4}
    row = {**ROW, "overrides": {"trainer.max_epochs": 2, "model.lr": 1}}
    path = write_table(tmp_path, overrides=common, rows=[row])
    (made,) = read_table(path, {"data.source": "Digits"}).rows
    assert list(made.overrides.items()) == [
        ("trainer.max_epochs", 2),
        ("model.lr", 1),
        ("data.source", "Digits"),
    ]
    path = write_table(tmp_path, overrides=common, rows=[{**row, "fixed": {"model.lr": 0}}])
    (made,) = read_table(path, {"model.lr": 2, "trainer.max_epochs": 9}).rows
    assert (made.overrides["model.lr"], made.overrides["trainer.max_epochs"]) == (0, 9)


def test_a_floor_is_of_a_row_by_its_name(tmp_path):
    rows = [ROW, {"name": "untrained", "floor": "random", "of": ROW["name"]}]
    row, floor = read_table(write_table(tmp_path, rows=rows)).rows
    assert floor.of == row.folder
    assert row.of is None


def test_configs_are_looked_for_beside_the_file(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "one.yaml").write_text("")
    path = write_table(tmp_path / "tables", rows=[{"name": "a", "config": "../one.yaml"}])
    assert read_table(path).rows[0].config == tmp_path / "one.yaml"


def test_rows_are_chosen_by_name_or_folder(tmp_path):
    table = read_table(write_table(tmp_path))
    assert [row.name for row in chosen(table, "VAE, dim_l_jsd")] == ["DIM(L) JSD", "VAE"]
    with pytest.raises(InputError, match=r"no row 'vaes'; did you mean vae\?"):
        chosen(table, "dim_l_jsd,vaes")


def test_names_of_rows_may_hold_commas(tmp_path):
    rows = [{**ROW, "name": name} for name in ("DIM", "DIM, both", "DIM, both, long")]
    table = read_table(write_table(tmp_path, rows=rows))
    for names in (["DIM, both"], ["DIM"], ["DIM", "DIM, both, long"]):
        assert [row.name for row in chosen(table, ",".join(names))] == names
    with pytest.raises(InputError, match=r"no row 'both'"):
        chosen(table, "DIM, both, both")


OTHERS = {"data.source": "CIFAR3"}
BAD = {
    "unknown key colums; did you mean columns?": {"colums": {}},
    "columns is None; expected names of figures": {"columns": None},
    "the heading 'Y' twice": {"columns": {"a/top1": "Y", "b/top1": "Y"}},
    "rows is None; expected a list of rows": {"rows": None},
    "name is '../up'; expected a plain name": {"name": "../up"},
    "runs is 3; expected a plain name": {"runs": 3},
    "overrides: seed_everything is what the table itself decides; set seeds": {
        "overrides": {"seed_everything": 1}
    },
    "overrides is [1]; expected settings": {"overrides": [1]},
    "row 1 (DIM(L) JSD): fixed is 3; expected settings": {"rows": [{**ROW, "fixed": 3}]},
    "seeds is [0, 0], which has a seed twice": {"seeds": [0, 0]},
    "seeds is 3; expected a list of whole numbers": {"seeds": 3},
    "row 1 is 'VAE'; expected settings with a name": {"rows": ["VAE"]},
    "row 1 (a): unknown key seed; did you mean seeds?": {"rows": [{"name": "a", "seed": [1]}]},
    "row 1 (a): config is None; expected the path": {"rows": [{"name": "a"}]},
    "dimm.yaml; did you mean dim?": {"rows": [{"name": "a", "config": "dimm.yaml"}]},
    "row 1 (a): floor is 'ground'; expected one of random, pixels": {
        "rows": [{"name": "a", "floor": "ground"}]
    },
    "seeds has no meaning for a floor": {"rows": [{"name": "a", "floor": "random", "seeds": [1]}]},
    "row 1 (DIM(L) JSD): of has a meaning for a floor alone": {"rows": [{**ROW, "of": "VAE"}]},
    "row a: of is 'DIM(L) JSE'; expected the name of a row with a config; did you mean": {
        "rows": [ROW, {"name": "a", "floor": "random", "of": "DIM(L) JSE"}]
    },
    "row a: of is 'a'; expected the name of a row with a config": {
        "rows": [ROW, {"name": "a", "floor": "random", "of": "a"}]
    },
    "no column has the heading 'y'": {"rows": [{**ROW, "paper": {"y": 1.0}}]},
    "paper.Y is 'high'; expected a number": {"rows": [{**ROW, "paper": {"Y": "high"}}]},
    "from_memory is 'no'; expected true or false": {"rows": [{**ROW, "from_memory": "no"}]},
    "row 1 (DIM(L) JSD): from_memory: paper has no number for 'NDM'; nothing comes close": {
        "rows": [{**ROW, "from_memory": ["Y", "NDM"]}]
    },
    "from_memory: paper has no number for 'kNN Y'; nothing comes close; expected one of Y": {
        "rows": [{**ROW, "from_memory": ["kNN Y"]}]
    },
    "from_memory: paper has no number for ['Y']; nothing comes close; expected one of Y": {
        "rows": [{**ROW, "from_memory": [["Y"]]}]
    },
    "another row's runs lie in dim_l_jsd/": {"rows": [ROW, {**ROW, "name": "DIM L-JSD"}]},
    "transfer is 'cifar3'; expected names and settings, such as": {"transfer": "cifar3"},
    "transfer.cifar 3: expected a name of letters, digits, -, _ and points": {
        "transfer": {"cifar 3": OTHERS}
    },
    "transfer.cifar3 is {'data.root': 'x'}; expected a data.source": {
        "transfer": {"cifar3": {"data.root": "x"}}
    },
    "transfer.cifar3: evaluation.svm is no setting of data": {
        "transfer": {"cifar3": {**OTHERS, "evaluation.svm": True}}
    },
    "transfer.cifar3: no column shows it; add one such as transfer/cifar3/": {
        "transfer": {"cifar3": OTHERS}
    },
    "columns: transfer has no data set 'cifar3'; did you mean cifar30?": {
        "columns": {"transfer/cifar3/test/top1": "3", "transfer/cifar30/test/top1": "30"},
        "transfer": {"cifar30": OTHERS},
        "rows": [{"name": "a", "config": "dim.yaml"}],
    },
}


def test_other_data_sets_need_settings_only_where_the_table_tests_on_them(tmp_path):
    columns = {"transfer/cifar3/test/top1": "3"}
    rows = [{"name": "a", "config": "dim.yaml"}]
    assert read_table(write_table(tmp_path, columns=columns, rows=rows)).transfers == {}
    path = write_table(tmp_path, columns=columns, rows=rows, transfer={"cifar3": OTHERS})
    assert read_table(path).transfers == {"cifar3": OTHERS}


@pytest.mark.parametrize("said", BAD)
def test_bad_files_are_told_what_was_expected(tmp_path, said):
    path = write_table(tmp_path, **BAD[said])
    with pytest.raises(InputError) as error:
        read_table(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no file"), ("a: [", "as YAML: line 1"), ("1", "columns")]
)
def test_files_that_are_no_tables(tmp_path, content, said):
    path = tmp_path / "none.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said):
        read_table(path)


@pytest.mark.parametrize("path", sorted(PAPER.glob("*.yaml")), ids=lambda path: path.name)
def test_the_projects_tables_can_be_read(path):
    assert read_table(path).rows
