// What ray-cpp's workers can run.
#pragma once

#include <string>
#include <vector>

#include <ray/api.h>

using Words = std::vector<std::string>;

// The lines that the commands write.
std::string run_commands(Words words);

class Commands {
 public:
  static Commands* create();
  std::string run(Words words);
};
