"""What the package shows to tools, and what it says it needs."""

import ast
import inspect
import re
import sys
from importlib import import_module
from inspect import isfunction, signature
from pathlib import Path

import pytest
import yaml

import dim_lightning
from dim_lightning import baselines, callbacks, evaluation
from dim_lightning.extras import EXTRAS

OTHER_NAMES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}  # module -> package
METHODS = ("AdversarialAutoencoder", "Autoencoder", "BiGAN", "NAT", "Supervised", "VAE")
OBSERVERS = ("EmbeddingWriter", "Geometry", "LinearProbe", "Neighbours", "OfflineEvaluation")
MADE = [  # home, class, and the argument that needs no name
    (dim_lightning, "DeepInfoMax", "encoder"),
    *((baselines, name, "encoder") for name in METHODS),
    (dim_lightning, "ImageDataModule", "source"),
    *((callbacks, name, None) for name in (*OBSERVERS, "Checkpoints", "Reconstructions")),
]
PACKAGE = Path(dim_lightning.__file__).parent


def _project():
    tomllib = pytest.importorskip("tomllib")  # since Python 3.11
    return tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]


def _imports(tree):
    """Module and names of each import below a node; module and no names of `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def _name(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower()


def test_type_checkers_see_the_public_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {name: module for module, names in _imports(branch) for name in names}
    assert sorted(seen) == sorted(dim_lightning.__all__)
    for name, module in seen.items():
        assert getattr(dim_lightning, name) is getattr(import_module(module), name)
    assert set(seen) <= set(dir(dim_lightning))
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(("home", "name", "first"), MADE)
def test_settings_are_given_by_name(home, name, first):
    """So that others can come between them, and nobody need know their order."""
    parameters = signature(getattr(home, name)).parameters.values()
    assert len(parameters) > 1
    by_place = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    assert by_place == ([first] if first else [])


@pytest.mark.parametrize("folder", ["callbacks", "data", "evaluation", "infomax", "optim"])
def test_folders_need_no_import_of_their_own(folder):
    assert dim_lightning.__getattr__(folder) is import_module(f"dim_lightning.{folder}")


def test_what_no_folder_is_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'run_folder'"):
        _ = dim_lightning.run_folder


def test_what_test_computes_is_among_the_functions_of_evaluation():
    names = {"accuracy", "extract", "few_labelled", "fine_tuned", "geometry_of", "knn_accuracy"}
    names |= {"linear_probe", "linear_svm", "mlp_probe", "ms_ssim", "mutual_information", "pixels"}
    names |= {"paper_probe", "reconstruction", "total_correlation", "untrained"}
    assert names <= set(dim_lightning.evaluation.__all__)
    assert all(isfunction(getattr(dim_lightning.evaluation, name)) for name in names)


@pytest.mark.parametrize("folder", ["", "cli", "evaluation", "sweep", "table"])
def test_a_docstring_that_lists_a_folder_is_complete(folder):
    listed = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text()))
    named = set(re.findall(r"^ *(\w+)(?:\.py)? ", listed, re.MULTILINE))
    inside = (PACKAGE / folder).glob("[a-z]*.py" if folder else "*/__init__.py")
    assert {path.stem if folder else path.parent.name for path in inside} <= named


def test_settings_of_measures_are_named():
    """What has a default, but for a variance and a metric."""
    found = {name: getattr(evaluation, name) for name in evaluation.__all__}
    optional = {
        each.name
        for function in filter(inspect.isfunction, found.values())
        for each in inspect.signature(function).parameters.values()
        if each.default is not each.empty and each.kind is not each.KEYWORD_ONLY
    }
    assert optional == {"log_variance", "metric"}


def test_every_package_that_is_imported_is_declared():
    project = _project()
    optional = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    declared = set(map(_name, project["dependencies"] + optional))
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    imported = {module.partition(".")[0] for tree in trees for module, _ in _imports(tree)}
    imported -= {"dim_lightning", *sys.stdlib_module_names}
    assert {OTHER_NAMES.get(module, module) for module in imported} <= declared


def test_no_generator_has_a_default():
    """With None the global one would draw, and no run would go on as it began."""
    texts = [path.read_text() for path in PACKAGE.rglob("*.py")]
    arguments = [re.findall(r"generator: torch\.Generator\b[^,)\n]*", text) for text in texts]
    assert {argument for found in arguments for argument in found} == {"generator: torch.Generator"}


def test_the_citation_is_of_this_version():
    project = _project()
    cited = yaml.safe_load((PACKAGE.parent / "CITATION.cff").read_text())
    for key, name in {
        "version": "version",
        "license": "license",
        "abstract": "description",
    }.items():
        assert cited[key] == project[name]


def test_the_extras_are_those_of_the_project():
    optional = _project()["optional-dependencies"]
    assert {name: tuple(optional[name]) for name in optional if name != "dev"} == dict(EXTRAS)
