// A process that does not know Ray.
#include "commands.hpp"

int main(int count, char** words) { return klaw_names_run(count - 1, words + 1, stdout); }
