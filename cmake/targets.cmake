# slicer_precompile(TARGET): with SLICER_PRECOMPILE the big headers of all sources are read once (cmake/precompiled.h).
function(slicer_precompile target)
  if(SLICER_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM slicer_precompiled)
    target_link_libraries(${target} PRIVATE fmt::fmt-header-only)  # the same macros everywhere
  endif()
endfunction()

# slicer_add_library(NAME SOURCES… LINK …): a static library slicer_NAME.
function(slicer_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LINK;PRIVATE_LINK")
  add_library(slicer_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(slicer_${name} PUBLIC slicer_options ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
  slicer_precompile(slicer_${name})
endfunction()

# slicer_add_plugin(NAME LINK …): main.cc of the current folder -> bin/slicer-NAME, installed as a CNI plugin.
function(slicer_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "LINK")
  add_executable(slicer-${name} main.cc)
  target_link_libraries(slicer-${name} PRIVATE slicer_options ${ARG_LINK})
  target_link_options(slicer-${name} PRIVATE -static-libgcc -static-libstdc++)
  set_target_properties(slicer-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  install(TARGETS slicer-${name} RUNTIME DESTINATION ${SLICER_CNI_BINDIR})
  set_property(GLOBAL APPEND PROPERTY SLICER_PLUGINS slicer-${name})  # tests/system/protocol_test.cc drives each
endfunction()

# slicer_add_unit_test(NAME SOURCES… LINK …): doctest cases without privileges, label "unit".
function(slicer_add_unit_test name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LINK")
  add_executable(unit_${name} ${ARG_SOURCES})
  target_link_libraries(unit_${name} PRIVATE slicer_options doctest::doctest slicer_doctest_main ${ARG_LINK})
  slicer_precompile(unit_${name})
  add_test(NAME unit_${name} COMMAND unit_${name})
  set_tests_properties(unit_${name} PROPERTIES LABELS unit TIMEOUT 120)
  add_dependencies(unit_tests unit_${name})
endfunction()

# slicer_install_editable(FILE TO FOLDER PRISTINE NAME): a file of the current folder that the administrator may edit
# where it is installed. A copy in <data>/slicer-cni/NAME tells an edited file from ours.
function(slicer_install_editable file)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TO;PRISTINE" "")
  set(copies ${CMAKE_INSTALL_DATADIR}/slicer-cni/${ARG_PRISTINE})
  install(CODE "set(SLICER_EDITABLE_SOURCE \"${CMAKE_CURRENT_SOURCE_DIR}/${file}\")
set(SLICER_EDITABLE_TARGET \"${ARG_TO}/${file}\")
set(SLICER_EDITABLE_PRISTINE \"\${CMAKE_INSTALL_PREFIX}/${copies}/${file}\")")
  install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/install_editable.cmake)
  install(FILES ${file} DESTINATION ${copies})
endfunction()
