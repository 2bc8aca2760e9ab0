// Tickets as texts: there and back, and what is said of texts that are none.
#include <random>
#include <string>

#include <dataplane/ticket/ticket.hpp>
#include <dataplane/wire/values.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace klaw::dataplane {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

Ticket example() {
  Ticket ticket;
  ticket.side = Side::receiver;
  ticket.kind = ChannelKind::watch;
  ticket.capacity = 64;
  ticket.uses_tls = true;
  ticket.token = random_id<Token>();
  ticket.key = random_secret();
  ticket.channel = "0123456789abcdef";
  ticket.name = "jobs";
  ticket.ns = "klaw";
  ticket.unix_path = "/tmp/klaw-1000/socket";
  ticket.addresses = {"10.0.0.1:4711", "[::1]:4711"};
  return ticket;
}

TEST(Ticket, ComesBackAsItWas) {
  const Ticket ticket = example();
  EXPECT_TRUE(ticket_of(to_text(ticket)).value() == ticket);
  EXPECT_TRUE(ticket_of(to_text(Ticket{})).value() == Ticket{});
}

// Whatever the number of bytes, of which base64 takes three at a time.
TEST(Ticket, ComesBackAtEveryLength) {
  for (std::size_t size = 0; size < 50; ++size) {
    Ticket ticket = example();
    ticket.name = std::string(size, '\xff');
    EXPECT_TRUE(ticket_of(to_text(ticket)).value() == ticket);
  }
}

TEST(Ticket, IsOneWordThatAShellLeavesAlone) {
  const std::string text = to_text(example());
  EXPECT_THAT(text, StartsWith("klaw1-"));
  EXPECT_EQ(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            std::string::npos);
  EXPECT_LT(text.size(), 300);
}

TEST(Ticket, MayHaveWhiteSpaceAroundIt) {
  const Ticket ticket = example();
  EXPECT_TRUE(ticket_of(" \t" + to_text(ticket) + "\r\n").value() == ticket);
}

TEST(Ticket, AnotherTextIsNoTicket) {
  for (const char* const text : {"", " ", "klaw", "jobs", "KLAW1-AAAA", "klaw1"}) {
    EXPECT_EQ(ticket_of(text).error(), "this is not a ticket: one begins with 'klaw1-'") << text;
  }
}

TEST(Ticket, OneOfALaterFormIsToldFromATextThatIsNone) {
  EXPECT_THAT(ticket_of("klaw2-AAAA").error(), HasSubstr("a form that this version of klaw does not know"));
}

TEST(Ticket, IsDamagedIfItIsCutOff) {
  const std::string text = to_text(example());
  for (std::size_t size = 6; size < text.size(); ++size) {
    EXPECT_THAT(ticket_of(text.substr(0, size)).error(), HasSubstr("cut off or changed")) << size;
  }
}

TEST(Ticket, IsDamagedIfACharacterIsChangedOrAdded) {
  const std::string text = to_text(example());
  for (std::size_t at = 6; at < text.size(); ++at) {
    std::string changed = text;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    EXPECT_THAT(ticket_of(changed).error(), HasSubstr("cut off or changed")) << at;
    changed[at] = '+';
    EXPECT_THAT(ticket_of(changed).error(), HasSubstr("cut off or changed")) << at;
  }
  EXPECT_THAT(ticket_of(text + "A").error(), HasSubstr("cut off or changed"));
  EXPECT_THAT(ticket_of(text + text).error(), HasSubstr("cut off or changed"));
}

TEST(Ticket, OfAnotherProtocolNamesBothVersions) {
  Ticket ticket = example();
  ticket.protocol = 300;
  EXPECT_THAT(ticket_of(to_text(ticket)).error(),
              AllOf(HasSubstr("speaks version 300"), HasSubstr("this one speaks version " + std::to_string(kVersion))));
}

// With a right checksum, as only somebody who means harm makes them.
TEST(Ticket, HostileTextsAreErrorsOrTickets) {
  std::mt19937 random(20261201);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same texts each time
  std::string bytes;
  encode_value(example(), bytes);
  for (int i = 0; i < 20'000; ++i) {
    std::string hostile = bytes;
    for (unsigned n = 1 + random() % 4; n > 0; --n) hostile[random() % hostile.size()] = static_cast<char>(random());
    hostile.resize(random() % (hostile.size() + 2), '\xff');
    const std::string text = ticket_detail::armored(hostile);
    const auto ticket = ticket_of(text);
    if (ticket) {
      EXPECT_EQ(to_text(*ticket), text);  // a ticket has one text
    } else {
      EXPECT_FALSE(ticket.error().empty());
    }
  }
}

TEST(Ticket, NothingIsAllocatedForAClaimedLength) {
  Ticket ticket = example();
  ticket.addresses.clear();
  std::string bytes;
  encode_value(ticket, bytes);
  bytes.back() = '\xff';  // the number of addresses, which goes on
  bytes += "\xff\xff\xff\xff\xff\xff\xff\x7f";
  EXPECT_THAT(ticket_of(ticket_detail::armored(bytes)).error(), HasSubstr("it ends early"));
  EXPECT_THAT(ticket_of("klaw1-" + std::string(1'000'000, 'A')).error(), HasSubstr("cut off or changed"));
}

}  // namespace
}  // namespace klaw::dataplane
