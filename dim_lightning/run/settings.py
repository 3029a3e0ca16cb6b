"""A run's settings by their full names."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from dim_lightning.errors import InputError
from dim_lightning.run.folder import CONFIG

# where and how visibly a run trains and is looked at, which changes none of its figures
WHERE = (
    "checkpoint",
    "data.root",
    "data.cache_dir",
    "data.max_unreadable",
    "data.num_workers",
    "data.predicted",
    "data.source.init_args.keep_mb",
    "data.source.init_args.storage_options",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.num_nodes",
    "trainer.profiler",
    "trainer.strategy",
)
# where pictures lie, and a file of their labels, which may be moved where it is known of the
# pictures that they are the same
PLACES = ("data.source.init_args.path", "data.source.init_args.labels")
FLOAT32 = "32-true"  # the precision, if none is given
EXACT = "highest"  # that of float32's matrix products likewise
_SHOWN = 4
_CONFIGURATION = "the project's experiments/digits/blog.yaml"
_RUN = f"runs/digits/1/{CONFIG}"
_KEYS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


class _Loader(yaml.SafeLoader):
    """YAML of which nothing is dropped in silence: keys are text, and none stands there twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.deep_construct = True  # an alias (*name) of what it stands in is an error then

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written: those merged into it later (<<) may have the same keys."""
        node = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else f"of a {key.id}"
            problem = f"{name} stands there for the second time" if name in names else None
            if key.tag not in _KEYS or not name:
                problem = f"the key {name or repr(name)} is no name; expected one, or it in quotes"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            names.add(name)
        return node


def read_yaml(
    path: Path, example: str = _CONFIGURATION, expected: str = "lines such as `model:`"
) -> dict[str, Any]:
    """What stands in a YAML file that the user names, a configuration or another one.

    Args:
        path: of the file.
        example: a file of its kind.
        expected: what stands in such a file.

    Raises:
        InputError: it cannot be read, is no YAML, has a key twice or one that is no name, or holds
            no settings.
    """
    try:
        content = _Loader(path.read_text("utf-8")).get_single_data()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; expected one such as {example}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; expected a YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: such as a bad date
        raise InputError(f"{path} cannot be read as YAML: {_problem(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings; expected {expected}")
    return content


def flat_config(folder: Path) -> dict[str, Any]:
    """A run's settings by their full name, with dots.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = folder / CONFIG
    try:
        status = path.stat()
    except OSError:
        stamp = None
    else:
        stamp = (status.st_mtime_ns, status.st_size)
    return dict(_flat_file(path, stamp))


@lru_cache(maxsize=4096)
def _flat_file(path: Path, stamp: object) -> dict[str, Any]:
    """What stands in the file; a table looks at each of its runs every time that one ends."""
    return flat_settings(read_yaml(path, _RUN, "the settings of a run"))


def flat_settings(
    values: Mapping[str, Any], separator: str = ".", prefix: str = ""
) -> dict[str, Any]:
    """Nested settings by their full name, with dots or another separator."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flat_settings(value, separator, f"{prefix}{name}{separator}"))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def estimator_of(settings: Mapping[str, Any]) -> str:
    """The import path of what Deep InfoMax maximised; nothing where no setting says it.

    Args:
        settings: of a run, by their full names.
    """
    name = "model.estimator"
    return str(settings.get(f"{name}.class_path") or settings.get(name) or "")


def belongs(key: str, groups: tuple[str, ...]) -> bool:
    """Whether a setting is one of `groups`, or lies below one."""
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def differing(
    stored: Mapping[str, Any], asked: Mapping[str, Any], absent: Any = None, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Full name, stored value and asked value of each setting that differs.

    Args:
        stored: settings, nested or by their full names.
        asked: others.
        absent: the value of a setting that one of them lacks.
        prefix: of the names.
    """
    for name in dict.fromkeys([*stored, *asked]):
        old, new = stored.get(name, absent), asked.get(name, absent)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differing(old, new, absent, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name}", old, new


def changed(name: str, old: Any, new: Any) -> str:
    """What a setting is, and what it was."""
    return f"{name} is {new} now, {old} then"


def changes(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """The settings that differ, the first few of them; nothing if none do."""
    listed = [changed(*each) for each in differing(stored, asked)]
    more = [f"and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
    return "; ".join([*listed[:_SHOWN], *more])


def num_devices(asked: Any) -> int | None:
    """How many devices `trainer.devices` asks for; None where the machine decides (auto, -1)."""
    if isinstance(asked, str) and "," in asked:  # their numbers
        asked = [word for word in asked.split(",") if word.strip()]
    if isinstance(asked, Sequence) and not isinstance(asked, str):
        return len(asked)
    return int(asked) if str(asked).isdigit() else None


def run_name(folder: Path) -> str:
    """Experiment and number of a run, such as digits/1.

    An experiment may have parts, as those of tables do: of dim_g/seed0/1 the last two are those of
    every other row as well.
    """
    parts, config = folder.resolve().parts, folder / CONFIG
    stored = flat_config(folder).get("experiment") if config.is_file() else None
    experiment = Path(str(stored)).parts
    known = parts[-len(experiment) - 1 : -1] == experiment  # not if the folder was renamed
    return "/".join(parts[-len(experiment) - 1 :] if known else parts[-2:])


def _problem(error: Exception) -> str:
    """Why a file cannot be read as YAML, in a few words, with the line if it is known."""
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark else ""
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    problem = str(getattr(error, "problem", None) or error)
    if problem.startswith("found unconstructable recursive"):
        problem = "it contains itself by an alias (*name); write it out instead"
    return line + problem


def precision_text(settings: Mapping[str, Any]) -> str:
    """The Trainer's precision, and that of float32's matrix products where it is not the highest.

    Args:
        settings: of a run, by their full names.
    """
    products = settings.get("matmul_precision") or EXACT
    precision = settings.get("trainer.precision") or FLOAT32
    return precision if products == EXACT else f"{precision} with products in {products}"
