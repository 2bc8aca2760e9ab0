/* The C interface of klaw's Ray plugin.
 *
 * ray-cpp uses the std::string of before C++11, so no C++ object can pass between it and klaw. The plugin is built as ray-cpp
 * is, and nothing but these structs passes. It is loaded at run time (loader.hpp): klaw itself is built without Ray.
 *
 * - No function throws. An error is a status with a text.
 * - Any thread may call, also several at once. A process that was forked after the plugin was loaded may not: it is told so.
 * - Texts are UTF-8 and end in a zero. Values are MessagePack.
 */
#ifndef KLAW_RAY_PLUGIN_H
#define KLAW_RAY_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with each change of what follows. */
#define KLAW_RAY_PLUGIN_VERSION 1u

typedef enum klaw_ray_status {
  KLAW_RAY_OK = 0,
  KLAW_RAY_MISSING = 1, /* there is no actor of that name */
  KLAW_RAY_FOREIGN = 2, /* an actor of another class has that name; it was not called */
  KLAW_RAY_LATE = 3,    /* no answer within the time limit */
  KLAW_RAY_RAISED = 4,  /* the method raised: its exception's last line, "ValueError: ..." */
  KLAW_RAY_FAILED = 5   /* anything else, in Ray's words */
} klaw_ray_status;

/* What a call gives. The plugin allocates, release() frees; an answer of zeros holds nothing. */
typedef struct klaw_ray_answer {
  char* data; /* KLAW_RAY_OK: what the method returned, as MessagePack; otherwise a text, which may be empty */
  size_t size;
} klaw_ray_answer;

/* A method of a named actor that was made by Python.
 *
 * A call of a method that the actor's class lacks ends the actor's process, and Ray would repeat it for ever. So the class is
 * named as well, and an actor of another one is not called. */
typedef struct klaw_ray_call {
  const char* actor;
  const char* ns;
  const char* module;     /* the class's Python module */
  const char* class_name; /* as Python's __qualname__ */
  const char* method;
  const char* arguments; /* an array of at most three, as MessagePack */
  size_t arguments_size;
  int timeout_ms;
} klaw_ray_call;

typedef struct klaw_ray_plugin {
  uint32_t version; /* KLAW_RAY_PLUGIN_VERSION of the plugin; its place never changes */
  /* Whether Ray is initialised in this process: in ray-cpp's drivers that called ray::Init, its tasks and its actors. */
  int (*is_initialised)(void); /* NOLINT(modernize-redundant-void-arg): C has it */
  /* Makes this process a driver of the cluster at RAY_ADDRESS. ray::Init ends the process where it can't reach it: try in
   * another process first. Shut down again when the process exits. */
  klaw_ray_status (*initialise)(klaw_ray_answer* answer);
  klaw_ray_status (*call)(const klaw_ray_call* call, klaw_ray_answer* answer);
  void (*release)(klaw_ray_answer* answer);
} klaw_ray_plugin;

/* The one symbol that a plugin exports: `const klaw_ray_plugin* klaw_ray_plugin_interface(void)`. */
#define KLAW_RAY_PLUGIN_SYMBOL "klaw_ray_plugin_interface"
typedef const klaw_ray_plugin* (*klaw_ray_plugin_function)(void); /* NOLINT(modernize-redundant-void-arg): C has it */

#ifdef __cplusplus
}
#endif

#endif
