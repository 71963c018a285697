# The one target whose precompiled header all others use (slicer_precompile in targets.cmake).
if(SLICER_PRECOMPILE)
  file(WRITE ${PROJECT_BINARY_DIR}/precompiled.cc "")
  add_library(slicer_precompiled STATIC ${PROJECT_BINARY_DIR}/precompiled.cc)
  target_link_libraries(slicer_precompiled PRIVATE slicer_options fmt::fmt-header-only nlohmann_json::nlohmann_json)
  target_precompile_headers(slicer_precompiled PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.h)
  # A cache of objects would otherwise see another header each time (ccache's manual, "Precompiled headers").
  target_compile_options(slicer_options INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
endif()
