// The Ray plugin: the one file that includes ray/api.h, built with ray-cpp's std::string. See plugin.h.
//
// Visibility is the default one, since ray-cpp's headers define the place that holds Ray's runtime: hidden, it would exist
// twice, and the plugin's would stay empty.
#if _GLIBCXX_USE_CXX11_ABI
#error "ray-cpp has the std::string of before C++11: compile this file with -D_GLIBCXX_USE_CXX11_ABI=0"
#endif

#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <ray/api.h>
#include <ray/plugin/plugin.h>
#include <unistd.h>

namespace {

// Any value that a Python method returned, still packed.
struct Packed {
  std::string bytes;
};

}  // namespace

template <>
struct msgpack::adaptor::convert<Packed> {
  const msgpack::object& operator()(const msgpack::object& object, Packed& packed) const {
    msgpack::sbuffer buffer;
    msgpack::pack(buffer, object);
    packed.bytes.assign(buffer.data(), buffer.size());
    return object;  // NOLINT(bugprone-return-const-ref-from-parameter): as all converters do
  }
};

namespace {

constexpr std::size_t kArgumentsMax = 3;

void give(klaw_ray_answer* answer, const std::string& bytes) {
  answer->data = static_cast<char*>(std::malloc(bytes.size() + 1));
  answer->size = answer->data == nullptr ? 0 : bytes.size();
  if (answer->data == nullptr) return;
  std::memcpy(answer->data, bytes.data(), bytes.size());
  answer->data[bytes.size()] = '\0';
}

// --- what Ray says ---

bool is_text(unsigned char byte) { return byte >= ' ' && byte != 0x7f; }

// Ray's errors are texts between the bytes of pickles and protocol buffers, one of which is a traceback that ends with
// the exception.
std::string last_line(const std::string& message) {
  std::size_t end = message.size();
  while (end > 0 && (!is_text(message[end - 1]) || message[end - 1] == ' ')) --end;
  std::size_t begin = end;
  while (begin > 0 && is_text(message[begin - 1])) --begin;
  return message.substr(begin, end - begin);
}

// Without a traceback, the explanation is the longest of these texts.
std::string longest_line(const std::string& message) {
  std::string longest;
  for (std::size_t begin = 0; begin < message.size();) {
    std::size_t end = begin;
    while (end < message.size() && is_text(message[end])) ++end;
    if (end - begin > longest.size()) longest = message.substr(begin, end - begin);
    begin = end + 1;
  }
  return longest;
}

// Runs `action`, which returns a status; what it throws becomes one.
template <class Action>
klaw_ray_status told(klaw_ray_answer* answer, Action action) noexcept {
  try {
    try {
      return action();
    } catch (const ray::internal::RayTimeoutException&) {
      return KLAW_RAY_LATE;
    } catch (const ray::internal::RayTaskException& error) {
      give(answer, last_line(error.msg_));
      return KLAW_RAY_RAISED;
    } catch (const ray::internal::RayException& error) {
      give(answer, longest_line(error.msg_));
    } catch (const std::exception& error) {
      give(answer, error.what());
    }
    return KLAW_RAY_FAILED;
  } catch (...) {  // it is none of std's, or there is no memory for its text
    return KLAW_RAY_FAILED;
  }
}

// --- the process ---

// Of whoever loaded the plugin: Ray's threads and connections are not those of a fork.
pid_t loader_pid = 0;

void check_process() {
  if (loader_pid != getpid()) {
    throw std::runtime_error("this process was forked from one that uses Ray, and can't use it itself");
  }
}

int is_initialised() { return ray::IsInitialized() ? 1 : 0; }

void shut_down_at_exit() {
  if (loader_pid == getpid() && ray::IsInitialized()) ray::Shutdown();
}

klaw_ray_status initialise(klaw_ray_answer* answer) {
  return told(answer, [] {
    static std::mutex initialising;  // ray::Init is for one thread
    check_process();
    const std::lock_guard lock(initialising);
    if (!ray::IsInitialized()) {
      ray::Init();
      std::atexit(shut_down_at_exit);
    }
    return KLAW_RAY_OK;
  });
}

// --- calls ---

// A text field of a protocol buffer of fewer than 128 bytes.
std::string text_field(char tag, const std::string& text) {
  return tag + std::string(1, static_cast<char>(text.size())) + text;
}

// Ray tells the class of an actor nowhere but in a pickled handle, a protocol buffer: in the descriptor of its function
// field 1 is the module, field 2 the class.
bool is_of_class(const std::string& actor_id, const klaw_ray_call& call) {
  const std::string handle = ray::internal::GetRayRuntime()->SerializeActorHandle(actor_id);
  return handle.find(text_field('\x0a', call.module) + text_field('\x12', call.class_name)) != std::string::npos;
}

ray::ObjectRef<Packed> start(ray::ActorHandleXlang& actor, const klaw_ray_call& call) {
  const msgpack::object_handle arguments = msgpack::unpack(call.arguments, call.arguments_size);
  const auto given = arguments->as<std::vector<msgpack::object>>();
  if (given.size() > kArgumentsMax) throw std::invalid_argument("a call has three arguments at most");
  auto method = actor.Task(ray::PyActorMethod<Packed>{call.method});
  switch (given.size()) {
    case 0: return method.Remote();
    case 1: return method.Remote(given[0]);
    case 2: return method.Remote(given[0], given[1]);
    default: return method.Remote(given[0], given[1], given[2]);
  }
}

klaw_ray_status call(const klaw_ray_call* wanted, klaw_ray_answer* answer) {
  return told(answer, [wanted, answer] {
    check_process();
    if (!ray::IsInitialized()) throw std::runtime_error("Ray is not initialised in this process");
    auto actor = ray::GetActor(wanted->actor, wanted->ns);
    if (!actor) return KLAW_RAY_MISSING;
    if (!is_of_class(actor->ID(), *wanted)) return KLAW_RAY_FOREIGN;
    give(answer, start(*actor, *wanted).Get(wanted->timeout_ms)->bytes);
    return KLAW_RAY_OK;
  });
}

void release(klaw_ray_answer* answer) {
  std::free(answer->data);
  *answer = {};
}

constexpr klaw_ray_plugin kInterface = {
    .version = KLAW_RAY_PLUGIN_VERSION,
    .is_initialised = is_initialised,
    .initialise = initialise,
    .call = call,
    .release = release,
};

}  // namespace

extern "C" const klaw_ray_plugin* klaw_ray_plugin_interface() {
  if (loader_pid == 0) loader_pid = getpid();
  return &kInterface;
}
