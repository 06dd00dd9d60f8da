"""Comments in prompts: what # hides, as A1111 hides it."""


def without_comments(text: str) -> str:
    """`text` without what stands from a # to the end of its line.

    A line that is a comment as a whole goes away with its line break; but of one that begins or ends the text or follows one
    that went away an empty line is left, and a comment that ends the text leaves a line break, as in A1111.
    """
    if "#" not in text:
        return text
    lines = text.split("\n")
    kept: list[str] = []
    joined = False  # the line break before this line went away with the comment before it
    for i, line in enumerate(lines):
        last, whole = i == len(lines) - 1, line.startswith("#") and not joined
        if whole and i > 0 and not last:
            joined = True
            continue
        kept.append(line.partition("#")[0])
        joined = whole and i == 0
        if last and "#" in line and (i == 0 or not whole):
            kept.append("")
    return "\n".join(kept)
