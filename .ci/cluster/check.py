"""check.py PHI3CONV ONE CLUSTER KILLED EVICTED: what a cluster made of cluster/jobs.yaml in the directory CLUSTER is
what one machine made of it in ONE, each step was done once, and the report says so. KILLED is the number of workers that
were killed in the middle of a step. EVICTED is 1 if workers were told to end, and did in the middle of a step.

check.py busy DIR WORKER: exit code 0 if the worker has a step."""
import json, os, subprocess, sys


def claims(folder):
    """Claims by step: of each the worker and how it ended, in the order in which they were made."""
    root, all = os.path.join(folder, "store", "claims"), {}
    for step in sorted(os.listdir(root) if os.path.isdir(root) else []):
        for number in sorted(n for n in os.listdir(os.path.join(root, step)) if n.isdigit()):
            path = os.path.join(root, step, number)
            if os.path.exists(path + ".alive"):
                path += ".alive"
            with open(path) as f:
                claim = json.load(f)
            all.setdefault(step, []).append((claim["worker"], claim.get("ended")))
    return all


if sys.argv[1] == "busy":
    folder, worker = sys.argv[2:]
    has = [step for step, of in claims(folder).items() if of[-1] == (worker, None)]
    sys.exit(0 if has else 1)

phi3conv, one, cluster, killed, evicted = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
failures = []


def expect(ok, what):
    if not ok:
        failures.append(what)


def ask(command, folder):
    jobs = os.path.join(folder, "jobs.yaml")
    return json.loads(subprocess.run([phi3conv, "batch", command, jobs, "--json"], check=True, stdout=-1).stdout)


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def same(name, *path):
    expect(read(one, *path) == read(cluster, *path), f"{name}: other bytes of {path[-1]}")


# The same steps ended in the same way, with the same outputs.
a, b = ask("status", one), ask("status", cluster)
expect(len(a["steps"]) == 24, f"{len(a['steps'])} steps, expected 24")
expect(b["count"] == {"done": 22, "failed": 1, "blocked": 1}, f"{b['count']}, expected 22 done, 1 failed, 1 blocked")
compared = 0
for s, t in zip(a["steps"], b["steps"], strict=True):
    name = t["name"]
    expect((s["id"], s["state"]) == (t["id"], t["state"]), f"{name}: {t['state']}, on one machine {s['state']}")
    if s["state"] == "blocked" or t["state"] != s["state"]:
        continue
    r, q = s["result"], t["result"]
    files = [[f["name"] for f in x.get("files", [])] for x in (r, q)]
    expect(files[0] == files[1], f"{name}: {files[1]}, on one machine {files[0]}")
    for file in files[1]:
        if file != "log.txt":  # has times
            keys = [os.path.join("store", "outputs", t["id"], "%04d" % x["attempt"], file) for x in (r, q)]
            expect(read(one, keys[0]) == read(cluster, keys[1]), f"{name}: other bytes of {file}")
            compared += 1

# Who was killed did not end its claim, and who was evicted gave it back. One of the others did the step.
silent = given_back = 0
of = claims(cluster)
for s in b["steps"]:
    ends = [end for _, end in of.get(s["id"], [])]
    if s["state"] == "blocked":
        expect(not ends, f"{s['name']}: was begun though it is blocked")
        continue
    expect(ends.count("done") == 1 and ends[-1] == "done", f"{s['name']}: claims ended with {ends}")
    silent += ends.count(None)
    given_back += ends.count("interrupted")
    expect(len(ends) == 1 + ends.count(None) + ends.count("interrupted"), f"{s['name']}: claims ended with {ends}")
expect(silent == killed, f"{silent} claims without an end, and {killed} workers were killed")
expect((given_back > 0) == (evicted > 0), f"{given_back} steps were given back")

# What passed is published, with the same bytes, and nothing else.
failed = [s for s in b["steps"] if s["state"] == "failed"]
published = sorted(os.listdir(os.path.join(cluster, "out")))
expect(len(published) == 3, f"{published} published, expected 3 files")
expect(published == sorted(os.listdir(os.path.join(one, "out"))), f"{published}: not those of one machine")
for name in published:
    same("published", "out", name)

# The report has the figures of one machine's, a verdict of each file, and the one step that failed.
a, b = ask("report", one), ask("report", cluster)
for r, q in zip(a["rows"], b["rows"], strict=True):
    r.pop("seconds"), q.pop("seconds")
    expect(r == q, f"report: {q}, expected {r}")
verdicts = [r["verdict"] for r in b["rows"]]
expect(sorted(verdicts) == ["fail"] + 3 * ["pass"], f"report: verdicts {verdicts}")
expect([(e["id"], e["exit_code"]) for e in b["errors"]] == [(f["id"], 1) for f in failed], f"report: {b['errors']}")

for failure in failures:
    print("cluster:", failure)
if failures:
    sys.exit(1)
print(f"24 steps: 22 done once, 1 failed by its limit ({failed[0]['name']}), 1 blocked by it; {silent} taken over, "
      f"{given_back} given back; {compared} outputs and {len(published)} published files have the bytes of one machine's")
