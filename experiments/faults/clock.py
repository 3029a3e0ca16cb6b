"""The clock is set back by an hour while a run trains; no duration may be negative.

    python experiments/faults/clock.py

Needs a C compiler: a small library in front of the system's clock shifts the time of day, of this
run alone, as soon as a file is there.
"""

import json
import re
import shutil
import subprocess
import sys

import scene

SHIFT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long back(void) {
    static int is_set;
    const char *file = getenv("FAULT_CLOCK");
    if (!is_set && file) is_set = access(file, F_OK) == 0;
    return is_set ? 3600 : 0;
}
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec -= back();
    return code;
}
int gettimeofday(struct timeval *t, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
"""

compiler = shutil.which("cc")
if compiler is None or sys.platform != "linux":
    scene.skip("needs a C compiler on Linux")
with scene.folder() as place:
    library = place / "shift.so"
    (place / "shift.c").write_text(SHIFT, "utf-8")
    words = [compiler, "-shared", "-fPIC", "-o", str(library), str(place / "shift.c"), "-ldl"]
    subprocess.run(words, check=True)
    shifted = scene.environment(LD_PRELOAD=str(library), FAULT_CLOCK=str(place / "now"))
    process = subprocess.Popen(
        scene.command(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=shifted,
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch 1/"):
            (place / "now").touch()
    error = process.communicate(timeout=1800)[1]
    scene.judge("the clock goes back an hour", process.returncode, 0, error)
    run = place / "runs" / "fault" / "1"
    times = json.loads((run / "environment.json").read_text("utf-8"))
    print(f"started {times['started']}, finished {times['finished']}")
    assert times["finished"] < times["started"], "the clock was not moved"
    fit = json.loads((run / "result.json").read_text("utf-8"))["fit"]
    print(f"{fit['seconds']} s, {fit['images_per_second']} images/s")
    assert fit["seconds"] > 0, fit
    assert fit["images_per_second"] > 0, fit
    texts = ["".join(lines), (run / "summary.html").read_text("utf-8")]
    negative = [found for text in texts for found in re.findall(r"-\d[\d.]* (?:s|min|h)\b", text)]
    assert not negative, negative
