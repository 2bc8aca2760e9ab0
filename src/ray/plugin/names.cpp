#include <chrono>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <klaw/version.hpp>
#include <msgpack.hpp>
#include <ray/plugin/loader.hpp>
#include <ray/plugin/names.hpp>

namespace klaw::ray {

namespace {

using std::chrono_literals::operator""s;

constexpr std::int64_t kProtocol = 1;     // of python/klaw_core/runtime/channels/ray/actor.py
constexpr std::int64_t kAnyCapacity = 1;  // of an unbounded channel
constexpr auto kAnswerLimit = 20s;        // for a channel's actor that may be restarting
constexpr auto kSupervisorLimit = 60s;    // which places actors, and waits until one has ended
constexpr std::string_view kBadArguments[] = {"ValueError: ", "TypeError: "};

// A Python class, and the name of an actor of it.
struct Actor {
  const char* module;
  const char* class_name;
  std::string name;
  const std::string& ns;
  std::chrono::milliseconds limit;
};

Actor channel_actor(const std::string& name, const std::string& ns) {
  return {"klaw_core.runtime.channels.ray.actor", "ChannelActor", "channel_" + name, ns, kAnswerLimit};
}

Actor supervisor(const std::string& ns) {
  return {"klaw_core.runtime.channels.ray.supervisor", "Supervisor", "klaw_supervisor", ns, kSupervisorLimit};
}

ChannelBackendError failure(const Actor& actor, std::string message) {
  return {.message = std::move(message), .backend = "ray", .actor_name = actor.name, .ns = actor.ns};
}

ChannelBackendError unreadable(const Actor& actor) {
  return failure(actor, "its answer is not what this version of klaw (" KLAW_VERSION ") expects");
}

std::string python_name(const std::string& text) { return "'" + text + "'"; }

// --- calls ---

class Answer {
 public:
  explicit Answer(const klaw_ray_plugin& plugin) : plugin_(plugin) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() { plugin_.release(&answer_); }

  klaw_ray_answer* get() { return &answer_; }
  [[nodiscard]] std::string_view bytes() const {
    return answer_.data == nullptr ? "" : std::string_view(answer_.data, answer_.size);
  }

 private:
  const klaw_ray_plugin& plugin_;
  klaw_ray_answer answer_{};
};

ChannelError raised(const Actor& actor, std::string_view text) {
  for (const std::string_view kind : kBadArguments) {
    if (text.starts_with(kind)) return InvalidArgument{std::string(text.substr(kind.size()))};
  }
  return failure(actor, std::string(text));
}

ChannelError failed(const Actor& actor, klaw_ray_status status, std::string_view text) {
  switch (status) {
    case KLAW_RAY_FOREIGN:
      return failure(actor, "an actor that is no " + std::string(actor.class_name) +
                                " of klaw has this name: use another name or namespace");
    case KLAW_RAY_LATE: {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(actor.limit).count();
      return failure(actor, "its actor did not answer within " + std::to_string(seconds) + " s");
    }
    case KLAW_RAY_RAISED: return raised(actor, text);
    default: return failure(actor, text.empty() ? "Ray failed without a reason" : std::string(text));
  }
}

// What the method returned; nullopt if there is no such actor.
template <class... Arguments>
Result<std::optional<msgpack::object_handle>, ChannelError> call(const Actor& actor, const char* method,
                                                                 const Arguments&... arguments) {
  const auto loaded = plugin();
  if (!loaded) return std::unexpected(failure(actor, loaded.error()));
  msgpack::sbuffer packed;
  msgpack::packer packer(packed);
  packer.pack_array(sizeof...(arguments));
  (packer.pack(arguments), ...);
  const klaw_ray_call wanted{.actor = actor.name.c_str(),
                             .ns = actor.ns.c_str(),
                             .module = actor.module,
                             .class_name = actor.class_name,
                             .method = method,
                             .arguments = packed.data(),
                             .arguments_size = packed.size(),
                             .timeout_ms = static_cast<int>(actor.limit.count())};
  Answer answer(**loaded);
  const klaw_ray_status status = (*loaded)->call(&wanted, answer.get());
  if (status == KLAW_RAY_MISSING) return std::nullopt;
  if (status != KLAW_RAY_OK) return std::unexpected(failed(actor, status, answer.bytes()));
  const std::string_view bytes = answer.bytes();
  return msgpack::unpack(bytes.data(), bytes.size());
}

// What the namespace's supervisor returned, as a T.
template <class T, class... Arguments>
Result<T, ChannelError> ask_supervisor(const std::string& ns, const char* method, const Arguments&... arguments) try {
  const Actor actor = supervisor(ns);
  const auto answer = call(actor, method, arguments...);
  if (!answer) return std::unexpected(answer.error());
  if (*answer) return (**answer)->template as<T>();
  return std::unexpected(failure(actor, "no channel supervisor runs in namespace " + python_name(ns) +
                                            ": start it with `klaw supervisor --namespace " + ns +
                                            "`, or get_channel_supervisor(" + python_name(ns) + ") in Python"));
} catch (const msgpack::type_error&) {
  return std::unexpected(unreadable(supervisor(ns)));
}

// --- what a channel's actor tells ---

using Fields = std::map<std::string, msgpack::object>;

template <class T>
T field(const Fields& fields, const char* name, T missing = {}) {
  const auto found = fields.find(name);
  return found == fields.end() || found->second.is_nil() ? std::move(missing) : found->second.as<T>();
}

FoundChannel found_in(const Fields& metadata, const Fields& endpoint, bool is_used_up) {
  FoundChannel found;
  found.kind = field<std::string>(metadata, "kind");
  const auto capacity = metadata.find("capacity");
  if (capacity != metadata.end() && !capacity->second.is_nil()) found.capacity = capacity->second.as<std::int64_t>();
  found.reference = field<bool>(metadata, "reference");
  found.is_used_up = is_used_up;
  found.channel = field<std::string>(endpoint, "channel");
  found.epoch = field<std::uint64_t>(endpoint, "epoch");
  found.secret = field<std::string>(endpoint, "secret");
  found.node = field<std::string>(endpoint, "node_id");
  found.unix_path = field<std::string>(endpoint, "unix_path");
  found.addresses = field<std::vector<std::string>>(endpoint, "addresses");
  return found;
}

std::string other_version(const Fields& metadata, std::int64_t protocol) {
  return "its actor runs klaw " + field<std::string>(metadata, "klaw", "of an unknown version") + " (protocol " +
         std::to_string(protocol) + "), this process klaw " KLAW_VERSION " (protocol " + std::to_string(kProtocol) +
         "): use one version on all nodes";
}

}  // namespace

Result<std::optional<FoundChannel>, ChannelError> find_channel(const std::string& name, const std::string& ns) try {
  const Actor actor = channel_actor(name, ns);
  const auto metadata = call(actor, "get_metadata");
  if (!metadata) return std::unexpected(metadata.error());
  if (!*metadata) return std::nullopt;
  const auto fields = (**metadata)->as<Fields>();
  if (const auto protocol = field<std::int64_t>(fields, "protocol"); protocol != kProtocol) {
    return std::unexpected(failure(actor, other_version(fields, protocol)));
  }
  const auto endpoint = call(actor, "get_endpoint");
  if (!endpoint) return std::unexpected(endpoint.error());
  const auto is_used_up = call(actor, "is_closed");
  if (!is_used_up) return std::unexpected(is_used_up.error());
  if (!*endpoint || !*is_used_up) return std::nullopt;  // it was deleted meanwhile
  return found_in(fields, (**endpoint)->as<Fields>(), (**is_used_up)->as<bool>());
} catch (const msgpack::type_error&) {
  return std::unexpected(unreadable(channel_actor(name, ns)));
}

Result<bool, ChannelError> make_channel(const std::string& name, const std::string& ns,
                                        std::optional<std::int64_t> capacity) {
  const auto status =
      ask_supervisor<std::string>(ns, "create_channel", name, capacity.value_or(kAnyCapacity), !capacity.has_value());
  if (!status) return std::unexpected(status.error());
  return *status == "ok";
}

Result<bool, ChannelError> remove_channel(const std::string& name, const std::string& ns) {
  const auto status = ask_supervisor<std::string>(ns, "delete_channel", name);
  if (!status) return std::unexpected(status.error());
  return *status == "ok";
}

Result<std::vector<std::string>, ChannelError> list_channels(const std::string& ns) {
  return ask_supervisor<std::vector<std::string>>(ns, "list_channels");
}

}  // namespace klaw::ray
