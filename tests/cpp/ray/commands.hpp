// Named channels from a command line, for tests/runtime/channels/ray/test_names_from_cpp.py.
#pragma once

#include <cstdio>

// C, so that programs of either std::string can call it. Words: list | make NAME [CAPACITY] | find NAME | delete NAME, each after
// NAMESPACE; several, one after the other, with "then" between them. Writes a line for each; 1 for one that failed.
extern "C" int klaw_names_run(int count, char** words, std::FILE* output);
