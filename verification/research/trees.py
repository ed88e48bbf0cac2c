"""Trees kept by their digest. What a tree may hold is said in `verification.replay.trees`."""

import hashlib
from collections.abc import Mapping

from verification.replay import trees
from verification.research.models import Tree


def keep(files: Mapping[str, str]) -> Tree:
    """Keep a tree, {path: text}; the same again is the same row.

    Raises:
        trees.MalformedTree: a path, a text or a size is outside the limits.
    """
    content = trees.canonical_bytes(files)
    tree = Tree(digest=hashlib.sha256(content).hexdigest(), untrusted_files=dict(files), byte_count=len(content))
    Tree.objects.bulk_create([tree], ignore_conflicts=True)
    return Tree.objects.get(pk=tree.pk)


def content(tree: Tree) -> bytes:
    """Return the bytes that a run's input "tree" has; their SHA-256 is the tree's digest."""
    return trees.canonical_bytes(tree.untrusted_files)
