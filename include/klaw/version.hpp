#pragma once

/// The one place that holds the version: CMake and pyproject.toml read it from these lines.
#define KLAW_VERSION_MAJOR 0
#define KLAW_VERSION_MINOR 1
#define KLAW_VERSION_PATCH 0
#define KLAW_VERSION "0.1.0"
