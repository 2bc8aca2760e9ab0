#include "local/delays.hpp"

#include <map>

#include "await/mailbox.hpp"

namespace klaw::python {

namespace {

using channels::detail::Clock;
using channels::detail::Deadline;

struct Due {
  Clock::time_point when;
  std::weak_ptr<channels::detail::MpmcCore<Ref>> core;
};

// Of this process: in a fork's child its thread does not exist, and its lock may be held for ever, so it gets another one.
// Never destroyed: its thread is a daemon. The pointer and the generation are under the GIL.
Mailbox<Due>* asked = nullptr;
std::uint64_t asked_generation = 0;

// Runs as long as the process, under the GIL but for its sleep.
[[noreturn]] void run(Mailbox<Due>& mailbox) {
  std::multimap<Clock::time_point, std::weak_ptr<channels::detail::MpmcCore<Ref>>> due;
  for (;;) {
    if (auto next = mailbox.take(due.empty() ? Deadline() : due.begin()->first)) {
      due.emplace(next->when, std::move(next->core));
    }
    const Clock::time_point now = Clock::now();
    while (!due.empty() && due.begin()->first <= now) {
      const auto core = due.begin()->second.lock();
      due.erase(due.begin());
      if (core != nullptr) core->release_due(now);
    }
  }
}

PyObject* run_delays(PyObject* mailbox, PyObject* /*unused*/) {
  run(*static_cast<Mailbox<Due>*>(PyCapsule_GetPointer(mailbox, nullptr)));
}
PyMethodDef run_def = {"_run_delays", run_delays, METH_NOARGS, nullptr};

}  // namespace

bool start_delays() {
  if (asked != nullptr && asked_generation == fork_generation) return true;
  auto* const mailbox = new Mailbox<Due>;  // leaked if the thread does not start: perhaps it has begun
  const Ref capsule = Ref::steal(PyCapsule_New(mailbox, nullptr, nullptr));
  const Ref threading = Ref::steal(PyImport_ImportModule("threading"));
  const Ref type = Ref::steal(threading ? PyObject_GetAttrString(threading.get(), "Thread") : nullptr);
  const Ref target = Ref::steal(capsule ? PyCFunction_New(&run_def, capsule.get()) : nullptr);
  const Ref arguments = Ref::steal(
      type && target ? Py_BuildValue("{sOsssO}", "target", target.get(), "name", "klaw-delays", "daemon", Py_True)
                     : nullptr);
  const Ref nothing = Ref::steal(PyTuple_New(0));
  const Ref thread =
      Ref::steal(arguments && nothing ? PyObject_Call(type.get(), nothing.get(), arguments.get()) : nullptr);
  if (!thread || !Ref::steal(PyObject_CallMethod(thread.get(), "start", nullptr))) return false;
  asked = mailbox;  // that of another thread of Python's, which came meanwhile, keeps what it was asked before
  asked_generation = fork_generation;
  return true;
}

void release_at(Clock::time_point due, std::weak_ptr<channels::detail::MpmcCore<Ref>> core) {
  asked->put({.when = due, .core = std::move(core)});
}

}  // namespace klaw::python
