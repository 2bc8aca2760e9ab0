// Tickets over real sockets: from one client's endpoint to another's.
#include <string>

#include <dataplane/dialer/tickets.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/network.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::HasSubstr;

class Tickets : public Network {
 protected:
  Tickets() { start(); }

  // Of a handle that this client has.
  static Ticket ticket_of_handle(Client& client, Side side, const Registration& handle) {
    const auto token = random_id<Token>();
    EXPECT_EQ(client.held(side, handle, token), "done");
    Ticket ticket = ticket_at(client.dialer().endpoint().value(), token);
    ticket.side = side;
    return ticket_of(to_text(ticket)).value();
  }
  // What a handle from this ticket says to being opened, in a process of its own.
  static std::string try_out(const Ticket& ticket) {
    Client client(endpoint_of(ticket), seconds(1));
    return client.opened(ticket.side, client.open(ticket.side, ticket.token));
  }
};

TEST_F(Tickets, AClientWithATicketSendsOverEitherKindOfSocket) {
  for (const bool by_unix : {true, false}) {
    Client maker(endpoint(by_unix, !by_unix));
    const Registration tx = maker.open(Side::sender);
    const Registration rx = maker.open(Side::receiver);
    const Ticket ticket = ticket_of_handle(maker, Side::sender, tx);
    Client user(endpoint_of(ticket));
    EXPECT_EQ(user.send(user.open(ticket.side, ticket.token), "by ticket"), "done");
    EXPECT_EQ(maker.recv(rx), "by ticket");
  }
}

TEST_F(Tickets, ATicketCountsBeforeItsMakerHasIt) {
  Client maker(endpoint(true, false));
  const Registration tx = maker.open(Side::sender);
  std::ignore = ticket_of_handle(maker, Side::sender, tx);
  EXPECT_EQ(stats().sender_count, 2);
}

TEST_F(Tickets, ATicketIsUsedOnce) {
  Client maker(endpoint(true, false));
  const Registration tx = maker.open(Side::sender);
  const Ticket ticket = ticket_of_handle(maker, Side::sender, tx);
  EXPECT_EQ(try_out(ticket), "done");
  EXPECT_THAT(try_out(ticket), HasSubstr("this ticket was used before"));
}

TEST_F(Tickets, ATicketsKeyIsNotTheChannelsSecret) {
  Client maker(endpoint(true, false));
  const Registration tx = maker.open(Side::sender);
  Ticket ticket = ticket_of_handle(maker, Side::sender, tx);
  Endpoint forged = endpoint_of(ticket);
  forged.channel = settings_.channel;
  Client thief(forged, seconds(1));
  EXPECT_THAT(thief.opened(Side::receiver, thief.open(Side::receiver)), HasSubstr("can't be reached"));
  EXPECT_TRUE(log.has("it does not know the channel's secret"));
}

TEST_F(Tickets, AUserOfATicketGivesTicketsItself) {
  Client maker(endpoint(false, true));
  const Registration tx = maker.open(Side::sender);
  const Registration rx = maker.open(Side::receiver);
  const Ticket first = ticket_of_handle(maker, Side::sender, tx);
  Client user(endpoint_of(first));
  const Registration own = user.open(first.side, first.token);
  const Ticket second = ticket_of_handle(user, Side::sender, own);
  Client next(endpoint_of(second));
  EXPECT_EQ(next.send(next.open(second.side, second.token), "by a ticket's ticket"), "done");
  EXPECT_EQ(maker.recv(rx), "by a ticket's ticket");
}

TEST_F(Tickets, AUserWhoseConnectionIsLostComesBackByItsTicket) {
  Client maker(endpoint(true, false));
  const Registration tx = maker.open(Side::sender);
  const Registration rx = maker.open(Side::receiver);
  const Ticket ticket = ticket_of_handle(maker, Side::sender, tx);
  Client user(endpoint_of(ticket));
  const Registration own = user.open(ticket.side, ticket.token);
  EXPECT_EQ(user.send(own, "before"), "done");
  EXPECT_EQ(maker.recv(rx), "before");
  user.dialer().with_link([](Link& link, Time now) { link.received(now, Attached{}); });  // it drops such a broker
  EXPECT_EQ(user.send(own, "after"), "done");
  EXPECT_EQ(maker.recv(rx), "after");
}

TEST_F(Tickets, ATicketDoesNotOutliveItsBroker) {
  Client maker(endpoint(true, false));
  const Registration tx = maker.open(Side::sender);
  const Ticket ticket = ticket_of_handle(maker, Side::sender, tx);
  settings_.secret = random_secret();
  restart();
  EXPECT_THAT(try_out(ticket), HasSubstr("can't be reached"));
  EXPECT_TRUE(log.has("its endpoint is stale"));
}

}  // namespace
}  // namespace klaw::dataplane::test
