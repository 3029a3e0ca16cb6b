"""Configurations and command lines with something wrong in them, drawn by hypothesis."""

import copy
from pathlib import Path

import yaml
from hypothesis import strategies as st

# No number in between: a run of a million channels is no fault, it only takes long.
VALUES = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            "",
            " ",
            "null",
            "much",
            "1e400",
            "0x10",
            "1_0",
            "é\u202e名前🦆",
            "\0",
        ),
        *(-1, 0, 1, 2, 10**12, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e308),
        *(float("nan"), float("inf"), -float("inf")),
        *([], {}, [[[[]]]], [None], [1, "a"], {"a": {"b": [{}]}}, {"": 1}, {1: 2}, {None: None}),
        *(
            "${data.root}",
            "${data.nope}",
            "${",
            "${}",
            "${.",
            "$${a}",
            "${oc.env:HOME}",
            "{}",
            "[1",
        ),
        *(
            "os",
            "os.getcwd",
            "builtins.dict",
            "torch.nn.Module",
            "torch.nn.Linear",
            "a.b.c",
            ".",
            "..",
        ),
        *(
            "BlogEncoder",
            "Digits",
            "dim_lightning.encoders.Encoder",
            "../x",
            "/",
            "/dev/null",
            "-1",
        ),
        {"class_path": None},
        {"class_path": "nowhere.Thing"},
        {"class_path": "BlogEncoder", "init_args": None},
        {"class_path": "BlogEncoder", "init_args": [1]},
        {"class_path": "torch.optim.Adam", "init_args": {"lr": "x"}},
        {"class_path": "builtins.print"},
        {"class_path": "dim_lightning.data.Digits", "init_args": {"a": 1}, "more": 1},
        {"init_args": {"lr": 1}},
        *(b"\x00\xff", "x" * 3000, "2026-01-01", "!!python/name:os.system", "a: b", "# no"),
    ]
)
NAMES = st.sampled_from(
    ["", "x", "seed", "é", "class_path", "0", "a.b", "model", "__class__", "help"]
)
TEXTS = [
    b"",
    b"\n\n# nothing\n",
    b"null",
    b"3",
    b"[1, 2]",
    b"\x00\x01\x02\xff\xfe",
    bytes(range(256)) * 9,
    "model: {}\n".encode("utf-16"),
    b"\xef\xbb\xbfexperiment: bom\n",
    b"experiment: crlf\r\ndata:\r\n  batch_size: 16\r\n",
    b"a: &a [*a]\n",
    b"model: &m {encoder: *m}\n",
    b"data: &d\n  source: *d\n",
    b"data: &d {batch_size: 16}\nprobe: *d\n",
    b"data: {<<: 3}\n",
    b"data: {batch_size: 16, batch_size: 8}\n",
    b"data: {batch_size: 8}\ndata: {batch_size: none}\n",
    b"data:\n\tbatch_size: 3\n",
    b"a: !!python/object/apply:os.system ['true']\n",
    b"data: !own {batch_size: 3}\n",
    b"--- {}\n--- {}\n",
    b"? [1, 2]\n: 3\n",
    b"? {a: 1}\n: 3\n",
    b"1: 2\n",
    b"null: 2\n",
    b"true: {a: 1}\n",
    b"data.batch_size: 16\n",
    b"fit: {data: {batch_size: 16}}\n",
    b"config: other.yaml\n",
    b"run: runs/none/1\n",
    b"ckpt_path: last\n",
    b"ckpt_path: best\n",
    b"experiment: [a]\n",
    b"experiment: 2026-01-01\n",
    b"seed_everything: true\n",
    b"seed_everything: -1\n",
    b"seed_everything: 99999999999999999999\n",
    b"seed_everything: null\n",
    b"runs_dir: 3\n",
    b'runs_dir: "a\\0b"\n',
    b'data: {root: "a\\0b"}\n',
    b"data: null\nmodel: null\ntrainer: null\nprobe: null\n",
    b"trainer: {max_epochs: ${trainer.max_epochs}}\n",
    b"trainer: {max_epochs: ${data.batch_size}}\ndata: {batch_size: ${trainer.max_epochs}}\n",
    b"a: " + b"[" * 400 + b"]" * 400,
    b"a: " + b"{a: " * 300 + b"1" + b"}" * 300,
    b"{" * 1100,
    b"data: {batch_size: 16\n",
    b"data: 'open\n",
    b"%YAML 9.9\n---\na: 1\n",
]


def places(tree, at=()):
    """Where in a configuration something can be changed: keys and positions, all depths."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in items:
        found.append((*at, key))
        if isinstance(value, dict | list):
            found += places(value, (*at, key))
    return found


@st.composite
def configurations(draw, valid):
    """One or two changes of `valid`; the text of the file, and the keys that were changed."""
    config, keys = copy.deepcopy(valid), []
    for _ in range(draw(st.integers(1, 2))):
        *above, key = draw(st.sampled_from(places(config)))
        parent = config
        for each in above:
            parent = parent[each]
        keys.append(".".join(map(str, [*above, key])))
        change = draw(st.sampled_from(["replace"] * 6 + ["remove", "add", "rename", "wrap"]))
        if change == "replace":
            parent[key] = draw(VALUES)
        elif change == "wrap":
            parent[key] = draw(
                st.sampled_from([[parent[key]], {"x": parent[key]}, str(parent[key])])
            )
        elif isinstance(parent, list):
            parent.append(draw(VALUES))
        elif change == "remove":
            del parent[key]
        elif change == "rename":
            parent[f"{key}s"] = parent.pop(key)
        else:
            parent[draw(NAMES)] = draw(VALUES)
    return yaml.dump(config, allow_unicode=draw(st.booleans())).encode(), keys


@st.composite
def cut_texts(draw, valid):
    """The file of `valid`, cut short, or with a few bytes put in."""
    text = yaml.safe_dump(valid).encode()
    at = draw(st.integers(0, len(text)))
    if draw(st.booleans()):
        return text[:at]
    piece = draw(
        st.sampled_from([b"\x00", b"\xff", b"\t", b": ", b"- ", b"{", b"]", b"'", b"&a ", b"*a "])
    )
    return text[:at] + piece + text[at:]


@st.composite
def command_lines(draw, valid, folder: Path):
    """Words after the program's name.

    Args:
        valid: a configuration, for the names of options.
        folder: holds `tiny.yaml`, a run `run/`, and things that are neither.
    """
    files = [
        "tiny.yaml",
        "run",
        "binary",
        "empty",
        "none",
        "",
        ".",
        "broken_run",
        "loop",
        "text_run",
    ]
    file = st.sampled_from([str(folder / name) for name in files] + ["", "~", "\u202e", "-", "--"])
    names = st.sampled_from([".".join(map(str, place)) for place in places(valid)])
    text = VALUES.map(lambda value: "" if value == "\0" else str(value))
    option = st.one_of(
        st.tuples(names, text).map(lambda pair: [f"--{pair[0]}={pair[1]}"]),
        st.tuples(names, text).map(lambda pair: [f"--{pair[0]}", pair[1]]),
        names.map(lambda name: [f"--{name}"]),
        st.tuples(names, NAMES).map(lambda pair: [f"--{pair[0]}.{pair[1]}=1"]),
        st.tuples(names, text).map(lambda pair: [f"--{pair[0]}+={pair[1]}"]),
        st.tuples(st.sampled_from(["--config", "--run", "--ckpt_path", "--output"]), file).map(
            list
        ),
        st.sampled_from(
            ["--config", "--run", "--ckpt_path", "--help", "--print_config", "--", "-x"]
        ).map(lambda word: [word]),
        st.one_of(file, text).map(lambda word: [word]),
    )
    commands = ["fit"] * 6 + ["validate", "test", "predict", "compare", "sweep", "export", "doctor"]
    command = draw(st.sampled_from([*commands, "", "fitt", "--help", "--version"]))
    words = draw(st.lists(option, min_size=1, max_size=3))
    config = ["--config", str(folder / "tiny.yaml")] if command == "fit" else []
    return [command, *config, *(word for option in words for word in option)]
