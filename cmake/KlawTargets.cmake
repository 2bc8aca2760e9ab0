# What klaw's own executables and modules are compiled with. None of it reaches users of klaw::channels.
add_library(klaw_own INTERFACE)
target_link_libraries(klaw_own INTERFACE klaw_channels)
target_compile_options(klaw_own INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                                          -Wnon-virtual-dtor -Woverloaded-virtual)
if(KLAW_WERROR)
  target_compile_options(klaw_own INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Clang takes a lambda's `tx = tx.clone()` for a shadowing of the structured binding tx,
  # and wants constants out of captures where GCC lets them be; GCC's own -Wshadow looks at the rest.
  target_compile_options(klaw_own INTERFACE -Wno-shadow -Wno-unused-lambda-capture)
  target_compile_options(klaw_own INTERFACE -Wthread-safety -Wimplicit-fallthrough)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns about std::string's own code (GCC bug 105651), and of values inside an empty std::optional (bug 80635).
  target_compile_options(klaw_own INTERFACE -Wno-restrict -Wno-maybe-uninitialized)
endif()

function(klaw_apply_sanitizers)
  if(NOT KLAW_SANITIZE)
    return()
  endif()
  set(flags -fsanitize=${KLAW_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  set_property(DIRECTORY APPEND PROPERTY COMPILE_OPTIONS ${flags})
  set_property(DIRECTORY APPEND PROPERTY LINK_OPTIONS ${flags})
  if(KLAW_SANITIZE MATCHES thread)
    # TSan does not know fences; the mutexes of Asio's queues order what they order.
    set_property(DIRECTORY APPEND PROPERTY COMPILE_DEFINITIONS ASIO_DISABLE_FENCED_BLOCK)
  endif()
endfunction()

# klaw_gtest_folder(<folder> TIMEOUT <seconds>): one executable for each tests/cpp/<folder>/<name>_test.cpp, so that a change
# is tested by what it reaches alone (`make one T=<folder>/<name>`). klaw_<folder>_tests builds them all. Each test is
# registered with ctest as <folder>.<test>, under the label <folder>/<name>. A folder without tests is passed
# over. LIBRARIES: what they test beside the headers. OPTIONS: for the compiler, after those of the configuration.
function(klaw_gtest_folder folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "LIBRARIES;OPTIONS")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_custom_target(klaw_${folder}_tests)
  foreach(source IN LISTS sources)
    cmake_path(GET source STEM file)
    string(REGEX REPLACE "_test$" "" name ${file})
    set(target klaw_${folder}_${file})
    add_executable(${target} ${source})
    set_target_properties(${target} PROPERTIES
      OUTPUT_NAME ${file}
      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${folder})
    target_link_libraries(${target} PRIVATE klaw_own ${arg_LIBRARIES} GTest::gmock GTest::gtest_main)
    target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_compile_options(${target} PRIVATE ${arg_OPTIONS})
    add_dependencies(klaw_${folder}_tests ${target})
    gtest_discover_tests(${target}
      TEST_PREFIX ${folder}.
      DISCOVERY_MODE PRE_TEST
      DISCOVERY_TIMEOUT 60
      PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS ${folder}/${name})
  endforeach()
endfunction()
