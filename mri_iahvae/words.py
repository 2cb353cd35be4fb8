"""Words in messages."""


def counted(number: int, noun: str) -> str:
    """So many of something: "1 slice", "2 slices"."""
    return f"{number} {noun}" + "s" * (number != 1)
