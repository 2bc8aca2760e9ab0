# Defines ray-cpp::headers and ray-cpp_LIBRARY, from the Python environment whose interpreter is KLAW_RAY_PYTHON (pip install 'ray[cpp]').
set(KLAW_RAY_PYTHON python3 CACHE STRING "A Python interpreter that has ray and ray-cpp")
execute_process(
  COMMAND ${KLAW_RAY_PYTHON} -c "import importlib.util as u; print(u.find_spec('ray').submodule_search_locations[0] + '/cpp')"
  OUTPUT_VARIABLE ray-cpp_FOLDER OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
find_path(ray-cpp_INCLUDE_DIR ray/api.h PATHS ${ray-cpp_FOLDER}/include NO_DEFAULT_PATH)
find_library(ray-cpp_LIBRARY ray_api PATHS ${ray-cpp_FOLDER}/lib NO_DEFAULT_PATH)
mark_as_advanced(ray-cpp_INCLUDE_DIR ray-cpp_LIBRARY)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ray-cpp REQUIRED_VARS ray-cpp_LIBRARY ray-cpp_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "pip install 'ray[cpp]', and set KLAW_RAY_PYTHON to that Python")
if(ray-cpp_FOUND AND NOT TARGET ray-cpp::headers)
  add_library(ray-cpp::headers INTERFACE IMPORTED GLOBAL)
  target_include_directories(ray-cpp::headers INTERFACE ${ray-cpp_INCLUDE_DIR})
  # ray-cpp is built with the std::string of before C++11.
  target_compile_definitions(ray-cpp::headers INTERFACE _GLIBCXX_USE_CXX11_ABI=0)
endif()
