#include "remote/remote.hpp"

#include <algorithm>
#include <cctype>
#include <latch>
#include <map>
#include <new>
#include <span>

#include <dataplane/auth/handshake.hpp>
#include <dataplane/dialer/tickets.hpp>
#include <pthread.h>
#include <structmember.h>

#include "await/mailbox.hpp"
#include "handles/handle_methods.hpp"
#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"
#include "handles/weak.hpp"
#include "remote/remote_ops.hpp"
#include "remote/remote_type.hpp"

namespace klaw::python {

using dataplane::DialerSettings;
using dataplane::Duration;
using dataplane::Endpoint;
using dataplane::EndpointAnswer;
using dataplane::Ticket;
using dataplane::Token;

namespace {

// What the error of a handle by ticket ends with when its broker can't be reached.
constexpr const char* kAdviceToTickets =
    "; this handle came by a ticket, and can't look up where the channel's actor is now: if that was restarted, get a "
    "new ticket";
// For the broker to hear that the last handles have closed.
constexpr Duration kRetireLimit = std::chrono::seconds(5);

PyTypeObject* channel_type = nullptr;
std::vector<PyTypeObject*> handle_types[2];  // [Side], of all kinds
PyTypeObject* weak_types[2];                 // [Side]

RemoteChannelObject* cast_channel(PyObject* object) noexcept { return reinterpret_cast<RemoteChannelObject*>(object); }
RemoteHandleObject* cast_remote(PyObject* object) noexcept { return reinterpret_cast<RemoteHandleObject*>(object); }
PyObject* cast(RemoteChannelObject* channel) noexcept { return reinterpret_cast<PyObject*>(channel); }

std::string hex(const Token& token) {
  std::string text;
  for (const std::uint8_t byte : token.bytes) {
    text += "0123456789abcdef"[byte >> 4U];
    text += "0123456789abcdef"[byte & 0xFU];
  }
  return text;
}

// --- lookups ---

struct LookupDesk {
  Mailbox<Lookup> asked;
  channels::detail::Mutex mutex;
  std::map<std::uint64_t, EndpointAnswer> pending;  // under the mutex
  std::uint64_t last = 0;                           // under the mutex
};

// Never destroyed, and made anew in a fork's child: a thread of the parent's may have held it.
LookupDesk* desk = new LookupDesk;

void ask(const std::string& key, EndpointAnswer answer) {
  std::uint64_t id = 0;
  {
    const channels::detail::LockGuard<channels::detail::Mutex> guard(desk->mutex);
    id = ++desk->last;
    desk->pending.emplace(id, std::move(answer));
  }
  desk->asked.put(Lookup{.id = id, .key = key});
}

// --- RemoteChannel ---

std::shared_ptr<dataplane::Dialer> make_dialer(const RemoteChannelObject& channel) {
  dataplane::EndpointLookup look_up = [key = channel.key](EndpointAnswer answer) { ask(key, std::move(answer)); };
  if (channel.endpoint) look_up = [there = *channel.endpoint](const EndpointAnswer& answer) { answer(there); };
  return dataplane::Dialer::start(DialerSettings{
      .link = {.new_client_id = dataplane::random_id<dataplane::ClientId>,
               .kind = channel.kind,
               .node = channel.node,
               .about = channel.about,
               .prefetch = channel.prefetch,
               .advice = channel.endpoint ? kAdviceToTickets : ""},
      .look_up = std::move(look_up),
      .tls = channel.tls,
  });
}

// False with an exception set. `text`: a str or None.
bool parse_text(PyObject* object, std::optional<std::string>& text) noexcept { return parse_reason(object, text); }

// `files`: (certificate, key, authority) or None. False with an exception set, which names the file.
bool load_tls(PyObject* files, dataplane::TlsContext& tls) {
  const char* certificate = nullptr;
  const char* key = nullptr;
  const char* authority = nullptr;
  if (files == Py_None) return true;
  if (PyArg_ParseTuple(files, "sss", &certificate, &key, &authority) == 0) return false;
  try {
    tls = dataplane::load_tls({.certificate = certificate, .key = key, .authority = authority});
    return true;
  } catch (const std::runtime_error& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return false;
  }
}

struct ChannelFacts {
  std::string key = {};
  std::optional<dataplane::Endpoint> endpoint = {};
  ChannelBackendError about = {.message = {}, .backend = "ray", .actor_name = {}, .ns = {}};
  std::string node = {};
  dataplane::ChannelKind kind = dataplane::ChannelKind::mpmc;
  std::size_t capacity = 0;
  std::uint32_t prefetch = 0;
  dataplane::TlsContext tls = {};
};

// Null with an exception set.
PyObject* make_channel(PyTypeObject* type, ChannelFacts&& facts) {
  auto* const self = cast_channel(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->owner = self->value = nullptr;
  self->version = 0;
  ::new (&self->dialer) std::shared_ptr<dataplane::Dialer>();
  ::new (&self->key) std::string(std::move(facts.key));
  ::new (&self->endpoint) std::optional<dataplane::Endpoint>(std::move(facts.endpoint));
  ::new (&self->about) ChannelBackendError(std::move(facts.about));
  ::new (&self->node) std::string(std::move(facts.node));
  self->kind = facts.kind;
  self->capacity = facts.capacity;
  ::new (&self->tls) dataplane::TlsContext(std::move(facts.tls));
  self->prefetch = facts.prefetch;
  self->fork_generation = fork_generation;
  try {
    self->dialer = make_dialer(*self);
  } catch (const std::exception& error) {  // no descriptor, or no thread
    Py_DECREF(cast(self));
    PyErr_SetString(PyExc_OSError, error.what());
    return nullptr;
  }
  return cast(self);
}

PyObject* channel_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* const kNames[] = {"key",      "capacity", "name", "namespace", "node",
                                       "prefetch", "tls",      "kind", nullptr};
  PyObject* key = nullptr;
  PyObject* capacity = nullptr;
  PyObject* name = nullptr;
  PyObject* ns = nullptr;
  PyObject* node = nullptr;
  PyObject* tls_files = Py_None;
  const char* kind_name = "mpmc";
  ChannelFacts facts;
  if (PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOI|Os:RemoteChannel", const_cast<char**>(kNames), &key, &capacity,
                                  &name, &ns, &node, &facts.prefetch, &tls_files, &kind_name) == 0 ||
      !load_tls(tls_files, facts.tls)) {
    return nullptr;
  }
  const std::optional<dataplane::ChannelKind> kind = dataplane::kind_named(kind_name);
  if (!kind) {
    PyErr_Format(PyExc_ValueError, "there is no channel of kind %s", kind_name);
    return nullptr;
  }
  std::optional<std::string> key_text;
  std::optional<std::string> node_text;
  const Py_ssize_t messages = capacity == Py_None ? -1 : PyNumber_AsSsize_t(capacity, PyExc_OverflowError);
  if (PyErr_Occurred() != nullptr || !parse_text(key, key_text) || !parse_text(node, node_text) ||
      !parse_text(name, facts.about.actor_name) || !parse_text(ns, facts.about.ns)) {
    return nullptr;
  }
  facts.key = std::move(key_text).value_or("");
  facts.node = std::move(node_text).value_or("");
  facts.kind = *kind;
  facts.capacity = capacity == Py_None ? channels::detail::kUnbounded : static_cast<std::size_t>(messages);
  return make_channel(type, std::move(facts));
}

// --- tickets ---

PyObject* to_python(const std::string& text) {
  return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

// None with ValueError set, which says what is wrong with the text.
std::optional<Ticket> parse_ticket(PyObject* text) {
  Py_ssize_t size = 0;
  const char* const bytes = PyUnicode_AsUTF8AndSize(text, &size);
  if (bytes == nullptr) return std::nullopt;
  auto ticket = dataplane::ticket_of({bytes, static_cast<std::size_t>(size)});
  if (ticket) return *std::move(ticket);
  PyErr_SetString(PyExc_ValueError, ticket.error().c_str());
  return std::nullopt;
}

// read_ticket(text) -> (side, kind, token, uses_tls, unix_path)
PyObject* channel_read_ticket(PyObject* /*type*/, PyObject* text) {
  const std::optional<Ticket> ticket = parse_ticket(text);
  if (!ticket) return nullptr;
  const auto& bytes = ticket->token.bytes;
  const Ref token = Ref::steal(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  const Ref path = Ref::steal(to_python(ticket->unix_path));
  if (!token || !path) return nullptr;
  return Py_BuildValue("(ssOOO)", ticket->side == Side::sender ? "sender" : "receiver",
                       std::string(dataplane::name(ticket->kind)).c_str(), token.get(),
                       ticket->uses_tls ? Py_True : Py_False, path.get());
}

// from_ticket(text, prefetch, tls): `tls` of None where the ticket wants it: only the unix socket is tried.
PyObject* channel_from_ticket(PyObject* type, PyObject* args) {
  PyObject* text = nullptr;
  PyObject* tls_files = nullptr;
  ChannelFacts facts;
  if (PyArg_ParseTuple(args, "UIO:from_ticket", &text, &facts.prefetch, &tls_files) == 0) return nullptr;
  const std::optional<Ticket> ticket = parse_ticket(text);
  if (!ticket || !load_tls(tls_files, facts.tls)) return nullptr;
  facts.endpoint = dataplane::endpoint_of(*ticket);
  if (ticket->uses_tls && facts.tls == nullptr) facts.endpoint->addresses.clear();
  if (!ticket->uses_tls) facts.tls = nullptr;
  // Not the key of another connection: each ticket has its own.
  facts.key = ticket->channel + "/ticket/" + hex(ticket->token);
  if (!ticket->name.empty()) facts.about.actor_name = ticket->name;
  if (!ticket->ns.empty()) facts.about.ns = ticket->ns;
  facts.kind = ticket->kind;
  facts.capacity = ticket->capacity;
  return make_channel(reinterpret_cast<PyTypeObject*>(type), std::move(facts));
}

int channel_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(cast_channel(object)->owner);
  Py_VISIT(cast_channel(object)->value);
  return 0;
}

int channel_clear(PyObject* object) {
  Py_CLEAR(cast_channel(object)->owner);
  Py_CLEAR(cast_channel(object)->value);
  return 0;
}

void channel_dealloc(PyObject* object) {
  RemoteChannelObject& self = *cast_channel(object);
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (self.weakrefs != nullptr) PyObject_ClearWeakRefs(object);
  channel_clear(object);
  if (self.dialer == nullptr) {
    self.dialer.~shared_ptr();
  } else if (!self.dialer->is_inherited()) {
    self.dialer->retire(kRetireLimit);
    self.dialer.~shared_ptr();
  }
  self.key.~basic_string();
  self.endpoint.~optional();
  self.about.~ChannelBackendError();
  self.node.~basic_string();
  self.tls.~shared_ptr();
  type->tp_free(object);
  Py_DECREF(type);
}

// Its dialer is the parent's: it gets one of its own. The parent's is left as it is, and leaks. False with an exception set.
bool renew_after_fork(RemoteChannelObject& channel) {
  if (channel.fork_generation == fork_generation) return true;
  try {
    std::shared_ptr<dataplane::Dialer> fresh = make_dialer(channel);
    ::new (&channel.dialer) std::shared_ptr<dataplane::Dialer>(std::move(fresh));
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_OSError, error.what());
    return false;
  }
  channel.fork_generation = fork_generation;
  return true;
}

PyObject* channel_broker_died(PyObject* object, PyObject* args) {
  unsigned long long epoch = 0;
  const char* why = nullptr;
  int is_final = 0;
  if (PyArg_ParseTuple(args, "Ksp:broker_died", &epoch, &why, &is_final) == 0) return nullptr;
  RemoteChannelObject& self = *cast_channel(object);
  if (!self.dialer->is_inherited()) {
    self.dialer->with_link(
        [&](dataplane::Link& link, dataplane::Time now) { link.broker_died(now, epoch, why, is_final != 0); });
  }
  Py_RETURN_NONE;
}

PyObject* channel_get_epoch(PyObject* object, void* /*closure*/) {
  RemoteChannelObject& self = *cast_channel(object);
  if (self.dialer->is_inherited()) return PyLong_FromLong(0);
  return PyLong_FromUnsignedLongLong(
      self.dialer->with_link([](dataplane::Link& link, dataplane::Time) { return link.epoch(); }));
}

PyObject* channel_get_key(PyObject* object, void* /*closure*/) {
  const std::string& key = cast_channel(object)->key;
  return PyUnicode_FromStringAndSize(key.data(), static_cast<Py_ssize_t>(key.size()));
}

PyMethodDef channel_methods[] = {
    {"read_ticket", channel_read_ticket, METH_O | METH_STATIC,
     "read_ticket(text)\n--\n\n(side, kind, token, uses_tls, unix_path). ValueError: it is none."},
    {"from_ticket", channel_from_ticket, METH_VARARGS | METH_CLASS,
     "from_ticket(text, prefetch, tls)\n--\n\nA connection of the ticket's own."},
    {"broker_died", channel_broker_died, METH_VARARGS,
     "broker_died(epoch, why, is_final)\n--\n\nThe control plane says so; is_final: it will not come back."},
    {},
};

PyGetSetDef channel_getset[] = {
    {"epoch", channel_get_epoch, nullptr, "The broker's, as far as it is known; 0: not yet.", nullptr},
    {"key", channel_get_key, nullptr, "What next_lookup() asks by.", nullptr},
    {},
};

PyMemberDef channel_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RemoteChannelObject, weakrefs), READONLY, nullptr},
    {"owner", T_OBJECT, offsetof(RemoteChannelObject, owner), 0, "Anything: what the Python half knows of it."},
    {},
};

PyType_Slot channel_slots[] = {
    {Py_tp_doc, const_cast<char*>("A process's connection to a channel of another one.")},
    {Py_tp_new, reinterpret_cast<void*>(channel_new)},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, channel_members},
    {Py_tp_traverse, reinterpret_cast<void*>(channel_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(channel_clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(channel_dealloc)},
    {},
};

PyType_Spec channel_spec = {
    .name = "klaw_core._core.RemoteChannel",
    .basicsize = sizeof(RemoteChannelObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = channel_slots,
};

// --- handles: life ---

// A random UUID (version 4) as 32 hexadecimal digits. Null with an exception set.
PyObject* make_reader_id() {
  auto id = dataplane::random_id<Token>();
  auto& bytes = id.bytes;
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0FU) | 0x40U);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3FU) | 0x80U);
  const std::string text = hex(id);
  return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

PyObject* make_remote_handle(PyTypeObject* type, Side side, RemoteChannelObject* channel, Registration registration) {
  Ref name = Ref::steal(side == Side::receiver ? make_reader_id() : PyUnicode_FromString(""));
  if (!name) return nullptr;
  auto* const self = cast_remote(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  Py_INCREF(cast(channel));
  self->channel = channel;
  self->name = name.release();
  self->registration = registration;
  self->side = side;
  self->fork_generation = fork_generation;
  return reinterpret_cast<PyObject*>(self);
}

std::string name_of(const RemoteHandleObject& self) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(self.name, &size);
  return {text, static_cast<std::size_t>(size)};
}

// A token of 16 bytes. False with an exception set.
bool parse_token(PyObject* object, Token& token) {
  if (!PyBytes_Check(object) || PyBytes_GET_SIZE(object) != static_cast<Py_ssize_t>(token.bytes.size())) {
    PyErr_SetString(PyExc_TypeError, "a token is 16 bytes");
    return false;
  }
  std::copy_n(PyBytes_AS_STRING(object), token.bytes.size(), reinterpret_cast<char*>(token.bytes.data()));
  return true;
}

// It has the session before the dialer wakes anybody, with whom Python's threads might take turns.
void open_session(RemoteHandleObject& self, std::optional<Token> claim) {
  self.channel->dialer->with_link([&](dataplane::Link& link, dataplane::Time now) {
    self.registration = link.open(now, self.side, claim, name_of(self));
  });
}

// handle(channel, claim=None)
template <Side kSide>
PyObject* handle_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* const kNames[] = {"channel", "claim", nullptr};
  PyObject* channel = nullptr;
  PyObject* claim = Py_None;
  if (PyArg_ParseTupleAndKeywords(args, kwargs, "O!|O", const_cast<char**>(kNames), channel_type, &channel, &claim) ==
      0) {
    return nullptr;
  }
  Token token;
  if (claim != Py_None && !parse_token(claim, token)) return nullptr;
  PyObject* const made = make_remote_handle(type, kSide, cast_channel(channel), Registration{});
  if (made != nullptr && claim != Py_None) {
    if (!renew_after_fork(*cast_remote(made)->channel)) {
      Py_DECREF(made);
      return nullptr;
    }
    open_session(*cast_remote(made), token);
  }
  return made;
}

int handle_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(reinterpret_cast<PyObject*>(cast_remote(object)->channel));
  Py_VISIT(cast_remote(object)->untold);
  return 0;
}

int handle_clear(PyObject* object) {
  Py_CLEAR(cast_remote(object)->channel);
  Py_CLEAR(cast_remote(object)->untold);
  return 0;
}

bool is_mine(const RemoteHandleObject& self) noexcept {
  return self.channel != nullptr && self.fork_generation == fork_generation;
}

// Has it done all that it is for, so that it need not be closed?
bool is_spent(const RemoteHandleObject& self) {
  return self.channel->dialer->with_link(
      [&](dataplane::Link& link, dataplane::Time) { return link.is_spent(self.registration); });
}

// A handle that is dropped closes.
void handle_finalize(PyObject* object) {
  RemoteHandleObject& self = *cast_remote(object);
  if (!is_mine(self) || self.registration.closed || self.registration.id == 0) return;
  const SavedError saved;
  if (is_dev_mode() && !is_spent(self) && PyErr_ResourceWarning(object, 1, "unclosed %R", object) < 0)
    PyErr_WriteUnraisable(object);
  Remote::close(self, std::nullopt);
}

void handle_dealloc(PyObject* object) {
  if (PyObject_CallFinalizerFromDealloc(object) < 0) return;  // resurrected
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (cast_remote(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
  handle_clear(object);
  Py_CLEAR(cast_remote(object)->name);
  type->tp_free(object);
  Py_DECREF(type);
}

// --- handles: methods ---

PyObject* handle_clone(PyObject* object, PyObject* /*unused*/) {
  RemoteHandleObject* const self = Remote::usable(object);
  if (self == nullptr) return nullptr;
  if (self->registration.closed) {
    raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
    return nullptr;
  }
  PyObject* const made = make_remote_handle(Py_TYPE(object), self->side, self->channel, Registration{});
  if (made != nullptr && self->registration.id != 0) open_session(*cast_remote(made), std::nullopt);
  return made;
}

PyObject* handle_open(PyObject* object, PyObject* /*unused*/) {
  RemoteHandleObject* const self = Remote::usable(object);
  if (self == nullptr) return nullptr;
  open_if_new(*self);
  Py_RETURN_NONE;
}

PyObject* handle_wait_until_opened(PyObject* object, PyObject* timeout) {
  RemoteHandleObject* const self = Remote::usable(object);
  Patience patience = Patience::forever();
  if (self == nullptr || !parse_patience(timeout, patience)) return nullptr;
  RemoteWait op(self, "opening the channel", patience, RemoteWait::What::opened);
  return run_blocking(op);
}

PyObject* handle_when_opened(PyObject* object, PyObject* /*unused*/) {
  RemoteHandleObject* const self = Remote::usable(object);
  if (self == nullptr) return nullptr;
  return make_operation<RemoteWait>(self, "opening the channel", Patience::forever(), RemoteWait::What::opened);
}

// Of connections to one actor that differ in their settings.
std::string channel_of(const std::string& key) { return key.substr(0, key.find('/')); }

PyObject* handle_ticket(PyObject* object, PyObject* /*unused*/) {
  RemoteHandleObject* const self = Remote::usable(object);
  if (self == nullptr) return nullptr;
  const auto token = dataplane::random_id<Token>();
  {
    RemoteHold op(self, token);
    if (!Ref::steal(run_blocking(op))) return nullptr;
  }
  const RemoteChannelObject& channel = *self->channel;
  const std::optional<Endpoint> endpoint = channel.dialer->endpoint();
  Ticket ticket = dataplane::ticket_at(endpoint.value_or(Endpoint{}), token);
  ticket.side = self->side;
  ticket.kind = channel.kind;
  ticket.capacity = channel.capacity;
  ticket.uses_tls = channel.tls != nullptr;
  ticket.channel = channel_of(channel.key);
  ticket.name = channel.about.actor_name.value_or("");
  ticket.ns = channel.about.ns.value_or("");
  return to_python(dataplane::to_text(ticket));
}

PyObject* handle_hold(PyObject* object, PyObject* argument) {
  RemoteHandleObject* const self = Remote::usable(object);
  Token token;
  if (self == nullptr || !parse_token(argument, token)) return nullptr;
  if (self->registration.closed) {
    raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
    return nullptr;
  }
  open_if_new(*self);
  self->channel->dialer->with_link(
      [&](dataplane::Link& link, dataplane::Time now) { link.hold(now, self->side, self->registration, token); });
  Py_RETURN_NONE;
}

PyObject* handle_downgrade(PyObject* object, PyObject* /*unused*/) {
  const RemoteHandleObject* const self = Remote::usable(object);
  if (self == nullptr) return nullptr;
  return make_weak(weak_types[index(self->side)], cast(self->channel), Py_TYPE(object), self->side);
}

// A session is opened; the broker refuses it if its side has closed.
class RemoteUpgrade final : public RemoteWait {
 public:
  explicit RemoteUpgrade(RemoteHandleObject* made)
      : RemoteWait(made, "RayWeak.upgrade", Patience::forever(), What::opened) {}
  ~RemoteUpgrade() override {
    // Without a channel: the collector has been at the handle before us, and has closed it.
    if (!is_given_ && handle().channel != nullptr) Remote::close(handle(), std::nullopt);
  }
  PyObject* outcome(Status status) override {
    if (status == Status::done) {
      is_given_ = true;
      return Py_NewRef(reinterpret_cast<PyObject*>(&handle()));
    }
    // That nobody could be asked is no answer.
    if (status != Status::closed || error().kind == CloseKind::backend) return RemoteWait::outcome(status);
    Py_RETURN_NONE;
  }

 private:
  bool is_given_ = false;
};

// One that does not count yet, for the broker to accept. Null with an exception set.
Ref make_upgraded(PyObject* object) {
  const WeakObject& self = cast_weak(object);
  auto* const channel = cast_channel(self.channel);
  if (channel == nullptr || !renew_after_fork(*channel)) return {};
  return Ref::steal(make_remote_handle(self.handle_type, self.side, channel, Registration{}));
}

PyObject* weak_upgrade(PyObject* object, PyObject* /*unused*/) {
  const Ref made = make_upgraded(object);
  return made ? make_operation<RemoteUpgrade>(cast_remote(made.get())) : nullptr;
}

PyObject* weak_blocking_upgrade(PyObject* object, PyObject* /*unused*/) {
  if (!refuse_event_loop("await weak.upgrade()")) return nullptr;
  const Ref made = make_upgraded(object);
  if (!made) return nullptr;
  RemoteUpgrade op(cast_remote(made.get()));
  return run_blocking(op);
}

bool is_subtype(PyTypeObject* type, Side side) noexcept {
  return std::ranges::any_of(handle_types[index(side)],
                             [&](PyTypeObject* known) { return PyType_IsSubtype(type, known) != 0; });
}
bool is_of(PyObject* object, Side side) noexcept { return is_subtype(Py_TYPE(object), side); }
bool is_remote(PyObject* object) noexcept { return is_of(object, Side::sender) || is_of(object, Side::receiver); }

PyObject* handle_same_channel(PyObject* object, PyObject* other) {
  const bool is_same = is_remote(other) && cast_remote(object)->channel != nullptr &&
                       cast_remote(other)->channel != nullptr &&
                       channel_of(cast_remote(object)->channel->key) == channel_of(cast_remote(other)->channel->key);
  return PyBool_FromLong(is_same ? 1 : 0);
}

// <RaySender 'jobs', capacity 64>: asking the broker for more would take its time.
PyObject* handle_repr(PyObject* object) {
  const RemoteHandleObject& self = *cast_remote(object);
  const char* const type = Py_TYPE(object)->tp_name;
  if (self.channel == nullptr) return PyUnicode_FromFormat("<%s>", type);
  const RemoteChannelObject& channel = *self.channel;
  std::string text = self.registration.closed ? "closed " : "";
  constexpr std::string_view kPrefix = "channel_";  // of its actor's name
  if (channel.about.actor_name) {
    std::string_view name = *channel.about.actor_name;
    if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
    text += '\'';
    text += name;
    text += '\'';
  } else {
    text += "(unnamed)";
  }
  text += channel.capacity == channels::detail::kUnbounded ? ", unbounded"
                                                           : ", capacity " + std::to_string(channel.capacity);
  return PyUnicode_FromFormat("<%s %s>", type, text.c_str());
}

// Of queues.
std::vector<PyMethodDef> of_queues(std::vector<PyMethodDef> methods) {
  const std::vector<PyMethodDef> queue = queue_methods<Remote>();
  methods.insert(methods.end(), queue.begin(), queue.end());
  methods.insert(methods.end(),
                 {
                     {"clone", handle_clone, METH_NOARGS,
                      "clone()\n--\n\nAnother handle on the same channel; it counts from this call on (of one that has "
                      "not been used "
                      "and does not count yet: from its first use). ChannelClosedError if this one is closed."},
                     {"downgrade", handle_downgrade, METH_NOARGS,
                      "downgrade()\n--\n\nA weak handle: it does not count, and its upgrade() gives a handle while the "
                      "side is open."},
                 });
  return methods;
}

PyMemberDef handle_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RemoteHandleObject, weakrefs), READONLY, nullptr},
    {"_channel", T_OBJECT, offsetof(RemoteHandleObject, channel), READONLY, "Its RemoteChannel."},
    {"_name", T_OBJECT, offsetof(RemoteHandleObject, name), READONLY, "What the broker knows it by."},
    {},
};

}  // namespace

// --- the types ---

PyObject* remote_clone(PyObject* object, PyObject* unused) { return handle_clone(object, unused); }

PyObject* remote_subscribe(PyObject* object, PyObject* type) {
  RemoteHandleObject* const self = Remote::usable(object);
  if (self == nullptr) return nullptr;
  if (self->registration.closed) {
    raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
    return nullptr;
  }
  auto* const wanted = reinterpret_cast<PyTypeObject*>(type);
  if (PyType_Check(type) == 0 || !is_subtype(wanted, Side::receiver)) {
    PyErr_SetString(PyExc_TypeError, "a receiver's type is wanted");
    return nullptr;
  }
  PyObject* const made = make_remote_handle(wanted, Side::receiver, self->channel, Registration{});
  if (made != nullptr) open_session(*cast_remote(made), std::nullopt);
  return made;
}

std::vector<PyMethodDef> remote_methods() {
  return {
      {"same_channel", handle_same_channel, METH_O,
       "same_channel(other)\n--\n\nTrue if `other` is a handle, of either side, on the same channel."},
      {"_open", handle_open, METH_NOARGS, "_open()\n--\n\nCounts from here on."},
      {"_wait_until_opened", handle_wait_until_opened, METH_O,
       "_wait_until_opened(timeout)\n--\n\nBlocks until it counts at the broker."},
      {"_when_opened", handle_when_opened, METH_NOARGS, "_when_opened()\n--\n\nAwaitable: it counts at the broker."},
      {"ticket", handle_ticket, METH_NOARGS,
       "ticket()\n--\n\nA short text that stands for one more handle of this side, which counts from now on. "
       "sender_from_ticket() or receiver_from_ticket() makes the handle of it, once, within ten minutes, in any "
       "process "
       "that reaches the channel's broker, without Ray. It is a secret. Blocks for a round trip to the broker; where "
       "that "
       "can't be reached, ChannelBackendErrorException after 10 s."},
      {"_hold", handle_hold, METH_O,
       "_hold(token)\n--\n\nKeeps its side open until the token of 16 bytes is claimed: it is about to be pickled."},
  };
}

std::vector<PyType_Slot> remote_slots(Side side, const char* doc) {
  return {
      {Py_tp_doc, const_cast<char*>(doc)},
      {Py_tp_new,
       reinterpret_cast<void*>(side == Side::sender ? handle_new<Side::sender> : handle_new<Side::receiver>)},
      {Py_tp_members, handle_members},
      {Py_tp_repr, reinterpret_cast<void*>(handle_repr)},
      {Py_tp_traverse, reinterpret_cast<void*>(handle_traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(handle_clear)},
      {Py_tp_finalize, reinterpret_cast<void*>(handle_finalize)},
      {Py_tp_dealloc, reinterpret_cast<void*>(handle_dealloc)},
  };
}

bool know_remote_type(PyObject* module, PyTypeObject* type, Side side) noexcept {
  handle_types[index(side)].push_back(type);
  return PyModule_AddType(module, type) == 0;
}

// --- what the methods need to know ---

Remote::Handle* Remote::usable(PyObject* object) {
  RemoteHandleObject* const self = cast_remote(object);
  if (self->channel == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "this handle is being collected");
    return nullptr;
  }
  if (self->fork_generation != fork_generation) {
    if (!renew_after_fork(*self->channel)) return nullptr;
    self->fork_generation = fork_generation;
    self->registration.id = 0;
  }
  return self;
}

void open_if_new(RemoteHandleObject& self) {
  if (self.registration.id == 0 && !self.registration.closed) open_session(self, std::nullopt);
}

void Remote::close(Handle& self, std::optional<std::string> reason) {
  if (self.registration.id == 0) {
    self.registration.closed = true;
    return;
  }
  const auto untold = self.channel->dialer->with_link(
      [&](Link& link, Time now) { return link.close(now, self.side, self.registration, std::move(reason)); });
  // A sender has to hear that what it had sent is lost; who only received, and leaves, has nothing to do with it.
  if (!untold || self.side == Side::receiver) return;
  const SavedError saved;
  raise_closed(*untold);
  Py_XSETREF(self.untold, fetch_exception().release());
}

PyObject* Remote::when_closed(Handle& self, const char* name) {
  return make_operation<RemoteWait>(&self, name, Patience::forever(), RemoteWait::What::flushed);
}

PyObject* Remote::wait_until_closed(Handle& self, Patience patience) {
  RemoteWait op(&self, "blocking_close", patience, RemoteWait::What::flushed);
  return run_blocking(op);
}

PyObject* Remote::blocking_flush(Handle& self, Patience patience) {
  if (!refuse_event_loop("await tx.flush()")) return nullptr;
  RemoteFlush op(&self, "blocking_flush", patience);
  return run_blocking(op);
}

bool Remote::is_closed(const Handle& self) {
  if (self.registration.id == 0) return self.registration.closed;
  return self.registration.closed || self.channel->dialer->with_link([&](Link& link, Time) {
    return link.is_closed(self.side, self.registration);
  });
}

RemoteHandleObject* as_remote_receiver(PyObject* object) noexcept {
  return is_of(object, Side::receiver) ? Remote::usable(object) : nullptr;
}

// --- lookups ---

std::optional<Lookup> next_lookup(double timeout_s) {
  channels::detail::Deadline deadline;
  if (timeout_s >= 0) deadline = channels::detail::deadline_after(std::chrono::duration<double>(timeout_s));
  return desk->asked.take(deadline);
}

void answer_lookup(std::uint64_t id, std::expected<Endpoint, std::string> answer) {
  EndpointAnswer tell;
  {
    const channels::detail::LockGuard<channels::detail::Mutex> guard(desk->mutex);
    const auto found = desk->pending.extract(id);
    if (found.empty()) return;
    tell = std::move(found.mapped());
  }
  tell(std::move(answer));
}

void retire(std::span<PyObject* const> channels, double timeout_s) {
  const auto limit = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(timeout_s));
  std::vector<std::shared_ptr<dataplane::Dialer>> dialers;
  for (PyObject* const channel : channels) {
    if (Py_TYPE(channel) == channel_type && !cast_channel(channel)->dialer->is_inherited()) {
      dialers.push_back(cast_channel(channel)->dialer);
    }
  }
  const auto left = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(dialers.size()));
  // What waits is woken here, and that takes the GIL.
  for (const auto& dialer : dialers) dialer->retire(limit, [left] { left->count_down(); });
  PyThreadState* const state = PyEval_SaveThread();
  left->wait();
  restore_thread(state);
}

bool add_remote_types(PyObject* module) noexcept {
  pthread_atfork(nullptr, nullptr, [] { desk = new LookupDesk; });
  channel_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &channel_spec, nullptr));
  const bool has_types =
      add_remote_type<Remote>(module, Side::sender, "klaw_core._core.RemoteSender",
                              "The sending handle of a channel of another process. See klaw_core.runtime.channels."
                              "ray.core.",
                              of_queues(sender_methods<Remote>()), {}) != nullptr &&
      add_remote_type<Remote>(module, Side::receiver, "klaw_core._core.RemoteReceiver",
                              "The receiving handle of a channel of another process. See klaw_core.runtime."
                              "channels.ray.core.",
                              of_queues(receiver_methods<Remote>()), receiver_slots<Remote>()) != nullptr;
  weak_types[index(Side::sender)] =
      make_weak_type(module, "klaw_core._core.RemoteWeakSender", weak_upgrade, weak_blocking_upgrade);
  weak_types[index(Side::receiver)] =
      make_weak_type(module, "klaw_core._core.RemoteWeakReceiver", weak_upgrade, weak_blocking_upgrade);
  return channel_type != nullptr && has_types && weak_types[0] != nullptr && weak_types[1] != nullptr &&
         add_deliveries_type<Remote>(module, "klaw_core._core.RemoteDeliveries") &&
         PyModule_AddObjectRef(module, "RemoteChannel", reinterpret_cast<PyObject*>(channel_type)) == 0;
}

}  // namespace klaw::python
