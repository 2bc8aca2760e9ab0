# klaw_require(<package> DEBIAN <debian package> [<find_package arguments>...])
#
# find_package() whose error says what to install.
macro(klaw_require package keyword debian_package)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR
      "klaw needs ${package}, which was not found. On Debian:\n"
      "  apt-get install ${debian_package}\n"
      "Elsewhere, install it and set CMAKE_PREFIX_PATH or ${package}_DIR to where it is.")
  endif()
endmacro()
