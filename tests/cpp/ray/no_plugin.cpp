// A library that is no plugin.
extern "C" int klaw_something_else() { return 0; }
