#!/usr/bin/env python3
"""Plants one fault: writes changed copies of the sources it is about.

    plant.py FAULT SOURCE_ROOT OUT_DIRECTORY      writes OUT_DIRECTORY/<path> for each changed file
    plant.py --check FAULT... SOURCE_ROOT         only looks whether every edit still fits

A fault is a file of edits:

    What is wrong, in one sentence or more.
    seeds 500
    file src/server/shard.cc
    <<<<
    the old lines, which must stand there exactly once
    ====
    what takes their place
    >>>>

`seeds` is how many lives may pass until it is found. More edits and more files may follow. `also
src/x.cc` names a source that is compiled anew because it includes a changed header. The copies are
compiled into a simulator of their own and into nothing else, so the sources themselves carry no
trace of it.
"""
import os
import sys


def parse(path):
    text = open(path, encoding="utf-8").read()
    files, current, also, seeds, words = [], None, [], 0, []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line == "<<<<":
            middle = lines.index("====", at)
            end = lines.index(">>>>", middle)
            old = "\n".join(lines[at:middle])
            new = "\n".join(lines[middle + 1:end])
            if current is None:
                raise SystemExit(f"{path}: an edit before the first file")
            current[1].append((old, new))
            at = end + 1
        elif line.startswith("file "):
            current = (line[5:].strip(), [])
            files.append(current)
        elif line.startswith("also "):
            also.append(line[5:].strip())
        elif line.startswith("seeds "):
            seeds = int(line[6:])
        elif line.strip():
            words.append(line.strip())
    if not files or seeds <= 0 or not words:
        raise SystemExit(f"{path}: words, seeds and a file are wanted")
    return {"what": " ".join(words), "seeds": seeds, "files": files, "also": also}


def changed(fault, path, root):
    """The changed text of each file, by its path in the project."""
    out = {}
    for name, edits in fault["files"]:
        source = os.path.join(root, name)
        text = open(source, encoding="utf-8").read()
        for old, new in edits:
            if text.count(old) != 1:
                raise SystemExit(f"{path}: stands {text.count(old)} times in {name}:\n{old}")
            text = text.replace(old, new)
        out[name] = text
    for name in fault["also"]:
        out[name] = open(os.path.join(root, name), encoding="utf-8").read()
    return out


def main(words):
    if words[:1] == ["--check"]:
        faults, root = words[1:-1], words[-1]
        for path in faults:
            changed(parse(path), path, root)
        print(f"{len(faults)} faults fit the sources")
        return 0 if faults else 1
    path, root, out = words
    for name, text in changed(parse(path), path, root).items():
        target = os.path.join(out, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
