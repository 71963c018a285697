# Third-party libraries. libnl and libnftnl are linked statically: a plugin is started for every call, and each shared
# library costs it more than its whole work on the kernel (docs/performance.md).
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt 9 REQUIRED)

pkg_check_modules(NL REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0)
pkg_check_modules(NFTNL REQUIRED IMPORTED_TARGET libnftnl)
pkg_check_modules(MNL REQUIRED IMPORTED_TARGET libmnl)
find_library(NL_STATIC libnl-3.a REQUIRED)
find_library(NL_ROUTE_STATIC libnl-route-3.a REQUIRED)
find_library(NFTNL_STATIC libnftnl.a REQUIRED)

add_library(slicer_libnl INTERFACE)
target_include_directories(slicer_libnl SYSTEM INTERFACE ${NL_INCLUDE_DIRS})
target_link_libraries(slicer_libnl INTERFACE ${NL_ROUTE_STATIC} ${NL_STATIC})

add_library(slicer_libnftnl INTERFACE)
target_include_directories(slicer_libnftnl SYSTEM INTERFACE ${NFTNL_INCLUDE_DIRS} ${MNL_INCLUDE_DIRS})
target_link_libraries(slicer_libnftnl INTERFACE ${NFTNL_STATIC} PkgConfig::MNL)
