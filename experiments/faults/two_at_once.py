"""Two processes in one place: new runs of one experiment, and one run that both go on with.

python experiments/faults/two_at_once.py
"""

import sys

import scene


def both(words: list[str]) -> list[tuple[int, str]]:
    """How two processes with the same command end."""
    processes = [scene.Started(words) for _ in range(2)]
    return [(done.returncode, done.stderr) for done in (each.ended() for each in processes)]


with scene.folder() as place:
    for number, (code, error) in enumerate(both(scene.fit(place)), 1):
        scene.judge(f"new runs at once, process {number}", code, 0, error)
    made = sorted(path.name for path in (place / "runs" / "fault").iterdir())
    assert made == ["1", "2"], made
    metrics = [(place / "runs" / "fault" / n / "metrics.csv").read_text("utf-8") for n in made]
    assert len(metrics[0].splitlines()) == len(metrics[1].splitlines()), metrics
    print("two folders, both whole")

    run = str(place / "runs" / "fault" / "1")
    words = ["fit", "--resume", run, "--trainer.max_epochs", "20"]
    ends = sorted(both(words), key=lambda end: end[0])
    for code, error in ends:
        print(f"going on at once: exit code {code}; {(error.strip().splitlines() or [''])[-1]}")
    if [code for code, _ in ends] != [0, 2] or run not in ends[1][1]:
        sys.exit("FAILED: expected that one goes on and the other is refused")
