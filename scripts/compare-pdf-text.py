#!/usr/bin/env python3
"""Compare a PDF text extractor with poppler's pdftotext, page by page.

usage: compare-pdf-text.py [--json OUT] NAME=COMMAND... -- FILE.pdf...

COMMAND is run as `COMMAND FILE.pdf` and prints a JSON array with one string (or null) per page;
`docent extract pdf` reads standard input and prints an object, which is understood as well (give
it as `NAME=<docent extract pdf`). Needs pdftotext (Debian: poppler-utils) and GNU time.

Per file and extractor: bag F1 (words in any order), order (difflib ratio over words), both as the
mean over pages that pdftotext finds words on; wrong pages = pages whose words are more like
another page's than their own; seconds; peak MiB.
"""
import difflib, json, os, re, subprocess, sys, tempfile, unicodedata
from collections import Counter

LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
BIDI_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2069\u00ad\u200b"))
CJK = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef])")


def words(text):
    """Words after the same tidying for everyone; every CJK character is a word of its own."""
    text = (text or "").translate(BIDI_MARKS)
    for ligature, letters in LIGATURES.items():
        text = text.replace(ligature, letters)
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"(?<=[^\W\d_])[-\u2010]\s*\n\s*(?=[a-zа-я])", "", text)
    return CJK.sub(r" \1 ", text).split()


def reference(path):
    raw = subprocess.run(["pdftotext", "-enc", "UTF-8", path, "-"], capture_output=True).stdout
    pages = raw.decode("utf-8", "replace").split("\f")
    return pages[:-1] if pages and not pages[-1].strip() else pages


def run(command, path):
    stdin, args = subprocess.DEVNULL, [path]
    if command.startswith("<"):
        command, stdin, args = command[1:], open(path, "rb"), []
    with tempfile.NamedTemporaryFile("r") as usage:
        # GNU time, because a child's own peak inherits that of a large parent.
        timed = ["/usr/bin/time", "-f", "%e %M", "-o", usage.name, "timeout", "120"]
        done = subprocess.run(timed + command.split() + args, stdin=stdin, capture_output=True)
        seconds, peak = map(float, usage.read().split()[-2:])
    try:
        # The last line: some libraries print warnings to standard output.
        value = json.loads(done.stdout.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1])
    except ValueError:
        return None, seconds, peak / 1024, done.returncode
    if isinstance(value, dict):
        if "ok" not in value:
            return None, seconds, peak / 1024, value
        value = [page["text"] for page in value["ok"]["pages"]]
    return value, seconds, peak / 1024, done.returncode


def f1(a, b):
    if not a and not b:
        return 1.0
    return 2 * sum((Counter(a) & Counter(b)).values()) / max(1, len(a) + len(b))


def main(argv):
    out = None
    if argv[:1] == ["--json"]:
        out, argv = argv[1], argv[2:]
    cut = argv.index("--")
    tools = [tool.split("=", 1) for tool in argv[:cut]]
    results = {}
    print(f"{'file':22} {'extractor':12} {'pages':>9} {'bag':>6} {'order':>6} {'wrong':>5} {'s':>6} {'MiB':>5}")
    for path in argv[cut + 1:]:
        ref = [words(page) for page in reference(path)]
        for name, command in tools:
            pages, seconds, peak, status = run(command, path)
            row = {"seconds": round(seconds, 2), "peak_mib": round(peak), "pages": len(ref)}
            if pages is None:
                row["failed"] = f"status {status}"
            else:
                got = [words(page) for page in pages]
                bags, orders, wrong = [], [], 0
                for index, mine in enumerate(ref):
                    theirs = got[index] if index < len(got) else []
                    if not mine:
                        continue
                    bags.append(f1(mine, theirs))
                    orders.append(difflib.SequenceMatcher(None, mine, theirs, autojunk=False).ratio())
                    near = [f1(got[i], mine) for i in (index - 1, index + 1) if 0 <= i < len(got)]
                    wrong += any(other > bags[-1] + 0.05 for other in near)
                row |= {
                    "found": len(pages),
                    "bag": round(sum(bags) / max(1, len(bags)), 3),
                    "order": round(sum(orders) / max(1, len(orders)), 3),
                    "wrong_pages": wrong,
                }
            results.setdefault(os.path.basename(path), {})[name] = row
            text = row.get("failed") or (
                f"{row['found']:>4}/{len(ref):<4} {row['bag']:6.3f} {row['order']:6.3f} {row['wrong_pages']:5d}"
            )
            print(f"{os.path.basename(path):22} {name:12} {text:33} {seconds:6.2f} {peak:5.0f}", flush=True)
    if out:
        json.dump(results, open(out, "w"), indent=1)


main(sys.argv[1:])
