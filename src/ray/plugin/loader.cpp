#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <ray/plugin/loader.hpp>
#include <ray/plugin/probe.hpp>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace klaw::ray {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono_literals::operator""s;

constexpr const char* kPluginFile = "libklaw_ray_plugin.so";
constexpr const char* kProbeFile = "klaw_ray_probe";
constexpr const char* kRayFile = "libray_api.so";
constexpr const char* kRayFunction = "_ZN3ray13IsInitializedEv";  // ray::IsInitialized()
constexpr auto kConnectLimit = 3s;
constexpr auto kProbeLimit = 20s;

template <class T>
using OrText = std::expected<T, std::string>;

std::string environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): as everybody reads it
  return value == nullptr ? std::string() : std::string(value);
}

std::string last_dl_error() {
  const char* error = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc's is of this thread
  return error == nullptr ? "" : error;
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

// ---------------------------------------------------------------------------------------- the files

// Of the library or the program that this code is in.
fs::path own_folder() {
  Dl_info found{};
  const int is_found = dladdr(reinterpret_cast<const void*>(&own_folder), &found);
  std::error_code failed;
  const fs::path file = is_found == 0 ? fs::path() : fs::canonical(found.dli_fname, failed);
  // A program's own name is what it was started by.
  return (failed || file.empty() ? fs::read_symlink("/proc/self/exe", failed) : file).parent_path();
}

OrText<fs::path> find_plugin() {
  const std::string chosen = environment("KLAW_RAY_PLUGIN");
  const fs::path file = chosen.empty() ? own_folder() / kPluginFile : fs::path(chosen);
  std::error_code failed;
  if (fs::exists(file, failed)) return fs::canonical(file, failed);
  return std::unexpected(
      "the Ray plugin is missing: there is no " + file.string() +
      ". Build klaw with -DKLAW_BUILD_RAY_PLUGIN=ON, and set KLAW_RAY_PLUGIN to the path of libklaw_ray_plugin.so");
}

// The file that the process has loaded; empty if none.
std::string loaded_ray_cpp() {
  const void* const function = dlsym(RTLD_DEFAULT, kRayFunction);
  Dl_info found{};
  return function != nullptr && dladdr(function, &found) != 0 ? found.dli_fname : "";
}

std::string find_ray_cpp(const fs::path& plugin) {
  if (std::string chosen = environment("KLAW_RAY_CPP"); !chosen.empty()) return chosen;
  const fs::path beside = plugin.parent_path() / kRayFile;
  std::error_code failed;
  return fs::exists(beside, failed) ? beside.string() : kRayFile;
}

// Its file, for the probe.
OrText<std::string> load_ray_cpp(const fs::path& plugin) {
  if (std::string loaded = loaded_ray_cpp(); !loaded.empty()) return loaded;
  // Its symbols are made global, where the plugin finds them: without a soname it can't be named as the plugin's dependency.
  const std::string file = find_ray_cpp(plugin);
  const bool is_loaded = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr;
  const std::string why = is_loaded ? file + " is another library" : last_dl_error();
  if (std::string loaded = loaded_ray_cpp(); !loaded.empty()) return loaded;
  return std::unexpected(
      "ray-cpp is missing: " + why +
      ". Install it (pip install 'ray[cpp]'), and set KLAW_RAY_CPP to the path of its libray_api.so: "
      "python3 -c \"import ray; print(ray.__path__[0] + '/cpp/lib/libray_api.so')\"");
}

OrText<const klaw_ray_plugin*> load_plugin(const fs::path& file, const std::string& ray_cpp) {
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return std::unexpected("the Ray plugin does not fit this ray-cpp (" + ray_cpp + "): " + last_dl_error() +
                           ". Build it again, with the ray-cpp that it is used with");
  }
  const auto interface = reinterpret_cast<klaw_ray_plugin_function>(dlsym(library, KLAW_RAY_PLUGIN_SYMBOL));
  if (interface == nullptr) return std::unexpected(file.string() + " is no Ray plugin of klaw: " + last_dl_error());
  const klaw_ray_plugin* plugin = interface();
  if (plugin->version != KLAW_RAY_PLUGIN_VERSION) {
    return std::unexpected("the Ray plugin " + file.string() + " has version " + std::to_string(plugin->version) +
                           " of the interface, and this klaw version " + std::to_string(KLAW_RAY_PLUGIN_VERSION) +
                           ": build both from the same klaw");
  }
  return plugin;
}

// ---------------------------------------------------------------------------------------- the cluster

class File {
 public:
  explicit File(int number = -1) : number_(number) {}
  File(File&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~File() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

std::string out_of_reach(const std::string& address, const std::string& why) {
  return "Ray can't be reached at " + address + " (RAY_ADDRESS): " + why;
}

// 0, or why not.
int connect_within_limit(const addrinfo& where) {
  const File socket(::socket(where.ai_family, where.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, where.ai_protocol));
  if (socket.number() < 0) return errno;
  if (::connect(socket.number(), where.ai_addr, where.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  const auto deadline = Clock::now() + kConnectLimit;
  pollfd waiting{.fd = socket.number(), .events = POLLOUT, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, milliseconds_until(deadline));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket.number(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

OrText<void> check_address(const std::string& address) {
  if (address.empty()) {
    return std::unexpected(
        "RAY_ADDRESS is not set, and this process is no driver, task or actor of ray-cpp: set it to the cluster's "
        "HOST:PORT");
  }
  const std::size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  if (port.empty() || port.find_first_not_of("0123456789") != std::string::npos || address.contains("://")) {
    return std::unexpected("RAY_ADDRESS must be HOST:PORT, not '" + address + "'");
  }
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int failed = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); failed != 0) {
    return std::unexpected(out_of_reach(address, gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  int error = 0;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    error = connect_within_limit(*each);
    if (error == 0) return {};
  }
  return std::unexpected(out_of_reach(address, std::generic_category().message(error)));
}

// A process whose output is read until it ends; it is ended with this.
class Helper {
 public:
  explicit Helper(std::vector<std::string> command) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    output_ = File(ends[0]);
    const File writing(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    const int failed = posix_spawn(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw std::system_error(failed, std::generic_category(), command[0]);
  }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  ~Helper() {
    ::kill(process_, SIGKILL);
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  // What it has said until it said `last`, or ended, or the deadline came; the second: false for the deadline.
  std::pair<std::string, bool> read_until(Clock::time_point deadline, const char* last) {
    std::string said;
    char buffer[4096];
    while (!said.contains(last)) {
      pollfd waiting{.fd = output_.number(), .events = POLLIN, .revents = 0};
      const int ready = ::poll(&waiting, 1, milliseconds_until(deadline));
      if (ready == 0) return {said, false};
      if (ready < 0) continue;  // a signal came
      const ssize_t count = ::read(output_.number(), buffer, sizeof buffer);
      if (count == 0) break;
      if (count > 0) said.append(buffer, static_cast<std::size_t>(count));
    }
    return {said, true};
  }

 private:
  pid_t process_ = 0;
  File output_;
};

// Ray's reason for ending the process, without its words around that.
std::string reason_in(const std::string& said) {
  const std::size_t start = said.find(kCheckFailed);
  if (start == std::string::npos) return "the process that tried ended: " + said.substr(0, said.find('\n'));
  const std::size_t begin = start + std::string_view(kCheckFailed).size();
  return said.substr(begin, said.find('\n', begin) - begin);
}

std::string with_advice(const std::string& reason) {
  if (!reason.contains("InvalidAuthToken")) return reason;
  return reason + ". Set RAY_AUTH_MODE and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) as the cluster has them";
}

// ray::Init ends the process where the cluster refuses it, so another process tries first.
OrText<void> try_to_join(const std::string& address, const std::string& ray_cpp, const fs::path& plugin) try {
  const fs::path probe = plugin.parent_path() / kProbeFile;
  std::error_code failed;
  if (!fs::exists(probe, failed)) {
    return std::unexpected("the Ray plugin is incomplete: there is no " + probe.string() +
                           ", which is built with it, and belongs beside it");
  }
  Helper helper({probe.string(), ray_cpp, plugin.string()});
  const auto [said, in_time] = helper.read_until(Clock::now() + kProbeLimit, kProbeSucceeded);
  if (said.contains(kProbeSucceeded)) return {};
  if (!in_time) {  // Ray itself tries for a minute, and then ends the process
    const std::string limit = std::to_string(std::chrono::seconds(kProbeLimit).count());
    return std::unexpected(
        out_of_reach(address, "whoever listens there did not answer as Ray does within " + limit + " s"));
  }
  return std::unexpected(out_of_reach(address, with_advice(reason_in(said))));
} catch (const std::system_error& error) {
  return std::unexpected(out_of_reach(address, error.what()));
}

OrText<void> initialise(const klaw_ray_plugin& plugin, const std::string& ray_cpp, const fs::path& file) {
  if (plugin.is_initialised() != 0) return {};
  const std::string address = environment("RAY_ADDRESS");
  if (auto checked = check_address(address); !checked) return checked;
  if (auto tried = try_to_join(address, ray_cpp, file); !tried) return tried;
  klaw_ray_answer answer{};
  const klaw_ray_status status = plugin.initialise(&answer);
  const std::string why = answer.data == nullptr ? "" : answer.data;
  plugin.release(&answer);
  if (status == KLAW_RAY_OK) return {};
  return std::unexpected(out_of_reach(address, why));
}

}  // namespace

OrText<const klaw_ray_plugin*> plugin() {
  static std::mutex loading;  // protects what follows
  static const klaw_ray_plugin* loaded = nullptr;
  const std::lock_guard lock(loading);
  if (loaded != nullptr && loaded->is_initialised() != 0) return loaded;
  const auto file = find_plugin();
  if (!file) return std::unexpected(file.error());
  const auto ray_cpp = load_ray_cpp(*file);
  if (!ray_cpp) return std::unexpected(ray_cpp.error());
  const auto found = load_plugin(*file, *ray_cpp);
  if (!found) return found;
  if (auto joined = initialise(**found, *ray_cpp, *file); !joined) return std::unexpected(joined.error());
  return loaded = *found;
}

}  // namespace klaw::ray
