"""Deliberate faults in the broker and the link: the simulator must catch each of them.

    python tests/cpp/simulation/mutants.py BUILD_DIR [--seeds 20000] [--only NAME]

BUILD_DIR is a configured CMake build with klaw_simulate built. For each mutant one source file is changed in a copy and
compiled with the build's own command, klaw_simulate is linked with it instead of the original, and seeds are run until
one fails. Prints how many seeds each took; the exit status is 1 if one survived.

A seed that failed must fail again in a process of its own, with the same trace to its last step; and for the first
mutant, the smaller configuration that --shrink finds must fail as well.
"""

# ruff: noqa: T201
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "src" / "dataplane"


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    before: str  # occurs once in the file
    after: str


MUTANTS = [
    Mutant(
        "a lost wake-up: a message that comes back is not handed on",
        "broker/broker_messages.cpp",
        """    erase_receiver(receiver);
  } else {
    join_line(receiver);
  }
  match();
}""",
        """    erase_receiver(receiver);
  } else {
    join_line(receiver);
  }
}""",
    ),
    Mutant(
        "who was declared dead returns what it was decoding",
        "link/link_connection.cpp",
        "    session->unconfirmed.clear();",
        "",
    ),
    Mutant(
        "what was decoded is returned without a lease",
        "link/link_receiving.cpp",
        "const bool is_ours = has_lease(now);",
        "const bool is_ours = true;",
    ),
    Mutant(
        "a death that is noticed late has the last word",
        "broker/broker_sides.cpp",
        "at >= s.last_word",
        "at > Time::min()",
    ),
    Mutant(
        "a lost wake-up: a withdrawn batch leaves those behind it waiting",
        "broker/broker_messages.cpp",
        "  match();  // a large batch at the head of the line may have held others up",
        "",
    ),
    Mutant(
        "a leaked slot: what a receiver consumed keeps it",
        "broker/broker_messages.cpp",
        "  item.has_slot = false;\n  --unread_slots_;\n",
        "  item.has_slot = false;\n",
    ),
    Mutant(
        "a doubled slot: an unread message holds none",
        "broker/broker_messages.cpp",
        "  if (item.has_slot) ++unread_slots_;\n",
        "",
    ),
    Mutant(
        "room is not looked at: capacity is one more than it is",
        "broker/broker_messages.cpp",
        "return taken <= settings_.capacity && count <= settings_.capacity - taken;",
        "return taken <= settings_.capacity && count <= settings_.capacity + 1 - taken;",
    ),
    Mutant(
        "a skipped de-duplication: a resumed connection sends everything again",
        "broker/broker_clients.cpp",
        "                                   .received = client.stream.report(),",
        "                                   .received = 0,",
    ),
    Mutant(
        "a resumed connection sends nothing again",
        "broker/broker_clients.cpp",
        "  for (const FramePtr& kept : client.stream.unacknowledged()) send(client, kept);\n",
        "",
    ),
    Mutant(
        "an acknowledgement by item: a stale attempt settles what was delivered anew",
        "broker/broker_messages.cpp",
        "return it != receiver.outstanding.end() && it->attempt == attempt ? &*it : nullptr;",
        "return it != receiver.outstanding.end() ? &*it : nullptr;",
    ),
    Mutant(
        "a CLOSE that overtakes: a sender stops counting before its offers are stored",
        "broker/broker_sides.cpp",
        "if (!(sender.is_closing || is_refused) || !sender.undecided.empty() || sender.client == nullptr) return;",
        "if (!(sender.is_closing || is_refused) || sender.client == nullptr) return;",
    ),
    Mutant(
        "who closes, or passes by, is not told what is stored",
        "broker/broker_sides.cpp",
        "  if (sender.owes_stored) tell_stored(sender);\n",
        "",
    ),
    Mutant(
        "a passer-by's offer is void while a receiver has it",
        "broker/broker_sides.cpp",
        "          if (offer.is_out) return false;\n          offers_",
        "          if (!offer.is_out) offers_",
    ),
    Mutant(
        "a missed fence: the older connection of a client takes over",
        "broker/broker_clients.cpp",
        "if (frame.connection <= client.connection_number) return disconnect",
        "if (false) return disconnect",
    ),
    Mutant(
        "an END too early: attempts outstanding at others don't matter",
        "broker/broker_messages.cpp",
        "if (receiver.live != outstanding_ && !drops_messages()) {",
        "if (false) {",
    ),
    Mutant(
        "an END too early: the last sender does not matter",
        "broker/broker_messages.cpp",
        "  if (senders.is_closed) return broker_state::Ending",
        "  if (senders.count <= 1) return broker_state::Ending",
    ),
    Mutant(
        "an END during the rejoin grace",
        "broker/broker_sides.cpp",
        "  s.orphan_deadline = std::max(orphaned_until, rejoin_until_);",
        "  s.orphan_deadline = orphaned_until;",
    ),
    Mutant(
        "released messages go to the end of the queue",
        "broker/broker_messages.cpp",
        "  queue.insert(place, std::move(item));",
        "  (void)place;\n  queue.push_back(std::move(item));",
    ),
    Mutant(
        "what a dead receiver held is not marked",
        "broker/broker_messages.cpp|broker/broker_clients.cpp",
        "    ++item.redeliveries;\n    put_back(std::move(item));",
        "    put_back(std::move(item));",
    ),
    Mutant(
        "what a dead receiver held is lost",
        "broker/broker_clients.cpp",
        "    ++item.redeliveries;\n    put_back(std::move(item));",
        "    ++item.redeliveries;",
    ),
    Mutant(
        "a lost connection is taken for a death",
        "broker/broker_clients.cpp",
        "    const Time dead_at = after(client->detached_at, settings_.reconnect_grace);",
        "    const Time dead_at = client->detached_at;",
    ),
    Mutant(
        "a batch is stored in part",
        "broker/broker_messages.cpp",
        "  while (!offers_.empty() && has_room(offers_.begin()->second.count())) {",
        "  while (!offers_.empty() && has_room(1)) {",
    ),
    Mutant(
        "a nowait passes those who wait",
        "broker/broker_messages.cpp",
        "if (!is_rendezvous && offers_.empty() && has_room(count)) {",
        "if (!is_rendezvous && has_room(count)) {",
    ),
    Mutant(
        "a withdrawn offer is stored all the same",
        "broker/broker_messages.cpp",
        "  offers_.erase(offer->order);\n  answer(*sender, frame.seq, Answer::Outcome::withdrawn);\n"
        "  decide(*sender, frame.seq);",
        "  answer(*sender, frame.seq, Answer::Outcome::withdrawn);",
    ),
    Mutant(
        "a rendezvous completes when the message is on its way",
        "broker/broker_messages.cpp",
        "  find_undecided(*offer.sender, offer.seq)->is_out = true;",
        "  find_undecided(*offer.sender, offer.seq)->is_out = true;\n"
        "  answer(*offer.sender, offer.seq, Answer::Outcome::taken);",
    ),
    Mutant(
        "an unclaimed handle holds its side open for ever",
        "broker/broker_sides.cpp",
        "      lapse(held);",
        "",
    ),
    Mutant(
        "a claim counts twice",
        "broker/broker_sides.cpp",
        "    holds_.erase(held);  // its count becomes the session's",
        "    holds_.erase(held);\n    ++s.count;",
    ),
    Mutant(
        "a shutdown leaves those who wait in line waiting",
        "broker/broker_sides.cpp",
        "  refuse_offers();\n  if (drops",
        "  if (drops",
    ),
    Mutant(
        "what is offered after a shutdown is stored",
        "broker/broker_messages.cpp",
        "  if (refuses(*sender, frame.seq)) return std::nullopt;\n\n  const bool is_rendezvous",
        "  if (side(Side::receiver).is_closed) return std::nullopt;\n\n  const bool is_rendezvous",
    ),
    Mutant(
        "a later shutdown changes the reason",
        "broker/broker_sides.cpp",
        "  if (!is_shut_down()) shutdown_reason_ = std::move(frame.reason);",
        "  shutdown_reason_ = std::move(frame.reason);",
    ),
    Mutant(
        "a shutdown at once keeps what comes back",
        "broker/broker_sides.cpp",
        "  return side(Side::receiver).is_closed || shutdown_ == broker_state::Shutdown::immediate;",
        "  return side(Side::receiver).is_closed;",
    ),
    Mutant(
        "a shutdown drops what is to be drained",
        "broker/broker_sides.cpp",
        '  if (drops_messages()) drop_stored("the channel is shut down");',
        '  drop_stored("the channel is shut down");',
    ),
    Mutant(
        "a rendezvous' offer that is with a receiver waits again after a shutdown",
        "broker/broker_messages.cpp",
        "  if (offer->is_withdrawn || offer->nowait || is_shut_down()) {",
        "  if (offer->is_withdrawn || offer->nowait) {",
    ),
    Mutant(
        "who comes after a shutdown is not told",
        "broker/broker_clients.cpp",
        "  if (is_shut_down()) tell_shut_down(joined);\n",
        "",
    ),
    Mutant(
        "a reserved slot does not count in the capacity",
        "broker/broker_messages.cpp",
        "ready_.size() + unread_slots_ + reserved_ + window_.size();",
        "ready_.size() + unread_slots_ + window_.size();",
    ),
    Mutant(
        "a leaked reserved slot: the dead keep theirs",
        "broker/broker_clients.cpp",
        "  drop_permits(sender);\n",
        "  sender.permits.clear();\n",
    ),
    Mutant(
        "a released reserved slot wakes nobody",
        "broker/broker_messages.cpp",
        "  --reserved_;\n  finish_closing(sender);\n  match();",
        "  --reserved_;\n  finish_closing(sender);",
    ),
    Mutant(
        "a sender stops counting while it has reserved slots",
        "broker/broker_sides.cpp",
        "  if (!sender.permits.empty()) return;\n",
        "",
    ),
    Mutant(
        "an END after a shutdown while slots are reserved",
        "broker/broker_messages.cpp",
        "  if (reserved_ > 0 && !drops_messages()) return;\n",
        "",
    ),
    Mutant(
        "on a rendezvous what came back of a reserved slot is lost",
        "broker/broker_messages.cpp",
        "  if (settings_.capacity == 0 && item.has_slot && !item.by_permit) return",
        "  if (settings_.capacity == 0 && item.has_slot) return",
    ),
    Mutant(
        "a slot that was reserved for a cancelled operation is kept",
        "link/link_sending.cpp",
        "    if (is_slot) give_back(s, seq);\n",
        "",
    ),
    Mutant(
        "a woken reserve that is cancelled keeps its slot: it is reserved for nobody",
        "link/link_sending.cpp",
        "    return release_reserved(now, permit_of(w));",
        "    return;",
    ),
    Mutant(
        "no lease: a process that stood still goes on",
        "link/link.hpp",
        "{ return now < lease_until_ || is_broadcast(); }",
        "{ return now < lease_until_ || true; }",
    ),
    Mutant(
        "a cancelled receive swallows the message it was granted",
        "link/link_receiving.cpp",
        "    if (s == nullptr || s->granted == 0) return;\n    --s->granted;\n    give_up_grant(*s);",
        "    if (s == nullptr || s->granted == 0) return;\n    --s->granted;\n    s->unread.pop_front();\n"
        "    give_up_grant(*s);",
    ),
    Mutant(
        "a wake-up lost in the link: a grant that is given up wakes nobody",
        "link/link_receiving.cpp",
        "  touch(s);\n  grant(s);\n  if (!s.is_closed) return;",
        "  touch(s);\n  if (!s.is_closed) return;",
    ),
    Mutant(
        "CONSUMED at the wake-up",
        "link/link_receiving.cpp",
        "    if (signal(w, Waiter::Signal::granted)) ++s.granted;",
        "    if (!signal(w, Waiter::Signal::granted)) continue;\n"
        "    s.taken.push_back(s.unread[s.granted].attempt);\n    ++s.granted;",
    ),
    Mutant(
        "Empty without having asked",
        "link/link_receiving.cpp",
        "    if (w->question > s->answers) continue;",
        "",
    ),
    Mutant(
        "messages of a former life are kept after the expiry",
        "link/link_connection.cpp",
        "    session->unread.clear();\n    session->next = 1;",
        "    session->next = 1;",
    ),
    Mutant(
        "operations that were pending at the broker's death hear nothing",
        "link/link_connection.cpp",
        '    fail_handles(frame.restored ? "the',
        '    (void)(frame.restored ? "the',
    ),
    Mutant(
        "a send that timed out is reported before the broker has answered",
        "link/link_sending.cpp",
        "    if (offered.operation == &w) withdraw(s, offered);",
        "    if (offered.operation != &w) continue;\n    offered.operation = nullptr;\n"
        "    signal(w, Waiter::Signal::timed_out);",
    ),
    Mutant(
        "an unreachable broker is waited for, for ever",
        "link/link_connection.cpp",
        "  if (state_ == State::attached || now_ < unreachable_at_) return;",
        "  return;",
    ),
    Mutant(
        "a oneshot takes a second value",
        "broker/broker_oneshot.cpp",
        "  if (was_sent()) return answer(sender, offer.seq, Answer::Outcome::already_sent);",
        "  if (!ready_.empty()) return answer(sender, offer.seq, Answer::Outcome::already_sent);",
    ),
    Mutant(
        "receivers of a oneshot that is over wait for its senders",
        "broker/broker_messages.cpp",
        "  if (is_oneshot() && was_sent()) return ending_once_sent();",
        "",
    ),
    Mutant(
        "a restarted oneshot is not told that it was sent",
        "link/link_oneshot.cpp",
        "s.next = s.is_spent ? 2 : 1;",
        "s.next = 1;",
    ),
    Mutant(
        "a oneshot whose value is lost says that it was received",
        "broker/broker_oneshot.cpp",
        "  if (total_received_ > 0 || outstanding_ > 0) return",
        "  return",
    ),
    Mutant(
        "a broadcast: who subscribes gets what is kept for others",
        "broker/broker_sides.cpp",
        "is_claimed ? held->second.place : window_.tail();",
        "is_claimed ? held->second.place : window_.base();",
    ),
    Mutant(
        "a broadcast: what is sent while a receiver is on its way is not for it",
        "broker/broker_sides.cpp",
        "is_claimed ? held->second.place : window_.tail();",
        "window_.tail();\n  if (is_claimed) window_.move(held->second.place, place);",
    ),
    Mutant(
        "a broadcast: a lag that is told one too long",
        "broker/broker_broadcast.cpp",
        "const std::uint64_t skipped = window_.base() -",
        "const std::uint64_t skipped = 1 + window_.base() -",
    ),
    Mutant(
        "a broadcast: a lag that overtakes what was delivered before",
        "broker/broker_broadcast.cpp",
        "      send_deliveries(receiver);\n      ++receiver.delivered;",
        "      ++receiver.delivered;",
    ),
    Mutant(
        "a broadcast: a lost wake-up, those who have read all are not told of more",
        "broker/broker_broadcast.cpp",
        ".receivers = window_.readers()}));\n  wake_readers();",
        ".receivers = window_.readers()}));",
    ),
    Mutant(
        "a broadcast: a send is told of one receiver too many",
        "broker/broker_broadcast.cpp",
        ".receivers = window_.readers()}));",
        ".receivers = window_.readers() + 1}));",
    ),
    Mutant(
        "a broadcast that waits does not, with a receive that is about to take",
        "broker/broker_broadcast.cpp",
        "(!settings_.waits_for_slowest || has_room(1));",
        "(!settings_.waits_for_slowest || has_room(1) || count_unread() > 0);",
    ),
    Mutant(
        "a broadcast: who dies holds its place",
        "broker/broker_clients.cpp",
        "  if (is_broadcast()) unsubscribe(receiver);",
        "  if (is_broadcast()) receiver.reading.unread.clear();",
    ),
    Mutant(
        "a broadcast: what came from an earlier broker is handed out after the error",
        "link/link_connection.cpp",
        "    if (is_broadcast()) s.unread.clear();",
        "    if (false) s.unread.clear();",
    ),
    Mutant(
        "a broadcast: a lag is not counted as a delivery",
        "link/link_broadcast.cpp",
        "  ++s->received;\n",
        "",
    ),
    Mutant(
        "a watch: a send is told of one receiver too many",
        "broker/broker_watch.cpp",
        ".receivers = side(Side::receiver).count}));",
        ".receivers = side(Side::receiver).count + 1}));",
    ),
    Mutant(
        "a watch: a lost wake-up, those who wait are not told of a change",
        "broker/broker_watch.cpp",
        "  is_news_ = true;\n",
        "",
    ),
    Mutant(
        "a watch: versions of a restarted broker are those of its predecessor",
        "broker/broker_sides.cpp",
        "version_(settings_.epoch << kAttemptEpochShift)",
        "version_(std::uint64_t{1} << kAttemptEpochShift)",
    ),
    Mutant(
        "a watch: a change wakes one receive only",
        "link/link_watch.cpp",
        "    while (!s.waiting.empty() && is_unseen(s)) {",
        "    if (!s.waiting.empty() && is_unseen(s)) {",
    ),
]


class Build:
    """The compile and link commands of klaw_simulate in a CMake build with Ninja."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        commands = json.loads((folder / "compile_commands.json").read_text())
        self.commands = {str(Path(c["file"]).resolve()): c for c in commands}
        listing = self.ninja("-t", "commands", "klaw_simulate")
        self.link = [
            line for line in listing.splitlines() if " -o " in line and "klaw_simulate" in line
        ][-1]

    def ninja(self, *arguments: str) -> str:
        done = subprocess.run(
            ["ninja", "-C", str(self.folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)
        return done.stdout

    def compile(self, source: Path, changed: Path, output: Path, include: Path) -> None:
        command = self.commands[str(source.resolve())]
        words = shlex.split(command["command"])
        words[words.index("-o") + 1] = str(output)
        words[words.index("-c") + 1] = str(changed)
        words[1:1] = [f"-I{include}", "-w"]
        subprocess.run(words, cwd=command["directory"], check=True)

    def link_with(self, objects: list[Path], output: Path) -> None:
        # Before the libraries: the linker takes the first definition, and the archive's members are then not needed.
        command = self.link.removeprefix(": && ").removesuffix(" && :")
        command = re.sub(r"-o \S*klaw_simulate\b", f"-o {output}", command)
        front = " ".join(str(o) for o in objects)
        command = re.sub(r"(\S*klaw_simulate\.dir\S*\.o)", rf"{front} \1", command, count=1)
        subprocess.run(["bash", "-c", command], cwd=self.folder, check=True)


def units_of(path: Path) -> list[Path]:
    """What has to be compiled again: the file, or all of its room's sources if it is a header."""
    return [path] if path.suffix == ".cpp" else sorted(path.parent.glob("*.cpp"))


def simulate(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, check=False, timeout=600
    )


def replays(program: Path, seed: int) -> bool:
    """Whether it fails again, and in the same way: what it prints has the hash of the trace."""
    first, again = (simulate(program, "--seed", str(seed)) for _ in range(2))
    return first.returncode != 0 and first.stdout == again.stdout


def shrinks(program: Path, seed: int) -> bool:
    """Whether the command of the smaller configuration that it finds fails."""
    report = simulate(program, "--seed", str(seed), "--shrink").stdout
    command = re.search(r"^to see all of it: +klaw_simulate (.*) --trace$", report, re.MULTILINE)
    return command is not None and simulate(program, *command[1].split()).returncode != 0


def run(mutant: Mutant, build: Build, seeds: int) -> int | None:
    """The number of seeds that it took to catch it; None: it survived."""
    file = next(f for f in mutant.file.split("|") if mutant.before in (SOURCES / f).read_text())
    text = (SOURCES / file).read_text()
    if text.count(mutant.before) != 1:
        sys.exit(f"{mutant.name}: its place in {file} is there {text.count(mutant.before)} times")
    with tempfile.TemporaryDirectory() as scratch:
        include = Path(scratch)
        changed = include / "dataplane" / file
        changed.parent.mkdir(parents=True)
        changed.write_text(text.replace(mutant.before, mutant.after))
        objects = []
        for unit in units_of(SOURCES / file):
            source = changed if unit == SOURCES / file else unit
            objects.append(include / f"{unit.stem}.o")
            build.compile(unit, source, objects[-1], include)
        program = include / "mutant"
        build.link_with(objects, program)
        done = simulate(program, "--seeds", "1", str(seeds), "--first")
        if done.returncode == 0:
            return None
        found = re.search(r"^seed (\d+): (.*)$", done.stdout, re.MULTILINE)
        if found is None:
            sys.exit(f"{mutant.name}: it failed, and names no seed:\n{done.stdout}{done.stderr}")
        seed = int(found[1])
        if found[2] != "hang" and not replays(program, seed):
            sys.exit(f"{mutant.name}: seed {seed} does not fail again in the same way")
        if mutant == MUTANTS[0] and not shrinks(program, seed):
            sys.exit(f"{mutant.name}: seed {seed} does not shrink")
    return seed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    build = Build(options.build.resolve())
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, seeds in zip(
            chosen, pool.map(lambda m: run(m, build, options.seeds), chosen), strict=True
        ):
            print(f"{'survived' if seeds is None else seeds!s:>8}  {mutant.name}", flush=True)
            if seeds is None:
                survivors.append(mutant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
