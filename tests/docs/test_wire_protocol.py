"""docs/wire-protocol.md has the numbers and the layouts of src/dataplane/wire/frame.hpp."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/wire-protocol.md").read_text()
HEADER = (ROOT / "src/dataplane/wire/frame.hpp").read_text()
ERRORS = (ROOT / "include/klaw/errors.hpp").read_text()
KINDS = (ROOT / "src/dataplane/wire/kind.hpp").read_text()
CORE = (ROOT / "include/klaw/channels/detail/core.hpp").read_text()

# What the document calls the types of the code.
SCALARS = {
    "bool": "bool",
    "std::uint16_t": "u16",
    "std::uint32_t": "u32",
    "std::uint64_t": "u64",
    "SessionId": "u32",
    "Seq": "u64",
    "Attempt": "u64",
    "Version": "u64",
    "ChannelId": "id",
    "ClientId": "id",
    "Token": "id",
    "Nonce": "id",
    "Mac": "mac",
    "std::string": "text",
    "std::string_view": "bytes",
    "Bytes": "bytes",
    "Side": "side",
    "CloseKind": "close_kind",
    "ChannelKind": "channel_kind",
    "Why": "refusal",
    "Outcome": "outcome",
    "Delivery": "delivery",
    "Sender": "expired_sender",
}

ROW = re.compile(
    r"^\| (\d+) \| ([A-Z_]+) \|(?: (?:client|broker) \|)? ([^|]+?) \| [^|]+ \|$", re.MULTILINE
)
STRUCT = re.compile(
    r"^(?P<indent> *)struct (?P<name>\w+) \{\n(?P<body>.*?)^(?P=indent)\};$",
    re.MULTILINE | re.DOTALL,
)
FIELDS = re.compile(r"fields\(auto& f\) \{\s*return std::tie\(([^)]*)\)")


def documented_type(cpp: str) -> str:
    if match := re.fullmatch(r"std::optional<(.+)>", cpp):
        return f"{documented_type(match[1])}?"
    if match := re.fullmatch(r"std::vector<(.+)>", cpp):
        return f"[{documented_type(match[1])}]"
    return SCALARS[cpp]


def layout(body: str) -> str:
    """The fields of a struct, in the order of fields(), as the document writes them."""
    own = STRUCT.sub("", body)
    match = FIELDS.search(own)
    assert match, body
    names = [name.strip().removeprefix("f.") for name in match[1].split(",")]
    types = {name: cpp for cpp, name in re.findall(r"^ +([\w:<>]+) (\w+) = ", own, re.MULTILINE)}
    return ", ".join(f"{name} {documented_type(types[name])}" for name in names)


def frames_of_the_code() -> dict[str, tuple[int, str]]:
    numbers = dict(re.findall(r"^  (\w+) = (\d+),", HEADER, re.MULTILINE))
    structs = {struct["name"]: struct["body"] for struct in STRUCT.finditer(HEADER)}
    frames = {}
    for body in structs.values():
        if kind := re.search(r"kType = FrameType::(\w+);", body):
            frames[kind[1].upper()] = (int(numbers.pop(kind[1])), layout(body))
    assert numbers == {}, "numbers without a frame"
    return frames


def documented(name: str) -> str:
    match = re.search(rf"^\| {name} \| ([^|]+) \|$", DOCUMENT, re.MULTILINE)
    assert match, f"{name} is not documented"
    return match[1]


def enumerators(code: str, enum: str) -> str:
    match = re.search(rf"enum class {enum} : std::uint8_t \{{(.*?)\}};", code, re.DOTALL)
    assert match, enum
    return ", ".join(re.findall(r"\w+", re.sub(r"//.*", "", match[1])))


def test_each_frame_is_documented_with_its_number_and_its_layout():
    in_document = {name: (int(number), body) for number, name, body in ROW.findall(DOCUMENT)}
    assert in_document == frames_of_the_code()


def test_each_structure_is_documented_with_its_layout():
    structs = {struct["name"]: struct["body"] for struct in STRUCT.finditer(HEADER)}
    nested = {struct["name"]: struct["body"] for struct in STRUCT.finditer(structs["Expired"])}
    assert documented("delivery") == layout(structs["Delivery"])
    assert documented("expired_sender") == layout(nested["Sender"])


def test_each_enum_is_documented_with_its_values():
    assert documented("side") == enumerators(CORE, "Side")
    assert documented("close_kind") == enumerators(ERRORS, "CloseKind")
    assert documented("channel_kind") == enumerators(KINDS, "ChannelKind")
    assert documented("refusal") == enumerators(HEADER, "Why")
    assert documented("outcome") == enumerators(HEADER, "Outcome")


def test_each_frame_of_the_handshake_says_who_sends_it():
    handshake = DOCUMENT.split("### The handshake")[1].split("###")[0]
    rows = re.findall(r"^\| \d+ \| ([A-Z]+) \| (client|broker) \|", handshake, re.MULTILINE)
    assert [name for name, _ in rows] == [
        name for name, (number, _) in frames_of_the_code().items() if 8 <= number < 32
    ]
