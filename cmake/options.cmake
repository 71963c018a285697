# slicer_options: how our own code is compiled. Every target links it; nothing is set directory-wide.
add_library(slicer_options INTERFACE)
target_compile_features(slicer_options INTERFACE cxx_std_23)
target_include_directories(slicer_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(slicer_options INTERFACE _GNU_SOURCE SLICER_VERSION="${PROJECT_VERSION}")
target_compile_options(slicer_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Wundef -Werror
  -ffunction-sections -fdata-sections)
target_link_options(slicer_options INTERFACE -Wl,--gc-sections -Wl,--as-needed)

# Debug programs are large, and there are many: mold links them in a quarter of the time.
find_program(SLICER_MOLD mold)
if(SLICER_MOLD AND CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT CMAKE_CROSSCOMPILING)
  target_link_options(slicer_options INTERFACE -fuse-ld=mold)
endif()

if(SLICER_SANITIZE)
  target_compile_options(slicer_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer -g1)  # -g1: all that a report shows, in half the time
  target_link_options(slicer_options INTERFACE -fsanitize=address,undefined)
endif()

if(SLICER_BUILD_FUZZERS)  # coverage of the libraries; the targets themselves link libFuzzer (tests/fuzz)
  target_compile_options(slicer_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # GCC's warnings are the rule, and clang-tidy has Clang's for our sources: this compiler is here for its sanitizers.
  target_compile_options(slicer_options INTERFACE -w)
endif()
