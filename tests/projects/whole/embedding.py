"""Embeds a text as how often each animal is named."""


async def embed(texts: list[str]) -> list[list[float]]:
    return [[float(text.count(animal)) for animal in ("cat", "dog", "tree")] for text in texts]
