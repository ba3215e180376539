"""From the front page of the documentation, the command for each of the jobs that users ask for most is near."""

import re
from collections import deque
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
# The job, as the front page says it, and what does it.
JOBS = {
    "know why a restore does not match": "tensorbundle check",
    "rename variables or scopes": "tensorbundle rename",
    'know which file to give ("bad magic number")': "tensorbundle ls",
    "know what is wrong with a file": "tensorbundle verify",
    'know what an error means, such as "checksum does not match"': "tensorbundle explain",
    "make a checkpoint smaller before an upload, drop Adam's slots": "tensorbundle slim",
    "convert TF1 to TF2, or back": "tensorbundle convert",
    "load a TensorFlow checkpoint in Keras 3": "tensorbundle convert run/ckpt-1000 model.weights.h5",
    "load all but the last layer": "--allow-missing",
    "convert to or from safetensors or npz": "tensorbundle convert model.safetensors",
    "convert BERT or another published model for Hugging Face, or back": "tensorbundle rewrite bert_model.ckpt",
    "rewrite checkpoints that are larger than memory": "--data copy",
    "list what is inside, in a script": "tensorbundle ls",
    "do without importing TensorFlow": "import tensorbundle as tb",
    "carry optimizer state to another optimizer generation": "convert SRC DST --to tf2 --template FRESH",
    "average checkpoints": "tensorbundle average",
    "cast to bfloat16 or float16": "tensorbundle cast",
    "use moving averages (EMA) as the weights": "tensorbundle rewrite trained weights --recipe",
    "merge or cut partitioned variables": "tensorbundle unpartition",
    "grow a vocabulary": "tensorbundle resize",
    "change one value": "tensorbundle set",
    "decode the object graph": "object_graph",
    "read rows of a huge embedding": "tensorbundle show",
    "read or write checkpoints in a bucket, or read ten rows of one tensor": "tensorbundle ls s3://",
    "save what a crash or a lost file left": "tensorbundle salvage",
    "move a directory of checkpoints": "tensorbundle manage",
    "compare two checkpoints, whatever their layout": "tensorbundle diff",
    "read old V1 files, or big-endian checkpoints": "convert --to v1",
}
LINK = re.compile(r"\]\((?!https?:)([\w.-]+\.(?:md|ipynb))?(?:#([\w-]+))?\)")


def slug(title):
    """The anchor of a heading, as mkdocs makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def sections(page):
    """The text of each section of a page, by anchor, with the sections inside it; of the whole page by None."""
    text = re.sub(
        r"^```.*?^```$", lambda block: block[0].replace("\n#", "\n\\#"), page, flags=re.MULTILINE | re.DOTALL
    )
    found = {None: text}
    heads = list(re.finditer(r"^(#+) (.+)$", text, re.MULTILINE))
    for number, head in enumerate(heads):
        after = (each for each in heads[number + 1 :] if len(each[1]) <= len(head[1]))
        end = next(after, None)
        found[slug(head[2])] = text[head.start() : end.start() if end else len(text)]
    return found


@pytest.fixture(scope="module")
def site():
    return {path.name: sections(path.read_text(encoding="utf-8")) for path in DOCS.glob("*.md")}


@pytest.mark.parametrize("job", JOBS)
def test_the_front_page_leads_to_the_command(site, job):
    """By one link of the job's row, to the section or the page that has it."""
    [row] = [line for line in site["index.md"][None].splitlines() if line.startswith(f"| {job} |")]
    targets = [site[page or "index.md"][anchor or None] for page, anchor in LINK.findall(row)]
    assert targets
    assert any(JOBS[job] in text for text in targets)


def test_every_page_is_near_the_front_page(site):
    """Three links at most."""
    away = {"index.md": 0}
    queue = deque(away)
    while queue:
        page = queue.popleft()
        for target, _ in LINK.findall(site[page][None]):
            if target in site and target not in away:
                away[target] = away[page] + 1
                queue.append(target)
    assert away.keys() == site.keys()
    assert max(away.values()) <= 3


def test_every_anchor_exists(site):
    for name, page in site.items():
        for target, anchor in LINK.findall(page[None]):
            if anchor and (target or name) in site:
                assert anchor in site[target or name], (name, target, anchor)
