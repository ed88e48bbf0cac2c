"""From a bounty's question to the words that say what the photograph shows."""

import re

VERSION = "phrases-1"
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
# "Please take a clear photo of the bakery" asks for "the bakery": words about the photograph itself say nothing of what it shows.
_REQUEST = re.compile(
    r"^(?:please\s+|kindly\s+|could you\s+|can you\s+|i need\s+|we need\s+)*"
    r"(?:(?:also\s+)?(?:show|photograph|capture|picture|snap|find|document)(?:\s+(?:me|us))?"
    r"|(?:take|make|send|get|provide|upload|give)(?:\s+(?:me|us))?(?=\s+(?:a|an|one|the)?\s*(?:\w+\s+){0,2}(?:photo|photograph|picture|image|shot)\b))\s+",
    re.IGNORECASE,
)
_PHOTO_OF = re.compile(
    r"^(?:(?:a|an|one|the)\s+)?(?:\w+\s+){0,2}?(?:photo|photograph|picture|image|shot)\s+"
    r"(?:of|showing|that shows|which shows|with)\s+",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"^(?:(?:does|do) (?:the|this|your) (?:photo|photograph|picture|image) (?:show|contain)"
    r"|(?:is|are) there|there (?:is|are)|can (?:you|we|i) see|do you see|this is|it is|is (?:this|it|that))\s+",
    re.IGNORECASE,
)
_IN_THE_PHOTO = re.compile(
    r"\s+(?:is |are )?(?:visible |shown )?in (?:the|this|your) (?:photo|photograph|picture|image|frame)$", re.IGNORECASE
)


def content_phrase(text: str) -> str:
    """Strip what a question says about the asking: "Show a cup of coffee on a table." gives "a cup of coffee on a table".

    Of several sentences, those that ask to be shown something are taken; where there is none, all are.
    """
    sentences = [sentence.strip() for sentence in _SENTENCES.split(text.strip()) if sentence.strip()]
    asking = [sentence for sentence in sentences if _REQUEST.match(sentence)]
    phrase = " ".join(filter(None, map(_content_of_sentence, asking or sentences)))
    return phrase or " ".join(text.split())


def _content_of_sentence(sentence: str) -> str:
    phrase = " ".join(sentence.split()).rstrip(" .!?…,;:")
    for pattern in (_REQUEST, _PHOTO_OF, _QUESTION, _IN_THE_PHOTO):
        phrase = pattern.sub("", phrase)
    return phrase.strip(" .!?,;:\"'")
