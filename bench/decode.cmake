mxring_bench(decode_bench SOURCES decode_bench.cc LINKS decode)
target_compile_definitions(decode_bench PRIVATE
  MXRING_CORPORA="${PROJECT_SOURCE_DIR}/../shared/corpora"
  MXRING_SAMPLES="${PROJECT_SOURCE_DIR}/tests/decode/samples")
# Compared with where they are installed: nothing else uses them.
find_package(EXPAT QUIET)
if(EXPAT_FOUND)
  target_link_libraries(decode_bench PRIVATE EXPAT::EXPAT)
  target_compile_definitions(decode_bench PRIVATE BENCH_EXPAT)
endif()
pkg_check_modules(GMIME QUIET IMPORTED_TARGET gmime-3.0)
if(GMIME_FOUND)
  target_link_libraries(decode_bench PRIVATE PkgConfig::GMIME)
  target_compile_definitions(decode_bench PRIVATE BENCH_GMIME)
endif()
find_library(MIMETIC_LIBRARY mimetic)
find_path(MIMETIC_INCLUDE mimetic/mimetic.h)
if(MIMETIC_LIBRARY AND MIMETIC_INCLUDE)
  target_link_libraries(decode_bench PRIVATE ${MIMETIC_LIBRARY})
  target_include_directories(decode_bench SYSTEM PRIVATE ${MIMETIC_INCLUDE})
  target_compile_definitions(decode_bench PRIVATE BENCH_MIMETIC)
  # Its headers want things that C++17 took out of the language.
  set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/decode_bench.cc PROPERTIES COMPILE_OPTIONS
    "-Wno-deprecated-declarations")
endif()
