add_executable(null_sink null_sink.cc)
target_link_libraries(null_sink PRIVATE mxring_options mxring_uring mxring_base)

mxring_bench(spsc_bench SOURCES spsc_bench.cc LINKS spsc base LIBS Threads::Threads)

find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME null_sink.smoke
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/null_sink_smoke.py
      $<TARGET_FILE:null_sink>)
  set_tests_properties(null_sink.smoke PROPERTIES TIMEOUT 60 SKIP_RETURN_CODE 77 LABELS bench)
endif()
