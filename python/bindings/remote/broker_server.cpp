#include "remote/broker_server.hpp"

#include <algorithm>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <dataplane/auth/handshake.hpp>
#include <dataplane/server/server.hpp>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "await/bound.hpp"
#include "await/mailbox.hpp"
#include "await/operation.hpp"
#include "handles/channel.hpp"
#include "remote/payload.hpp"

namespace klaw::python {

namespace nb = nanobind;
using namespace nb::literals;
using dataplane::Broker;
using dataplane::PlainCall;
using dataplane::PlainCalls;
using dataplane::PlainStatus;
using dataplane::Server;
using dataplane::ServerSettings;
using dataplane::Time;

namespace {

const char* to_text(PlainStatus status) noexcept {
  switch (status) {
    case PlainStatus::ok: return "ok";
    case PlainStatus::full: return "full";
    case PlainStatus::empty: return "empty";
    case PlainStatus::closed: break;
  }
  return "closed";
}

// What the actor is told of: ("log", text), ("ended", ""), ("handles", how many), ("reference", its name): it is gone.
struct Event {
  const char* what;
  std::string text;
};

// Waits for the reply of a plain call.
class PlainPending final : public PendingOp {
 public:
  struct Request {
    std::shared_ptr<Server> server;
    bool is_get;
    std::string handle;
    std::vector<Bytes> messages;  // of a put
    std::size_t max_items;        // of a get
    dataplane::PlainOp op;
    dataplane::PlainOperation operation = {};
  };

  PlainPending(const char* name, Patience patience, std::unique_ptr<Request> request)
      : PendingOp(name, patience), request_(std::move(request)) {}

  Status start(Operation* operation) override {
    if (operation == nullptr) return Status::pending;
    Request& r = *request_;
    return r.server->start_plain(r.operation, *operation, [&](PlainCalls& plain, Time now, PlainCall call) {
      if (r.is_get) {
        plain.get(now, call, r.handle, r.max_items, deadline(now), r.op);
      } else {
        plain.put(now, call, r.handle, std::move(r.messages), deadline(now), r.op);
      }
    });
  }
  Status finish() override { return Status::done; }
  void abandon() noexcept override { request_->server->abandon_plain(request_->operation); }

  PyObject* outcome(Status /*status*/) override {
    const dataplane::PlainReply& reply = request_->operation.reply;
    if (!request_->is_get) return PyUnicode_FromString(to_text(reply.status));
    const Ref list = Ref::steal(PyList_New(0));
    for (const Bytes& message : reply.messages) {
      const Ref bytes = Ref::steal(PyBytes_FromStringAndSize(message.data(), static_cast<Py_ssize_t>(message.size())));
      if (!list || !bytes || PyList_Append(list.get(), bytes.get()) < 0) return nullptr;
    }
    return list ? Py_BuildValue("sO", to_text(reply.status), list.get()) : nullptr;
  }

  void hold(PyObject* operation) override { held_ = Ref::borrow(operation); }
  void release() noexcept override { const Ref last = std::move(held_); }
  [[nodiscard]] bool is_remote() const noexcept override { return true; }
  [[nodiscard]] bool keeps_time() const noexcept override { return true; }
  int traverse(visitproc /*visit*/, void* /*arg*/) const override { return 0; }

 private:
  [[nodiscard]] Time deadline(Time now) const noexcept {
    if (!patience().waits()) return Time();
    if (!patience().is_limited()) return dataplane::kNever;
    constexpr double kLongest_s = 1e9;
    return now + std::chrono::duration_cast<dataplane::Duration>(
                     std::chrono::duration<double>(std::min(patience().seconds(), kLongest_s)));
  }

  std::unique_ptr<Request> request_;
  Ref held_;
};

Patience patience_of(const nb::object& timeout) {
  Patience patience = Patience::forever();
  if (!parse_patience(timeout.ptr(), patience)) nb::raise_python_error();
  return patience;
}

dataplane::ChannelKind known_kind(const std::string& name) {
  if (const auto kind = dataplane::kind_named(name)) return *kind;
  throw nb::value_error(("there is no channel of kind " + name).c_str());
}

// What a ChannelSettings of Python says to the broker.
dataplane::BrokerSettings broker_settings(const nb::object& settings) {
  constexpr double kLongest_s = 1e9;
  const auto grace_s = nb::cast<double>(settings.attr("orphan_grace"));
  const auto capacity = nb::cast<std::optional<std::uint64_t>>(settings.attr("capacity"));
  return {.kind = known_kind(nb::cast<std::string>(settings.attr("kind"))),
          .capacity = capacity.value_or(dataplane::kUnbounded),
          .persistent = nb::cast<bool>(settings.attr("persistent")),
          .waits_for_slowest = nb::cast<std::string>(settings.attr("overflow")) == "wait",
          .orphan_grace = std::chrono::duration_cast<dataplane::Duration>(
              std::chrono::duration<double>(std::min(grace_s, kLongest_s)))};
}

class BrokerServer {
 public:
  // channel_settings: a ChannelSettings of Python.
  BrokerServer(const nb::object& channel_settings, std::uint64_t epoch, double created_at, const nb::bytes& channel,
               const nb::bytes& secret, std::string unix_path, std::vector<std::string> hosts, std::uint16_t port_min,
               std::uint16_t port_max, const std::optional<std::tuple<std::string, std::string, std::string>>& tls,
               const nb::bytes& initial)
      : mailbox_(std::make_shared<Mailbox<Event>>()) {
    ServerSettings settings{
        .broker = broker_settings(channel_settings),
        .unix_path = std::move(unix_path),
        .hosts = std::move(hosts),
        .port_min = port_min,
        .port_max = port_max,
        .tls = tls ? dataplane::load_tls({std::get<0>(*tls), std::get<1>(*tls), std::get<2>(*tls)}) : nullptr,
        .log = [box = mailbox_](const std::string& text) { box->put({"log", text}); },
        .ended = [box = mailbox_] { box->put({"ended", ""}); },
        .handles_changed = [box = mailbox_](std::size_t handles) { box->put({"handles", std::to_string(handles)}); },
        .message_ended =
            [box = mailbox_](const Bytes& message) { box->put({"reference", std::string(reference_name(message))}); },
    };
    settings.broker.epoch = epoch;
    settings.broker.created_at = created_at;
    settings.broker.initial = Bytes(std::string_view(initial.c_str(), initial.size()));
    settings.broker.tells_end_of = is_reference;
    copy_id(channel, settings.channel.bytes);
    copy_id(secret, settings.secret);
    channel_ = settings.channel;
    epoch_ = epoch;
    server_ = Server::start(std::move(settings));
  }

  [[nodiscard]] std::vector<std::string> addresses() const { return server_->addresses(); }

  nb::object next_event(const nb::object& timeout) {
    const Patience patience = patience_of(timeout);
    channels::detail::Deadline deadline;
    if (patience.is_limited()) {
      deadline = channels::detail::deadline_after(std::chrono::duration<double>(patience.seconds()));
    }
    const std::shared_ptr<Mailbox<Event>> box = mailbox_;
    const std::optional<Event> event = box->take(deadline);
    if (!event) return nb::none();
    return nb::make_tuple(event->what, nb::str(event->text.c_str(), event->text.size()));
  }

  const char* register_handle(bool is_sender, const std::string& name) {
    const Side side = is_sender ? Side::sender : Side::receiver;
    return to_text(
        server_->with_plain([&](PlainCalls& plain, Time now) { return plain.register_handle(now, side, name); }));
  }
  void deregister_handle(bool is_sender, const std::string& name) {
    const Side side = is_sender ? Side::sender : Side::receiver;
    server_->with_plain([&](PlainCalls& plain, Time now) { plain.deregister_handle(now, side, name); });
  }

  nb::object put(const nb::list& items, const nb::object& timeout, const std::string& handle, const std::string& caller,
                 std::uint64_t number) {
    auto request = make_request(false, handle, caller, number);
    const nb::tuple mine(items);  // pickling may change the caller's
    for (const nb::handle item : mine) {
      std::optional<Bytes> payload = encode_payload(item.ptr());
      if (!payload) nb::raise_python_error();
      request->messages.push_back(*std::move(payload));
    }
    return checked(make_operation<PlainPending>("put", patience_of(timeout), std::move(request)));
  }
  nb::object get(std::size_t max_items, const nb::object& timeout, const std::string& handle, const std::string& caller,
                 std::uint64_t number) {
    auto request = make_request(true, handle, caller, number);
    request->max_items = max_items;
    return checked(make_operation<PlainPending>("get", patience_of(timeout), std::move(request)));
  }

  nb::object stats() {
    return checked(make_stats(server_->with_broker([](Broker& broker, Time now) { return broker.stats(now); })));
  }
  // (sent, received), in bytes
  nb::tuple traffic() {
    const dataplane::Traffic t = server_->with_broker([](Broker& broker, Time) { return broker.traffic(); });
    return nb::make_tuple(t.sent_bytes, t.received_bytes);
  }
  // Pickled handles that nobody has claimed: (senders, receivers).
  nb::tuple unclaimed() {
    const auto [senders, receivers] = server_->with_broker([](Broker& broker, Time) {
      return std::pair(broker.unclaimed(Side::sender), broker.unclaimed(Side::receiver));
    });
    return nb::make_tuple(senders, receivers);
  }
  // name -> (node, seconds since it registered, seconds since it was last seen, messages received)
  nb::dict reader_stats() {
    Time now;
    const auto readers = server_->with_broker([&](Broker& broker, Time at) {
      now = at;
      return broker.reader_stats();
    });
    const auto ago = [&](Time then) { return std::chrono::duration<double>(now - then).count(); };
    nb::dict all;
    for (const dataplane::ReaderStats& reader : readers) {
      all[reader.name.c_str()] =
          nb::make_tuple(reader.node, ago(reader.registered_at), ago(reader.last_seen_at), reader.total_received);
    }
    return all;
  }
  // The names of all references that are in it, wherever.
  std::vector<std::string> references() {
    return server_->with_broker([](Broker& broker, Time) {
      std::vector<std::string> names;
      for (const dataplane::MessageView& view : broker.messages()) {
        if (is_reference(*view.message)) names.emplace_back(reference_name(*view.message));
      }
      return names;
    });
  }
  nb::list peek(std::size_t max_items) {
    nb::list payloads;
    for (const Bytes& message : server_->with_broker([&](Broker& broker, Time) { return broker.peek(max_items); })) {
      payloads.append(nb::bytes(message.data(), message.size()));
    }
    return payloads;
  }
  bool is_closed() {
    return server_->with_broker([](Broker& broker, Time) { return broker.is_closed(); });
  }
  // (created_at, total_sent, total_received, senders_closed, receivers_closed, all of it as bytes or None), of one moment.
  // Under the broker's lock, messages are listed and not copied.
  nb::tuple checkpoint(bool with_messages) {
    dataplane::Checkpoint c;
    std::string bytes;
    {
      const nb::gil_scoped_release release;
      c = server_->with_broker([&](Broker& broker, Time) { return broker.checkpoint(with_messages); });
      c.channel = channel_;
      if (with_messages) bytes = encode(c);
    }
    const bool takes_no_sends = c.sending.is_closed || c.shutdown.is_shut_down;
    const nb::object all = with_messages ? nb::object(nb::bytes(bytes.data(), bytes.size())) : nb::none();
    return nb::make_tuple(c.created_at, c.total_sent, c.total_received, takes_no_sends, c.receiving.is_closed, all);
  }
  // False: it has been used already.
  bool restore(double created_at, std::uint64_t total_sent, std::uint64_t total_received, bool senders_closed,
               bool receivers_closed) {
    dataplane::Checkpoint c{.created_at = created_at, .total_sent = total_sent, .total_received = total_received};
    c.sending.is_closed = senders_closed;
    c.receiving.is_closed = receivers_closed;
    return take_over(c);
  }
  // False: it has been used already.
  bool restore_checkpoint(const nb::bytes& bytes, bool is_own) {
    const std::string_view view(bytes.c_str(), bytes.size());
    const nb::gil_scoped_release release;
    const std::expected<dataplane::Checkpoint, std::string> c = dataplane::decode_checkpoint(view);
    if (!c) throw std::invalid_argument(c.error());
    if (is_own && c->channel != channel_) throw std::invalid_argument("it is another channel's");
    if (is_own && c->epoch >= epoch_) {
      throw std::invalid_argument("it is of epoch " + std::to_string(c->epoch) + ", this is epoch " +
                                  std::to_string(epoch_));
    }
    return take_over(*c);
  }
  void abandon(const nb::bytes& token) {
    dataplane::Token lost;
    copy_id(token, lost.bytes);
    server_->with_broker([&](Broker& broker, Time now) { broker.abandoned(now, lost); });
  }
  void remove() {
    server_->with_broker([](Broker& broker, Time now) { broker.remove(now); });
  }
  void stop() { server_->stop(); }

 private:
  std::unique_ptr<PlainPending::Request> make_request(bool is_get, const std::string& handle, const std::string& caller,
                                                      std::uint64_t number) {
    return std::make_unique<PlainPending::Request>(PlainPending::Request{.server = server_,
                                                                         .is_get = is_get,
                                                                         .handle = handle,
                                                                         .messages = {},
                                                                         .max_items = 1,
                                                                         .op = {.caller = caller, .number = number}});
  }
  bool take_over(const dataplane::Checkpoint& c) {
    return server_->with_broker([&](Broker& broker, Time now) { return broker.restore(now, c); });
  }

  dataplane::ChannelId channel_;
  std::uint64_t epoch_ = 0;
  std::shared_ptr<Mailbox<Event>> mailbox_;
  std::shared_ptr<Server> server_;
};

}  // namespace

void add_broker_server(nb::module_& module) {
  nb::class_<BrokerServer>(module, "BrokerServer", nb::is_final(), "A channel's broker at its sockets.")
      .def(nb::init<nb::object, std::uint64_t, double, nb::bytes, nb::bytes, std::string, std::vector<std::string>,
                    std::uint16_t, std::uint16_t, std::optional<std::tuple<std::string, std::string, std::string>>,
                    nb::bytes>(),
           "settings"_a, nb::kw_only(), "epoch"_a, "created_at"_a, "channel"_a, "secret"_a, "unix_path"_a, "hosts"_a,
           "port_min"_a, "port_max"_a, "tls"_a.none() = nb::none(), "initial"_a = nb::bytes("", 0))
      .def_prop_ro("addresses", &BrokerServer::addresses, "The host:port of each of its TCP sockets.")
      .def("next_event", &BrokerServer::next_event, "timeout"_a.none() = nb::none(),
           "Blocks: ('log', text), ('ended', ''), ('handles', how many), ('reference', its name) when a reference has "
           "left "
           "it for good; None when the time is over.")
      .def("register_handle", &BrokerServer::register_handle, "is_sender"_a, "name"_a, "'ok' or 'closed'. Idempotent.")
      .def("deregister_handle", &BrokerServer::deregister_handle, "is_sender"_a, "name"_a, "Idempotent.")
      .def("put", &BrokerServer::put, "items"_a, "timeout"_a.none(), "handle"_a = "", "caller"_a = "", "number"_a = 0,
           "Awaitable: all items or none; 'ok', 'full' or 'closed'.")
      .def("get", &BrokerServer::get, "max_items"_a, "timeout"_a.none(), "handle"_a = "", "caller"_a = "",
           "number"_a = 0, "Awaitable: ('ok', 'empty' or 'closed', list of payloads).")
      .def("stats", &BrokerServer::stats, "A snapshot, as ChannelStats.")
      .def("unclaimed", &BrokerServer::unclaimed,
           "(senders, receivers): handles that were pickled and that nobody has claimed.")
      .def("abandon", &BrokerServer::abandon, "token"_a, "Nobody can unpickle that handle any more.")
      .def("traffic", &BrokerServer::traffic, "(sent, received): the bytes of all messages since it was made.")
      .def("reader_stats", &BrokerServer::reader_stats,
           "name -> (node, seconds since it registered, seconds since it was last seen, messages received)")
      .def("references", &BrokerServer::references, "The names of all references that are in it.")
      .def("peek", &BrokerServer::peek, "max_items"_a,
           "The payloads that would be received next, so many at most. They stay where they are.")
      .def("is_closed", &BrokerServer::is_closed, "Both sides have closed and nothing is left.")
      .def("checkpoint", &BrokerServer::checkpoint, "with_messages"_a,
           "(created_at, total_sent, total_received, senders_closed, receivers_closed, all that it holds): the last as "
           "bytes with a checksum, or None.")
      .def("restore", &BrokerServer::restore, "created_at"_a, "total_sent"_a, "total_received"_a, "senders_closed"_a,
           "receivers_closed"_a, "Takes these figures over; False if it has been used already.")
      .def("restore_checkpoint", &BrokerServer::restore_checkpoint, "data"_a, "is_own"_a,
           "Takes over the bytes of a checkpoint; False if it has been used already. ValueError: they are damaged, "
           "or (is_own) not of an earlier epoch of this channel.")
      .def("remove", &BrokerServer::remove, "Deletes the channel: tells everybody, and then ('ended', '').")
      .def("stop", &BrokerServer::stop, "Closes its sockets. What it holds is lost.");
}

}  // namespace klaw::python
