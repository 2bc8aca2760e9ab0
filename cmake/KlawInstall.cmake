include(CMakePackageConfigHelpers)

set(klaw_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/klaw)
install(TARGETS klaw_channels EXPORT klaw-targets 
  FILE_SET HEADERS COMPONENT klaw_dev
  FILE_SET integrations COMPONENT klaw_dev)
install(EXPORT klaw-targets NAMESPACE klaw:: DESTINATION ${klaw_cmake_dir} COMPONENT klaw_dev)
configure_package_config_file(cmake/klaw-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/klaw-config.cmake
  INSTALL_DESTINATION ${klaw_cmake_dir}
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break its users.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/klaw-config-version.cmake
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/klaw-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/klaw-config-version.cmake
  DESTINATION ${klaw_cmake_dir}
  COMPONENT klaw_dev)
